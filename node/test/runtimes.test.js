'use strict'
// The same package in other runtimes: a later Node, Bun and Deno, as npm serves them. `POSTHOUSE_RUNTIMES` is a folder
// that has them (`cargo xtask node` makes it); without it this part is left out.
const assert = require('node:assert/strict')
const { join } = require('node:path')
const { test } = require('node:test')
const { run } = require('./process.js')

const folder = process.env.POSTHOUSE_RUNTIMES
const smoke = join(__dirname, 'smoke.mjs')
const skip = folder === undefined ? 'POSTHOUSE_RUNTIMES names no folder' : false

async function fine(program, words) {
  const ended = await run(join(folder, 'node_modules/.bin', program), [...words, smoke], { cwd: __dirname })
  assert.equal(ended.out, 'fine\n', `${ended.out}${ended.err}`)
  assert.equal(ended.code, 0)
}

test('Node 24', { skip }, () => fine('node', []))
test('Bun', { skip }, () => fine('bun', ['run']))
test('Deno', { skip }, () => fine('deno', ['run', '--allow-all', '--node-modules-dir=none']))
