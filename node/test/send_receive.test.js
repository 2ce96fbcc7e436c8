'use strict'
const assert = require('node:assert/strict')
const { test } = require('node:test')
const { PosthouseError, Server, connect, version } = require('posthouse')
const { numbered, receive, started, texts } = require('./helpers.js')

test('what is sent is received, with everything that was said of it', async (t) => {
  const { client } = await started(t, { topics: ['orders'] })
  const producer = await client.producer()
  const message = { topic: 'orders', body: 'a\0b €', tag: 'new', keys: ['k1', 'k2'], properties: { colour: 'röd' }, shardingKey: 'user-7', flag: 7 }
  const sent = await producer.send(message)
  assert.equal(sent.status, 'ok')
  assert.equal(sent.queue.topic, 'orders')
  const consumer = await client.simpleConsumer({ group: 'g', subscribe: 'orders' })
  const [received] = await receive(consumer, 1)
  assert.equal(received.text(), message.body)
  assert.deepEqual(received.body, Buffer.from(message.body))
  assert.equal(received.tag, 'new')
  assert.deepEqual(received.keys, ['k1', 'k2'])
  assert.equal(received.properties.colour, 'röd')
  assert.equal(received.shardingKey, 'user-7')
  assert.equal(received.messageId, sent.messageId)
  assert.equal(received.offsetMessageId, sent.offsetMessageId)
  assert.deepEqual(received.queue, sent.queue)
  assert.equal(received.queueOffset, sent.queueOffset)
  assert.equal(received.attempt, 1)
  assert.ok(received.storedAt - received.bornAt < 60_000)
  const copy = received.copy()
  assert.deepEqual([copy.text(), copy.properties, copy.messageId], [received.text(), received.properties, received.messageId])
})

test('bytes come back as they went: nothing, NUL, a view, 4 MiB; 4 MiB and one is too large', async (t) => {
  const { client } = await started(t)
  const producer = await client.producer({ compressOver: 1 << 30 })
  const view = new Uint8Array(Buffer.from('xxhixx')).subarray(2, 4)
  const large = Buffer.alloc(4 << 20, 'z')
  for (const body of [Buffer.from([0]), view, large]) await producer.send({ topic: 'bytes', body })
  const consumer = await client.simpleConsumer({ group: 'g', subscribe: 'bytes' })
  const bodies = (await receive(consumer, 3)).map((message) => message.body.length)
  assert.deepEqual(bodies.sort((a, b) => a - b), [1, 2, 4 << 20])
  await assert.rejects(producer.send({ topic: 'bytes', body: Buffer.alloc((4 << 20) + 1) }), { code: 'ERR_POSTHOUSE_MESSAGE_TOO_LARGE' })
  await assert.rejects(producer.send({ topic: 'bytes', body: '' }), { code: 'ERR_POSTHOUSE_INVALID_MESSAGE' })
  await assert.rejects(producer.send({ topic: 'bytes', body: 'x', properties: { half: '\ud800' } }), { code: 'ERR_POSTHOUSE_INVALID_MESSAGE' })
})

test('many at once keep their order and each has its own result', async (t) => {
  const { client } = await started(t, { topics: ['many'] })
  const producer = await client.producer({ maxInFlight: 16 })
  const messages = numbered('many', 500, { shardingKey: 'one' })
  messages[250] = { topic: 'many', body: '' }
  const results = await producer.sendMany(messages)
  assert.ok(PosthouseError.is(results[250], 'ERR_POSTHOUSE_INVALID_MESSAGE'))
  const stored = results.filter((result) => !PosthouseError.is(result))
  assert.deepEqual(stored.map((result) => result.queueOffset), [...stored.keys()])
  const consumer = await client.simpleConsumer({ group: 'g', subscribe: 'many' })
  assert.equal(new Set(texts(await receive(consumer, 499))).size, 499)
})

test('what one tick sends arrives whole and in order, whatever its length', async (t) => {
  const { client } = await started(t, { topics: ['tick'] })
  const producer = await client.producer()
  // More than cross at once, whose lengths end at each place of a number; some are text, of characters of any width.
  const bodies = Array.from({ length: 700 }, (_, n) => '€äx'.repeat((n % 5) + 1).slice(0, (n % 9) + 1) + n)
  const of = (n) => ({ topic: 'tick', body: n % 2 ? bodies[n] : Buffer.from(bodies[n]), tag: `t${n % 3}`, shardingKey: 'one' })
  const results = await Promise.all(bodies.map((_, n) => producer.send(of(n))))
  assert.deepEqual(results.map((result) => result.queueOffset), [...bodies.keys()])
  const consumer = await client.pullConsumer({ group: 'g', startFrom: 'first' })
  await consumer.subscribe('tick')
  const received = []
  while (received.length < bodies.length) received.push(...(await consumer.poll()))
  assert.deepEqual(texts(received), bodies)
  assert.deepEqual(received.map((message) => message.tag), bodies.map((_, n) => `t${n % 3}`))
})

