// A consumer that wants some tags of a topic. Prints:
//
//     eu: 1
//     us: 2
const { Server } = require('posthouse')

async function main() {
  const server = await Server.embedded()
  const client = await server.connect()
  const producer = await client.producer()
  for (const [tag, body] of [['eu', '1'], ['us', '2'], ['asia', '3']]) await producer.send({ topic: 'orders', body, tag })
  const wanted = []
  const consumer = await client.pushConsumer({ group: 'billing', subscribe: { orders: 'eu || us' }, startFrom: 'first' })
  for await (const message of consumer) {
    wanted.push(`${message.tag}: ${message.text()}`)
    if (wanted.length === 2) break
  }
  for (const line of wanted.sort()) console.log(line)
  await client.close()
  await server.close()
}

main()
