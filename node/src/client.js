'use strict'
// A client: one member of a cluster, from which everything else is made.

const check = require('./check.js')
const { Admin } = require('./admin.js')
const { Closable } = require('./dispose.js')
const { attempt, closedError, configError } = require('./errors.js')
const { LEVELS, environment, native } = require('./port.js')
const { Producer } = require('./producer.js')
const { PullConsumer } = require('./pull_consumer.js')
const { PushConsumer } = require('./push_consumer.js')
const { SimpleConsumer } = require('./simple_consumer.js')
const { TransactionProducer } = require('./transaction.js')

const OPTIONS = {
  url: ['string', undefined],
  namespace: ['string', undefined],
  tls: ['any', undefined],
  credentials: ['any', undefined],
  requestTimeoutMs: ['millis', 3000],
  instance: ['string', undefined],
  logLevel: ['any', 'warn']
}

class Client extends Closable {
  #environment = environment()
  #native
  #unlisten
  /** What was made and is open, in the order it was made. A producer that nobody has any more is not kept. */
  #made = new Set()

  constructor(given = {}, server) {
    super()
    const options = typeof given === 'string' ? { ...defaults(), url: given } : check.options('connect', given, OPTIONS)
    const signing = check.credentials(options.credentials)
    const sealing = check.tls(options.tls)
    const { url, namespace, requestTimeoutMs, instance, logLevel } = options
    if (!LEVELS.includes(logLevel)) throw configError(`connect: logLevel must be one of ${LEVELS.join(', ')}`)
    const { port } = this.#environment
    this.#unlisten = this.#environment.listen(this, logLevel)
    try {
      this.#native = attempt(() =>
        server === undefined
          ? native.Client.open(port, url, namespace, requestTimeoutMs, instance, signing, sealing)
          : native.Client.inside(port, server, namespace, requestTimeoutMs, instance)
      )
    } catch (error) {
      this.#unlisten()
      throw error
    }
  }

  async producer(options) {
    return this.#keep(new Producer(this.#open(), options))
  }

  async transactionProducer(options) {
    return this.#keep(new TransactionProducer(this.#open(), options))
  }

  async simpleConsumer(options) {
    return this.#keep(new SimpleConsumer(this.#open(), options))
  }

  async pullConsumer(options) {
    return this.#keep(new PullConsumer(this.#open(), options))
  }

  async pushConsumer(options) {
    const consumer = this.#keep(new PushConsumer(this.#open(), options))
    await consumer._start()
    return consumer
  }

  admin() {
    return new Admin(this.#open())
  }

  metrics() {
    return Object.freeze({ ...attempt(() => this.#native.metrics()), wakeups: this.#environment.port.wakeups() })
  }

  #open() {
    if (this._isClosing) throw closedError('client')
    return this.#native
  }

  #keep(made) {
    const kept = new WeakRef(made)
    this.#made.add(kept)
    gone.register(made, () => this.#made.delete(kept))
    return made
  }

  async _close(limit) {
    const begun = performance.now()
    const left = () => Math.max(0, limit - (performance.now() - begun))
    const made = [...this.#made].map((kept) => kept.deref()).filter((one) => one !== undefined)
    // Consumers first: their handlers may be sending.
    const producers = made.filter((one) => one instanceof Producer)
    const consumers = made.filter((one) => !(one instanceof Producer))
    await Promise.all(consumers.map((one) => one.close({ timeoutMs: left() })))
    await Promise.all(producers.map((one) => one.close({ timeoutMs: left() })))
    await this.#environment.call((call) => this.#native.close(call, left()))
    this.#unlisten()
  }
}

const gone = new FinalizationRegistry((forget) => forget())

const defaults = () => check.options('connect', {}, OPTIONS)

async function connect(options) {
  return new Client(options)
}

module.exports = { Client, connect }
