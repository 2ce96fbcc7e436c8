'use strict'
// Topics, groups and offsets.

const check = require('./check.js')
const { PosthouseError, attempt, configError } = require('./errors.js')
const { messagesOf } = require('./message.js')
const { environment, native, valueOf } = require('./port.js')

const KINDS = ['normal', 'fifo', 'delay', 'transaction', 'mixed']

class Admin {
  #environment = environment()
  #native

  constructor(client) {
    this.#native = attempt(() => new native.Admin(client))
  }

  async #value(start) {
    return valueOf(await this.#environment.call(start))
  }

  async createTopic(topic, given = {}) {
    check.one('topic', topic, 'string')
    const shape = { queues: ['positive', 8], existOk: ['boolean', true], kind: ['any', 'mixed'] }
    const { queues, existOk, kind } = check.options('createTopic', given, shape)
    if (!KINDS.includes(kind)) throw configError(`kind must be one of ${KINDS.join(', ')}`)
    if (!existOk && (await this.topics()).includes(topic)) throw configError(`topic ${topic} is there already`)
    await this.#value((call) => this.#native.createTopic(call, topic, queues, kind))
  }

  async deleteTopic(topic, given = {}) {
    check.one('topic', topic, 'string')
    const { missingOk } = check.options('deleteTopic', given, { missingOk: ['boolean', true] })
    if (!missingOk && !(await this.topics()).includes(topic)) {
      throw new PosthouseError('ERR_POSTHOUSE_TOPIC_NOT_FOUND', `there is no topic ${topic}`, { topic })
    }
    await this.#value((call) => this.#native.deleteTopic(call, topic))
  }

  topics() {
    return this.#value((call) => this.#native.topics(call))
  }

  offsets(topic) {
    return this.#value((call) => this.#native.offsets(call, topic))
  }

  async createGroup(group, given = {}) {
    check.one('group', group, 'string')
    const { orderly, maxAttempts } = check.options('createGroup', given, { orderly: ['boolean', false], maxAttempts: ['count', 16] })
    await this.#value((call) => this.#native.createGroup(call, group, orderly, maxAttempts))
  }

  async deleteGroup(group) {
    check.one('group', group, 'string')
    await this.#value((call) => this.#native.deleteGroup(call, group))
  }

  groups() {
    return this.#value((call) => this.#native.groups(call))
  }

  async lag(group, topic) {
    check.one('group', group, 'string')
    try {
      return await this.#value((call) => this.#native.lag(call, group, topic))
    } catch (error) {
      // A group that never committed anything has no offsets to compare.
      if (PosthouseError.is(error) && error.responseCode === 22) return []
      throw error
    }
  }

  async resetOffset(group, topic, to) {
    check.one('group', group, 'string')
    check.one('topic', topic, 'string')
    const from = check.startFrom(to)
    return this.#value((call) => this.#native.resetOffset(call, group, topic, from))
  }

  async message(topic, messageId) {
    check.one('topic', topic, 'string')
    check.one('messageId', messageId, 'string')
    const { frame } = await this.#environment.call((call) => this.#native.message(call, topic, messageId))
    return messagesOf(frame)[0]
  }

  async messagesByKey(topic, key, given = {}) {
    check.one('topic', topic, 'string')
    check.one('key', key, 'string')
    const { limit } = check.options('messagesByKey', given, { limit: ['positive', 32] })
    const { frame } = await this.#environment.call((call) => this.#native.messagesByKey(call, topic, key, limit))
    return messagesOf(frame)
  }
}

module.exports = { Admin }
