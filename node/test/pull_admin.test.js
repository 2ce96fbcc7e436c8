'use strict'
const assert = require('node:assert/strict')
const { mkdtemp, rm } = require('node:fs/promises')
const { tmpdir } = require('node:os')
const { join } = require('node:path')
const { test } = require('node:test')
const { numbered, started, texts } = require('./helpers.js')

/** Polls until there are so many. */
async function poll(consumer, count) {
  const all = []
  while (all.length < count) all.push(...(await consumer.poll()))
  return all
}

test('a pull consumer polls, seeks and commits', async (t) => {
  const { client } = await started(t, { topics: ['pulled'] })
  const producer = await client.producer()
  await producer.sendMany(numbered('pulled', 100, { shardingKey: 'one' }))
  const consumer = await client.pullConsumer({ group: 'g', startFrom: 'first', autoCommitMs: false })
  await consumer.subscribe('pulled')
  const first = await consumer.poll({ max: 10 })
  assert.deepEqual(texts(first), [...Array(10).keys()].map(String))
  const { queue } = first[0]
  assert.equal(consumer.position(queue), 10)
  await consumer.commit()
  assert.equal(await consumer.committed(queue), 10)
  await consumer.seek(queue, 50)
  assert.equal((await consumer.poll({ max: 1 }))[0].queueOffset, 50)
  await consumer.seek(queue, 'first')
  assert.equal((await poll(consumer, 100)).length, 100)
  assert.equal(await consumer.offsetAt(queue, new Date(0)), 0)
  await consumer.commit([[queue, 42]])
  assert.equal(await consumer.committed(queue), 42)
  assert.equal((await consumer.queues('pulled')).length, 8)
  await assert.rejects(consumer.seek({ ...queue, queueId: 99 }, 0), { code: 'ERR_POSTHOUSE_OFFSET' })
})

test('a poll that is broken off loses no message, and neither does a close', async (t) => {
  const { client } = await started(t, { topics: ['broken'] })
  const options = { group: 'g', startFrom: 'first' }
  const consumer = await client.pullConsumer(options)
  await consumer.subscribe('broken')
  const controller = new AbortController()
  const waiting = consumer.poll({ signal: controller.signal, timeoutMs: 60_000 })
  controller.abort()
  await assert.rejects(waiting, { name: 'AbortError' })
  await (await client.producer()).sendMany(numbered('broken', 10, { shardingKey: 'one' }))
  const got = await consumer.poll({ max: 3 })
  await consumer.close()
  const next = await client.pullConsumer(options)
  await next.subscribe('broken')
  const rest = await poll(next, 10 - got.length)
  assert.deepEqual(texts([...got, ...rest]), [...Array(10).keys()].map(String))
})

test('what a broken-off poll takes while its consumer closes goes to the next member', async (t) => {
  const { client } = await started(t, { topics: ['racing'] })
  const producer = await client.producer()
  for (let round = 0; round < 40; round++) {
    const consumer = await client.pullConsumer({ group: 'g', startFrom: 'first' })
    await consumer.subscribe('racing')
    const controllers = [new AbortController(), new AbortController()]
    const waiting = controllers.map(({ signal }) => consumer.poll({ max: 2, signal, timeoutMs: 60_000 }).catch(() => []))
    const sent = producer.sendMany(numbered('racing', 5, { shardingKey: 'one' }))
    if (round % 2 === 0) await sent
    for (const controller of controllers) controller.abort()
    const got = (await Promise.all(waiting)).flat()
    await consumer.close()
    await sent
    const next = await client.pullConsumer({ group: 'g', startFrom: 'first' })
    await next.subscribe('racing')
    const rest = await poll(next, 5 - got.length)
    assert.deepEqual(texts([...got, ...rest]).sort(), ['0', '1', '2', '3', '4'], `round ${round}`)
    await next.close()
  }
})

test('it can be iterated, and assigned', async (t) => {
  const { client } = await started(t, { topics: ['assigned'] })
  await (await client.producer()).sendMany(numbered('assigned', 20, { shardingKey: 'one' }))
  const consumer = await client.pullConsumer({ group: 'g', startFrom: 'first' })
  await consumer.assign(await consumer.queues('assigned'))
  const seen = []
  for await (const message of consumer) {
    seen.push(message.text())
    if (seen.length === 20) break
  }
  assert.deepEqual(seen, [...Array(20).keys()].map(String))
})

test('a loop may be left at any message, and loses and repeats none', async (t) => {
  const { client } = await started(t, { topics: ['left'] })
  const producer = await client.producer()
  const all = [...Array(20).keys()].map(String)
  await Promise.all(all.map((body) => producer.send({ topic: 'left', body, shardingKey: body })))
  for (let count = 1; count < 20; count++) {
    const options = { group: `g${count}`, startFrom: 'first' }
    const seen = []
    const consumer = await client.pullConsumer(options)
    await consumer.subscribe('left')
    for (const end of [1, count]) {
      if (seen.length >= end) break
      for await (const message of consumer) {
        seen.push(message.text())
        // What a broken-off poll took, and has not brought yet, counts as handed out.
        if (end === 1) assert.equal(consumer.position(message.queue), message.queueOffset + 1)
        if (seen.length === end) break
      }
      // A wait that is broken off between two loops takes none along.
      const controller = new AbortController()
      const waiting = consumer.poll({ max: 2, signal: controller.signal })
      controller.abort()
      // What was here already, it has got.
      seen.push(...texts(await waiting.catch(() => [])))
    }
    await consumer.commit()
    await consumer.close()
    const next = await client.pullConsumer(options)
    await next.subscribe('left')
    seen.push(...texts(await poll(next, 20 - seen.length)))
    assert.deepEqual(seen.sort(), [...all].sort(), `left after ${count}`)
    await next.close()
  }
})

