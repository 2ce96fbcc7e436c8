#!/usr/bin/env node
'use strict'
// `npx posthouse [folder]`: a server that listens until it is told to end.

const { once } = require('node:events')
const { Server, version } = require('./index.js')

const HELP = `posthouse ${version}
npx posthouse [folder] [--listen host:port]

Starts a name server and a broker in this process, and prints where they listen. Without a folder everything is
in memory. Default: --listen 127.0.0.1:9876.`

function parse(words) {
  const options = { listen: '127.0.0.1:9876' }
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    if (word === '--help' || word === '-h') return { help: HELP }
    if (word === '--version') return { help: version }
    if (word === '--listen') options.listen = words.shift()
    else if (!word.startsWith('-') && options.path === undefined) options.path = word
    else throw new Error(`${word} is unknown\n${HELP}`)
  }
  return { options }
}

async function main() {
  const { help, options } = parse(process.argv.slice(2))
  if (help !== undefined) return console.log(help)
  // Before anybody knows that it runs: whoever reads the line may end it at once.
  const told = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
  const server = await Server.embedded(options)
  const alive = setInterval(() => {}, 2 ** 30)
  console.log(`posthouse ${version} listens on ${server.namesrvAddr}, ${options.path ?? 'in memory'}`)
  await told
  clearInterval(alive)
  await server.close()
}

main().catch((error) => {
  console.error(error.message)
  process.exitCode = 1
})
