'use strict'
// Errors: one class whose `code` says what happened.

const BRAND = Symbol.for('posthouse.error')

class PosthouseError extends Error {
  constructor(code, message, details = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.retryable = details.retryable ?? false
    for (const name of ['responseCode', 'topic', 'broker']) {
      if (details[name] !== undefined) this[name] = details[name]
    }
  }

  get name() {
    return 'PosthouseError'
  }

  get [BRAND]() {
    return true
  }

  static is(error, code) {
    const ours = typeof error === 'object' && error !== null && error[BRAND] === true
    return ours && (code === undefined || error.code === code)
  }
}

/** The code of a kind: `topic_not_found` is ERR_POSTHOUSE_TOPIC_NOT_FOUND. */
const codeOf = (kind) => `ERR_POSTHOUSE_${kind.toUpperCase()}`

/** The error that a native failure is. */
function failed(failure) {
  return new PosthouseError(codeOf(failure.code), failure.message, failure)
}

const KINDS = new Set([
  'config', 'closed', 'connect', 'timeout', 'auth', 'topic_not_found', 'group_not_found', 'invalid_message',
  'message_too_large', 'filter', 'throttled', 'queue_full', 'offset', 'transaction', 'unsupported', 'internal'
])

/** Runs a native call; what it throws becomes one of ours. */
function attempt(call) {
  try {
    return call()
  } catch (error) {
    if (PosthouseError.is(error)) throw error
    const kind = KINDS.has(error.code) ? error.code : 'internal'
    throw new PosthouseError(codeOf(kind), error.message, { cause: error })
  }
}

const configError = (message) => new PosthouseError('ERR_POSTHOUSE_CONFIG', message)
const invalidMessage = (message, topic) => new PosthouseError('ERR_POSTHOUSE_INVALID_MESSAGE', message, { topic })
const closedError = (what) => new PosthouseError('ERR_POSTHOUSE_CLOSED', `the ${what} is closed`)

module.exports = { PosthouseError, attempt, closedError, configError, failed, invalidMessage }
