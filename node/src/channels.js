'use strict'
// Where loggers and tracers listen: they cost nothing while nobody does.

const { channel } = require('node:diagnostics_channel')

const send = channel('posthouse:send')
const processed = channel('posthouse:process')
const log = channel('posthouse:log')

/** What a user should know of and no promise tells. Nobody listens: it becomes a process warning. */
function warn(message, error) {
  if (log.hasSubscribers) log.publish({ level: 'warn', message, error })
  else process.emitWarning(`${message}: ${error?.stack ?? error}`, 'PosthouseWarning')
}

module.exports = { processed, send, warn }
