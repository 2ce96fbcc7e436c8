'use strict'
// Waits for messages that can be broken off. What a broken-off wait brings all the same goes to who waits next,
// or is kept: a message that was taken is never dropped.

class Taker {
  #environment
  #read
  #keep
  #waiting = new Set()

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
      const arrived = ({ frame }) => {
        const messages = this.#read(frame)
        if (this.#waiting.has(waiter)) waiter(messages)
        else if (messages.length > 0) this.#give(messages)
      }
      const failed = (error) => {
        this.#waiting.delete(waiter)
        reject(error)
      }
      this.#waiting.add(waiter)
      this.#environment.call(start, signals, arrived).then(arrived, failed)
    })
  }

  #give(messages) {
    for (const waiter of this.#waiting) return waiter(messages)
    this.#keep(messages)
  }
}

module.exports = { Taker }
