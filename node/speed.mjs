// `node speed.mjs`: what sends and consumption cost, against the server in this process with asynchronous flush, and
// whether memory grows. N messages of 1 KiB; 200,000 unless said otherwise.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Server } from 'posthouse'

const N = Number(process.argv[2] ?? 200_000)
const IN_FLIGHT = 1000
const path = mkdtempSync(join(tmpdir(), 'posthouse-speed-'))
const server = await Server.embedded({ path, topics: ['speed'], config: { flushDiskType: 'ASYNC_FLUSH' } })
const client = await server.connect()
const producer = await client.producer({ compressOver: 1 << 30 })
const message = { topic: 'speed', body: Buffer.alloc(1024, 'x') }

async function measured(name, work) {
  const [cpu, begun] = [process.cpuUsage(), performance.now()]
  await work()
  const seconds = (performance.now() - begun) / 1000
  const { user, system } = process.cpuUsage(cpu)
  console.log(`${name}: ${Math.round(N / seconds)}/s, ${((user + system) / N).toFixed(2)} us of CPU each, the server's included`)
}

async function sendAll() {
  const one = async () => {
    for (let n = 0; n < N / IN_FLIGHT; n++) await producer.send(message)
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, one))
}

/** Anonymous memory, MiB. */
const memory = () => Number(/^RssAnon:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024

try {
  await measured(`send, ${IN_FLIGHT} in flight`, sendAll)
  await measured('sendMany', () => producer.sendMany((function* () { for (let n = 0; n < N; n++) yield message })()))
  const consumer = await client.pushConsumer({ group: 'speed', subscribe: 'speed', startFrom: 'first' })
  await measured('for await', async () => {
    let left = N
    for await (const _ of consumer) if (--left === 0) break
  })
  await consumer.close()
  const rounds = []
  for (let round = 0; round < 10; round++) {
    await sendAll()
    globalThis.gc?.()
    rounds.push(memory())
  }
  console.log(`anonymous memory grew by ${(rounds.at(-1) - rounds[2]).toFixed(1)} MiB from the third to the tenth round`)
} finally {
  await client.close()
  await server.close()
  rmSync(path, { recursive: true })
}
