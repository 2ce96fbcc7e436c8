'use strict'
// Spans: what is sent, received and handled is one trace; and the channels that tell of it.
const assert = require('node:assert/strict')
const diagnostics = require('node:diagnostics_channel')
const { test } = require('node:test')
const api = require('@opentelemetry/api')
const { AsyncLocalStorageContextManager } = require('@opentelemetry/context-async-hooks')
const { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } = require('@opentelemetry/sdk-trace-base')
const { Retry } = require('posthouse')
const { instrument } = require('posthouse/otel')
const { receive, started } = require('./helpers.js')

const exporter = new InMemorySpanExporter()
const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
api.trace.setGlobalTracerProvider(provider)
api.context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
const tracer = provider.getTracer('test')

/** A client that makes spans until the test ends, and the spans of a name that ended. */
async function traced(t, options) {
  exporter.reset()
  t.after(instrument(api))
  const { client } = await started(t, { topics: ['t', 'q'], ...options })
  return { client, spans: (name) => exporter.getFinishedSpans().filter((span) => span.name === name) }
}

const idOf = (span) => span.spanContext().spanId

/** A consumer's messages until there are so many, each handled; the consumer is closed then. */
async function handled(client, count, handler) {
  let left = count
  let enough
  const done = new Promise((resolve) => (enough = resolve))
  const consumer = await client.pushConsumer({
    group: 'g',
    subscribe: 't',
    startFrom: 'first',
    async handler(message) {
      try {
        return await handler(message)
      } finally {
        if (--left === 0) enough()
      }
    }
  })
  await done
  await consumer.close()
}

test('sending and handling is one trace', async (t) => {
  const { client, spans } = await traced(t)
  const producer = await client.producer()
  const message = { topic: 't', body: 'x', tag: 'eu', keys: ['k'], properties: { own: '1' } }
  const [sent, order] = await tracer.startActiveSpan('order', async (span) => {
    const result = await producer.send(message)
    span.end()
    return [result, span]
  })
  let came
  let inside
  await handled(client, 1, async (arrived) => {
    came = arrived
    await new Promise(setImmediate)
    inside = api.trace.getActiveSpan()
  })
  const [[send], [process]] = [spans('send t'), spans('process t')]
  assert.deepEqual([send.kind, process.kind], [api.SpanKind.PRODUCER, api.SpanKind.CONSUMER])
  assert.equal(send.parentSpanContext.spanId, idOf(order))
  assert.equal(process.parentSpanContext.spanId, idOf(send))
  assert.equal(idOf(inside), idOf(process))
  for (const span of [send, process]) {
    assert.equal(span.spanContext().traceId, order.spanContext().traceId)
    const expected = {
      'messaging.system': 'rocketmq',
      'messaging.destination.name': 't',
      'messaging.message.id': sent.messageId,
      'messaging.rocketmq.message.tag': 'eu',
      'messaging.rocketmq.message.keys': ['k'],
      'messaging.message.body.size': 1
    }
    for (const [name, value] of Object.entries(expected)) assert.deepEqual(span.attributes[name], value, name)
  }
  // As the W3C writes it, for whoever reads it.
  const { traceId } = send.spanContext()
  assert.equal(came.properties.own, '1')
  assert.match(came.properties.traceparent, new RegExp(`^00-${traceId}-${idOf(send)}-0\\d$`))
  assert.deepEqual(message.properties, { own: '1' })
})

test('every way to send has its spans', async (t) => {
  const { client, spans } = await traced(t)
  const producer = await client.producer()
  const one = { topic: 't', body: 'x' }
  await producer.send(one)
  await producer.sendMany([one, one])
  await producer.sendBatch([one, one])
  producer.sendOneway(one)
  await producer.flush()
  const transactions = await client.transactionProducer({ group: 'tx', check: () => 'unknown' })
  await transactions.transaction(one, async () => {})
  // Named, it is not changed: sent again, it is the same message.
  const named = { ...one, idempotencyKey: 'once' }
  await producer.send(named)
  assert.equal((await producer.send(named)).replayed, true)
  await client.pushConsumer({ group: 'clerks', subscribe: 'q', startFrom: 'first', handler: () => ({ reply: '7' }) })
  for (let reply; reply !== '7'; ) {
    reply = await producer.request({ topic: 'q', body: '?' }, { timeoutMs: 10_000 }).then((message) => message.text(), () => undefined)
  }
  await receive(await client.simpleConsumer({ group: 's', subscribe: 't' }), 8)
  const sent = spans('send t')
  assert.equal(sent.length, 9)
  assert.ok(spans('send q').length >= 1)
  assert.ok(sent.every((span) => span.status.code === api.SpanStatusCode.UNSET))
  const links = spans('receive t').flatMap((span) => span.links.map((link) => link.context.spanId))
  const ids = new Set(sent.map(idOf))
  assert.equal(links.length, 7)
  assert.ok(links.every((id) => ids.has(id)))
})

test('what goes wrong is in its span', async (t) => {
  const { client, spans } = await traced(t)
  const producer = await client.producer({ retries: 0 })
  await assert.rejects(producer.sendBatch([{ topic: 't', body: 'x' }, { topic: 'q', body: 'x' }]))
  await producer.send({ topic: 't', body: 'x' })
  let attempts = 0
  await handled(client, 2, () => {
    if (++attempts === 1) throw new Retry(10)
  })
  const [failed, sent] = spans('send t')
  assert.equal(failed.status.code, api.SpanStatusCode.ERROR)
  assert.equal(failed.attributes['error.type'], 'ERR_POSTHOUSE_INVALID_MESSAGE')
  assert.equal(sent.status.code, api.SpanStatusCode.UNSET)
  const [first, second] = spans('process t').map((span) => span.status.code)
  assert.deepEqual([first, second], [api.SpanStatusCode.ERROR, api.SpanStatusCode.UNSET])
})

test('the event of an end is that of its start, with what became of it', async (t) => {
  const { client } = await started(t, { topics: ['t'] })
  const told = []
  const names = ['posthouse:send:start', 'posthouse:send', 'posthouse:process:start', 'posthouse:process', 'posthouse:receive']
  for (const name of names) {
    const listener = (event) => told.push([name, event])
    diagnostics.subscribe(name, listener)
    t.after(() => diagnostics.unsubscribe(name, listener))
  }
  const sent = await (await client.producer()).send({ topic: 't', body: 'x' })
  await handled(client, 1, () => true)
  const [message] = await receive(await client.simpleConsumer({ group: 's', subscribe: 't' }), 1)
  assert.deepEqual(told.map(([name]) => name), names)
  const [begun, ended, handling, done, received] = told.map(([, event]) => event)
  assert.ok(begun === ended && handling === done)
  assert.deepEqual([ended.result.messageId, ended.error, ended.durationMs >= 0], [sent.messageId, undefined, true])
  assert.deepEqual([done.message.messageId, done.result, done.error], [sent.messageId, 'ack', undefined])
  assert.deepEqual(received.messages, [message])
})
