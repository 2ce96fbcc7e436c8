// A message and a database change that happen both or not at all. Prints:
//
//     order 1 is paid
//     rolled back: the database says no
//     asked about order 3
//     order 3 is paid
const { Server } = require('posthouse')

/** The broker asks this about a message of which it heard nothing more. */
function wasItPaid(message) {
  console.log('asked about', message.text().replace(' is paid', ''))
  return 'commit'
}

async function main() {
  const server = await Server.embedded({ clock: 'manual' })
  const client = await server.connect()
  const producer = await client.transactionProducer({ group: 'shop', check: wasItPaid })
  const consumer = await client.simpleConsumer({ group: 'shipping', subscribe: 'orders' })
  const shipping = async () => {
    for (const message of await consumer.receive()) {
      console.log(message.text())
      await consumer.ack(message)
    }
  }

  await producer.transaction({ topic: 'orders', body: 'order 1 is paid' }, async () => {
    // The change to the database goes here; that it worked commits.
  })
  await shipping()

  const failed = producer.transaction({ topic: 'orders', body: 'order 2 is paid' }, async () => {
    throw new Error('the database says no')
  })
  await failed.catch((error) => console.log('rolled back:', error.message))

  const half = await producer.begin({ topic: 'orders', body: 'order 3 is paid' })
  half.unknown() // as if this process had died here
  await server.advance(10_000)
  await shipping()
  await client.close()
  await server.close()
}

main()
