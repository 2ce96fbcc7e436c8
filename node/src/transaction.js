'use strict'
// Transactions: half messages that nobody gets before somebody decides, and the questions of brokers about those
// that nobody decided about.

const { warn, watched } = require('./channels.js')
const check = require('./check.js')
const { attempt, configError } = require('./errors.js')
const { idOf, messagesOf, plainResult } = require('./message.js')
const { environment, limited, native, valueOf } = require('./port.js')
const { Producer } = require('./producer.js')
const { slabOf } = require('./slab.js')

const DECISIONS = ['commit', 'rollback', 'unknown']

class Transaction {
  #decide
  #decided = false

  constructor(result, decide) {
    this.result = result
    this.#decide = decide
  }

  commit() {
    return this.#tell('commit')
  }

  rollback() {
    return this.#tell('rollback')
  }

  /** Leaves it to the check. */
  unknown() {
    this.#decided = true
  }

  async #tell(decision) {
    await this.#decide(decision)
    this.#decided = true
  }

  async [Symbol.asyncDispose]() {
    if (!this.#decided) await this.rollback()
  }
}

class TransactionProducer extends Producer {
  #environment = environment()
  #check
  #bell
  /** Half messages that were begun here and not decided: somebody is going to be asked about them. */
  #undecided = new Set()

  constructor(client, given) {
    const { check: answer, ...options } = given ?? {}
    if (typeof answer !== 'function') throw configError('transactionProducer: check must be a function: brokers ask it what became of a message')
    const bell = environment().bell()
    super(client, options, (port, owner, own, sending) => native.Producer.transactional(port, owner, own, bell, sending))
    this.#check = answer
    this.#bell = bell
    this.#environment.hear(bell, () => this.#asked())
  }

  async begin(message, options) {
    const send = async (all) => {
      const slab = slabOf(all)
      return valueOf(await this.#environment.call((call) => this._native.begin(call, slab), limited(options)))
    }
    const { sent, transaction } = await watched([message], send, (half) => [plainResult(half.sent, half.sent.messageId)])
    if (!this._isClosing) {
      this.#undecided.add(sent.messageId)
      this.#environment.hold()
    }
    const decide = async (decision) => {
      await this.#environment.call((call) => this._native.resolve(call, transaction, DECISIONS.indexOf(decision)))
      this.#settled(sent.messageId)
    }
    return new Transaction(plainResult(sent, sent.messageId), decide)
  }

  async transaction(message, local) {
    const transaction = await this.begin(message)
    let value
    try {
      value = await local(transaction)
    } catch (error) {
      // What the caller did not do must not be seen. If this does not get through, the broker asks.
      await transaction[Symbol.asyncDispose]().catch((cause) => warn('a rollback did not get through, the broker will ask', cause))
      throw error
    }
    await transaction.commit()
    return value
  }

  #asked() {
    for (let frame = this._native.takeChecks(); frame; frame = this._native.takeChecks()) {
      for (const message of messagesOf(frame)) this.#answer(message)
    }
  }

  async #answer(message) {
    let decision = 'unknown'
    try {
      decision = (await this.#check(message)) ?? 'unknown'
      if (!DECISIONS.includes(decision)) throw configError(`check returns one of ${DECISIONS.join(', ')}, not ${JSON.stringify(decision)}`)
    } catch (error) {
      warn(`the check of ${message.messageId} failed, the broker will ask again`, error)
      decision = 'unknown'
    }
    const [low, high] = idOf(message)
    this._native.answerChecks(Uint32Array.of(low, high, DECISIONS.indexOf(decision)))
    if (decision !== 'unknown') this.#settled(message.messageId)
  }

  #settled(id) {
    if (this.#undecided.delete(id)) this.#environment.release()
  }

  async _close(limit) {
    await super._close(limit)
    this.#environment.hear(this.#bell, undefined)
    for (const id of this.#undecided) this.#settled(id)
  }
}

module.exports = { TransactionProducer }
