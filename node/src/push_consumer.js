'use strict'
// Messages that come by themselves: to a handler, or to who iterates. Rust rings, this takes many at once; what
// became of them goes back many at once.

const { handle, handledAs, warn } = require('./channels.js')
const check = require('./check.js')
const { Closable } = require('./dispose.js')
const { PosthouseError, attempt, closedError, configError } = require('./errors.js')
const { Fifo } = require('./fifo.js')
const { idOf, messagesOf, putId } = require('./message.js')
const { environment, native } = require('./port.js')
const { Reject, Retry } = require('./verdicts.js')

const OPTIONS = {
  group: ['string'],
  subscribe: ['any'],
  handler: ['function', undefined],
  signal: ['signal', undefined],
  orderly: ['boolean', false],
  broadcast: ['boolean', false],
  offsetsFile: ['string', undefined],
  concurrency: ['positive', 20],
  startFrom: ['any', 'last'],
  maxAttempts: ['positive', undefined],
  cacheMessages: ['positive', 1000],
  cacheBytes: ['bytes', 64 * 1024 * 1024],
  handlerTimeoutMs: ['millis', 900_000]
}

const ACK = 0
const RETRY = 1
const REJECT = 2
/** Again after n milliseconds is settled as n and this. */
const RETRY_AFTER = 3
const LONGEST_MS = 0xffff_ffff - RETRY_AFTER

/** Settled together at most: Rust gets more while the rest of what is here is looked at. */
const BURST = 128
/** Of each two halves of its id, and how it is settled. */
const NUMBERS = 3

