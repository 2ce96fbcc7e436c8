// Sends without asking what became of it: for measurements that may get lost. Prints:
//
//     temperature 21.5
const { Server } = require('posthouse')

async function main() {
  const server = await Server.embedded()
  const client = await server.connect()
  const producer = await client.producer()
  producer.sendOneway({ topic: 'readings', body: '21.5', tag: 'temperature' })
  await producer.flush()
  const consumer = await client.simpleConsumer({ group: 'dashboard', subscribe: 'readings' })
  const [message] = await consumer.receive()
  console.log(message.tag, message.text())
  await client.close()
  await server.close()
}

main()
