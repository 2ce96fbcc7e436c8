'use strict'
// Messages on loan. What a broken-off receive brought all the same goes to the next one.

const { receive } = require('./channels.js')
const check = require('./check.js')
const { Closable } = require('./dispose.js')
const { attempt, closedError, configError } = require('./errors.js')
const { isOne, leaseOf, messagesOf } = require('./message.js')
const { environment, limited, native, valueOf } = require('./port.js')
const { Taker } = require('./taker.js')

const OPTIONS = { group: ['string'], subscribe: ['any'], invisibleMs: ['millis', 60_000] }
const RECEIVE = {
  max: ['positive', 32],
  waitMs: ['millis', 15_000],
  invisibleMs: ['millis', undefined],
  signal: ['signal', undefined],
  timeoutMs: ['millis', undefined]
}

class SimpleConsumer extends Closable {
  #environment = environment()
  #invisible
  #native
  /** Came after nobody waited any more: messages, and until when they are on loan. */
  #stash = []
  /** The newest leases of messages whose time was changed. */
  #extended = new WeakMap()
  #taker = new Taker(this.#environment, (frame) => messagesOf(frame, true), (messages) => this.#keep(messages))

  constructor(client, given) {
    super()
    const { group, subscribe, invisibleMs } = check.options('simpleConsumer', given, OPTIONS)
    const wanted = check.subscriptions(subscribe)
    this.#invisible = invisibleMs
    this.#native = attempt(() => new native.SimpleConsumer(client, group, wanted))
  }

  async receive(given = {}) {
    this.#open()
    const options = check.options('receive', given, RECEIVE)
    const { max, waitMs, invisibleMs = this.#invisible } = options
    options.signal?.throwIfAborted()
    const begun = performance.now()
    const kept = this.#stashed(max)
    if (kept.length > 0) return receive(kept, begun)
    const take = (call) => this.#native.receive(call, max, waitMs, invisibleMs)
    return receive(await this.#taker.take(take, limited(options)), begun)
  }

  #keep(messages) {
    // They were lent a moment ago. Who gets them from here should have time to work.
    if (!this._isClosing) this.#stash.push({ messages, until: performance.now() + this.#invisible / 2 })
  }

  async ack(messages) {
    this.#open()
    const all = isOne(messages) ? [messages] : [...messages]
    const leases = all.map((message) => this.#lease(message))
    return valueOf(await this.#environment.call((call) => this.#native.ack(call, leases)))
  }

  async extend(message, invisibleMs) {
    this.#open()
    check.one('invisibleMs', invisibleMs, 'millis')
    const lease = this.#lease(message)
    const next = await this.#environment.call((call) => this.#native.extend(call, lease, invisibleMs))
    this.#extended.set(message, valueOf(next))
  }

  #lease(message) {
    const lease = this.#extended.get(message) ?? (isOne(message) ? leaseOf(message) : undefined)
    if (lease === undefined) throw configError('a simple consumer acks what a simple consumer received')
    return lease
  }

  #stashed(max) {
    const now = performance.now()
    const taken = []
    while (this.#stash.length > 0 && taken.length < max) {
      const { messages, until } = this.#stash[0]
      if (until > now) taken.push(...messages.splice(0, max - taken.length))
      if (until <= now || messages.length === 0) this.#stash.shift()
    }
    return taken
  }

  #open() {
    if (this._isClosing) throw closedError('consumer')
  }

  async _close() {
    // Nothing is told: what is on loan comes again when its time is over.
    this.#stash = []
  }
}

module.exports = { SimpleConsumer }
