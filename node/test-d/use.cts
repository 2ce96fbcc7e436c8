// Uses the types as a user would; tsc --strict must take it, and refuse what is marked.
import posthouse = require('posthouse')
import { PosthouseError, Reject, Retry, Server, connect } from 'posthouse'
import type { Client, ErrorCode, Filter, Handler, OutgoingMessage, ReceivedMessage, SendResult, StartFrom } from 'posthouse'

async function use(): Promise<void> {
  await using server = await Server.embedded({ topics: ['t'], listen: '127.0.0.1:0', clock: 'manual', config: { flushDiskType: 'ASYNC_FLUSH' } })
  const client: Client = await server.connect({ instance: 'one' })
  const due: number = await server.advance(1)
  await using producer = await client.producer({ group: 'p', maxInFlight: 10 + due })
  const message: OutgoingMessage = { topic: 't', body: new Uint8Array(1), keys: ['a'], properties: { a: 'b' } }
  const sent: SendResult = await producer.send(message, { signal: AbortSignal.timeout(1), queue: { topic: 't', broker: 'b', queueId: 0 } })
  const handle: string | undefined = sent.recallHandle
  for (const result of await producer.sendMany([message])) {
    if (PosthouseError.is(result)) {
      const code: ErrorCode = result.code
      console.log(code, result.topic?.length)
    } else console.log(result.queueOffset.toFixed())
  }
  const stored: number = (await producer.sendBatch([message])).length + (await producer.sendBatch([message])).at(0)!.queueOffset
  console.log(stored)
  const recalled: boolean | undefined = (await producer.recall('t', handle ?? '')).recalled
  const reply: ReceivedMessage = await producer.request(message, { timeoutMs: 5 })
  const value: { id: number } = reply.json<{ id: number }>()
  const filter: Filter = { sql: 'a > 1' }
  const from: StartFrom = new Date(value.id)
  const handler: Handler = async ({ attempt, body }, { signal }) => {
    if (attempt > 3) throw new Reject('poison')
    if (signal.aborted || recalled === true) throw new Retry(5)
    return { reply: body.subarray(1) }
  }
  await client.pushConsumer({ group: 'g', subscribe: { t: filter }, handler, startFrom: from })
  const consumer = await client.pushConsumer({ group: 'g', subscribe: 't' })
  for await (const one of consumer) console.log(one.text(), one.tag?.length)
  for await (const batch of consumer.batches()) console.log(batch.length)
  consumer.ref().unref()
  const transactions = await client.transactionProducer({ group: 'tx', check: () => 'commit' })
  const seven: number = await transactions.transaction(message, async (tx) => tx.result.queueOffset)
  const pull = await client.pullConsumer({ group: 'g', autoCommitMs: false })
  await pull.commit([[reply.queue, seven]])
  const other = await connect('127.0.0.1:9876')
  await other.close({ timeoutMs: 1 })
  console.log(posthouse.version)
  const { sent: confirmed, credits_free: free } = other.metrics()
  const all: Readonly<Record<string, number>> = other.metrics()
  console.log(confirmed + free, all)
  const found: readonly ReceivedMessage[] = await other.admin().messagesByKey('t', 'k', { limit: 1 })
  console.log(found.length)

  // @ts-expect-error a body is not a number
  await producer.send({ topic: 't', body: 5 })
  // @ts-expect-error there is no such option
  await client.producer({ linger: 5 })
  // @ts-expect-error a group must be said
  await client.simpleConsumer({ subscribe: 't' })
  // @ts-expect-error errors are not made by users
  new PosthouseError('x')
  // @ts-expect-error exact: undefined is not a signal
  await producer.send(message, { signal: undefined })
  // @ts-expect-error there is no such number
  console.log(other.metrics().recieved)
  // @ts-expect-error a check decides by these words
  await client.transactionProducer({ check: () => 'yes' })
}
use()
