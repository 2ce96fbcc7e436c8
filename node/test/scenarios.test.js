'use strict'
// What every client does alike: bindings/scenarios.json, against the server in this process and, if there is one, the
// binary over TCP. If POSTHOUSE_SCENARIOS_AT names a server, against that one alone; POSTHOUSE_SCENARIOS_APACHE is its
// release then, if it is Apache's. bindings/scenarios.md says what the steps mean.
const assert = require('node:assert/strict')
const { existsSync, mkdtempSync, readFileSync, rmSync } = require('node:fs')
const { spawn } = require('node:child_process')
const { once } = require('node:events')
const { tmpdir } = require('node:os')
const { join } = require('node:path')
const { createInterface } = require('node:readline')
const { after, before, describe, test } = require('node:test')
const { PosthouseError, Retry, Server, connect } = require('posthouse')

const { scenarios } = JSON.parse(readFileSync(join(__dirname, '../../bindings/scenarios.json'), 'utf8'))
const binary = process.env.POSTHOUSE_BIN ?? join(__dirname, '../../target/release/posthouse')
// One that was named must be there.
const isThere = process.env.POSTHOUSE_BIN !== undefined || existsSync(binary)
const LIMIT_MS = 60_000
const NO_HANDLE = new Error('no handle')

const there = process.env.POSTHOUSE_SCENARIOS_AT
const apache = process.env.POSTHOUSE_SCENARIOS_APACHE

if (there !== undefined) {
  describe('at the one that was named', { concurrency: scenarios.length }, () => play(() => connect(there)))
} else {
  describe('in the process', { concurrency: 8 }, () => {
    let server
    before(async () => (server = await Server.embedded()))
    after(() => server.close())
    play(() => server.connect())
  })

  describe('in a namespace', { concurrency: 8 }, () => {
    let server
    before(async () => (server = await Server.embedded()))
    after(() => server.close())
    play(() => server.connect({ namespace: 'eu' }))
  })

  describe('over TCP', { concurrency: 8, skip: isThere ? false : `${binary} is not built` }, () => {
    let standalone
    before(async () => (standalone = await start()))
    after(() => standalone.stop())
    play(() => connect(standalone.address))
  })
}

function play(client) {
  for (const { name, steps, expect, expectApache } of scenarios) {
    test(name, { timeout: LIMIT_MS }, async (t) => {
      const scenario = new Scenario(await client(), client)
      t.after(() => scenario.client.close())
      await scenario.play(steps)
      // The deviations of Apache's release are put over what must be seen.
      for (const [step, fields] of Object.entries({ ...expect, ...expectApache?.[apache]?.expect })) {
        if (fields === null) assert.ok(!(step in scenario.saw), `${step} was not to be reached`)
        else for (const [field, value] of Object.entries(fields)) assert.deepEqual(scenario.saw[step]?.[field], value, `${step}.${field}`)
      }
    })
  }
}

/** The binary, on ports that are free. */
async function start() {
  const data = mkdtempSync(join(tmpdir(), 'posthouse-test-'))
  const words = ['--data', data, '--namesrv-addr', '127.0.0.1:0', '--broker-addr', '127.0.0.1:0', '--http-addr', 'off', '--metrics-addr', 'off']
  const child = spawn(binary, words, { stdio: ['ignore', 'pipe', 'pipe'] })
  const lines = [createInterface(child.stdout), createInterface(child.stderr)]
  const address = await new Promise((resolve, reject) => {
    for (const reader of lines) {
      reader.on('line', (line) => {
        const found = /name server\D*(127\.0\.0\.1:\d+)/i.exec(line)
        if (found) resolve(found[1])
      })
    }
    child.once('exit', (code) => reject(new Error(`${binary} ended with ${code}`)))
  })
  const stop = async () => {
    const ended = once(child, 'exit')
    child.kill('SIGTERM')
    await ended
    rmSync(data, { recursive: true })
  }
  return { address, stop }
}

let runs = 0

class Scenario {
  saw = {}
  #ending = `_${process.pid}_${++runs}`
  #handles = {}
  #producer

  constructor(client, another) {
    this.client = client
    this.another = another
  }

  async play(steps) {
    this.#producer = await this.client.producer({ group: this.#name('p'), sendTimeoutMs: 10_000 })
    for (const step of steps) {
      try {
        const saw = await this[step.do](step)
        if (step.as !== undefined) this.saw[step.as] = saw
      } catch (error) {
        const refused = error === NO_HANDLE ? 'no handle' : PosthouseError.is(error) ? error.responseCode : undefined
        if (step.as === undefined || refused === undefined) throw error
        this.saw[step.as] = { refused }
        return
      }
    }
  }

