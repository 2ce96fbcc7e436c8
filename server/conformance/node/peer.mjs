// The Node half of tests whose other half is a client in another language; see python/peer.py.
// `peer.mjs send|read ADDRESS TOPIC GROUP [COUNT]`; the package is found from the folder that it is run in.
import { createRequire } from 'node:module'
import { join } from 'node:path'

const { connect } = createRequire(join(process.cwd(), 'any.js'))('posthouse')

const [what, url, topic, group, count] = process.argv.slice(2)
const WAIT = 60_000
const say = (event, fields) => console.log(JSON.stringify({ event, ...fields }))

async function send(client) {
  const producer = await client.producer({ group: 'node-sends', sendTimeoutMs: WAIT })
  const full = {
    topic,
    body: 'Grüße, 世界 🚀',
    tag: 'TagA',
    keys: ['k-1', 'k-2'],
    properties: { region: 'hz', Stadt: 'Köln ☕' }
  }
  say('sent', { what: 'full', id: (await producer.send(full)).messageId })
  const bytes = Uint8Array.from({ length: 256 }, (_, n) => n)
  say('sent', { what: 'bytes', id: (await producer.send({ topic, body: bytes, tag: 'bytes' })).messageId })
  for (let n = 0; n < 6; n++) await producer.send({ topic, body: `step ${n}`, tag: 'step', shardingKey: `customer-${n % 2}` })
  const delayed = await producer.send({ topic, body: 'a second late', tag: 'delayed', delayLevel: 1 })
  say('sent', { what: 'delayed', id: delayed.messageId })
}

/** RocketMQ's own properties; the sender's are the others. */
const OWN = /^(TAGS|KEYS|UNIQ_KEY|WAIT|DELAY|REAL_TOPIC|REAL_QID|CLUSTER|MIN_OFFSET|MAX_OFFSET|MSG_REGION|TRACE_ON|__.*)$/

async function read(client) {
  const consumer = await client.pushConsumer({ group, subscribe: topic, startFrom: 'first' })
  let left = Number(count)
  for await (const message of consumer) {
    const own = Object.entries(message.properties).filter(([name]) => !OWN.test(name))
    say('got', {
      id: message.messageId,
      tag: message.tag,
      keys: message.keys,
      key: message.shardingKey,
      bytes: message.body.toString('base64'),
      queue: message.queue.queueId,
      offset: message.queueOffset,
      times: message.attempt - 1,
      late: (message.storedAt - message.bornAt) / 1000,
      ...Object.fromEntries(own.map(([name, value]) => [`p.${name}`, value]))
    })
    if (--left === 0) break
  }
  await consumer.close()
}

const [user, secret] = (process.env.PEER_SECURE ?? '').split(':')
const secure = user ? { credentials: { accessKey: user, secretKey: secret }, tls: { verify: false } } : {}
const client = await connect({ url, ...secure })
await (what === 'send' ? send(client) : read(client))
await client.close()
