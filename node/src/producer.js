'use strict'
// Sends. Messages of one tick cross together; each has a promise here, by number, and results come back in bursts.
// What may be on its way is counted here, before anything crosses.

const { begin, watched } = require('./channels.js')
const check = require('./check.js')
const { Closable } = require('./dispose.js')
const { PosthouseError, attempt, closedError } = require('./errors.js')
const { Fifo } = require('./fifo.js')
const { eachResult, messagesOf, plainResult } = require('./message.js')
const { environment, limited, native, valueOf } = require('./port.js')
const { Slab, checked, sizeOf, slabOf } = require('./slab.js')

const OPTIONS = {
  group: ['string', 'DEFAULT_PRODUCER'],
  retries: ['count', 2],
  sendTimeoutMs: ['millis', 3000],
  compressOver: ['count', 4096],
  maxInFlight: ['positive', 1024],
  maxInFlightBytes: ['bytes', 64 * 1024 * 1024],
  lingerMs: ['millis', 0],
  strictStore: ['boolean', false]
}

/** As many as leave in one write: they cross at once, so that Rust is busy while the tick goes on. */
const CROSSING = 128
const CROSSING_BYTES = 256 * 1024

/** A message that is on its way, or waits for credit. */
class Sending {
  constructor(message, body, resolve, reject) {
    this.event = begin(message)
    this.message = this.event === undefined ? message : this.event.changed
    this.body = body
    this.bytes = sizeOf(body)
    this.resolve = resolve
    this.reject = reject
    this.queue = undefined
    this.limit = undefined
    this.forget = undefined
  }

  ended(result, error) {
    this.forget?.()
    this.event?.ended(result, error)
    if (error === undefined) this.resolve(result)
    else this.reject(error)
  }
}

class Producer extends Closable {
  #environment = environment()
  #options
  #bell
  #native
  #slab = new Slab()
  /** Numbers that wait in the slab begin here, and end before #next. */
  #first = 0
  #next = 0
  /** The rest of a tick crosses at its end. */
  #ripening = false
  /** On their way, by number. */
  #sending = new Map()
  /** Wait for credit, first come first served. */
  #waiting = new Fifo()
  /** Who waits until somebody else's credit is back. */
  #rooms = []
  #idle = []
  #bytes = 0
  #busy = false
  #oneways = 0

