'use strict'
const assert = require('node:assert/strict')
const diagnostics = require('node:diagnostics_channel')
const { test } = require('node:test')
const { Reject, Retry } = require('posthouse')
const { numbered, receive, started, texts } = require('./helpers.js')

/** Calls until the topic that it is about is there. */
async function existing(call) {
  for (;;) {
    try {
      return await call()
    } catch (error) {
      if (error.code !== 'ERR_POSTHOUSE_TOPIC_NOT_FOUND') throw error
    }
  }
}

/** Resolves when it was called so often. */
function after(count) {
  const seen = []
  let done
  const all = new Promise((resolve) => (done = resolve))
  const call = (one) => {
    seen.push(one)
    if (seen.length === count) done(seen)
  }
  return { all, call }
}

test('a handler gets every message, some at a time', async (t) => {
  const { client } = await started(t, { topics: ['pushed'] })
  const producer = await client.producer()
  await producer.sendMany(numbered('pushed', 300))
  const { all, call } = after(300)
  let running = 0
  let most = 0
  const handler = async (message) => {
    most = Math.max(most, ++running)
    await new Promise(setImmediate)
    running--
    call(message.text())
  }
  await client.pushConsumer({ group: 'g', subscribe: 'pushed', startFrom: 'first', concurrency: 7, handler })
  assert.equal(new Set(await all).size, 300)
  assert.ok(most > 1 && most <= 7, `${most} at a time`)
})

test('a paused consumer is handed nothing until it goes on', async (t) => {
  const { client } = await started(t, { topics: ['held'] })
  const producer = await client.producer()
  const open = (group, handler) => client.pushConsumer({ group, subscribe: 'held', startFrom: 'first', handler })
  const mine = [after(1), after(2)]
  const paused = await open('g', (message) => mine.forEach(({ call }) => call(message.text())))
  await producer.send({ topic: 'held', body: 'first' })
  assert.deepEqual(await mine[0].all, ['first'])
  paused.pause()
  const others = after(2)
  await open('other', (message) => others.call(message.text()))
  await producer.send({ topic: 'held', body: 'second' })
  // Somebody else has it by now.
  assert.deepEqual((await others.all).sort(), ['first', 'second'])
  assert.equal(await Promise.race([mine[1].all, Promise.resolve('nothing')]), 'nothing')
  paused.resume()
  assert.deepEqual(await mine[1].all, ['first', 'second'])
})

test('iterating acks on asking for the next, and a break leaves nothing behind', async (t) => {
  const { client } = await started(t, { topics: ['iterated'] })
  const producer = await client.producer()
  await producer.sendMany(numbered('iterated', 200))
  const options = { group: 'g', subscribe: 'iterated', startFrom: 'first' }
  const first = await client.pushConsumer(options)
  const seen = new Set()
  for await (const message of first) {
    seen.add(message.text())
    if (seen.size === 50) break
  }
  await first.close()
  await first.closed
  const second = await client.pushConsumer(options)
  for await (const batch of second.batches(16)) {
    assert.ok(batch.length <= 16)
    for (const message of batch) seen.add(message.text())
    if (seen.size === 200) break
  }
  assert.equal(seen.size, 200)
})

test('a closed consumer ends its iteration', async (t) => {
  const { client } = await started(t, { topics: ['ends'] })
  const consumer = await client.pushConsumer({ group: 'g', subscribe: 'ends' })
  const ended = (async () => {
    for await (const message of consumer) assert.fail(message.text())
  })()
  await consumer.close()
  await ended
})

test('messages of a key come in order', async (t) => {
  const { client } = await started(t, { topics: ['ordered'] })
  const producer = await client.producer()
  const keys = ['a', 'b', 'c']
  await producer.sendMany(numbered('ordered', 150).map((message, n) => ({ ...message, shardingKey: keys[n % 3], tag: keys[n % 3] })))
  const { all, call } = after(150)
  await client.pushConsumer({ group: 'g', subscribe: 'ordered', startFrom: 'first', orderly: true, handler: call })
  const seen = await all
  for (const key of keys) {
    const own = texts(seen.filter((message) => message.tag === key)).map(Number)
    assert.deepEqual(own, own.toSorted((a, b) => a - b))
    assert.equal(own.length, 50)
  }
})

