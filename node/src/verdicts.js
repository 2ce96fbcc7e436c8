'use strict'
// What handlers throw: what becomes of their message.

const check = require('./check.js')

class Retry extends Error {
  #afterMs

  constructor(afterMs, reason = 'retry') {
    super(reason)
    // Here, where whoever made the mistake is on the stack.
    this.#afterMs = afterMs === undefined ? undefined : check.one('Retry: afterMs', afterMs, 'millis')
  }

  get afterMs() {
    return this.#afterMs
  }

  get name() {
    return 'Retry'
  }
}

class Reject extends Error {
  get name() {
    return 'Reject'
  }
}

module.exports = { Reject, Retry }
