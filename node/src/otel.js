'use strict'
// Spans of OpenTelemetry, made of what the package's channels tell. The API is given, not required: it is the program's
// own, and who has none needs none. Names of attributes are those of the semantic conventions for messaging, which stand
// here alone: for RocketMQ they are still "development".

const { subscribe, unsubscribe } = require('node:diagnostics_channel')
const { version } = require('./native.js')

/** Makes spans until the function that it returns is called. */
function instrument(api) {
  const { context, trace, SpanKind, SpanStatusCode } = api
  const tracer = trace.getTracer('posthouse', version())
  const spans = new WeakMap()

  const common = (operation, topic) => ({
    'messaging.system': 'rocketmq',
    'messaging.operation.name': operation,
    'messaging.operation.type': operation,
    'messaging.destination.name': topic
  })

  const marks = ({ tag, keys = [] }) => ({
    ...(tag !== undefined && { 'messaging.rocketmq.message.tag': tag }),
    ...(keys.length > 0 && { 'messaging.rocketmq.message.keys': [keys].flat() })
  })

  /** Where a message was sent. */
  const origin = (message) => parse(message.properties.traceparent)

  const links = (messages) => messages.map(origin).filter(Boolean).map((found) => ({ context: found }))

  const failed = (span, error) => {
    span.recordException(error)
    span.setAttribute('error.type', error?.code ?? error?.name ?? 'error')
    span.setStatus({ code: SpanStatusCode.ERROR, message: error?.message ?? String(error) })
  }

  const listeners = {
    'posthouse:send:start': (event) => {
      const { message, properties } = event
      const attributes = { ...common('send', message.topic), ...marks(message), 'messaging.message.body.size': Buffer.byteLength(message.body) }
      const span = tracer.startSpan(`send ${message.topic}`, { kind: SpanKind.PRODUCER, attributes })
      const text = format(span.spanContext())
      if (text !== undefined) properties.traceparent = text
      spans.set(event, span)
    },
    'posthouse:send': (event) => {
      const span = spans.get(event)
      if (span === undefined) return
      const { result, error } = event
      if (error !== undefined) failed(span, error)
      else if (result !== undefined) {
        span.setAttribute('messaging.message.id', result.messageId)
        span.setAttribute('messaging.destination.partition.id', String(result.queue.queueId))
      }
      span.end()
    },
    'posthouse:process:start': (event) => {
      const { message } = event
      const attributes = {
        ...common('process', message.topic),
        ...marks(message),
        'messaging.message.id': message.messageId,
        'messaging.message.body.size': message.body.length,
        'messaging.destination.partition.id': String(message.queue.queueId)
      }
      const from = origin(message)
      const parent = from === undefined ? context.active() : trace.setSpanContext(context.active(), from)
      const span = tracer.startSpan(`process ${message.topic}`, { kind: SpanKind.CONSUMER, attributes, links: links([message]) }, parent)
      spans.set(event, span)
      event.around = (call) => context.with(trace.setSpan(parent, span), call)
    },
    'posthouse:process': (event) => {
      const span = spans.get(event)
      if (span === undefined) return
      if (event.error !== undefined) failed(span, event.error)
      span.end()
    },
    'posthouse:receive': ({ messages, durationMs }) => {
      const [{ topic }] = messages
      const attributes = { ...common('receive', topic), 'messaging.batch.message_count': messages.length }
      const options = { kind: SpanKind.CONSUMER, attributes, links: links(messages), startTime: Date.now() - durationMs }
      tracer.startSpan(`receive ${topic}`, options).end()
    }
  }
  for (const [name, listener] of Object.entries(listeners)) subscribe(name, listener)
  return () => {
    for (const [name, listener] of Object.entries(listeners)) unsubscribe(name, listener)
  }
}

/** A context as the W3C writes it (`traceparent`); nothing for one that is none. */
function format({ traceId, spanId, traceFlags }) {
  if (/^0*$/.test(traceId) || /^0*$/.test(spanId)) return undefined
  return `00-${traceId}-${spanId}-${(traceFlags & 0xff).toString(16).padStart(2, '0')}`
}

function parse(text) {
  const found = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-|$)/.exec(text ?? '')
  if (found === null || /^0*$/.test(found[1]) || /^0*$/.test(found[2])) return undefined
  return { traceId: found[1], spanId: found[2], traceFlags: Number.parseInt(found[3], 16), isRemote: true }
}

module.exports = { instrument }
