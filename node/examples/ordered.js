// Messages with the same sharding key go to one queue, and an orderly consumer handles them in order. Prints:
//
//     created
//     paid
//     shipped
const { Server } = require('posthouse')

const STEPS = ['created', 'paid', 'shipped']

async function main() {
  const server = await Server.embedded()
  const client = await server.connect()
  const producer = await client.producer()
  for (const step of STEPS) await producer.send({ topic: 'orders', body: step, shardingKey: 'order-17' })
  const consumer = await client.pushConsumer({ group: 'warehouse', subscribe: 'orders', orderly: true, startFrom: 'first' })
  let left = STEPS.length
  for await (const message of consumer) {
    console.log(message.text())
    if (--left === 0) break
  }
  await client.close()
  await server.close()
}

main()
