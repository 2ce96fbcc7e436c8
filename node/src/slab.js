'use strict'
// Messages on their way into the native part, many in one buffer; bindings/ffi/src/slab.rs reads it.

const { invalidMessage } = require('./errors.js')

const SMALL = 4 * 1024
/** A buffer that is larger than this is not kept. */
const LARGE = 4 * 1024 * 1024
/** Where the table of strings begins, and how many messages there are. */
const HEAD = 8

const NOW = 0
const AFTER = 1
const AT = 2
const LEVEL = 3

/** Collects messages in one buffer, which is used again. The strings of all of them lie behind them, each once. */
class Slab {
  #strings = new Map()
  #stringBytes = 0
  #buffer
  /** The same bytes, as numbers. */
  #words
  #at = HEAD
  count = 0

  constructor() {
    this.#use(Buffer.allocUnsafeSlow(SMALL))
  }

  /** Bytes that wait here. */
  get size() {
    return this.#at
  }

  /** Adds a checked message, see `checked`. */
  add(message, body) {
    const topic = this.#string(message.topic)
    const tag = message.tag === undefined ? 0 : this.#string(message.tag) + 1
    const sharding = message.shardingKey === undefined ? 0 : this.#string(message.shardingKey) + 1
    const idempotency = message.idempotencyKey === undefined ? 0 : this.#string(message.idempotencyKey) + 1
    const keys = keysOf(message.keys)
    const properties = message.properties === undefined ? NONE : Object.entries(message.properties)
    const isText = typeof body === 'string'
    // A UTF-16 unit takes at most three bytes of UTF-8.
    this.#room(48 + 4 * keys.length + 8 * properties.length + (isText ? body.length * 3 : body.byteLength))
    const [kind, when] = whenOf(message)
    const words = this.#words
    let at = this.#at / 4
    words[at] = topic
    words[at + 1] = tag
    words[at + 2] = sharding
    words[at + 3] = idempotency
    words[at + 4] = message.flag ?? 0
    words[at + 5] = kind
    words[at + 6] = when
    words[at + 7] = when / 2 ** 32
    words[at + 8] = keys.length
    at += 9
    for (const key of keys) words[at++] = this.#string(key)
    words[at++] = properties.length
    for (const [name, value] of properties) {
      words[at++] = this.#string(name)
      words[at++] = this.#string(value)
    }
    const start = at * 4 + 4
    const length = isText ? this.#buffer.utf8Write(body, start) : body.byteLength
    if (!isText) this.#buffer.set(body, start)
    words[at] = length
    const end = start + length
    // To the next whole number; the buffer has older bytes.
    this.#at = end + (-end & 3)
    for (let zero = end; zero < this.#at; zero++) this.#buffer[zero] = 0
    this.count++
    return length
  }

  /** Everything added, as one buffer, good until something is added again; then it is empty. */
  take() {
    this.#room(4 + this.#stringBytes)
    this.#words[0] = this.#at
    this.#words[1] = this.count
    let at = this.#buffer.writeUInt32LE(this.#strings.size, this.#at)
    for (const text of this.#strings.keys()) {
      const length = this.#buffer.utf8Write(text, at + 4)
      at = this.#buffer.writeUInt32LE(length, at) + length
    }
    const whole = this.#buffer.subarray(0, at)
    if (this.#buffer.length > LARGE) this.#use(Buffer.allocUnsafeSlow(SMALL))
    this.#strings.clear()
    this.#at = HEAD
    this.#stringBytes = this.count = 0
    return whole
  }

  #string(text) {
    const known = this.#strings.get(text)
    if (known !== undefined) return known
    const number = this.#strings.size
    this.#strings.set(text, number)
    this.#stringBytes += 4 + Buffer.byteLength(text)
    return number
  }

  #room(bytes) {
    const needed = this.#at + bytes
    if (needed <= this.#buffer.length) return
    // Whole numbers fill it.
    const larger = Buffer.allocUnsafeSlow(Math.max(needed + (-needed & 3), 2 * this.#buffer.length))
    this.#buffer.copy(larger, 0, 0, this.#at)
    this.#use(larger)
  }

  #use(buffer) {
    this.#buffer = buffer
    this.#words = new Uint32Array(buffer.buffer)
  }
}

const NONE = []
const AT_ONCE = [NOW, 0]

const keysOf = (keys) => (keys === undefined ? NONE : typeof keys === 'string' ? [keys] : keys)

function whenOf(message) {
  if (message.deliverAfterMs !== undefined) return [AFTER, Math.ceil(message.deliverAfterMs)]
  if (message.deliverAt !== undefined) return [AT, message.deliverAt.getTime()]
  if (message.delayLevel !== undefined) return [LEVEL, message.delayLevel]
  return AT_ONCE
}

/** The body of a message, after all of it was checked: nothing of a wrong one crosses. */
function checked(message) {
  if (typeof message !== 'object' || message === null) throw invalidMessage('a message must be an object with topic and body')
  const { topic, body } = message
  if (typeof topic !== 'string' || topic === '') throw invalidMessage('topic must be a non-empty string')
  const isText = typeof body === 'string'
  if (!isText && !(body instanceof Uint8Array)) throw invalidMessage('body must be a string or a Uint8Array', topic)
  text(message, 'tag')
  text(message, 'shardingKey')
  text(message, 'idempotencyKey')
  if (message.keys !== undefined) {
    for (const key of keysOf(message.keys)) if (typeof key !== 'string') throw invalidMessage('keys must be strings', topic)
  }
  if (message.properties !== undefined) {
    for (const name of Object.keys(message.properties)) text(message.properties, name, topic)
  }
  if (message.flag !== undefined && !Number.isInteger(message.flag)) throw invalidMessage('flag must be a whole number', topic)
  whenChecked(message)
  if (message.priority !== undefined) throw invalidMessage('priority is not supported', topic)
  return body
}

function text(of, name, topic = of.topic) {
  const value = of[name]
  if (value === undefined || typeof value === 'string') {
    // Half a surrogate pair has no UTF-8, and would come back as something else.
    if (value !== undefined && !value.isWellFormed()) throw invalidMessage(`${name} has half a surrogate pair`, topic)
    return
  }
  throw invalidMessage(`${name} must be a string`, topic)
}

function whenChecked({ topic, deliverAfterMs, deliverAt, delayLevel }) {
  if (deliverAfterMs === undefined && deliverAt === undefined && delayLevel === undefined) return
  const given = [deliverAfterMs, deliverAt, delayLevel].filter((when) => when !== undefined)
  if (given.length > 1) throw invalidMessage('only one of deliverAfterMs, deliverAt and delayLevel can be given', topic)
  if (deliverAfterMs !== undefined && !(deliverAfterMs >= 0 && deliverAfterMs <= Number.MAX_SAFE_INTEGER)) {
    throw invalidMessage('deliverAfterMs must be a number of milliseconds, 0 or more', topic)
  }
  if (deliverAt !== undefined && !(deliverAt instanceof Date && deliverAt.getTime() >= 0)) {
    throw invalidMessage('deliverAt must be a valid Date', topic)
  }
  if (delayLevel !== undefined && !(Number.isInteger(delayLevel) && delayLevel > 0 && delayLevel < 256)) {
    throw invalidMessage('delayLevel must be a whole number from 1 on', topic)
  }
}

/** Messages as one buffer. */
function slabOf(messages) {
  const slab = new Slab()
  for (const message of messages) slab.add(message, checked(message))
  return slab.take()
}

/** Bytes of a body, as credit counts them. */
const sizeOf = (body) => (typeof body === 'string' ? Buffer.byteLength(body) : body.byteLength)

module.exports = { Slab, checked, sizeOf, slabOf }