test('a send with a key is stored once', async (t) => {
  const { client } = await started(t, { topics: ['once'] })
  const producer = await client.producer()
  const message = { topic: 'once', body: 'x', idempotencyKey: 'order-17' }
  const first = await producer.send(message)
  const again = await producer.send(message)
  assert.deepEqual([first.replayed, again.replayed], [false, true])
  assert.equal(again.messageId, first.messageId)
  assert.equal(again.offsetMessageId, first.offsetMessageId)
  await assert.rejects(producer.send({ ...message, body: 'y' }), { code: 'ERR_POSTHOUSE_INVALID_MESSAGE' })
  const many = await producer.sendMany([message, { topic: 'once', body: 'z' }])
  assert.deepEqual(many.map((result) => result.replayed), [true, false])
  const consumer = await client.simpleConsumer({ group: 'g', subscribe: 'once' })
  assert.deepEqual(texts(await receive(consumer, 2)).sort(), ['x', 'z'])
})

test('a batch is one, one-way messages arrive, a stream is drained', async (t) => {
  const { client } = await started(t, { topics: ['mixed'] })
  const producer = await client.producer()
  const batch = await producer.sendBatch(numbered('mixed', 3))
  assert.deepEqual(batch.map((result) => result.status), ['ok', 'ok', 'ok'])
  assert.equal(new Set(batch.map((result) => result.messageId)).size, 3)
  assert.deepEqual(batch.map((result) => result.queueOffset - batch[0].queueOffset), [0, 1, 2])
  producer.sendOneway({ topic: 'mixed', body: 'oneway' })
  await producer.flush()
  const writer = producer.writable().getWriter()
  for (const message of numbered('mixed', 100)) await writer.write(message)
  await writer.close()
  const consumer = await client.simpleConsumer({ group: 'g', subscribe: 'mixed' })
  assert.equal((await receive(consumer, 104)).length, 104)
})

test('a lease is extended, and what is not acked comes again', async (t) => {
  const { server, client } = await started(t, { topics: ['leases'], clock: 'manual' })
  const producer = await client.producer()
  await producer.send({ topic: 'leases', body: 'x' })
  const consumer = await client.simpleConsumer({ group: 'g', subscribe: 'leases', invisibleMs: 10_000 })
  const [first] = await consumer.receive()
  await consumer.extend(first, 60_000)
  await server.advance(30_000)
  assert.deepEqual(await consumer.receive({ waitMs: 0 }), [])
  await server.advance(31_000)
  const [again] = await consumer.receive()
  assert.equal(again.attempt, 2)
  await consumer.ack(again)
})

test('an ack says whether the message is done', async (t) => {
  const { server, client } = await started(t, { topics: ['lent'], clock: 'manual' })
  await (await client.producer()).sendBatch(numbered('lent', 3))
  const consumer = await client.simpleConsumer({ group: 'g', subscribe: 'lent', invisibleMs: 30_000 })
  const late = await consumer.receive()
  assert.equal(late.length, 3)
  assert.equal(await consumer.ack(late[0]), true)
  await server.advance(31_000)
  const again = await consumer.receive()
  assert.deepEqual(again.map((message) => message.attempt), [2, 2])
  // Whoever has the loan of before has come too late: the message is out on another one.
  assert.equal(await consumer.ack(late[1]), false)
  await assert.rejects(consumer.extend(late[1], 60_000), { code: 'ERR_POSTHOUSE_OFFSET', message: /lease/ })
  // Those that were in time count all the same; what is done is done.
  assert.equal(await consumer.ack([again[0], late[2]]), false)
  await consumer.extend(again[1], 60_000)
  assert.equal(await consumer.ack(again), true)
  assert.equal(await consumer.ack([]), true)
  await server.advance(3_600_000)
  assert.deepEqual(await consumer.receive({ waitMs: 0 }), [])
})

