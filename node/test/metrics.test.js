'use strict'
const assert = require('node:assert/strict')
const { test } = require('node:test')
const { Reject, Retry, Server, connect } = require('posthouse')
const { receive, started } = require('./helpers.js')

const NAMES = [
  'sent', 'send_failures', 'send_retries', 'sends_in_flight', 'received', 'redelivered', 'acknowledged', 'retried', 'rejected',
  'buffered', 'buffered_bytes', 'connections', 'credits_free', 'credit_bytes_free', 'wakeups'
]

for (const place of ['embedded', 'over TCP']) {
  test(`a client counts what it does, ${place}`, { timeout: 60_000 }, async (t) => {
    const server = await Server.embedded(place === 'embedded' ? {} : { listen: '127.0.0.1:0' })
    const client = await (place === 'embedded' ? server.connect() : connect(server.namesrvAddr))
    t.after(async () => {
      await client.close()
      await server.close()
    })
    const fresh = client.metrics()
    assert.deepEqual(Object.keys(fresh).sort(), [...NAMES].sort())
    assert.equal(fresh.sent, 0)
    const producer = await client.producer({ maxInFlight: 16, maxInFlightBytes: 1000 })
    await Promise.all(Array.from({ length: 100 }, (_, n) => producer.send({ topic: 't', body: String(n) })))
    await producer.sendMany([{ topic: 't', body: 'again' }, { topic: 't', body: 'never' }])
    await assert.rejects(producer.send({ topic: 't', body: '' }))
    const sent = client.metrics()
    assert.deepEqual([sent.sent, sent.send_failures, sent.sends_in_flight], [102, 1, 0])
    assert.deepEqual([sent.credits_free, sent.credit_bytes_free], [16, 1000])
    assert.ok(sent.wakeups > fresh.wakeups)
    assert.equal(sent.connections > 0, place === 'over TCP')

    const buffered = []
    await new Promise((resolve, reject) => {
      const handler = (message) => {
        buffered.push(client.metrics().buffered)
        if (buffered.length === 103) resolve()
        if (message.text() === 'again' && message.attempt === 1) throw new Retry(10)
        if (message.text() === 'never') throw new Reject()
      }
      client.pushConsumer({ group: 'g', subscribe: 't', startFrom: 'first', concurrency: 1, handler }).catch(reject)
    })
    const done = () => client.metrics().acknowledged === 101
    while (!done()) await new Promise(setImmediate)
    const handled = client.metrics()
    assert.deepEqual([handled.received, handled.redelivered], [103, 1])
    assert.deepEqual([handled.retried, handled.rejected], [1, 1])
    assert.ok(Math.min(...buffered) >= 1)
    const simple = await client.simpleConsumer({ group: 'other', subscribe: 't' })
    await receive(simple, 102)
    assert.equal(client.metrics().acknowledged, 203)
    await client.close()
    assert.equal(client.metrics().sent, 102)
  })
}

test('messages are found by key', async (t) => {
  const { client } = await started(t, { topics: ['t'] })
  const producer = await client.producer()
  for (const body of ['first', 'other', 'second']) await producer.send({ topic: 't', body, keys: body === 'other' ? 'k2' : 'k1' })
  const found = await client.admin().messagesByKey('t', 'k1')
  assert.deepEqual(found.map((message) => message.text()).sort(), ['first', 'second'])
  assert.equal((await client.admin().messagesByKey('t', 'k1', { limit: 1 })).length, 1)
  assert.deepEqual(await client.admin().messagesByKey('t', 'k3'), [])
})
