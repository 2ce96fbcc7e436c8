// Sends a message, and waits until the broker has it. Prints:
//
//     ok, at offset 0
//     one parcel
const { Server } = require('posthouse')

async function main() {
  const server = await Server.embedded()
  const client = await server.connect()
  const producer = await client.producer({ group: 'shop' })
  const sent = await producer.send({ topic: 'orders', body: 'one parcel', keys: 'order-17' })
  console.log(`${sent.status}, at offset ${sent.queueOffset}`)
  const consumer = await client.simpleConsumer({ group: 'billing', subscribe: 'orders' })
  for (const message of await consumer.receive()) {
    console.log(message.text())
    await consumer.ack(message)
  }
  await client.close()
  await server.close()
}

main()
