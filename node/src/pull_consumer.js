'use strict'
// Messages for who asks. What a broken-off poll brought all the same goes to the next one.

const { receive } = require('./channels.js')
const check = require('./check.js')
const { Closable } = require('./dispose.js')
const { PosthouseError, attempt, closedError, configError } = require('./errors.js')
const { messagesOf } = require('./message.js')
const { environment, native, valueOf } = require('./port.js')
const { Taker } = require('./taker.js')

const OPTIONS = {
  group: ['string'],
  autoCommitMs: ['any', 5000],
  broadcast: ['boolean', false],
  offsetsFile: ['string', undefined],
  startFrom: ['any', 'last']
}
const POLL = { max: ['positive', 256], timeoutMs: ['millis', 5000], signal: ['signal', undefined] }

/** So many messages are handed out without a turn for others. */
const TURN = 1024

const keyOf = ({ topic, broker, queueId }) => `${queueId} ${broker} ${topic}`

function byPlace(one, other) {
  const [a, b] = [keyOf(one.queue), keyOf(other.queue)]
  if (a !== b) return a < b ? -1 : 1
  return one.queueOffset - other.queueOffset
}

class PullConsumer extends Closable {
  #environment = environment()
  #native
  /** Taken out of the native part and not handed out. */
  #ready = []
  #taker = new Taker(this.#environment, (frame) => messagesOf(frame), (messages) => this.#keep(messages))

  constructor(client, given) {
    super()
    const { group, autoCommitMs, broadcast, offsetsFile, startFrom } = check.options('pullConsumer', given, OPTIONS)
    check.offsetsFile(broadcast, offsetsFile)
    if (autoCommitMs !== false) check.one('autoCommitMs', autoCommitMs, 'millis')
    const pulling = {
      group,
      autoCommitMs: autoCommitMs === false ? undefined : autoCommitMs,
      broadcast,
      offsetsFile,
      startFrom: check.startFrom(startFrom),
      batch: 256
    }
    this.#native = attempt(() => new native.PullConsumer(client, pulling))
  }

  async #call(start) {
    if (this._isClosing) throw closedError('consumer')
    return valueOf(await this.#environment.call(start))
  }

  async subscribe(topic, filter) {
    const wanted = check.wanted(topic, filter)
    await this.#call((call) => this.#native.subscribe(call, wanted))
  }

  async assign(queues) {
    const all = [...queues].map(check.queue)
    await this.#call((call) => this.#native.assign(call, all))
  }

  async poll(given = {}) {
    const { max, timeoutMs, signal } = check.options('poll', given, POLL)
    signal?.throwIfAborted()
    if (this._isClosing) throw closedError('consumer')
    const begun = performance.now()
    if (this.#ready.length === 0) await this.#fill(max, timeoutMs, signal)
    const messages = this.#ready.splice(0, max)
    return receive(messages, begun)
  }

  async #fill(max, waitMs, signal) {
    try {
      this.#keep(await this.#taker.take((call) => this.#native.poll(call, max, waitMs), signal))
    } catch (error) {
      if (!(this._isClosing && PosthouseError.is(error, 'ERR_POSTHOUSE_CLOSED'))) throw error
    }
  }

  /** Polls that end together may be heard of in any order; messages of a queue keep theirs. */
  #keep(messages) {
    const isMixed = this.#ready.length > 0 && messages.length > 0
    this.#ready.push(...messages)
    if (isMixed) this.#ready.sort(byPlace)
  }

  async *[Symbol.asyncIterator]() {
    for (let inARow = 1; !this._isClosing; inARow++) {
      const message = this.#one()
      if (message !== undefined) yield message
      else for (const polled of await this.poll({ max: 1 })) yield polled
      // However much is here, the rest of the process has its turn.
      if (inARow % TURN === 0) await new Promise(setImmediate)
    }
  }

  /** A message that is here. Those that a broken-off poll took, or is about to, come first. */
  #one() {
    if (this.#ready.length > 0 || !this.#taker.isIdle) return undefined
    const begun = performance.now()
    const frame = attempt(() => this.#native.pollOne())
    return frame ? receive(messagesOf(frame), begun)[0] : undefined
  }

  async seek(queue, to) {
    const name = check.queue(queue)
    const [offset, from] = typeof to === 'number' ? [check.offset(to), 0] : [undefined, check.startFrom(to)]
    this.#forget(name)
    await this.#call((call) => this.#native.seek(call, name, offset, from))
    this.#forget(name)
  }

  #forget(queue) {
    const key = keyOf(queue)
    this.#ready = this.#ready.filter((message) => keyOf(message.queue) !== key)
  }

  position(queue) {
    const name = check.queue(queue)
    const first = this.#ready.find((message) => keyOf(message.queue) === keyOf(name))
    const at = first?.queueOffset ?? this.#native.position(name) ?? undefined
    if (at !== undefined) return at
    throw new PosthouseError('ERR_POSTHOUSE_OFFSET', 'this queue is not its own: see committed()')
  }

  async commit(offsets) {
    if (offsets === undefined) return this.#call((call) => this.#native.commit(call))
    const all = [...offsets].map(([queue, offset]) => [check.queue(queue), check.offset(offset)])
    for (const [queue, offset] of all) await this.#call((call) => this.#native.commitAt(call, queue, offset))
  }

  async committed(queue) {
    const name = check.queue(queue)
    return (await this.#call((call) => this.#native.committed(call, name))) ?? undefined
  }

  async offsetAt(queue, when) {
    const name = check.queue(queue)
    if (!(when instanceof Date)) throw configError('when must be a Date')
    return this.#call((call) => this.#native.offsetAt(call, name, when.getTime()))
  }

  async queues(topic) {
    check.one('topic', topic, 'string')
    return this.#call((call) => this.#native.queues(call, topic))
  }

  pause(queues) {
    this.#native.setPaused([...queues].map(check.queue), true)
  }

  resume(queues) {
    this.#native.setPaused([...queues].map(check.queue), false)
  }

  async _close(limit) {
    // A poll that was broken off may have taken messages just now.
    this.#native.endPolls()
    await this.#taker.idle()
    // What nobody got is not done: the group goes on there.
    const first = new Map()
    for (const message of this.#ready.splice(0)) {
      const key = keyOf(message.queue)
      if (!first.has(key)) first.set(key, message)
    }
    for (const { queue, queueOffset } of first.values()) {
      await this.#environment.call((call) => this.#native.seek(call, queue, queueOffset, 0)).catch(() => {})
    }
    await this.#environment.call((call) => this.#native.close(call, limit))
  }
}

module.exports = { PullConsumer }
