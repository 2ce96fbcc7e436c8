// What every runtime must do, in one file that each of them runs unchanged; `runtimes.test.js`. Prints `fine`.
import { createRequire } from 'node:module'
const { Retry, Server } = createRequire(import.meta.url)('posthouse')

const server = await Server.embedded({ topics: ['smoke'] })
const client = await server.connect()
const producer = await client.producer()
const sent = await producer.sendMany(Array.from({ length: 500 }, (_, n) => ({ topic: 'smoke', body: String(n), keys: [`k${n}`] })))
const failed = sent.filter((result) => result.status !== 'ok')
if (failed.length > 0) throw failed[0]

const seen = new Set()
const iterated = await client.pushConsumer({ group: 'iterates', subscribe: 'smoke', startFrom: 'first' })
for await (const message of iterated) if (seen.add(message.text()).size === 500) break
await iterated.close()

const again = Promise.withResolvers?.() ?? later()
const handler = (message) => {
  if (message.attempt === 1) throw new Retry(1)
  again.resolve(message.text())
}
const handles = await client.pushConsumer({ group: 'handles', subscribe: 'smoke', startFrom: 'first', handler })
await again.promise
await handles.close()

const refused = await producer.send({ topic: 'smoke', body: '' }).catch((error) => error.code)
if (refused !== 'ERR_POSTHOUSE_INVALID_MESSAGE') throw new Error(`an empty body: ${refused}`)
await client.close()
await server.close()
console.log('fine')

/** For runtimes that are older than the method. */
function later() {
  const one = {}
  one.promise = new Promise((resolve) => (one.resolve = resolve))
  return one
}
