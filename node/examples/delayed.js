// A message that is delivered later, and one that is called back before. Prints:
//
//     nothing yet
//     recalled: true
//     after half an hour: pay
const { Server } = require('posthouse')

async function main() {
  const server = await Server.embedded({ clock: 'manual' })
  const client = await server.connect()
  const producer = await client.producer()
  await producer.send({ topic: 'reminders', body: 'pay', deliverAfterMs: 30 * 60_000 })
  const regretted = await producer.send({ topic: 'reminders', body: 'hurry up', deliverAfterMs: 10 * 60_000 })
  const consumer = await client.simpleConsumer({ group: 'mailer', subscribe: 'reminders' })
  console.log((await consumer.receive({ waitMs: 0 })).length === 0 ? 'nothing yet' : 'too early')

  const { recalled } = await producer.recall('reminders', regretted.recallHandle)
  console.log('recalled:', recalled)

  await server.advance(30 * 60_000)
  for (const message of await consumer.receive()) {
    console.log('after half an hour:', message.text())
    await consumer.ack(message)
  }
  await client.close()
  await server.close()
}

main()
