'use strict'
// What a build is called: linux-x64-gnu, linux-x64-musl, darwin-arm64, win32-x64.

const { process } = globalThis

function isMusl() {
  const report = process.report?.getReport?.()
  return report !== undefined && report.header?.glibcVersionRuntime === undefined
}

function platformName() {
  const base = `${process.platform}-${process.arch}`
  if (process.platform !== 'linux') return base
  // Reports cost milliseconds; a system without the loader of musl is none of its systems.
  const musl = require('node:fs').readdirSync('/lib').some((name) => name.startsWith('ld-musl-')) && isMusl()
  return `${base}-${musl ? 'musl' : 'gnu'}`
}

module.exports = { platformName }
