'use strict'
// What the tests share. They run against the package as it is installed, and a real server in the process.

const { Server } = require('posthouse')

/** A server that ends with the test, and a client of it. */
async function started(t, options = {}) {
  const server = await Server.embedded(options)
  const client = await server.connect()
  t.after(async () => {
    await client.close()
    await server.close()
  })
  return { server, client }
}

/** Receives and acks until there are so many. */
async function receive(consumer, count) {
  const all = []
  while (all.length < count) {
    const messages = await consumer.receive()
    await consumer.ack(messages)
    all.push(...messages)
  }
  return all
}

const texts = (messages) => messages.map((message) => message.text())

const numbered = (topic, count, extra = {}) => Array.from({ length: count }, (_, n) => ({ topic, body: String(n), ...extra }))

module.exports = { numbered, receive, started, texts }
