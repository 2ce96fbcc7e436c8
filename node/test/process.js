'use strict'
// Runs other processes, each with a limit.

const { spawn } = require('node:child_process')

const LIMIT_MS = 120_000

/** Runs to the end; what it printed and how it ended. */
function run(command, words, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, words, { stdio: ['ignore', 'pipe', 'pipe'], timeout: LIMIT_MS, killSignal: 'SIGKILL', ...options })
    let [out, err] = ['', '']
    child.stdout.on('data', (data) => (out += data))
    child.stderr.on('data', (data) => (err += data))
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code, signal, out, err }))
  })
}

/** Runs JavaScript to the end, in a process of its own. */
const script = (text, options) => run(process.execPath, ['--input-type=module', '-e', text], { cwd: __dirname, ...options })

/** The blocks of JavaScript in a page of documentation. */
const blocks = (page) => [...page.matchAll(/^```js\n(.*?)^```$/gms)].map((match) => match[1])

module.exports = { blocks, run, script }