  #name(short) {
    return short + this.#ending
  }

  async topic({ topic, queues }) {
    await this.client.admin().createTopic(this.#name(topic), { queues })
  }

  async send({ topic, messages, how, as }) {
    const all = messages.map(({ body, repeat = 1, delayMs, ...said }) => ({
      topic: this.#name(topic),
      body: body.repeat(repeat),
      ...said,
      ...(delayMs === undefined ? {} : { deliverAfterMs: delayMs })
    }))
    const results = []
    if (how === 'batch') results.push(...(await this.#producer.sendBatch(all)))
    else if (how === 'oneway') {
      for (const message of all) this.#producer.sendOneway(message)
      await this.#producer.flush()
    } else for (const message of all) results.push(await this.#producer.send(message))
    this.#handles[as] = results.at(-1)?.recallHandle
    return { count: results.length, queues: new Set(results.map((result) => `${result.queue.broker} ${result.queue.queueId}`)).size }
  }

  async transaction({ topic, body, decide, check }) {
    let asked
    const question = new Promise((resolve) => (asked = resolve))
    const producer = await this.client.transactionProducer({
      group: this.#name(`tx${decide}`),
      check: (message) => {
        asked(message.text())
        return check
      }
    })
    const half = await producer.begin({ topic: this.#name(topic), body })
    await half[decide]()
    return { bodies: check === undefined ? [] : [await question] }
  }

  async recall({ of }) {
    const handle = this.#handles[of]
    if (handle === undefined) throw NO_HANDLE
    const { recalled } = await this.#producer.recall('any', handle)
    return { recalled: recalled ?? null }
  }

  async push({ group, topic, filter, orderly, model, members = 1, fails = {}, maxAttempts, until, deliveries = 0 }) {
    const failures = { ...fails }
    const acked = []
    const attempts = {}
    let delivered = 0
    let enough
    const done = new Promise((resolve) => (enough = resolve))
    const handler = (message) => {
      const body = message.text()
      delivered++
      attempts[body] = Math.max(attempts[body] ?? 0, message.attempt)
      const fail = failures[body] > 0
      if (fail) failures[body]--
      else acked.push(message)
      if (acked.length >= until && delivered >= deliveries) enough()
      if (fail && orderly) return false
      if (fail) throw new Retry(1000)
    }
    const name = topic.startsWith('%') ? topic : this.#name(topic)
    const options = {
      group: this.#name(group),
      subscribe: { [name]: filter?.sql === undefined ? (filter?.tags ?? '*') : { sql: filter.sql } },
      startFrom: 'first',
      orderly: orderly ?? false,
      broadcast: model === 'broadcasting',
      handler,
      ...(maxAttempts === undefined ? {} : { maxAttempts })
    }
    const clients = [this.client]
    while (clients.length < members) clients.push(await this.another())
    const consumers = await Promise.all(clients.map((client) => client.pushConsumer(options)))
    await done
    await Promise.all(consumers.map((consumer) => consumer.close()))
    await Promise.all(clients.slice(1).map((client) => client.close()))
    return { ...shown(acked), attempts }
  }

  async pull({ group, topic, offset = 0, until }) {
    const name = topic.startsWith('%DLQ%') ? `%DLQ%${this.#name(topic.slice(5))}` : this.#name(topic)
    const consumer = await this.client.pullConsumer({ group: this.#name(group), startFrom: 'first' })
    const queues = await consumer.queues(name)
    await consumer.assign(queues)
    for (const queue of queues) await consumer.seek(queue, offset)
    const all = []
    while (all.length < until) all.push(...(await consumer.poll()))
    await consumer.close()
    return shown(all)
  }

  async pop({ group, topic, invisibleMs = 60_000, ack, change = {}, until }) {
    const consumer = await this.client.simpleConsumer({ group: this.#name(group), subscribe: this.#name(topic), invisibleMs })
    const all = []
    const attempts = {}
    while (all.length < until) {
      for (const message of await consumer.receive()) {
        const body = message.text()
        all.push(message)
        attempts[body] = message.attempt
        if (body in change) await consumer.extend(message, change[body])
        else if (ack === undefined || ack.includes(body)) await consumer.ack(message)
      }
    }
    return { ...shown(all), attempts }
  }

  async reply({ group, topic, with: text }) {
    const handler = (message) => ({ reply: text.replace('{}', message.text()) })
    await this.client.pushConsumer({ group: this.#name(group), subscribe: this.#name(topic), startFrom: 'first', handler })
  }

  async request({ topic, body }) {
    for (;;) {
      try {
        const reply = await this.#producer.request({ topic: this.#name(topic), body }, { timeoutMs: 10_000 })
        return { bodies: [reply.text()] }
      } catch (error) {
        if (!PosthouseError.is(error, 'ERR_POSTHOUSE_TIMEOUT')) throw error
      }
    }
  }
}

/** RocketMQ's own properties; the others are the sender's. */
const SYSTEM = /^(MSG_REGION|TRACE_ON|CLUSTER|UNIQ_KEY|KEYS|TAGS|WAIT|MIN_OFFSET|MAX_OFFSET|CONSUME_START_TIME|__.*|[A-Z0-9_]*(TIMER|RETRY|RECONSUME|REAL|ORIGIN|DELAY|POP)[A-Z0-9_]*|INNER_NUM|PGROUP|TRAN_MSG)$/

function shown(messages) {
  const inOrder = messages.map((message) => message.text())
  const byShardingKey = {}
  for (const message of messages) (byShardingKey[message.shardingKey] ??= []).push(message.text())
  const codePoints = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))
  return {
    bodies: inOrder.toSorted(codePoints),
    inOrder,
    byShardingKey,
    tags: messages.map((message) => message.tag ?? null),
    keys: messages.map((message) => message.keys),
    properties: messages.map((message) => Object.fromEntries(Object.entries(message.properties).filter(([name]) => !SYSTEM.test(name)))),
    lengths: messages.map((message) => message.body.length)
  }
}
