// Sends a thousand messages at once, without waiting for one before the next. Prints:
//
//     1000 stored
const { Server } = require('posthouse')

async function main() {
  const server = await Server.embedded()
  const client = await server.connect()
  const producer = await client.producer()
  const sends = Array.from({ length: 1000 }, (_, number) => producer.send({ topic: 'orders', body: `parcel ${number}` }))
  const results = await Promise.all(sends)
  console.log(results.filter((result) => result.status === 'ok').length, 'stored')
  await client.close()
  await server.close()
}

main()
