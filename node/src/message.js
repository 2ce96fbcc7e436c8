'use strict'
// What comes back: views of the buffers that many messages, or results, crossed in. A field is read when it is
// asked for.

const { inspect } = require('node:util')
const { PosthouseError, failed } = require('./errors.js')

// bindings/ffi/src/slab.rs: `Field` and META.
const META = 24
const F = {
  topic: 0, queueTopic: 1, broker: 2, queue: 3, queueOffset: 4, logOffset: 6, bornAt: 8, storedAt: 10, flag: 12,
  reconsumeTimes: 14, storeSize: 15, bornHost: 16, storeHost: 17, bodyStart: 18, bodyLength: 19, propertiesStart: 20,
  propertiesLength: 21, id: 22
}

const NAME_END = '\u0001'
const VALUE_END = '\u0002'

/** An offset or a time of 64 bits; RocketMQ's never reach what a number cannot hold. */
function wide(meta, at) {
  const value = meta[at] + meta[at + 1] * 2 ** 32
  if (value <= Number.MAX_SAFE_INTEGER) return value
  throw new PosthouseError('ERR_POSTHOUSE_OFFSET', `${meta[at + 1]} * 2^32 + ${meta[at]} is no offset that a number can hold`)
}

class ReceivedMessage {
  #frame
  #at
  #properties

  constructor(frame, index) {
    this.#frame = frame
    this.#at = index * META
  }

