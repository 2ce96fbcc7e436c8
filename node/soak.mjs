// `node soak.mjs [--rounds 100] [--seed N]`: worker threads and processes that end at any moment, and waits that are
// broken off: no hang, no crash, no message lost that was confirmed. The tests run a few rounds.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { Server, connect } from 'posthouse'

const given = parseArgs({
  options: {
    rounds: { type: 'string', default: '100' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) }
  }
}).values
const LIMIT_MS = 60_000
console.log(`seed ${given.seed}`)

let state = Number(given.seed)
/** A number below n, the same for the same seed (a linear congruential generator's upper bits). */
function chance(n) {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  return Math.floor((state / 2 ** 32) * n)
}
const pick = (all) => all[chance(all.length)]
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

const server = await Server.embedded({ topics: ['t'], listen: '127.0.0.1:0' })
const client = await connect(server.url)
const [confirmed, came] = [new Set(), new Set()]
await client.pushConsumer({ group: 'all', subscribe: 't', startFrom: 'first', handler: (message) => void came.add(message.text()) })
const producer = await client.producer()

/** Sends and consumes, and tells what was confirmed, until it is ended. */
const WORK = `
const { connect } = require('posthouse')
async function work(url, who, tell) {
  const client = await connect(url)
  const producer = await client.producer()
  const simple = await client.simpleConsumer({ group: 'simple', subscribe: 't' })
  await client.pushConsumer({ group: 'pushed', subscribe: 't', startFrom: 'first', handler: () => {} })
  simple.receive().catch(() => {})
  for (let n = 0; ; n += 16) {
    const bodies = Array.from({ length: 16 }, (_, at) => who + '-' + (n + at))
    await Promise.all(bodies.map((body) => producer.send({ topic: 't', body })))
    tell(bodies)
  }
}
`

/** Worker threads are terminated while they send and consume. */
async function workers(round) {
  const begin = `const { parentPort, workerData } = require('node:worker_threads')
work(workerData.url, workerData.who, (bodies) => parentPort.postMessage(bodies))`
  const all = [0, 1].map((n) => new Worker(WORK + begin, { eval: true, workerData: { url: server.url, who: `worker-${round}-${n}` } }))
  await Promise.all(
    all.map(async (worker) => {
      worker.on('message', (bodies) => bodies.forEach((body) => confirmed.add(body)))
      await once(worker, 'message')
      await wait(chance(30))
      await worker.terminate()
    })
  )
}

const ENDS = {
  'process.exit': ['setTimeout(() => process.exit(3), AFTER)', [3, null]],
  'an exception': ["setTimeout(() => { throw new Error('on purpose') }, AFTER)", [1, null]],
  SIGINT: ["setTimeout(() => process.kill(process.pid, 'SIGINT'), AFTER)", [null, 'SIGINT']],
  SIGTERM: ["setTimeout(() => process.kill(process.pid, 'SIGTERM'), AFTER)", [null, 'SIGTERM']]
}

/** A process ends while it sends and consumes. */
async function ends(round) {
  const name = pick(Object.keys(ENDS))
  const [end, expected] = ENDS[name]
  // What is written to a pipe is there when the next line runs, as console.log of a process that ends is not.
  const begin = `let begun = false
work(${JSON.stringify(server.url)}, 'process-${round}', (bodies) => {
  require('node:fs').writeSync(1, bodies.join('\\n') + '\\n')
  if (!begun) { ${end.replace('AFTER', String(chance(30)))} }
  begun = true
})`
  const child = spawn(process.execPath, ['-e', WORK + begin], { stdio: ['ignore', 'pipe', 'pipe'], timeout: LIMIT_MS, killSignal: 'SIGKILL' })
  let [out, err] = ['', '']
  child.stdout.on('data', (data) => (out += data))
  child.stderr.on('data', (data) => (err += data))
  const ended = await once(child, 'close')
  if (String(ended) !== String(expected) || /panicked/.test(err)) throw new Error(`${name}: ended with ${ended}: ${err}`)
  for (const body of out.split('\n').slice(0, -1)) confirmed.add(body)
}

/** Waits that are broken off lose nothing. */
async function aborts(round) {
  const [topic, group] = [`aborted-${round}`, 'g']
  await client.admin().createTopic(topic, { queues: 1 })
  const consumer = await client.simpleConsumer({ group, subscribe: topic })
  const bodies = Array.from({ length: 20 }, (_, n) => String(n))
  const sending = (async () => {
    for (const body of bodies) {
      await producer.send({ topic, body })
      await wait(chance(3))
    }
  })()
  const got = new Set()
  while (got.size < bodies.length) {
    const controller = new AbortController()
    const waiting = consumer.receive({ signal: controller.signal })
    setTimeout(() => controller.abort(), chance(10))
    try {
      const messages = await waiting
      await consumer.ack(messages)
      for (const message of messages) got.add(message.text())
    } catch (error) {
      if (error.name !== 'AbortError') throw error
    }
  }
  await sending
  await consumer.close()
}

/** All that was confirmed comes. */
async function look() {
  const deadline = Date.now() + LIMIT_MS
  for (;;) {
    const missing = [...confirmed].filter((body) => !came.has(body))
    if (missing.length === 0) return
    if (Date.now() > deadline) throw new Error(`${missing.length} lost: ${missing.slice(0, 5)}`)
    await wait(10)
  }
}

for (let round = 0; round < Number(given.rounds); round++) {
  await workers(round)
  await ends(round)
  await aborts(round)
  await look()
}
console.log(`${given.rounds} rounds, ${confirmed.size} confirmed, none lost`)
await client.close()
await server.close()
