// The types exactly, where test-d/use.* only has to fit: what comes back is neither `any` nor wider than it says.
import { expectAssignable, expectError, expectNotAssignable, expectType } from 'tsd'
import { Server, connect } from '..'
import type {
  Client, ErrorCode, HandlerResult, MessageQueue, OutgoingMessage, PosthouseError, Producer, PullConsumer, ReceivedMessage, SendResult, SendStatus,
  SimpleConsumer, TxState,
} from '..'

declare const message: OutgoingMessage
const server = await Server.embedded()
expectType<Server>(server)
expectType<number>(await server.advance(1))

const client = await server.connect()
expectType<Client>(client)
expectType<Client>(await connect('127.0.0.1:9876'))

const producer = await client.producer()
expectType<Producer>(producer)
const sent = await producer.send(message)
expectType<SendResult>(sent)
expectType<SendStatus>(sent.status)
expectType<MessageQueue>(sent.queue)
expectType<string | undefined>(sent.recallHandle)
expectAssignable<(SendResult | PosthouseError)[]>(await producer.sendMany([message]))

const simple = await client.simpleConsumer({ group: 'g', subscribe: 't' })
expectType<SimpleConsumer>(simple)
const [received] = await simple.receive()
expectAssignable<ReceivedMessage | undefined>(received)
expectType<Buffer>(received!.body)
expectType<string | undefined>(received!.tag)
expectType<number>(received!.queueOffset)
expectType<Date>(received!.bornAt)
expectType<unknown>(received!.json())
expectError((received!.queueOffset = 5))

const pull = await client.pullConsumer({ group: 'g', broadcast: true })
expectType<PullConsumer>(pull)

expectAssignable<HandlerResult>('retry')
expectNotAssignable<HandlerResult>('later')
expectNotAssignable<TxState>('yes')
expectNotAssignable<ErrorCode>('ERR_POSTHOUSE')
expectNotAssignable<OutgoingMessage>({ body: 'no topic' })
expectError(client.producer({ linger: 5 }))
