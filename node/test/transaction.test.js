'use strict'
const assert = require('node:assert/strict')
const { test } = require('node:test')
const { receive, started, texts } = require('./helpers.js')

test('a committed transaction is seen, one that was rolled back is not', async (t) => {
  const { client } = await started(t, { topics: ['tx'] })
  const producer = await client.transactionProducer({ group: 'p', check: () => 'unknown' })
  const half = await producer.begin({ topic: 'tx', body: 'committed' })
  assert.equal(half.result.transactionId, half.result.messageId)
  const gone = await producer.begin({ topic: 'tx', body: 'disposed' })
  await gone[Symbol.asyncDispose]()
  await assert.rejects(producer.transaction({ topic: 'tx', body: 'failed' }, async () => { throw new Error('no') }), /no/)
  const value = await producer.transaction({ topic: 'tx', body: 'done' }, async () => 7)
  assert.equal(value, 7)
  await half.commit()
  const consumer = await client.simpleConsumer({ group: 'g', subscribe: 'tx' })
  assert.deepEqual(texts(await receive(consumer, 2)).sort(), ['committed', 'done'])
  assert.deepEqual(await consumer.receive({ waitMs: 0 }), [])
})

test('what nobody decided is asked about', async (t) => {
  const { server, client } = await started(t, { topics: ['asked'], clock: 'manual' })
  let asked
  const check = new Promise((resolve) => (asked = resolve))
  const producer = await client.transactionProducer({
    group: 'p',
    check(message) {
      asked(message)
      return 'commit'
    }
  })
  const half = await producer.begin({ topic: 'asked', body: 'x' })
  half.unknown()
  await server.advance(120_000)
  assert.equal((await check).text(), 'x')
  const consumer = await client.simpleConsumer({ group: 'g', subscribe: 'asked' })
  assert.deepEqual(texts(await receive(consumer, 1)), ['x'])
})

test('a request gets the reply of its consumer, and in time', async (t) => {
  const { client } = await started(t, { topics: ['questions'] })
  await client.pushConsumer({ group: 'g', subscribe: 'questions', startFrom: 'first', handler: (message) => ({ reply: message.text().toUpperCase() }) })
  const producer = await client.producer()
  const bodies = ['one', 'two', 'three']
  const replies = await Promise.all(bodies.map((body) => producer.request({ topic: 'questions', body }, { timeoutMs: 60_000 })))
  assert.deepEqual(texts(replies), ['ONE', 'TWO', 'THREE'])
  await assert.rejects(producer.request({ topic: 'nobody', body: 'x' }, { timeoutMs: 50 }), { code: 'ERR_POSTHOUSE_TIMEOUT' })
})

test('a delayed message can be called back, and comes otherwise', async (t) => {
  const { server, client } = await started(t, { topics: ['later'], clock: 'manual' })
  const producer = await client.producer()
  const gone = await producer.send({ topic: 'later', body: 'gone', deliverAfterMs: 60_000 })
  await producer.send({ topic: 'later', body: 'comes', deliverAfterMs: 60_000 })
  assert.deepEqual(await producer.recall('later', gone.recallHandle), { messageId: gone.messageId, recalled: true })
  const consumer = await client.simpleConsumer({ group: 'g', subscribe: 'later' })
  assert.deepEqual(await consumer.receive({ waitMs: 0 }), [])
  assert.equal(await server.advance(60_000), 1)
  assert.deepEqual(texts(await receive(consumer, 1)), ['comes'])
})
