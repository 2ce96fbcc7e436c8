'use strict'
// A broker that says nothing for a while: what is on its way is bounded, and so is memory; nothing that was taken is
// lost. And what was used is let go.
const assert = require('node:assert/strict')
const { once } = require('node:events')
const { join } = require('node:path')
const { test } = require('node:test')
const { spawn } = require('node:child_process')
const { connect } = require('posthouse')
const { run } = require('./process.js')

/** Runs a program beside a broker whose process it may stop. */
async function beside(t, text) {
  const broker = spawn(process.execPath, [join(__dirname, '../dist/cli.js'), '--listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => broker.kill('SIGKILL'))
  const [line] = await once(broker.stdout, 'data')
  const [, address] = /listens on (\S+), in memory/.exec(line)
  const begin = `
import { readFileSync, readdirSync } from 'node:fs'
import { connect } from 'posthouse'
const body = Buffer.alloc(1 << 16, 'x')
const rss = () => process.memoryUsage.rss() >> 20
const ended = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const client = await connect({ url: '${address}', requestTimeoutMs: 120_000 })
const options = { maxInFlight: 64, sendTimeoutMs: 120_000, compressOver: 1 << 30 }
const producer = await client.producer(options)
const message = () => ({ topic: 't', body: Buffer.from(body) })
await producer.sendMany(Array.from({ length: 640 }, message))
process.kill(${broker.pid}, 'SIGSTOP')
// Its threads end what they are at, each in its time.
const tasks = '/proc/${broker.pid}/task/'
const state = (task) => readFileSync(tasks + task + '/stat', 'utf8').split(') ')[1][0]
while (!readdirSync(tasks).every((task) => state(task) === 'T')) await ended(1)
const before = rss()
const goOn = () => process.kill(${broker.pid}, 'SIGCONT')
`
  const ended = await run(process.execPath, ['--expose-gc', '--input-type=module', '-e', begin + text], { cwd: __dirname })
  assert.deepEqual([ended.err, ended.code, ended.signal], ['', 0, null])
  return { said: JSON.parse(ended.out), address }
}

/** How many messages there are. */
async function stored(address) {
  const client = await connect(address)
  const offsets = await client.admin().offsets('t')
  await client.close()
  return offsets.reduce((sum, [, first, end]) => sum + end - first, 0)
}

test('a paused broker costs no more memory than what may be on its way', async (t) => {
  const { said, address } = await beside(t, `
let made = 0
const all = function* () { for (let n = 0; n < 1000; n++) { made++; yield message() } }
const many = producer.sendMany(all())
const stream = await client.producer(options)
const writer = stream.writable().getWriter()
let written = 0
const writing = (async () => {
  for (let n = 0; n < 1000; n++) {
    await writer.ready
    writer.write(message())
    written++
  }
  await writer.close()
})()
// Until nothing moves any more.
for (let last; last !== made + written; await ended(1000)) last = made + written
const [there, through, grown] = [made, written, rss() - before]
goOn()
const statuses = new Set((await many).map((result) => result.status))
await writing
console.log(JSON.stringify({ there, through, grown, statuses: [...statuses] }))
await client.close()`)
  // One more waits for its turn; a stream takes as many again.
  assert.equal(said.there, 65)
  assert.ok(said.through >= 64 && said.through <= 130, `${said.through} were taken`)
  assert.ok(said.grown < 64, `${said.grown} MiB`)
  assert.deepEqual(said.statuses, ['ok'])
  assert.equal(await stored(address), 640 + 2000)
})

test('what is sent one-way to a paused broker is refused once too much is on its way', async (t) => {
  const { said } = await beside(t, `
let [taken, refused] = [0, 0]
for (let n = 0; n < 20_000; n++) {
  try {
    producer.sendOneway(message())
    taken++
  } catch (error) {
    if (error.code !== 'ERR_POSTHOUSE_QUEUE_FULL' || !error.retryable) throw error
    refused++
  }
  if (n % 100 === 0) await new Promise(setImmediate)
}
const grown = rss() - before
goOn()
await producer.flush()
const sent = await producer.send(message())
console.log(JSON.stringify({ taken, refused, grown, status: sent.status }))
await client.close()`)
  assert.equal(said.taken + said.refused, 20_000)
  // What the sockets take is not on its way any more: some megabytes.
  assert.ok(said.refused > 10_000, `${said.refused} were refused`)
  assert.ok(said.grown < 96, `${said.grown} MiB`)
  assert.equal(said.status, 'ok')
})

test('rounds of everything leave nothing behind', async () => {
  const ended = await run(process.execPath, ['--expose-gc', '--input-type=module', '-e', `
import { readdirSync } from 'node:fs'
import { Server } from 'posthouse'
const server = await Server.embedded({ topics: ['t'] })
async function turn(number) {
  const group = 'g' + number
  const client = await server.connect()
  const producer = await client.producer()
  await Promise.all(Array.from({ length: 500 }, (_, n) => producer.send({ topic: 't', body: String(n), keys: 'k', properties: { a: 'b' } })))
  await producer.sendMany(Array.from({ length: 500 }, () => ({ topic: 't', body: 'x' })))
  const controllers = Array.from({ length: 50 }, () => new AbortController())
  const broken = controllers.map(({ signal }) => producer.send({ topic: 'gone', body: 'x' }, { signal }).catch(() => {}))
  for (const controller of controllers) controller.abort()
  await Promise.all(broken)
  const options = { subscribe: 't', startFrom: 'first' }
  const iterated = await client.pushConsumer({ ...options, group })
  let left = 1000
  for await (const message of iterated) if (message.body && --left === 0) break
  await iterated.close()
  await new Promise((resolve, reject) => {
    let left = 1000
    client.pushConsumer({ ...options, group: group + 'h', handler: () => { if (--left === 0) resolve() } }).catch(reject)
  })
  const pulled = await client.pullConsumer({ group: group + 'p', startFrom: 'first' })
  await pulled.subscribe('t')
  left = 500
  for await (const message of pulled) if (message.properties && --left === 0) break
  left = 500
  while (left > 0) left -= (await pulled.poll()).length
  await pulled.close()
  const simple = await client.simpleConsumer({ group: group + 's', subscribe: 't' })
  for (let n = 0; n < 8; n++) await simple.ack(await simple.receive())
  const controller = new AbortController()
  const waiting = simple.receive({ signal: controller.signal }).catch(() => {})
  controller.abort()
  await waiting
  await client.admin().topics()
  await client.close()
  await server.reset()
}
async function used() {
  // What is let go in one round of the collector, frees more in the next.
  for (let n = 0; n < 5; n++) {
    gc()
    await new Promise(setImmediate)
  }
  const { heapUsed, external } = process.memoryUsage()
  return [heapUsed, external, readdirSync('/proc/self/task').length, readdirSync('/proc/self/fd').length]
}
const rounds = []
for (let number = 0; number < 10; number++) {
  await turn(number)
  rounds.push(await used())
}
await server.close()
const least = (some) => some[0].map((_, at) => Math.min(...some.map((round) => round[at])))
const [early, late] = [least(rounds.slice(2, 5)), least(rounds.slice(7))]
console.log(JSON.stringify(late.map((after, at) => after - early[at])))`], { cwd: __dirname })
  assert.deepEqual([ended.err, ended.code], ['', 0])
  const [heap, external, threads, descriptors] = JSON.parse(ended.out)
  // From the third to the tenth round, each of a few thousand messages and all kinds of consumers.
  assert.ok(heap < 512 << 10 && external < 512 << 10 && threads <= 0 && descriptors <= 0, ended.out)
})
