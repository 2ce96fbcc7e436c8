'use strict'
// Loads the native part: of this checkout, or of the platform's package. Loading starts nothing.

const { existsSync } = require('node:fs')
const { join } = require('node:path')
const { platformName } = require('./platform.js')

function load() {
  const platform = platformName()
  const own = join(__dirname, '..', `posthouse.${platform}.node`)
  if (existsSync(own)) return require(own)
  const name = `@posthouse/${platform}`
  try {
    return require(name)
  } catch (cause) {
    if (cause.code !== 'MODULE_NOT_FOUND') throw cause
    throw new Error(`posthouse needs its package for this platform, ${name}, which is not installed`, { cause })
  }
}

module.exports = load()
