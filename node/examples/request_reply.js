// A request that waits for the reply of whoever consumes it. Prints:
//
//     pong
const { Server } = require('posthouse')

async function main() {
  const server = await Server.embedded({ topics: ['pings'] })
  const client = await server.connect()
  await client.pushConsumer({ group: 'answerers', subscribe: 'pings', startFrom: 'first', handler: () => ({ reply: 'pong' }) })
  const producer = await client.producer()
  const reply = await producer.request({ topic: 'pings', body: 'ping' }, { timeoutMs: 10_000 })
  console.log(reply.text())
  await client.close()
  await server.close()
}

main()
