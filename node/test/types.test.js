'use strict'
// The types, as a strict user has them and exactly, and what publint says of the package.
const assert = require('node:assert/strict')
const { join } = require('node:path')
const { test } = require('node:test')
const { run } = require('./process.js')

const node = join(__dirname, '..')

for (const [name, words] of [['tsc', ['-p', 'test-d']], ['tsd', []], ['publint', ['--strict']]]) {
  test(`${name} finds nothing`, async () => {
    const ended = await run(join(node, 'node_modules/.bin', name), words, { cwd: node })
    assert.equal(ended.code, 0, ended.out + ended.err)
  })
}
