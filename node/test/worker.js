'use strict'
// Sends and consumes until it is terminated.
const { parentPort, workerData } = require('node:worker_threads')
const { connect } = require('posthouse')

async function main() {
  const client = await connect(workerData)
  const producer = await client.producer()
  let told = false
  await client.pushConsumer({
    group: 'workers',
    subscribe: 't',
    startFrom: 'first',
    handler() {
      if (!told) parentPort.postMessage('consuming')
      told = true
    }
  })
  for (;;) await Promise.all(Array.from({ length: 100 }, () => producer.send({ topic: 't', body: 'x' })))
}

main()
