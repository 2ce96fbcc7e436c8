// Sends messages of one topic in one request; they lie one behind the other in one queue. Prints:
//
//     line 0
//     line 1
//     line 2
const { Server } = require('posthouse')

async function main() {
  const server = await Server.embedded()
  const client = await server.connect()
  const producer = await client.producer()
  const [first] = await producer.sendBatch([0, 1, 2].map((number) => ({ topic: 'invoice', body: `line ${number}` })))
  const reader = await client.pullConsumer({ group: 'printer', startFrom: 'first' })
  await reader.assign([first.queue])
  for (const message of await reader.poll()) console.log(message.text())
  await client.close()
  await server.close()
}

main()
