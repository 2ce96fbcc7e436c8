'use strict'
const assert = require('node:assert/strict')
const diagnostics = require('node:diagnostics_channel')
const { test } = require('node:test')
const { Server, connect } = require('posthouse')

/** What is published to loggers while the test runs. */
function listening(t) {
  const told = []
  const log = (event) => told.push(event)
  diagnostics.subscribe('posthouse:log', log)
  t.after(() => diagnostics.unsubscribe('posthouse:log', log))
  return told
}

const about = (told, text) => told.filter(({ message }) => message.includes(text))

async function until(condition) {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5))
}

test('what Rust says comes to posthouse:log, of clients and of a server in the process', { timeout: 60_000 }, async (t) => {
  const told = listening(t)
  const begun = Date.now()
  const server = await Server.embedded({ topics: ['t'] })
  t.after(() => server.close())
  const client = await server.connect({ logLevel: 'debug' })
  t.after(() => client.close())
  const consumer = await client.pullConsumer({ group: 'g' })
  await consumer.subscribe('t')
  await until(() => about(told, 'reads a queue').length > 0)
  const [line] = about(told, 'reads a queue')
  assert.deepEqual([line.level, line.area], ['debug', 'consumer'])
  assert.match(line.message, /group=g/)
  assert.ok(line.time instanceof Date && line.time >= begun - 1000 && line.time <= Date.now())
  await client.admin().deleteTopic('t')
  await until(() => about(told, 'a topic is deleted').length > 0)
  const [deleted] = about(told, 'a topic is deleted')
  assert.deepEqual([deleted.level, deleted.area], ['info', 'server'])
})

test('levels are those of open clients, and a level that is none is refused', { timeout: 60_000 }, async (t) => {
  const told = listening(t)
  const server = await Server.embedded({ topics: ['t', 'u'] })
  t.after(() => server.close())
  const curious = await server.connect({ logLevel: 'debug' })
  await curious.close()
  const client = await server.connect({ logLevel: 'off' })
  t.after(() => client.close())
  told.length = 0
  await client.admin().deleteTopic('t')
  const consumer = await client.pullConsumer({ group: 'g' })
  await consumer.subscribe('u')
  await consumer.poll({ timeoutMs: 200 }).catch(() => [])
  assert.deepEqual(told.filter(({ level }) => level !== 'warn' && level !== 'error'), [])
  await assert.rejects(connect({ url: '127.0.0.1:1', logLevel: 'loud' }), { code: 'ERR_POSTHOUSE_CONFIG' })
})
