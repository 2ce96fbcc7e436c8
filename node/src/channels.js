'use strict'
// Where loggers and tracers listen: they cost nothing while nobody does. An event of a start is published again, as the
// same object, when what began is over.

const { channel } = require('node:diagnostics_channel')

const sending = channel('posthouse:send:start')
const sent = channel('posthouse:send')
const handling = channel('posthouse:process:start')
const handled = channel('posthouse:process')
const received = channel('posthouse:receive')
const log = channel('posthouse:log')

/** What a user should know of and no promise tells. Nobody listens: it becomes a process warning. */
function warn(message, error) {
  if (log.hasSubscribers) log.publish({ level: 'warn', message, error })
  else process.emitWarning(`${message}: ${error?.stack ?? error}`, 'PosthouseWarning')
}

/** What the native part says of itself. Nobody listens: it is forgotten. */
function tell({ lines, lost }) {
  if (!log.hasSubscribers) return
  for (const { level, area, message, at } of lines) log.publish({ level, area, message, time: new Date(at) })
  if (lost > 0) log.publish({ level: 'warn', area: 'client', message: `${lost} log lines were lost: too many came at once`, time: new Date() })
}

/** A message that is being sent, as listeners know it. */
class Sending {
  properties = {}
  #begun = performance.now()

  constructor(message) {
    this.message = message
    sending.publish(this)
  }

  /** The message with what listeners added. Of one with an idempotency key nothing is changed: it would be another. */
  get changed() {
    const { message, properties } = this
    if (message.idempotencyKey !== undefined || Object.keys(properties).length === 0) return message
    return { ...message, properties: { ...message.properties, ...properties } }
  }

  ended(result, error) {
    sent.publish(Object.assign(this, { result, error, durationMs: performance.now() - this.#begun }))
  }
}

/** A message is about to be sent; nothing if nobody listens. */
const begin = (message) => (sending.hasSubscribers || sent.hasSubscribers ? new Sending(message) : undefined)

/** Sends messages that all end together. `results` makes their results of what `send` brings. */
async function watched(messages, send, results) {
  const events = messages.map(begin)
  if (!events.some(Boolean)) return send(messages)
  const ended = (all, error) => events.forEach((event, n) => event?.ended(all[n], error))
  let outcome
  try {
    outcome = await send(events.map((event, n) => event?.changed ?? messages[n]))
  } catch (error) {
    ended([], error)
    throw error
  }
  ended(results(outcome))
  return outcome
}

/** Messages that were asked for have come. */
function receive(messages, begun) {
  if (received.hasSubscribers && messages.length > 0) received.publish({ messages, durationMs: performance.now() - begun })
  return messages
}

/** A message is about to be handled; nothing if nobody listens. A listener may put something `around` the handler. */
function handle(message) {
  if (!handling.hasSubscribers && !handled.hasSubscribers) return undefined
  const event = { message, around: undefined }
  handling.publish(event)
  return event
}

/** The message of this event was handled. */
function handledAs(event, result, error, durationMs) {
  if (event !== undefined) handled.publish(Object.assign(event, { result, error, durationMs }))
}

module.exports = { begin, handle, handledAs, receive, tell, warn, watched }