test('tags and SQL choose', async (t) => {
  const { client } = await started(t, { topics: ['chosen'] })
  const producer = await client.producer()
  const messages = ['a', 'b', 'c'].map((tag, n) => ({ topic: 'chosen', body: tag, tag, properties: { price: String(n * 10) } }))
  await producer.sendMany(messages)
  for (const [group, filter, expected] of [['tags', 'a || c', ['a', 'c']], ['sql', { sql: 'price >= 10' }, ['b', 'c']]]) {
    const { all, call } = after(2)
    await client.pushConsumer({ group, subscribe: { chosen: filter }, startFrom: 'first', handler: call })
    assert.deepEqual(texts(await all).sort(), expected)
  }
  const wrong = client.pushConsumer({ group: 'x', subscribe: { chosen: { sql: 'price >' } }, handler() {} })
  await assert.rejects(wrong, { code: 'ERR_POSTHOUSE_FILTER' })
})

test('what fails comes again, what is rejected is a dead letter, and both are told', async (t) => {
  const { server, client } = await started(t, { topics: ['failing'], clock: 'manual' })
  const told = []
  const log = (event) => told.push(event.message)
  diagnostics.subscribe('posthouse:log', log)
  t.after(() => diagnostics.unsubscribe('posthouse:log', log))
  const producer = await client.producer()
  for (const body of ['error', 'retry', 'false', 'poison']) await producer.send({ topic: 'failing', body })
  const first = after(4)
  const again = after(3)
  const handler = (message) => {
    if (message.attempt > 1) return again.call(message)
    first.call(message)
    if (message.text() === 'error') throw new Error('once')
    if (message.text() === 'retry') throw new Retry(4_000)
    if (message.text() === 'poison') throw new Reject()
    return false
  }
  await client.pushConsumer({ group: 'g', subscribe: 'failing', startFrom: 'first', handler })
  await first.all
  const dead = await client.simpleConsumer({ group: 'd', subscribe: '%DLQ%g' })
  assert.deepEqual(texts(await existing(() => receive(dead, 1))), ['poison'])
  // The other three wait for the clock; how long they take to be sent back is theirs.
  const waited = async () => {
    while ((await server.advance(10_000)) === 0) await new Promise(setImmediate)
  }
  const all = again.all.then((seen) => seen)
  let done = false
  all.then(() => (done = true))
  while (!done) await Promise.race([all, waited()])
  assert.deepEqual(texts(await all).sort(), ['error', 'false', 'retry'])
  assert.equal(told.length, 1)
  assert.match(told[0], /handler of g failed/)
})

test('a retry comes after exactly the time that was asked for', { timeout: 60_000 }, async (t) => {
  const { server, client } = await started(t, { topics: ['exact'], clock: 'manual' })
  const { queue } = await (await client.producer()).send({ topic: 'exact', body: 'x' })
  const twice = after(2)
  const handler = (message) => {
    twice.call(message)
    if (message.attempt === 1) throw new Retry(2_500)
  }
  await client.pushConsumer({ group: 'g', subscribe: 'exact', startFrom: 'first', handler })
  // The clock stands still until the message waits at the broker: it is done where it was.
  const admin = client.admin()
  const isDone = ([{ broker, queueId }, lag]) => broker === queue.broker && queueId === queue.queueId && lag === 0
  while (!(await admin.lag('g', 'exact')).some(isDone)) await new Promise(setImmediate)
  assert.equal(await server.advance(2_499), 0)
  assert.equal(await server.advance(1), 1)
  const [first, second] = await twice.all
  assert.equal(second.storedAt - first.storedAt, 2_500)
})

test('a retry after what is no number of milliseconds is a handler\'s failure that names it', { timeout: 60_000 }, async (t) => {
  const { server, client } = await started(t, { topics: ['edges'], clock: 'manual' })
  const told = []
  const log = (event) => told.push(String(event.error))
  diagnostics.subscribe('posthouse:log', log)
  t.after(() => diagnostics.unsubscribe('posthouse:log', log))
  const wrong = { minus: -1, three: -3, infinity: -Infinity, ever: Infinity, nan: NaN, nothing: null, text: '5', big: 5n }
  const producer = await client.producer()
  for (const body of Object.keys(wrong)) await producer.send({ topic: 'edges', body })
  const again = new Set()
  const handler = (message) => {
    if (message.attempt > 1) return void again.add(message.text())
    throw new Retry(wrong[message.text()])
  }
  await client.pushConsumer({ group: 'g', subscribe: 'edges', startFrom: 'first', handler })
  // None is acked and none a dead letter: all come again.
  while (again.size < Object.keys(wrong).length) {
    await server.advance(3_600_000)
    await new Promise(setImmediate)
  }
  for (const value of ['-1', '-3', '-Infinity', 'Infinity', 'NaN', 'null', '"5"', '5']) {
    const text = `PosthouseError: Retry: afterMs must be a number of milliseconds, 0 or more, not ${value}`
    assert.ok(told.includes(text), `${text} of ${told}`)
  }
  assert.equal(new Retry(0).afterMs, 0)
})

