// A consumer that filters by an expression over properties. Prints:
//
//     50 from eu
const { Server } = require('posthouse')

async function main() {
  const server = await Server.embedded()
  const client = await server.connect()
  const producer = await client.producer()
  for (const [region, price] of [['eu', '5'], ['eu', '50'], ['us', '500']]) {
    await producer.send({ topic: 'orders', body: price, properties: { region, price } })
  }
  const dear = { sql: "price > 10 AND region = 'eu'" }
  const consumer = await client.simpleConsumer({ group: 'audit', subscribe: { orders: dear } })
  for (const message of await consumer.receive()) {
    console.log(message.text(), 'from', message.properties.region)
    await consumer.ack(message)
  }
  await client.close()
  await server.close()
}

main()
