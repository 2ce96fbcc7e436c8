'use strict'
// What every closable thing has in common. Node 20 does not know Symbol.asyncDispose.

Symbol.asyncDispose ??= Symbol.for('nodejs.asyncDispose')

const { one } = require('./check.js')

const DEFAULT_CLOSE_MS = 10_000

class Closable {
  #closing
  #isClosing = false

  /** Ends it; a second time is the first time's promise. */
  close(options = {}) {
    const limit = options.timeoutMs === undefined ? DEFAULT_CLOSE_MS : one('timeoutMs', options.timeoutMs, 'millis')
    this.#isClosing = true
    return (this.#closing ??= this._close(limit))
  }

  get _isClosing() {
    return this.#isClosing
  }

  [Symbol.asyncDispose]() {
    return this.close()
  }
}

module.exports = { Closable }
