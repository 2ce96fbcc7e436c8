// `node beside.mjs --proxy HOST:PORT --namesrv HOST:PORT --url HOST:PORT [--count 200000]`: awaited sends of 1 KiB with
// 1,000 in flight, by rocketmq-client-nodejs at Apache's proxy, and by ours at a server in a process of its own and at
// one in this process, by turns; the best of some rounds each. `--namesrv` is where Apache's broker is known, `--url`
// ours. What a broker stored is counted there afterwards, and what was counted wrong has no figures. The last column is
// our rate by theirs.
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Server, connect } from 'posthouse'

const apache = createRequire(new URL('beside/package.json', import.meta.url))('rocketmq-client-nodejs')
const given = parseArgs({
  options: {
    proxy: { type: 'string' },
    namesrv: { type: 'string' },
    url: { type: 'string' },
    count: { type: 'string', default: '200000' }
  }
}).values
const N = Number(given.count)
// A tenth is enough of one that is slow: it takes as long.
const THEIRS = N / 10
const IN_FLIGHT = 1000
const ROUNDS = 3
const TOPIC = 'beside'
const body = Buffer.alloc(1024, 'x')
const quiet = { debug() {}, info() {}, warn() {}, error() {}, close() {} }

async function theirs() {
  const client = await connect(given.namesrv)
  await client.admin().createTopic(TOPIC, { kind: 'normal' })
  const producer = await patiently(async () => {
    // Its name server hears of a topic a little later than the broker.
    await client.admin().offsets(TOPIC)
    const settings = { endpoints: given.proxy, namespace: '', topics: [TOPIC], requestTimeout: 30_000, logger: quiet }
    const producer = new apache.Producer(settings)
    await producer.startup()
    return producer
  })
  return {
    name: 'rocketmq-client-nodejs 1.0.8, Apache 5.3.3 with its proxy',
    count: THEIRS,
    send: () => producer.send({ topic: TOPIC, body }),
    stored: (expected) => stored(client, expected),
    close: async () => {
      await producer.shutdown()
      await client.close()
    }
  }
}

async function ours(name, client) {
  await client.admin().createTopic(TOPIC)
  const producer = await client.producer({ compressOver: 1 << 30 })
  const message = { topic: TOPIC, body }
  return {
    name,
    count: N,
    send: () => producer.send(message),
    stored: (expected) => stored(client, expected),
    close: () => client.close()
  }
}

/** What a function gives as soon as it does not fail any more. */
async function patiently(work) {
  const until = performance.now() + 60_000
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (performance.now() > until) throw error
      await setTimeout(200)
    }
  }
}

/** How many messages the queues of the topic hold. Apache fills them a little later than it answers. */
async function stored(client, expected) {
  const until = performance.now() + 60_000
  for (;;) {
    const queues = await client.admin().offsets(TOPIC)
    const found = queues.reduce((sum, [, first, next]) => sum + next - first, 0)
    if (found >= expected || performance.now() > until) return found
  }
}

async function sendAll({ count, send }) {
  const one = async () => {
    for (let n = 0; n < count / IN_FLIGHT; n++) await send()
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, one))
}

const path = mkdtempSync(join(tmpdir(), 'posthouse-beside-'))
const server = await Server.embedded({ path, config: { flushDiskType: 'ASYNC_FLUSH' } })
const contestants = [
  await theirs(),
  await ours('posthouse, over TCP', await connect(given.url)),
  await ours('posthouse, embedded', await server.connect())
]
try {
  for (const contestant of contestants) {
    await sendAll({ ...contestant, count: IN_FLIGHT })
    contestant.expected = IN_FLIGHT
  }
  for (let round = 0; round < ROUNDS; round++) {
    for (const contestant of contestants) {
      const [cpu, begun] = [process.cpuUsage(), performance.now()]
      await sendAll(contestant)
      const seconds = (performance.now() - begun) / 1000
      const { user, system } = process.cpuUsage(cpu)
      contestant.expected += contestant.count
      const found = await contestant.stored(contestant.expected)
      if (found !== contestant.expected) throw new Error(`${contestant.name}: ${found} of ${contestant.expected} are stored`)
      if (contestant.best === undefined || seconds < contestant.best.seconds) {
        contestant.best = { seconds, rate: contestant.count / seconds, cpu: (user + system) / contestant.count }
      }
    }
  }
  const slowest = contestants[0].best.rate
  for (const { name, best } of contestants) {
    const rate = Math.round(best.rate).toLocaleString('en')
    console.log(`| ${name} | ${rate}/s | ${best.cpu.toFixed(2)} µs | ${(best.rate / slowest).toFixed(2)} |`)
  }
} finally {
  for (const contestant of contestants) await contestant.close()
  await server.close()
  rmSync(path, { recursive: true })
}