test('a loop over messages that are here leaves the rest of the process its turns', async (t) => {
  const { client } = await started(t, { topics: ['turns'] })
  // Fewer of a queue than are read ahead.
  const count = 3000
  await (await client.producer()).sendMany(numbered('turns', count))
  const consumer = await client.pullConsumer({ group: 'g', startFrom: 'first' })
  await consumer.subscribe('turns')
  // All are here: the loop waits for none.
  while (client.metrics().buffered < count) await new Promise((resolve) => setTimeout(resolve, 10))
  let turns = 0
  let left = count
  const other = () => { if (left > 0 && ++turns) setImmediate(other) }
  other()
  for await (const _ of consumer) if (--left === 0) break
  assert.ok(turns >= count / 1024, `${turns} turns`)
})

test('topics, groups, offsets and messages are administered', async (t) => {
  const { client } = await started(t)
  const admin = client.admin()
  await admin.createTopic('made', { queues: 3 })
  assert.ok((await admin.topics()).includes('made'))
  const sent = await (await client.producer()).send({ topic: 'made', body: 'x', keys: 'k' })
  assert.deepEqual((await admin.offsets('made')).map(([, first, next]) => next - first).sort(), [0, 0, 1])
  // The index by which it is found comes a moment later.
  let found
  while (found === undefined) found = await admin.message('made', sent.messageId)
  assert.equal(found.text(), 'x')
  assert.equal(await admin.message('made', 'F'.repeat(32)), undefined)
  await admin.createGroup('g', { maxAttempts: 3 })
  assert.ok((await admin.groups()).includes('g'))
  await admin.resetOffset('g', 'made', 'first')
  assert.equal((await admin.lag('g', 'made')).reduce((sum, [, lag]) => sum + lag, 0), 1)
  await admin.resetOffset('g', 'made', 'last')
  assert.equal((await admin.lag('g', 'made')).reduce((sum, [, lag]) => sum + lag, 0), 0)
  await admin.deleteGroup('g')
  assert.ok(!(await admin.groups()).includes('g'))
  await assert.rejects(admin.createTopic('made', { existOk: false }), { code: 'ERR_POSTHOUSE_CONFIG' })
  await admin.deleteTopic('made', { missingOk: false })
  await admin.deleteTopic('made')
  await assert.rejects(admin.deleteTopic('made', { missingOk: false }), { code: 'ERR_POSTHOUSE_TOPIC_NOT_FOUND', topic: 'made' })
  assert.ok(!(await admin.topics()).includes('made'))
  await assert.rejects(admin.offsets('made'), { code: 'ERR_POSTHOUSE_TOPIC_NOT_FOUND' })
  await assert.rejects(admin.createTopic('a b'), { code: 'ERR_POSTHOUSE_CONFIG' })
})

test('each member of a broadcasting group reads all, and keeps its own offsets', async (t) => {
  const { server, client } = await started(t, { topics: ['told'] })
  const folder = await mkdtemp(join(tmpdir(), 'posthouse-'))
  t.after(() => rm(folder, { recursive: true }))
  const other = await server.connect()
  t.after(() => other.close())
  const producer = await client.producer()
  await producer.sendMany(numbered('told', 20, { shardingKey: 'one' }))
  const options = { group: 'g', broadcast: true, startFrom: 'first', autoCommitMs: false }
  const one = await client.pullConsumer({ ...options, offsetsFile: join(folder, 'offsets.json') })
  const two = await other.pullConsumer(options)
  for (const member of [one, two]) {
    await member.subscribe('told')
    assert.equal(new Set(texts(await poll(member, 20))).size, 20)
  }
  const { queue } = (await client.admin().offsets('told')).map(([queue, , end]) => ({ queue, end })).find(({ end }) => end === 20)
  assert.equal(await one.committed(queue), undefined)
  await one.commit([[queue, 15]])
  assert.equal(await one.committed(queue), 15)
  assert.equal(await two.committed(queue), undefined)
  await one.close()
  const again = await client.pullConsumer({ ...options, offsetsFile: join(folder, 'offsets.json') })
  await again.subscribe('told')
  assert.deepEqual(texts(await poll(again, 5)), ['15', '16', '17', '18', '19'])
  await again.close()
  await two.close()
  // No broker was told: a group that shares begins anew.
  const shares = await client.pullConsumer({ group: 'g', startFrom: 'first' })
  await shares.subscribe('told')
  assert.equal((await poll(shares, 20)).length, 20)
  await assert.rejects(client.pullConsumer({ group: 'x', offsetsFile: 'x' }), { code: 'ERR_POSTHOUSE_CONFIG' })
})
