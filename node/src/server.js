'use strict'
// A name server and a broker in this process.

const check = require('./check.js')
const { Client } = require('./client.js')
const { Closable } = require('./dispose.js')
const { PosthouseError, attempt, configError } = require('./errors.js')
const { environment, native, valueOf } = require('./port.js')

const OPTIONS = {
  path: ['string', undefined],
  memoryBytes: ['bytes', undefined],
  listen: ['any', false],
  topics: ['any', []],
  autoCreateTopics: ['boolean', true],
  clock: ['any', 'real'],
  config: ['any', {}]
}

const SECRET = Symbol('a server is made by Server.embedded()')

class Server extends Closable {
  #environment = environment()
  #native
  #path
  #address
  #topics
  #unlisten

  constructor(secret, path, topics) {
    if (secret !== SECRET) throw new TypeError('a server is made by Server.embedded()')
    super()
    this.#path = path
    this.#topics = topics
    this.#unlisten = this.#environment.listen(this, 'warn')
    this.#native = attempt(() => new native.Server(this.#environment.port))
  }

  static async embedded(given = {}) {
    const options = check.options('Server.embedded', given, OPTIONS)
    const { path, memoryBytes, listen, autoCreateTopics, clock } = options
    if (listen !== false) check.one('listen', listen, 'string')
    if (clock !== 'real' && clock !== 'manual') throw configError("clock must be 'real' or 'manual'")
    const topics = [...options.topics].map((topic) => check.one('a topic', topic, 'string'))
    const settings = Object.entries({ autoCreateTopicEnable: autoCreateTopics, ...options.config })
    const server = new Server(SECRET, path, topics)
    await server.#start({
      path,
      memoryBytes,
      listen: listen === false ? undefined : listen,
      manualClock: clock === 'manual',
      settings: settings.flat().map(String)
    })
    return server
  }

  async #start(options) {
    this.#address = valueOf(await this.#environment.call((call) => this.#native.start(call, options))) ?? undefined
    if (this.#topics.length > 0) await this.#make()
  }

  async #make() {
    const client = await this.connect()
    try {
      for (const topic of this.#topics) await client.admin().createTopic(topic)
    } finally {
      await client.close()
    }
  }

  get namesrvAddr() {
    if (this.#address !== undefined) return this.#address
    throw new PosthouseError('ERR_POSTHOUSE_UNSUPPORTED', "this server does not listen: start it with listen: '127.0.0.1:0', or use server.connect()")
  }

  get url() {
    if (this.#address !== undefined) return `rocketmq://${this.#address}`
    if (this.#path !== undefined) return `embedded:${this.#path}`
    throw new PosthouseError('ERR_POSTHOUSE_UNSUPPORTED', 'a server in memory that does not listen has no URL: use server.connect()')
  }

  async connect(options) {
    return new Client(options, this.#native)
  }

  async advance(ms) {
    check.one('ms', ms, 'millis')
    return valueOf(await this.#environment.call((call) => this.#native.advance(call, ms)))
  }

  async reset() {
    const client = await this.connect()
    try {
      const admin = client.admin()
      // Groups first: one whose topics are gone would be remembered.
      for (const group of await admin.groups()) if (!isSystem(group)) await admin.deleteGroup(group)
      for (const topic of await admin.topics()) if (!isSystem(topic)) await admin.deleteTopic(topic)
    } finally {
      await client.close()
    }
    await this.#make()
  }

  async _close() {
    await this.#environment.call((call) => this.#native.close(call))
    this.#unlisten()
  }
}

const SYSTEM = new Set([
  'TBW102', 'SELF_TEST_TOPIC', 'BenchmarkTest', 'DefaultCluster', 'OFFSET_MOVED_EVENT', 'SCHEDULE_TOPIC_XXXX', 'TRANS_CHECK_MAX_TIME_TOPIC',
  'TOOLS_CONSUMER', 'FILTERSRV_CONSUMER', 'SELF_TEST_C_GROUP', 'CID_ONSAPI_OWNER', 'CID_ONSAPI_PERMISSION', 'CID_ONSAPI_PULL',
  'CID_DefaultHeartBeatSyncerTopic', 'SELF_TEST_P_GROUP', 'posthouse-broker', 'broker-a'
])

const isSystem = (name) => SYSTEM.has(name) || name.startsWith('RMQ_SYS_') || name.startsWith('rmq_sys_') || name.startsWith('CID_RMQ_SYS_') || name.endsWith('_REPLY_TOPIC')

module.exports = { Server }
