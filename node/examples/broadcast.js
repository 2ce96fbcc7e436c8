// Every member of a group gets every message. Prints:
//
//     one: new prices
//     two: new prices
const { Server } = require('posthouse')

async function main() {
  const server = await Server.embedded({ topics: ['news'] })
  const members = await Promise.all([server.connect(), server.connect()])
  const caches = { group: 'caches', subscribe: 'news', broadcast: true, startFrom: 'first' }
  const [one, two] = await Promise.all(members.map((client) => client.pushConsumer(caches)))
  const sender = await server.connect()
  await (await sender.producer()).send({ topic: 'news', body: 'new prices' })
  for (const [name, reader] of [['one', one], ['two', two]]) {
    for await (const message of reader) {
      console.log(`${name}: ${message.text()}`)
      break
    }
  }
  await Promise.all([...members, sender].map((client) => client.close()))
  await server.close()
}

main()
