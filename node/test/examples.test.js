'use strict'
// Every example prints what its head says.
const assert = require('node:assert/strict')
const { readFileSync, readdirSync } = require('node:fs')
const { join } = require('node:path')
const { test } = require('node:test')
const { run } = require('./process.js')

const folder = join(__dirname, '../examples')

for (const name of readdirSync(folder)) {
  test(`examples/${name} prints what it says`, async () => {
    const head = readFileSync(join(folder, name), 'utf8').match(/^\/\/ .* Prints:\n((?:\/\/.*\n)+)/ms)[1]
    const expected = head.split('\n').filter((line) => line.startsWith('//     ')).map((line) => line.slice(7))
    assert.ok(expected.length > 0)
    const ended = await run(process.execPath, [join(folder, name)])
    assert.deepEqual([ended.out.trimEnd().split('\n'), ended.err, ended.code], [expected, '', 0])
  })
}
