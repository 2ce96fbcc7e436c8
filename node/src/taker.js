'use strict'
// Waits for messages that can be broken off. What a broken-off wait brings all the same goes to who waits next,
// or is kept: a message that was taken is never dropped.

class Taker {
  #environment
  #read
  #keep
  #waiting = new Set()
  /** Native calls without an outcome, and who waits for there to be none. */
  #underWay = 0
  #idle = []

  /** `read` makes messages of a frame; `keep` gets those that nobody waits for. */
  constructor(environment, read, keep) {
    this.#environment = environment
    this.#read = read
    this.#keep = keep
  }

  /** The messages that the native call brings, or an earlier one did. */
  take(start, signal) {
    return new Promise((resolve, reject) => {
      const enough = new AbortController()
      const signals = signal === undefined ? enough.signal : AbortSignal.any([enough.signal, signal])
      const waiter = (messages) => {
        this.#waiting.delete(waiter)
        resolve(messages)
        // Its own call goes on; nobody waits for that one now.
        enough.abort()
      }
      let isOut = false
      const ended = () => {
        if (isOut && --this.#underWay === 0) for (const told of this.#idle.splice(0)) told()
        isOut = false
      }
      const arrived = (outcome) => {
        // Read before anybody hears that the call has ended.
        const messages = outcome === undefined ? [] : this.#read(outcome.frame)
        if (this.#waiting.has(waiter)) waiter(messages)
        else if (messages.length > 0) this.#give(messages)
        ended()
      }
      const failed = (error) => {
        this.#waiting.delete(waiter)
        reject(error)
        // The outcome of a call that was broken off is to come.
        if (error !== signals.reason) ended()
      }
      const begin = (call) => {
        start(call)
        isOut = true
        this.#underWay++
      }
      this.#waiting.add(waiter)
      this.#environment.call(begin, signals, arrived).then(arrived, failed)
    })
  }

  /** Whether nothing is under way. */
  get isIdle() {
    return this.#underWay === 0
  }

  /** Waits until every native call has its outcome, and its messages are where they go. */
  async idle() {
    this.#environment.hold()
    if (this.#underWay > 0) await new Promise((resolve) => this.#idle.push(resolve))
    this.#environment.release()
    // Who was given some takes them first.
    await new Promise(setImmediate)
  }

  #give(messages) {
    for (const waiter of this.#waiting) return waiter(messages)
    this.#keep(messages)
  }
}

module.exports = { Taker }