test('an ack that fails keeps no other from counting', async (t) => {
  const { client } = await started(t, { topics: ['acks'] })
  const other = await started(t, { topics: ['acks'], config: { brokerName: 'elsewhere' } })
  await (await other.client.producer()).send({ topic: 'acks', body: 'foreign' })
  const [foreign] = await (await other.client.simpleConsumer({ group: 'g', subscribe: 'acks' })).receive()
  await (await client.producer()).sendBatch(numbered('acks', 8))
  const consumer = await client.simpleConsumer({ group: 'g', subscribe: 'acks' })
  const mine = await consumer.receive()
  assert.equal(mine.length, 8)
  await assert.rejects(consumer.ack([foreign, ...mine]), /elsewhere/)
  const lag = await client.admin().lag('g', 'acks')
  assert.equal(lag.reduce((sum, [, one]) => sum + one, 0), 0)
})

test('wrong arguments are named before anything is done', async (t) => {
  const { client } = await started(t)
  const producer = await client.producer()
  await assert.rejects(client.producer({ linger: 5 }), { code: 'ERR_POSTHOUSE_CONFIG', message: /linger/ })
  await assert.rejects(client.simpleConsumer({ subscribe: 'x' }), { code: 'ERR_POSTHOUSE_CONFIG', message: /group/ })
  await assert.rejects(producer.send({ topic: 'x', body: 5 }), { code: 'ERR_POSTHOUSE_INVALID_MESSAGE', message: /body/ })
  await assert.rejects(producer.send({ topic: 'x', body: 'y', deliverAfterMs: -1 }), { code: 'ERR_POSTHOUSE_INVALID_MESSAGE', message: /deliverAfterMs/ })
  await assert.rejects(connect('http://x'), { code: 'ERR_POSTHOUSE_CONFIG', message: /http/ })
  await assert.rejects(Server.embedded({ config: { flushDiskTyp: 'x' } }), { code: 'ERR_POSTHOUSE_CONFIG', message: /flushDiskType/ })
})

test('a full memory gives up its oldest messages, and sends go on', async (t) => {
  const { client } = await started(t, { memoryBytes: 64 << 20, topics: ['full'] })
  const producer = await client.producer({ retries: 0, compressOver: 1 << 30 })
  const body = Buffer.alloc(1 << 20, 'x')
  let queue
  for (let n = 0; n < 256; n++) {
    body.writeUInt8(n)
    const sent = await producer.send({ topic: 'full', body, shardingKey: 'one' })
    assert.deepEqual([sent.status, sent.queueOffset], ['ok', n])
    queue = sent.queue
  }
  const [, first, end] = (await client.admin().offsets('full')).find(([{ queueId }]) => queueId === queue.queueId)
  assert.ok(end === 256 && first >= 192 && first <= 240, `${first} to ${end}`)
  const consumer = await client.pullConsumer({ group: 'g', startFrom: 'first' })
  await consumer.subscribe('full')
  const seen = []
  for await (const message of consumer) {
    seen.push(message.body[0])
    if (message.body[0] === 255) break
  }
  // More may have gone since, but no gap is left.
  assert.ok(seen[0] >= first && seen[0] <= 240, `${seen[0]} is the first`)
  assert.deepEqual(seen, Array.from({ length: end - seen[0] }, (_, n) => seen[0] + n))
  // What is to come later cannot go before.
  const fill = async () => {
    for (let n = 0; n < 4096; n++) await producer.send({ topic: 'full', body, deliverAfterMs: 3_600_000 })
  }
  await assert.rejects(fill, { code: 'ERR_POSTHOUSE_THROTTLED', responseCode: 14, retryable: true })
})

test('a signal ends a wait, and loses no message', async (t) => {
  const { client } = await started(t, { topics: ['abort'] })
  const consumer = await client.simpleConsumer({ group: 'g', subscribe: 'abort' })
  const controller = new AbortController()
  const waiting = consumer.receive({ signal: controller.signal })
  controller.abort(new Error('enough'))
  await assert.rejects(waiting, /enough/)
  const producer = await client.producer()
  await producer.send({ topic: 'abort', body: 'x' })
  assert.deepEqual(texts(await receive(consumer, 1)), ['x'])
})

test('what is closed says so', async (t) => {
  const { client } = await started(t)
  const producer = await client.producer()
  await producer.close()
  await producer.close()
  await assert.rejects(producer.send({ topic: 'x', body: 'y' }), { code: 'ERR_POSTHOUSE_CLOSED' })
})

test('the version is one', () => {
  assert.equal(version, require('posthouse/package.json').version)
})

test('import gives what require gives', async () => {
  const imported = await import('posthouse')
  assert.equal(imported.Server, Server)
  assert.equal(imported.PosthouseError, PosthouseError)
})
