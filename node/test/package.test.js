'use strict'
// The package as it ships: its tarballs in an empty folder, and what its README says.
const assert = require('node:assert/strict')
const { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } = require('node:fs')
const { tmpdir } = require('node:os')
const { join } = require('node:path')
const { before, test } = require('node:test')
const { blocks, run } = require('./process.js')

const node = join(__dirname, '..')
const readme = readFileSync(join(node, 'README.md'), 'utf8')
let tarballs

function folder(t) {
  const path = mkdtempSync(join(tmpdir(), 'posthouse-test-'))
  t.after(() => rmSync(path, { recursive: true }))
  return path
}

async function sound(command, words, options) {
  const ended = await run(command, words, options)
  assert.equal(ended.code, 0, `${command} ${words.join(' ')}\n${ended.out}${ended.err}`)
  return ended.out
}

const install = (cwd, files) => sound('npm', ['install', '--no-audit', '--no-fund', '--offline', ...files], { cwd })

before(async () => {
  const out = mkdtempSync(join(tmpdir(), 'posthouse-test-'))
  process.once('exit', () => rmSync(out, { recursive: true, force: true }))
  tarballs = (await sound(process.execPath, [join(node, 'pack.mjs'), out])).trim().split('\n')
})

test('the tarballs, installed together in an empty folder, send and receive', async (t) => {
  const cwd = folder(t)
  await install(cwd, tarballs)
  const started = blocks(readme)[0]
  assert.equal(started.trim().split('\n').length, 5)
  const esm = started.replace(/const \{(.*)\} = require\('posthouse'\)/, "import {$1} from 'posthouse'")
  assert.equal(await sound(process.execPath, ['--input-type=module', '-e', esm], { cwd }), 'hello\n')
  const cjs = `(async () => {\n${started}})()`
  assert.equal(await sound(process.execPath, ['-e', cjs], { cwd }), 'hello\n')
})

test('a tarball holds what it should and runs no script', async () => {
  const listed = (await sound('tar', ['-tzf', tarballs[0]])).trim().split('\n')
  const allowed = /^package\/(package\.json|README\.md|LICENSE|dist\/[\w.]+|types\/[\w.]+)$/
  assert.deepEqual(listed.filter((name) => !allowed.test(name)), [])
  const text = await sound('tar', ['-xzOf', tarballs[0], 'package/package.json'])
  const { scripts, dependencies } = JSON.parse(text)
  assert.deepEqual(Object.keys(scripts).filter((name) => /install/.test(name)), [])
  assert.equal(dependencies, undefined)
  const platform = (await sound('tar', ['-tzf', tarballs[1]])).trim().split('\n').sort()
  assert.deepEqual(platform, ['package/package.json', 'package/posthouse.linux-x64-gnu.node'])
})

// node16: the oldest way of resolving that a Node from 20.19 on can be asked for.
test('every way to import the package finds its types', async () => {
  await sound(join(node, 'node_modules/.bin/attw'), ['--profile', 'node16', '--format', 'ascii', '--no-emoji', tarballs[0]])
})

test('the native part, with a whole broker inside, has 14 MB at most', () => {
  assert.ok(statSync(join(node, 'posthouse.linux-x64-gnu.node')).size <= 14_000_000)
})

test('without the package of the platform, one sentence names it', async (t) => {
  const cwd = folder(t)
  await install(cwd, [tarballs[0]])
  const ended = await run(process.execPath, ['-e', "try { require('posthouse') } catch (error) { console.log(error.message) }"], { cwd })
  assert.equal(ended.out, 'posthouse needs its package for this platform, @posthouse/linux-x64-gnu, which is not installed\n')
})

test('every block of the README runs, and the one of the whole project', async () => {
  const whole = blocks(readFileSync(join(node, '../README.md'), 'utf8'))
  assert.equal(whole.length, 1)
  for (const block of [...blocks(readme), ...whole]) {
    const env = { ...process.env, POSTHOUSE_URL: 'embedded:' }
    await sound(process.execPath, ['-e', `(async () => {\n${block}})()`], { cwd: node, env })
  }
})

test('the version of both packages and of the workspace is one', () => {
  const version = (path) => JSON.parse(readFileSync(join(node, path), 'utf8')).version
  const [, workspace] = /^\[workspace\.package\]\nversion = "(.*)"$/m.exec(readFileSync(join(node, '../Cargo.toml'), 'utf8'))
  for (const platform of readdirSync(join(node, 'npm'))) assert.equal(version(`npm/${platform}/package.json`), workspace)
  assert.equal(version('package.json'), workspace)
})