test('close lets handlers finish, and tells them', async (t) => {
  const { client } = await started(t, { topics: ['closing'] })
  const producer = await client.producer()
  await producer.send({ topic: 'closing', body: 'x' })
  let finished = false
  let begun
  const began = new Promise((resolve) => (begun = resolve))
  const handler = async (_message, { signal }) => {
    begun()
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
    await new Promise(setImmediate)
    finished = true
  }
  const consumer = await client.pushConsumer({ group: 'g', subscribe: 'closing', startFrom: 'first', handler })
  await began
  await consumer.close()
  assert.ok(finished)
  assert.deepEqual(await client.admin().lag('g', 'closing').then((all) => all.filter(([, lag]) => lag > 0)), [])
})

test('every member of a broadcasting group gets all', async (t) => {
  const { server, client } = await started(t, { topics: ['all'] })
  const other = await server.connect()
  t.after(() => other.close())
  const one = after(20)
  const two = after(20)
  const options = { group: 'g', subscribe: 'all', broadcast: true, startFrom: 'first' }
  await client.pushConsumer({ ...options, handler: one.call })
  await other.pushConsumer({ ...options, handler: two.call })
  await (await client.producer()).sendMany(numbered('all', 20))
  assert.equal(new Set(texts(await one.all)).size, 20)
  assert.equal(new Set(texts(await two.all)).size, 20)
})

test('what a handler has too long comes again, and what it says late does not count', { timeout: 60_000 }, async (t) => {
  const { server, client } = await started(t, { topics: ['slow'], clock: 'manual' })
  const told = []
  const log = (event) => told.push(event)
  diagnostics.subscribe('posthouse:log', log)
  t.after(() => diagnostics.unsubscribe('posthouse:log', log))
  await (await client.producer()).send({ topic: 'slow', body: 'x' })
  const attempts = []
  const twice = after(2)
  let late
  const handler = async (message, { signal }) => {
    attempts.push(message.attempt)
    if (message.attempt === 2) return twice.call('again')
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
    late = signal.reason
    await twice.all.catch(() => {})
    throw new Reject('too late to say so')
  }
  const options = { group: 'g', subscribe: 'slow', startFrom: 'first', concurrency: 1, handlerTimeoutMs: 50, handler }
  const consumer = await client.pushConsumer(options)
  // Its place is free while it goes on.
  while (!attempts.includes(2)) {
    await server.advance(11_000)
    await new Promise(setImmediate)
  }
  twice.call('done')
  await twice.all
  await consumer.close()
  assert.deepEqual(attempts, [1, 2])
  assert.equal(late.code, 'ERR_POSTHOUSE_TIMEOUT')
  const { retried, rejected, acknowledged } = client.metrics()
  assert.deepEqual({ retried, rejected, acknowledged }, { retried: 1, rejected: 0, acknowledged: 1 })
  assert.equal(told.filter((event) => event.error?.code === 'ERR_POSTHOUSE_TIMEOUT').length, 1)
})

test('in order a message waits for its handler, which is told that it is late', { timeout: 60_000 }, async (t) => {
  const { client } = await started(t, { topics: ['patient'] })
  const told = []
  const log = (event) => told.push(event.message)
  diagnostics.subscribe('posthouse:log', log)
  t.after(() => diagnostics.unsubscribe('posthouse:log', log))
  const producer = await client.producer()
  for (const body of ['a', 'b']) await producer.send({ topic: 'patient', body, shardingKey: 'one' })
  const seen = []
  const both = after(2)
  const handler = async (message, { signal }) => {
    seen.push([message.text(), message.attempt])
    if (message.text() === 'a') {
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      await new Promise(setImmediate)
      assert.equal(seen.length, 1)
    }
    both.call(message)
  }
  await client.pushConsumer({ group: 'g', subscribe: 'patient', startFrom: 'first', orderly: true, handlerTimeoutMs: 50, handler })
  await both.all
  assert.deepEqual(seen, [['a', 1], ['b', 1]])
  assert.equal(told.filter((text) => /its queue waits/.test(text)).length, 1)
})