  #number(field) {
    return this.#frame.meta[this.#at + field]
  }

  #string(field) {
    return this.#frame.strings[this.#number(field)]
  }

  get topic() {
    return this.#string(F.topic)
  }

  get body() {
    const start = this.#number(F.bodyStart)
    return this.#frame.slab.subarray(start, start + this.#number(F.bodyLength))
  }

  get properties() {
    if (this.#properties === undefined) {
      const start = this.#number(F.propertiesStart)
      const text = this.#frame.slab.utf8Slice(start, start + this.#number(F.propertiesLength))
      const properties = {}
      for (const part of text.split(VALUE_END)) {
        const end = part.indexOf(NAME_END)
        if (end > 0) properties[part.slice(0, end)] = part.slice(end + 1)
      }
      this.#properties = Object.freeze(properties)
    }
    return this.#properties
  }

  get tag() {
    return this.properties.TAGS
  }

  get keys() {
    const keys = this.properties.KEYS
    return keys === undefined ? [] : keys.split(' ').filter((key) => key !== '')
  }

  get shardingKey() {
    return this.properties.__SHARDINGKEY
  }

  get messageId() {
    return this.properties.UNIQ_KEY ?? this.offsetMessageId
  }

  get transactionId() {
    return this.properties.__transactionId__ ?? (this.properties.TRAN_MSG === 'true' ? this.messageId : undefined)
  }

  get offsetMessageId() {
    const [ip, port] = addressOf(this.#string(F.storeHost))
    const offset = BigInt(wide(this.#frame.meta, this.#at + F.logOffset))
    return ip + port.toString(16).padStart(8, '0').toUpperCase() + offset.toString(16).padStart(16, '0').toUpperCase()
  }

  get queue() {
    return { topic: this.#string(F.queueTopic), broker: this.#string(F.broker), queueId: this.#number(F.queue) }
  }

  get queueOffset() {
    return wide(this.#frame.meta, this.#at + F.queueOffset)
  }

  get storeSize() {
    return this.#number(F.storeSize)
  }

  get bornAt() {
    return new Date(wide(this.#frame.meta, this.#at + F.bornAt))
  }

  get storedAt() {
    return new Date(wide(this.#frame.meta, this.#at + F.storedAt))
  }

  get bornHost() {
    return this.#string(F.bornHost)
  }

  get attempt() {
    return this.#number(F.reconsumeTimes) + 1
  }

  text() {
    const start = this.#number(F.bodyStart)
    return this.#frame.slab.utf8Slice(start, start + this.#number(F.bodyLength))
  }

  json() {
    return JSON.parse(this.text())
  }

  copy() {
    const { slab, meta, strings } = this.#frame
    const own = meta.slice(this.#at, this.#at + META)
    const part = (start, length) => slab.subarray(meta[this.#at + start], meta[this.#at + start] + meta[this.#at + length])
    const body = part(F.bodyStart, F.bodyLength)
    const properties = part(F.propertiesStart, F.propertiesLength)
    const lease = this.#frame.leased ? Buffer.from(leaseOf(this) ?? '', 'utf8') : Buffer.alloc(0)
    const kept = Buffer.concat([body, properties, lease])
    own[F.bodyStart] = 0
    own[F.propertiesStart] = body.length
    if (this.#frame.leased) {
      own[F.id] = body.length + properties.length
      own[F.id + 1] = lease.length
    }
    return new ReceivedMessage({ slab: kept, meta: own, strings, leased: this.#frame.leased }, 0)
  }

  /** The two halves of the number by which it is settled. */
  static idOf(message) {
    const at = message.#at + F.id
    return [message.#frame.meta[at], message.#frame.meta[at + 1]]
  }

  /** Puts them there. */
  static putId(message, numbers, place) {
    const at = message.#at + F.id
    numbers[place] = message.#frame.meta[at]
    numbers[place + 1] = message.#frame.meta[at + 1]
  }

  /** The text of its lease, if it is on loan. */
  static leaseOf(message) {
    if (!message.#frame.leased) return undefined
    const [start, length] = ReceivedMessage.idOf(message)
    return message.#frame.slab.utf8Slice(start, start + length)
  }

  static isOne(value) {
    return typeof value === 'object' && value !== null && #frame in value
  }

  toJSON() {
    const { topic, tag, keys, properties, messageId, queue, queueOffset, bornAt, storedAt, attempt } = this
    return { topic, tag, keys, properties, messageId, queue, queueOffset, bornAt, storedAt, attempt, body: this.body.toString('base64') }
  }

  [inspect.custom](_depth, options, inspectValue) {
    const { body: _, ...shown } = this.toJSON()
    return `ReceivedMessage ${inspectValue({ ...shown, body: this.body }, options)}`
  }
}

const { idOf, isOne, leaseOf, putId } = ReceivedMessage

/** A host's address in hex, and its port: of `10.0.0.1:10911` or `[::1]:10911`. */
function addressOf(host) {
  const colon = host.lastIndexOf(':')
  const ip = host.slice(0, colon)
  const port = Number(host.slice(colon + 1))
  if (!ip.startsWith('[')) return [Buffer.from(ip.split('.').map(Number)).toString('hex').toUpperCase(), port]
  const [front, back = ''] = ip.slice(1, -1).split('::')
  const groups = (text) => (text === '' ? [] : text.split(':'))
  const zeros = Array(8 - groups(front).length - groups(back).length).fill('0')
  const all = [...groups(front), ...zeros, ...groups(back)]
  return [all.map((group) => group.padStart(4, '0')).join('').toUpperCase(), port]
}

/** The messages of a frame. */
function messagesOf(frame, leased = false) {
  frame.leased = leased
  const messages = new Array(frame.meta.length / META)
  for (let index = 0; index < messages.length; index++) messages[index] = new ReceivedMessage(frame, index)
  return messages
}

const STATUS = ['ok', 'flush_disk_timeout', 'flush_replica_timeout', 'replica_not_available']

// bindings/posthouse-node/src/frames.rs: the numbers of a result.
const RESULT = 14

class SendResult {
  #results
  #at

  constructor(results, index) {
    this.#results = results
    this.#at = index * RESULT
  }

  #text(number) {
    const { meta, slab } = this.#results
    let start = meta[this.#at + 8]
    for (let before = 0; before < number; before++) start += meta[this.#at + 9 + before]
    return slab.latin1Slice(start, start + meta[this.#at + 9 + number])
  }

  get status() {
    return STATUS[this.#results.meta[this.#at + 2]]
  }

  get messageId() {
    return this.#text(0)
  }

  get offsetMessageId() {
    return this.#text(1)
  }

  get queue() {
    const { meta, strings } = this.#results
    return { topic: strings[meta[this.#at + 3]], broker: strings[meta[this.#at + 4]], queueId: meta[this.#at + 5] }
  }

  get queueOffset() {
    return wide(this.#results.meta, this.#at + 6)
  }

  get transactionId() {
    return undefined
  }

  get recallHandle() {
    return this.#text(2) || undefined
  }

  get replayed() {
    return this.#results.meta[this.#at + 12] === 1
  }

  toJSON() {
    const { status, messageId, offsetMessageId, queue, queueOffset, recallHandle, replayed } = this
    return { status, messageId, offsetMessageId, queue, queueOffset, recallHandle, replayed }
  }

  [inspect.custom](_depth, options, inspectValue) {
    return `SendResult ${inspectValue(this.toJSON(), options)}`
  }
}

/** Calls `each(id, result, error)` for every result. */
function eachResult(results, each) {
  const { meta, failures } = results
  for (let at = 0, index = 0; at < meta.length; at += RESULT, index++) {
    const id = wide(meta, at)
    const failure = meta[at + RESULT - 1]
    if (failure === 0) each(id, new SendResult(results, index), undefined)
    else each(id, undefined, failed(failures[failure - 1]))
  }
}

/** A result that came as JSON. */
function plainResult(sent, transactionId) {
  return Object.freeze({ ...sent, status: STATUS[sent.status], recallHandle: sent.recallHandle ?? undefined, transactionId })
}

module.exports = { ReceivedMessage, eachResult, idOf, isOne, leaseOf, messagesOf, plainResult, putId }
