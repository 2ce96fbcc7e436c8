'use strict'
// Arguments, checked before anything is done: an error names the option and what it must be.

const { configError } = require('./errors.js')

const MAX = 2 ** 31 - 1

const kinds = {
  string: [(value) => typeof value === 'string' && value !== '', 'a non-empty string'],
  boolean: [(value) => typeof value === 'boolean', 'true or false'],
  millis: [(value) => Number.isFinite(value) && value >= 0, 'a number of milliseconds, 0 or more'],
  count: [(value) => Number.isInteger(value) && value >= 0 && value <= MAX, 'a whole number, 0 or more'],
  positive: [(value) => Number.isInteger(value) && value > 0 && value <= MAX, 'a whole number, 1 or more'],
  bytes: [(value) => Number.isSafeInteger(value) && value > 0, 'a number of bytes, 1 or more'],
  function: [(value) => typeof value === 'function', 'a function'],
  signal: [(value) => value instanceof AbortSignal, 'an AbortSignal'],
  any: [() => true, '']
}

/** Checked options, defaults filled in. `shape`: name -> [kind, default]; what has no default must be given. */
function options(what, given, shape) {
  if (typeof given !== 'object' || given === null) throw configError(`${what}: options must be an object`)
  for (const name of Object.keys(given)) {
    if (!(name in shape)) throw configError(`${what}: ${JSON.stringify(name)} is no option; there are ${Object.keys(shape).join(', ')}`)
  }
  const checked = {}
  for (const [name, [kind, ...defaults]] of Object.entries(shape)) {
    const value = given[name]
    if (value === undefined) {
      if (defaults.length === 0) throw configError(`${what}: ${name} is missing`)
      checked[name] = defaults[0]
    } else {
      checked[name] = one(`${what}: ${name}`, value, kind)
    }
  }
  return checked
}

/** A checked value. */
function one(name, value, kind) {
  const [right, must] = kinds[kind]
  if (!right(value)) throw configError(`${name} must be ${must}, not ${shown(value)}`)
  return value
}

function shown(value) {
  if (typeof value === 'string') return JSON.stringify(value)
  const isPlain = value === null || (typeof value !== 'object' && typeof value !== 'function')
  return isPlain ? String(value) : Object.prototype.toString.call(value)
}

/** Subscriptions as the native part wants them. */
function subscriptions(given) {
  const all = typeof given === 'string' ? { [given]: '*' } : given
  if (typeof all !== 'object' || all === null || Object.keys(all).length === 0) {
    throw configError('subscribe must be a topic, or an object of topics and filters')
  }
  return Object.entries(all).map(([topic, filter]) => wanted(topic, filter))
}

/** A topic and a filter as the native part wants them. */
function wanted(topic, filter = '*') {
  one('a topic', topic, 'string')
  if (typeof filter === 'string') return { topic, tags: filter }
  if (typeof filter?.sql === 'string') return { topic, sql: filter.sql }
  throw configError(`the filter of ${topic} must be a string such as "TagA || TagB", or { sql }`)
}

/** A place to begin as the native part wants it: -1 the end, -2 the start, else a time. */
function startFrom(given) {
  if (given === 'last') return -1
  if (given === 'first') return -2
  if (given instanceof Date && given.getTime() >= 0) return given.getTime()
  throw configError(`a start must be 'last', 'first' or a Date, not ${shown(given)}`)
}

/** Only a member that broadcasts keeps its offsets itself. */
function offsetsFile(broadcast, file) {
  if (file !== undefined && !broadcast) throw configError('offsetsFile: only a member that broadcasts keeps its offsets itself')
}

/** A queue, checked. */
function queue(given) {
  const right = typeof given?.topic === 'string' && typeof given.broker === 'string' && Number.isInteger(given.queueId) && given.queueId >= 0
  if (!right) throw configError('a queue must be { topic, broker, queueId }')
  return { topic: given.topic, broker: given.broker, queueId: given.queueId }
}

/** An offset, checked. */
function offset(given) {
  if (!Number.isSafeInteger(given) || given < 0) throw configError(`an offset must be a whole number, 0 or more, not ${shown(given)}`)
  return given
}

/** Whose requests they are, as the native part wants it; undefined: nobody's. */
function credentials(given) {
  if (given === undefined) return undefined
  const { accessKey, secretKey, securityToken } = options('credentials', given, {
    accessKey: ['string'],
    secretKey: ['string'],
    securityToken: ['string', undefined]
  })
  return { accessKey, secretKey, securityToken }
}

/** How connections are sealed, as the native part wants it; undefined: as the URL says. */
function tls(given) {
  if (given === undefined) return undefined
  if (typeof given === 'boolean') return { sealed: given, verified: true }
  const { ca, name, verify } = options('tls', given, { ca: ['any', undefined], name: ['string', undefined], verify: ['boolean', true] })
  if (ca !== undefined && typeof ca !== 'string' && !(ca instanceof Uint8Array)) throw configError('tls: ca must be PEM, a string or a Buffer')
  return { sealed: true, verified: verify, ca: ca === undefined ? undefined : Buffer.from(ca), name }
}

module.exports = { credentials, offset, offsetsFile, one, options, queue, startFrom, subscriptions, tls, wanted }