class PushConsumer extends Closable {
  #environment = environment()
  #options
  #bell
  #native
  #ready = new Fifo()
  #waiting = new Fifo()
  #settled = new Uint32Array(BURST * NUMBERS)
  #settledEnd = 0
  #settling = false
  #running = new Map()
  #idle = []
  #referred = true
  #opened = false
  #closedResolve
  #sweeper
  closed = new Promise((resolve) => (this.#closedResolve = resolve))

  constructor(client, given) {
    super()
    const options = (this.#options = check.options('pushConsumer', given, OPTIONS))
    check.offsetsFile(options.broadcast, options.offsetsFile)
    options.wanted = check.subscriptions(options.subscribe)
    options.from = check.startFrom(options.startFrom)
    this.#bell = this.#environment.bell()
    this.#native = attempt(() => new native.PushConsumer(this.#environment.port, client, this.#bell))
  }

  async _start() {
    const { group, wanted, handler, orderly, broadcast, offsetsFile, from, maxAttempts, cacheMessages, cacheBytes, signal } = this.#options
    signal?.throwIfAborted()
    // Who iterates takes from what is here; a handler says how many at a time.
    const concurrency = handler === undefined ? Math.max(cacheMessages, this.#options.concurrency) : this.#options.concurrency
    const limits = { concurrency, maxAttempts, cacheMessages, cacheBytes }
    const consuming = { group, wanted, orderly, broadcast, offsetsFile, startFrom: from, ...limits }
    this.#environment.hear(this.#bell, () => this.#arrived())
    await this.#environment.call((call) => this.#native.open(call, consuming))
    this.#opened = true
    if (this.#referred) this.#environment.hold()
    const { handlerTimeoutMs } = this.#options
    if (handler !== undefined && handlerTimeoutMs > 0) {
      this.#sweeper = setInterval(() => this.#sweep(), Math.min(1000, handlerTimeoutMs))
      this.#sweeper.unref()
    }
    signal?.addEventListener('abort', () => this.close().catch(() => {}), { once: true })
    this.#arrived()
  }

  pause() {
    attempt(() => this.#native.setPaused(true))
  }

  resume() {
    attempt(() => this.#native.setPaused(false))
  }

  assignment() {
    return attempt(() => this.#native.queues())
  }

  ref() {
    if (!this.#referred) {
      this.#referred = true
      if (this.#opened) this.#environment.hold()
    }
    return this
  }

  unref() {
    if (this.#referred) {
      this.#referred = false
      if (this.#opened) this.#environment.release()
    }
    return this
  }

  #arrived() {
    if (this._isClosing) return
    const { handler } = this.#options
    if (handler === undefined) {
      while (this.#waiting.length > 0 && (this.#ready.length > 0 || this.#fetch())) this.#waiting.shift()()
      return
    }
    for (let frame = this.#native.take(); frame; frame = this.#native.take()) {
      for (const message of messagesOf(frame)) this.#handle(handler, message)
    }
  }

  /** Takes a buffer more of what Rust has; whether there was one. */
  #fetch() {
    const frame = this.#native.take()
    if (frame) this.#ready.take(messagesOf(frame))
    return Boolean(frame)
  }

  // --- handlers

  #handle(handler, message) {
    const running = new Running(message)
    this.#running.set(running, undefined)
    let result
    try {
      const call = () => handler(message, running)
      const around = running.event?.around
      result = around === undefined ? call() : around(call)
    } catch (error) {
      this.#failed(running, error)
      return
    }
    if (typeof result?.then === 'function') {
      result.then(
        (value) => this.#handled(running, value),
        (error) => this.#failed(running, error)
      )
    } else {
      this.#handled(running, result)
    }
  }

  #handled(running, value) {
    // It was too late.
    if (!this.#running.has(running)) return
    if (value === undefined || value === true || value === 'ack') this.#done(running, ACK)
    else if (value === false || value === 'retry') this.#done(running, RETRY)
    else if (typeof value === 'object' && value !== null && 'reply' in value) this.#reply(running, value.reply)
    else this.#failed(running, configError(`a handler returns nothing, true, false, 'ack', 'retry' or { reply }, not ${typeof value}`))
  }

  #reply(running, body) {
    const text = typeof body === 'string' ? Buffer.from(body) : body
    if (!(text instanceof Uint8Array)) {
      this.#failed(running, configError('a reply must be a string or a Uint8Array'))
      return
    }
    const [low, high] = idOf(running.message)
    this.#environment
      .call((call) => this.#native.reply(call, low, high, text))
      // Nobody waits for it any more: the message is done all the same.
      .catch((error) => warn(`a reply to ${running.message.messageId} did not arrive`, error))
      .then(() => this.#done(running, ACK))
  }

  #failed(running, error) {
    if (!this.#running.has(running)) return
    if (error instanceof Reject) this.#done(running, REJECT, error)
    else if (error instanceof Retry) this.#done(running, retryIn(error.afterMs), error)
    else {
      warn(`the handler of ${this.#options.group} failed, the message comes again`, error)
      this.#done(running, RETRY, error)
    }
  }

  #done(running, how, error) {
    if (!this.#running.delete(running)) return
    const result = how === ACK ? 'ack' : how === REJECT ? 'reject' : 'retry'
    handledAs(running.event, result, error, performance.now() - running.begun)
    this.#settle(running.message, how)
    if (this.#running.size === 0) for (const idle of this.#idle.splice(0)) idle()
  }

  #sweep() {
    const overdue = performance.now() - this.#options.handlerTimeoutMs
    for (const running of this.#running.keys()) {
      if (running.begun > overdue) return
      if (running.isLate) continue
      running.isLate = true
      const text = `a handler took longer than ${this.#options.handlerTimeoutMs} ms`
      const error = new PosthouseError('ERR_POSTHOUSE_TIMEOUT', text, { retryable: true })
      running.abort(error)
      // In order nothing behind it may be handled while it goes on: what it says still counts.
      if (this.#options.orderly) warn(`${text}; its queue waits for it`, error)
      else this.#failed(running, error)
    }
  }

  // --- iteration

  [Symbol.asyncIterator]() {
    return this.#iterator(1, (ready) => ready.shift(), (message, how) => this.#settle(message, how))
  }

  batches(max = 256) {
    check.one('max', max, 'positive')
    const take = (ready) => {
      const batch = []
      while (batch.length < max && ready.length > 0) batch.push(ready.shift())
      return batch
    }
    const settle = (batch, how) => {
      for (const message of batch) this.#settle(message, how)
    }
    return { [Symbol.asyncIterator]: () => this.#iterator(max, take, settle) }
  }

  /** `take` takes as many as `max` of those that are here. */
  #iterator(max, take, settle) {
    if (this.#options.handler !== undefined) throw configError('this consumer has a handler; without one it can be iterated')
    let current
    const settleCurrent = (how) => {
      if (current !== undefined) settle(current, how)
      current = undefined
    }
    const end = (value) => Promise.resolve({ done: true, value })
    return {
      next: () => {
        settleCurrent(ACK)
        if (this._isClosing) return end()
        if (this.#ready.length > 0) return Promise.resolve({ done: false, value: (current = take(this.#ready)) })
        // Nothing is here: what was done must not wait for what comes.
        this.#tell()
        return new Promise((resolve) => {
          const arrived = () => {
            if (this._isClosing) {
              resolve({ done: true, value: undefined })
              return
            }
            while (this.#ready.length < max && this.#fetch());
            resolve({ done: false, value: (current = take(this.#ready)) })
          }
          this.#waiting.push(arrived)
          // Rust may have more already. However much it has, others on this loop have their turn.
          if (this.#waiting.length === 1) setImmediate(() => this.#arrived())
        })
      },
      return: (value) => {
        settleCurrent(ACK)
        this.#tell()
        return end(value)
      },
      throw: (error) => {
        settleCurrent(error instanceof Reject ? REJECT : error instanceof Retry ? retryIn(error.afterMs) : RETRY)
        this.#tell()
        return Promise.reject(error)
      },
      [Symbol.asyncIterator]() {
        return this
      }
    }
  }

  // --- settling

  #settle(message, how) {
    const at = this.#settledEnd
    putId(message, this.#settled, at)
    this.#settled[at + 2] = how
    this.#settledEnd = at + NUMBERS
    if (this.#settledEnd === this.#settled.length) this.#tell()
    else if (!this.#settling) {
      this.#settling = true
      setImmediate(() => this.#tell())
    }
  }

  #tell() {
    this.#settling = false
    if (this.#settledEnd === 0) return
    this.#native.settle(this.#settled.subarray(0, this.#settledEnd))
    this.#settledEnd = 0
  }

  async _close(limit) {
    const begun = performance.now()
    for (const waiting of this.#waiting.drain()) waiting()
    for (const running of this.#running.keys()) running.abort(closedError('consumer'))
    if (this.#running.size > 0) {
      const timeout = new Promise((resolve) => setTimeout(resolve, limit).unref())
      await Promise.race([new Promise((resolve) => this.#idle.push(resolve)), timeout])
    }
    this.#tell()
    clearInterval(this.#sweeper)
    const left = Math.max(0, limit - (performance.now() - begun))
    await this.#environment.call((call) => this.#native.close(call, left))
    this.#environment.hear(this.#bell, undefined)
    this.unref()
    this.#closedResolve()
  }
}

/** A message that a handler has; the handler's context. */
class Running {
  #controller
  #reason
  isLate = false

  constructor(message) {
    this.message = message
    this.event = handle(message)
    this.begun = performance.now()
  }

  get signal() {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#reason !== undefined) this.#controller.abort(this.#reason)
    }
    return this.#controller.signal
  }

  abort(reason) {
    this.#reason ??= reason
    this.#controller?.abort(reason)
  }
}

/** How a message is settled that comes again after this long. */
const retryIn = (afterMs) => (afterMs === undefined ? RETRY : RETRY_AFTER + Math.min(Math.ceil(afterMs), LONGEST_MS))

module.exports = { PushConsumer }
