'use strict'
// Clients of a part of a cluster: short names, and nothing of the other parts.
const assert = require('node:assert/strict')
const { test } = require('node:test')
const { connect } = require('posthouse')
const { receive, started, texts } = require('./helpers.js')

/** Clients of one server, in these namespaces; `undefined`: in none. */
async function clients(t, ...namespaces) {
  const { server } = await started(t, { listen: '127.0.0.1:0' })
  const made = namespaces.map((namespace) => connect({ url: server.url, ...(namespace && { namespace }) }))
  const all = await Promise.all(made)
  t.after(() => Promise.all(all.map((client) => client.close())))
  return { url: server.url, all }
}

test('namespaces share names and no messages', async (t) => {
  const { all } = await clients(t, 'eu', 'us', undefined)
  const bodies = ['eu', 'us', 'none']
  for (const [n, client] of all.entries()) {
    await client.admin().createTopic('t', { queues: 1 })
    const sent = await (await client.producer()).send({ topic: 't', body: bodies[n] })
    assert.equal(sent.queue.topic, 't')
  }
  for (const [n, client] of all.entries()) {
    const consumer = await client.pushConsumer({ group: 'g', subscribe: 't', startFrom: 'first' })
    for await (const message of consumer) {
      assert.deepEqual([message.topic, message.queue.topic, message.text()], ['t', 't', bodies[n]])
      for (const { topic } of consumer.assignment()) assert.ok(['t', '%RETRY%g'].includes(topic), topic)
      break
    }
    await consumer.close()
    const simple = await client.simpleConsumer({ group: 's', subscribe: 't' })
    assert.deepEqual(texts(await receive(simple, 1)), [bodies[n]])
  }
  const admin = all[2].admin()
  const [topics, groups] = [await admin.topics(), await admin.groups()]
  for (const name of ['t', 'eu%t', 'us%t']) assert.ok(topics.includes(name), name)
  for (const name of ['g', 'eu%g', 'us%g']) assert.ok(groups.includes(name), name)
})

test('an admin sees its namespace alone, and a pull consumer its queues', async (t) => {
  const { all } = await clients(t, 'eu', undefined)
  const [eu, plain] = all
  await plain.admin().createTopic('elsewhere')
  const admin = eu.admin()
  await admin.createTopic('t', { queues: 1 })
  await admin.createGroup('g')
  const sent = await (await eu.producer()).send({ topic: 't', body: 'x' })
  const { queue } = sent
  assert.deepEqual([await admin.topics(), await admin.groups()], [['t'], ['g']])
  assert.deepEqual(await admin.lag('g', 't'), [[queue, 1]])
  const found = await admin.message('t', sent.messageId)
  assert.deepEqual([found.topic, found.queue], ['t', queue])
  const consumer = await eu.pullConsumer({ group: 'pulls', autoCommitMs: false })
  assert.deepEqual(await consumer.queues('t'), [queue])
  await consumer.assign([queue])
  await consumer.seek(queue, 'first')
  assert.deepEqual(texts(await consumer.poll()), ['x'])
  await consumer.commit([[queue, 1]])
  assert.equal(await consumer.committed(queue), 1)
  await consumer.close()
  await admin.deleteGroup('g')
  await admin.deleteTopic('t')
  assert.deepEqual([await admin.topics(), await admin.groups()], [[], ['pulls']])
  assert.ok((await plain.admin().topics()).includes('elsewhere'))
})

test('the option goes before the URL, and that before the environment', async (t) => {
  const { url, all } = await clients(t, undefined)
  process.env.POSTHOUSE_NAMESPACE = 'environment'
  t.after(() => delete process.env.POSTHOUSE_NAMESPACE)
  for (const options of [{ url: `${url}/url`, namespace: 'option' }, `${url}/url`, url]) {
    const client = await connect(options)
    await (await client.producer()).send({ topic: 't', body: 'x' })
    await client.close()
  }
  const topics = await all[0].admin().topics()
  assert.deepEqual(topics.filter((topic) => topic.endsWith('%t')).sort(), ['environment%t', 'option%t', 'url%t'])
})

test('what is no namespace is refused', async () => {
  for (const namespace of ['a%b', 'a b', 'ü', '', 7]) {
    await assert.rejects(connect({ url: 'embedded:', namespace }), { code: 'ERR_POSTHOUSE_CONFIG', message: /namespace/ })
  }
})