  constructor(client, given = {}, make) {
    super()
    const options = (this.#options = check.options('producer', given, OPTIONS))
    this.#bell = this.#environment.bell()
    const { group, retries, sendTimeoutMs, compressOver, maxInFlight, maxInFlightBytes } = options
    const sending = { group, retries, timeoutMs: sendTimeoutMs, compressOver, maxInFlight, maxInFlightBytes }
    make ??= (...all) => new native.Producer(...all)
    this.#native = attempt(() => make(this.#environment.port, client, this.#bell, sending))
  }

  get _native() {
    return this.#native
  }

  send(message, options) {
    return new Promise((resolve, reject) => {
      this.#open()
      const sending = new Sending(message, checked(message), resolve, reject)
      if (options !== undefined) this.#set(sending, options)
      this.#begin(sending)
    })
  }

  async sendMany(messages, options) {
    this.#open()
    const signal = limited(options)
    const results = []
    let left = 1
    return new Promise((resolve, reject) => {
      const ended = () => --left === 0 && resolve(results)
      const stop = () => reject(signal.reason)
      signal?.addEventListener('abort', stop, { once: true })
      const all = async () => {
        for (const message of messages) {
          signal?.throwIfAborted()
          const index = results.length
          results.push(undefined)
          left++
          const done = (result) => {
            results[index] = result
            ended()
          }
          let sending
          try {
            sending = new Sending(message, checked(message), done, done)
          } catch (error) {
            done(error)
            continue
          }
          while (this.#waiting.length > 0 || !this.#hasCredit(sending)) await new Promise((room) => this.#rooms.push(room))
          this.#begin(sending)
        }
        ended()
      }
      all().catch(reject)
    })
  }

  async sendBatch(messages, options) {
    this.#open()
    const send = async (all) => {
      const slab = slabOf(all)
      const sent = await this.#environment.call((call) => this.#native.batch(call, slab), limited(options))
      return valueOf(sent).map((result) => plainResult(result))
    }
    return watched([...messages], send, (results) => results)
  }

  sendOneway(message) {
    this.#open()
    if (this.#oneways >= this.#options.maxInFlight) {
      throw new PosthouseError('ERR_POSTHOUSE_QUEUE_FULL', `${this.#oneways} one-way messages are on their way`, { retryable: true })
    }
    checked(message)
    const event = begin(message)
    const slab = slabOf([event?.changed ?? message])
    this.#oneways++
    const ended = (error) => {
      this.#oneways--
      event?.ended(undefined, error)
      this.#maybeIdle()
    }
    // Nobody asked what becomes of it.
    this.#environment.call((call) => this.#native.oneway(call, slab)).then(() => ended(), ended)
  }

  async request(message, options = {}) {
    this.#open()
    const limit = options.timeoutMs === undefined ? this.#options.sendTimeoutMs : check.one('timeoutMs', options.timeoutMs, 'millis')
    const send = async (all) => {
      const slab = slabOf(all)
      const { frame } = await this.#environment.call((call) => this.#native.request(call, slab, limit), options.signal)
      return messagesOf(frame)[0]
    }
    return watched([message], send, () => [])
  }

  async recall(topic, recallHandle, options) {
    this.#open()
    check.one('topic', topic, 'string')
    check.one('recallHandle', recallHandle, 'string')
    const recalled = valueOf(await this.#environment.call((call) => this.#native.recall(call, recallHandle), limited(options)))
    return Object.freeze({ messageId: recalled.messageId, recalled: recalled.recalled ?? undefined })
  }

  async flush(options) {
    this.#flush()
    if (this.#isIdle()) return
    const signal = limited(options)
    await new Promise((resolve, reject) => {
      signal?.throwIfAborted()
      signal?.addEventListener('abort', () => reject(signal.reason), { once: true })
      this.#idle.push(resolve)
    })
  }

  writable() {
    return new WritableStream(
      {
        // Waits only while there is no credit; the first failure of any message errors the stream.
        write: async (message, controller) => {
          this.send(message).catch((error) => controller.error(error))
          while (this.#waiting.length > 0) await new Promise((room) => this.#rooms.push(room))
        },
        close: () => this.flush()
      },
      new CountQueuingStrategy({ highWaterMark: this.#options.maxInFlight })
    )
  }

  async _close(limit) {
    this.#flush()
    const timeout = new Promise((resolve) => setTimeout(resolve, limit).unref())
    const begun = performance.now()
    if (!this.#isIdle()) await Promise.race([new Promise((resolve) => this.#idle.push(resolve)), timeout])
    const left = Math.max(0, limit - (performance.now() - begun))
    await this.#environment.call((call) => this.#native.close(call, left))
    this.#results()
    // What has no answer by now may be stored or not.
    const stuck = [...this.#sending.values(), ...this.#waiting.drain()]
    this.#sending.clear()
    this.#more()
    for (const sending of stuck) sending.ended(undefined, closedError('producer'))
    for (const room of this.#rooms.splice(0)) room()
  }

  #open() {
    if (this._isClosing) throw closedError('producer')
  }

  #set(sending, { queue, timeoutMs, signal }) {
    if (queue !== undefined) sending.queue = check.queue(queue)
    if (timeoutMs !== undefined) sending.limit = check.one('timeoutMs', timeoutMs, 'millis')
    if (signal === undefined) return
    check.one('signal', signal, 'signal').throwIfAborted()
    const abort = () => {
      this.#waiting.remove(sending)
      sending.reject(signal.reason)
    }
    signal.addEventListener('abort', abort, { once: true })
    sending.forget = () => signal.removeEventListener('abort', abort)
  }

  #hasCredit(sending) {
    const { maxInFlight, maxInFlightBytes } = this.#options
    if (this.#sending.size >= maxInFlight) return false
    // One that is larger than all there is goes alone.
    return this.#bytes + sending.bytes <= maxInFlightBytes || this.#sending.size === 0
  }

  #begin(sending) {
    if (this.#waiting.length > 0 || !this.#hasCredit(sending)) this.#waiting.push(sending)
    else this.#cross(sending)
  }

  #cross(sending) {
    if (sending.queue !== undefined || sending.limit !== undefined) {
      // Goes alone, behind those before it.
      this.#flush()
      this.#slab.add(sending.message, sending.body)
      this.#track(sending)
      this.#submit(sending.queue, sending.limit)
      return
    }
    this.#slab.add(sending.message, sending.body)
    this.#track(sending)
    if (this.#slab.count >= CROSSING || this.#slab.size >= CROSSING_BYTES) {
      this.#flush()
      return
    }
    if (this.#ripening) return
    this.#ripening = true
    if (this.#options.lingerMs > 0) setTimeout(() => this.#ripe(), this.#options.lingerMs)
    else queueMicrotask(() => this.#ripe())
  }

  #ripe() {
    this.#ripening = false
    this.#flush()
  }

  #track(sending) {
    this.#sending.set(this.#next++, sending)
    this.#bytes += sending.bytes
    if (!this.#busy) this.#setBusy(true)
  }

  /** While nothing is on its way, the process may end, and the garbage collector may have this. */
  #setBusy(busy) {
    this.#busy = busy
    if (busy) this.#environment.hold()
    else this.#environment.release()
    this.#environment.hear(this.#bell, busy ? () => this.#results() : undefined)
  }

  #flush() {
    if (this.#slab.count > 0) this.#submit(null, null)
  }

  #submit(queue, limit) {
    const first = this.#first
    const count = this.#slab.count
    this.#first = this.#next
    let taken
    try {
      taken = attempt(() => this.#native.submit(this.#slab.take(), first, queue, limit))
    } catch (error) {
      for (let id = first; id < first + count; id++) this.#ended(id, undefined, error)
      this.#more()
      return
    }
    // Both sides count alike, so this does not happen; if it does, nothing is lost.
    for (let id = first + taken; id < first + count; id++) {
      const sending = this.#sending.get(id)
      this.#sending.delete(id)
      this.#bytes -= sending.bytes
      this.#waiting.push(sending)
    }
  }

  #results() {
    eachResult(this.#native.results(), (id, result, error) => this.#ended(id, result, error))
    this.#more()
  }

  #ended(id, result, error) {
    const sending = this.#sending.get(id)
    if (sending === undefined) return
    this.#sending.delete(id)
    this.#bytes -= sending.bytes
    if (this.#options.strictStore && error === undefined && result.status !== 'ok') {
      const text = `the message is stored, but ${result.status}`
      error = new PosthouseError('ERR_POSTHOUSE_TIMEOUT', text, { retryable: true, topic: sending.message.topic })
    }
    sending.ended(result, error)
  }

  /** After credit came back. */
  #more() {
    while (this.#waiting.length > 0 && this.#hasCredit(this.#waiting.peek())) this.#cross(this.#waiting.shift())
    if (this.#waiting.length === 0) for (const room of this.#rooms.splice(0)) room()
    if (this.#busy && this.#sending.size === 0) this.#setBusy(false)
    this.#maybeIdle()
  }

  #isIdle() {
    return this.#sending.size === 0 && this.#waiting.length === 0 && this.#oneways === 0
  }

  #maybeIdle() {
    if (this.#isIdle()) for (const idle of this.#idle.splice(0)) idle()
  }
}

module.exports = { Producer }
