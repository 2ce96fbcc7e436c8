// `node speed.mjs [--count 200000] [--url HOST:PORT [--pid PID]] [--memory]`: what sends and consumption cost, 1 KiB
// each, against the server in this process with asynchronous flush, or against one elsewhere. A row of a Markdown table
// each: messages a second, and CPU a message: of this process (the embedded server's included), and of process PID.
// `--memory`: whether memory grows, instead; 16 MiB are too much. Figures of a shared machine are ratios, not promises.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Server, connect } from 'posthouse'

const given = parseArgs({
  options: {
    count: { type: 'string', default: '200000' },
    url: { type: 'string' },
    pid: { type: 'string' },
    memory: { type: 'boolean', default: false }
  }
}).values
const N = Number(given.count)
const IN_FLIGHT = 1000
const SINGLE = Math.min(N, 20_000)
const ROUNDS = 3
const TICK = 10_000 // microseconds; Linux' USER_HZ is 100

const path = given.url === undefined ? mkdtempSync(join(tmpdir(), 'posthouse-speed-')) : undefined
const server = path && (await Server.embedded({ path, topics: ['speed'], config: { flushDiskType: 'ASYNC_FLUSH' } }))
const client = await (server ? server.connect() : connect(given.url))
const producer = await client.producer({ compressOver: 1 << 30 })
const message = { topic: 'speed', body: Buffer.alloc(1024, 'x') }
const where = server ? 'Node, embedded' : 'Node, over TCP'

/** Microseconds that the server's process has used. */
function serverCpu() {
  if (given.pid === undefined) return 0
  const fields = readFileSync(`/proc/${given.pid}/stat`, 'utf8').split(') ')[1].split(' ')
  return (Number(fields[11]) + Number(fields[12])) * TICK
}

async function measured(name, count, work) {
  let best
  for (let round = 0; round < ROUNDS; round++) {
    const [own, theirs, begun] = [process.cpuUsage(), serverCpu(), performance.now()]
    await work(round)
    const seconds = (performance.now() - begun) / 1000
    const { user, system } = process.cpuUsage(own)
    const took = { seconds, own: (user + system) / count, theirs: (serverCpu() - theirs) / count }
    if (best === undefined || took.seconds < best.seconds) best = took
  }
  const theirs = given.pid === undefined ? '' : ` + ${best.theirs.toFixed(2)}`
  console.log(`| ${where} | ${name} | ${Math.round(count / best.seconds).toLocaleString('en')}/s | ${best.own.toFixed(2)}${theirs} µs |`)
}

async function sendAll() {
  const one = async () => {
    for (let n = 0; n < N / IN_FLIGHT; n++) await producer.send(message)
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, one))
}

/** Anonymous memory, MiB. */
const memory = () => Number(/^RssAnon:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024

async function speed() {
  await producer.send(message)
  await measured('send, one after the other', SINGLE, async () => {
    for (let n = 0; n < SINGLE; n++) await producer.send(message)
  })
  await measured(`send, ${IN_FLIGHT} in flight`, N, sendAll)
  await measured('sendMany', N, () => producer.sendMany((function* () { for (let n = 0; n < N; n++) yield message })()))
  const group = `speed-${process.pid}`
  await measured('for await', N, async (round) => {
    const consumer = await client.pushConsumer({ group: `${group}-${round}`, subscribe: 'speed', startFrom: 'first' })
    let left = N
    for await (const _ of consumer) if (--left === 0) break
    await consumer.close()
  })
}

async function growth() {
  const rounds = []
  for (let round = 0; round < 10; round++) {
    await sendAll()
    globalThis.gc?.()
    rounds.push(memory())
  }
  // What is collected late, by either collector, makes single rounds jump.
  const grown = Math.min(...rounds.slice(7)) - Math.min(...rounds.slice(2, 5))
  console.log(`anonymous memory grew by ${grown.toFixed(1)} MiB from the third to the tenth round of ${N}`)
  if (grown >= 16) process.exitCode = 1
}

try {
  await (given.memory ? growth() : speed())
} finally {
  await client.close()
  await server?.close()
  if (path) rmSync(path, { recursive: true })
}
