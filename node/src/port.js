'use strict'
// The one door to the native part in this environment. Promises live here, by number; Rust rings, and this
// takes what is ready. The process stays alive while somebody waits, and no longer.

const { setInterval } = require('node:timers')
const { tell } = require('./channels.js')
const native = require('./native.js')
const { PosthouseError, attempt, failed } = require('./errors.js')

const LONG = 2 ** 30

/** Names of how much is logged, the least first. */
const LEVELS = ['off', 'error', 'warn', 'info', 'debug']

class Environment {
  #port = new native.Port(() => this.#woken())
  #calls = new Map()
  #bells = new Map()
  #lastCall = 0
  #lastBell = 0
  #held = 0
  /** Who wants to have how much logged, and the bell of what is. */
  #listeners = new Map()
  #logBell
  #keeper = setInterval(() => {}, LONG).unref()

  get port() {
    return this.#port
  }

  /** Keeps the process alive until it is released as often. */
  hold() {
    if (this.#held++ === 0) this.#keeper.ref()
  }

  release() {
    if (--this.#held === 0) this.#keeper.unref()
  }

  /** Has so much logged, until what is returned is called or `owner` is gone. All hear what one wants. */
  listen(owner, level) {
    const listener = {}
    const end = () => {
      this.#listeners.delete(listener)
      this.#want()
    }
    this.#listeners.set(listener, LEVELS.indexOf(level))
    this.#want()
    gone.register(owner, end)
    return end
  }

  #want() {
    this.#logBell ??= this.bell(() => this.#tell())
    this.#port.wantLines(this.#logBell, Math.max(0, ...this.#listeners.values()))
  }

  #tell() {
    tell(this.#port.lines())
  }

  /** A number; `rung` is called when it rings, until it is taken off. It is held strongly. */
  bell(rung) {
    const number = ++this.#lastBell
    if (rung !== undefined) this.#bells.set(number, rung)
    return number
  }

  /** Says who hears a bell; nobody: undefined. */
  hear(number, rung) {
    if (rung === undefined) this.#bells.delete(number)
    else this.#bells.set(number, rung)
  }

  /**
   * Starts a native call and returns the promise of its outcome. If `signal` aborts, the promise is rejected with
   * its reason and the outcome, of a failed call `undefined`, goes to `late`.
   */
  call(start, signal, late) {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted()
      const number = (this.#lastCall = (this.#lastCall % 0xffff_fffe) + 1)
      attempt(() => start(number))
      this.hold()
      const call = { resolve, reject, late: undefined, held: true, forget: undefined }
      this.#calls.set(number, call)
      if (signal === undefined) return
      const abort = () => {
        call.late = late ?? (() => {})
        call.held = false
        this.release()
        reject(signal.reason)
      }
      signal.addEventListener('abort', abort, { once: true })
      call.forget = () => signal.removeEventListener('abort', abort)
    })
  }

  #woken() {
    for (const number of this.#port.rung()) {
      if (number === 0) this.#ended()
      else this.#bells.get(number)?.()
    }
  }

  #ended() {
    for (const outcome of this.#port.outcomes()) {
      const call = this.#calls.get(outcome.call)
      this.#calls.delete(outcome.call)
      call.forget?.()
      if (call.held) this.release()
      if (call.late !== undefined) {
        call.late(outcome.failure ? undefined : outcome)
      } else if (outcome.failure) {
        call.reject(failed(outcome.failure))
      } else {
        call.resolve(outcome)
      }
    }
  }
}

const gone = new FinalizationRegistry((end) => end())

let known

/** This environment's door, made when it is first needed. */
function environment() {
  return (known ??= new Environment())
}

/** The value of an outcome that is small. */
const valueOf = (outcome) => (outcome.text === undefined ? undefined : JSON.parse(outcome.text))

/** A signal that aborts with the given one or after so many milliseconds, whichever is first. */
function limited(options = {}) {
  const { signal, timeoutMs } = options
  if (timeoutMs === undefined) return signal
  const timeout = new AbortController()
  const timer = setTimeout(() => {
    timeout.abort(new PosthouseError('ERR_POSTHOUSE_TIMEOUT', `not done within ${timeoutMs} ms`, { retryable: true }))
  }, timeoutMs)
  timer.unref()
  return signal === undefined ? timeout.signal : AbortSignal.any([signal, timeout.signal])
}

module.exports = { LEVELS, environment, limited, native, valueOf }
