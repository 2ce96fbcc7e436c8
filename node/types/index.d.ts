/**
 * A RocketMQ client, with a whole broker inside.
 *
 * What waits takes an `AbortSignal`, and rejects with its reason. Everything that is open can be closed, also by
 * `await using`. Times are milliseconds, sizes bytes.
 */

/** A string is sent as UTF-8. Bytes must not be changed before the promise of their send is settled. */
export type Body = string | Uint8Array
export type Millis = number
/** Each of them means that a broker has the message; `ok`, as safely as it is configured to. */
export type SendStatus = 'ok' | 'flush_disk_timeout' | 'flush_replica_timeout' | 'replica_not_available'
/** Where a group without an offset begins. A young topic is read from its start in any case, as by Java. */
export type StartFrom = 'last' | 'first' | Date
/** `'*'`, `'TagA || TagB'`, or an SQL92 expression over properties: `{ sql: "price > 10 AND region = 'eu'" }`. */
export type Filter = string | { readonly sql: string }
/** A topic, or topics and what is wanted of each. All members of a group must want the same. */
export type Subscriptions = string | Readonly<Record<string, Filter>>

export interface CallOptions {
  readonly signal?: AbortSignal
  readonly timeoutMs?: Millis
}

export interface OutgoingMessage {
  readonly topic: string
  readonly body: Body
  readonly tag?: string
  /** What the message can be found by. */
  readonly keys?: string | readonly string[]
  readonly properties?: Readonly<Record<string, string>>
  /** Messages with the same key go to the same queue, in the order they were sent. */
  readonly shardingKey?: string
  /**
   * Names the send: repeated with the same key it is stored once, and answered as the first time (`replayed`). A
   * message of another content with this key is refused. Apache's brokers keep no such names: nothing is sent there.
   */
  readonly idempotencyKey?: string
  readonly deliverAfterMs?: Millis
  readonly deliverAt?: Date
  /** One of the broker's delay levels, from 1 on. */
  readonly delayLevel?: number
  /** A number of the sender's own. */
  readonly flag?: number
}

export interface MessageQueue {
  readonly topic: string
  readonly broker: string
  readonly queueId: number
}

/**
 * A view of the buffer that it came in with others: 128 KiB at most, unless one message is larger, when it was pushed; when
 * it was polled or received, what that call brought.
 */
export interface ReceivedMessage {
  readonly topic: string
  readonly body: Buffer
  readonly tag: string | undefined
  readonly keys: readonly string[]
  /** All of them, RocketMQ's own too. */
  readonly properties: Readonly<Record<string, string>>
  readonly messageId: string
  /** Says where it lies in the broker's log. */
  readonly offsetMessageId: string
  readonly queue: MessageQueue
  readonly queueOffset: number
  readonly storeSize: number
  readonly bornAt: Date
  readonly storedAt: Date
  readonly bornHost: string
  /** 1 at first. */
  readonly attempt: number
  readonly shardingKey: string | undefined
  readonly transactionId: string | undefined
  /** The body as UTF-8. */
  text(): string
  /** The body as JSON. */
  json<T = unknown>(): T
  /** The same message, without the buffer it came in. */
  copy(): ReceivedMessage
}

export interface SendResult {
  readonly status: SendStatus
  readonly messageId: string
  readonly offsetMessageId: string
  readonly queue: MessageQueue
  readonly queueOffset: number
  readonly transactionId: string | undefined
  /** What a delayed message can be called back with. */
  readonly recallHandle: string | undefined
  /** Whether an earlier send with its idempotency key had stored it; then this one stored nothing. */
  readonly replayed: boolean
}

export type ErrorCode =
  | 'ERR_POSTHOUSE_CONFIG'
  | 'ERR_POSTHOUSE_CLOSED'
  | 'ERR_POSTHOUSE_CONNECT'
  | 'ERR_POSTHOUSE_TIMEOUT'
  | 'ERR_POSTHOUSE_AUTH'
  | 'ERR_POSTHOUSE_TOPIC_NOT_FOUND'
  | 'ERR_POSTHOUSE_GROUP_NOT_FOUND'
  | 'ERR_POSTHOUSE_INVALID_MESSAGE'
  | 'ERR_POSTHOUSE_MESSAGE_TOO_LARGE'
  | 'ERR_POSTHOUSE_FILTER'
  | 'ERR_POSTHOUSE_THROTTLED'
  | 'ERR_POSTHOUSE_QUEUE_FULL'
  | 'ERR_POSTHOUSE_OFFSET'
  | 'ERR_POSTHOUSE_TRANSACTION'
  | 'ERR_POSTHOUSE_UNSUPPORTED'
  | 'ERR_POSTHOUSE_INTERNAL'

/** Every error of this package; `code` says which. */
export class PosthouseError extends Error {
  private constructor()
  readonly code: ErrorCode
  /** Whether the same call may work later. */
  readonly retryable: boolean
  /** RocketMQ's response code, if a server answered. */
  readonly responseCode?: number
  readonly topic?: string
  readonly broker?: string
  /** Works across copies of the package and realms. */
  static is(error: unknown, code?: ErrorCode): error is PosthouseError
}

/**
 * Thrown by a handler: the message comes again after `afterMs`, or when the group's retries come. Posthouse's brokers
 * wait exactly so long, Apache's for the delay level that is so long or the next one up; in order, the consumer waits
 * itself, and its queue with it. Its constructor throws ERR_POSTHOUSE_CONFIG for what is no number of milliseconds.
 */
export class Retry extends Error {
  constructor(afterMs?: Millis, reason?: string)
  readonly afterMs: Millis | undefined
}

/** Thrown by a handler: the message goes to the group's dead-letter topic now. */
export class Reject extends Error {}

/** Nothing, `true` and `'ack'`: done. `false` and `'retry'`: it comes again. `reply` answers a request. */
export type HandlerResult = void | boolean | 'ack' | 'retry' | { readonly reply: Body }

export interface HandlerContext {
  /** Aborts when the consumer closes, and after `handlerTimeoutMs`. */
  readonly signal: AbortSignal
}

export type Handler = (message: ReceivedMessage, context: HandlerContext) => HandlerResult | Promise<HandlerResult>

export interface Credentials {
  readonly accessKey: string
  readonly secretKey: string
  /** Of a key that is only lent. */
  readonly securityToken?: string
}

export interface Tls {
  /** The authorities that are trusted, PEM; unset: the system's. */
  readonly ca?: string | Uint8Array
  /** The name that servers' certificates are for; unset: their addresses. */
  readonly name?: string
  /**
   * `false`: any certificate will do, and neither `ca` nor `name` is said. What is sent is sealed, but who reads it is
   * not known.
   */
  readonly verify?: boolean
}

export interface ClientOptions {
  /**
   * `rocketmq://[accessKey:secretKey@]host:port[,host:port][/namespace][?tls=1]`, `host:port`, or `embedded:[path]` for a server
   * in this process. Unset: `POSTHOUSE_URL`, then `NAMESRV_ADDR`, then `127.0.0.1:9876`.
   */
  readonly url?: string
  /**
   * The part of the cluster whose topics and groups are meant, by their short names; before what the URL says, and that
   * before `POSTHOUSE_NAMESPACE`.
   */
  readonly namespace?: string
  /** Signs requests, before what the URL says. */
  readonly credentials?: Credentials
  /** Whether connections are encrypted, before what the URL says; `true` trusts the system's authorities. */
  readonly tls?: boolean | Tls
  /** 3 s. */
  readonly requestTimeoutMs?: Millis
  /** The second half of the client's id. */
  readonly instance?: string
  /**
   * How much is published to the channel `posthouse:log` of `node:diagnostics_channel`, as `LogEvent`s; `'warn'` if unset. The
   * native part is one for all clients of a thread: each hears what the most curious of them wants.
   */
  readonly logLevel?: 'error' | 'warn' | 'info' | 'debug' | 'off'
}

/** What the channel `posthouse:log` of `node:diagnostics_channel` brings. */
export interface LogEvent {
  readonly level: 'error' | 'warn' | 'info' | 'debug'
  readonly message: string
  /** What it is about, and when it was said: of lines of the native part, a server's in this process among them. */
  readonly area?: 'client' | 'producer' | 'consumer' | 'transaction' | 'server'
  readonly time?: Date
  /** What a handler or a check threw. */
  readonly error?: unknown
}

/** A client. Nothing is connected before it is needed, but `embedded:` starts a server. */
export function connect(options?: string | ClientOptions): Promise<Client>

export interface Closable extends AsyncDisposable {
  /** Drains, and takes leave; after 10 s, or so long, without waiting any more. Again: the same promise. */
  close(options?: { readonly timeoutMs?: Millis }): Promise<void>
}

export interface Client extends Closable {
  producer(options?: ProducerOptions): Promise<Producer>
  transactionProducer(options: ProducerOptions & { readonly check: Check }): Promise<TransactionProducer>
  pushConsumer(options: PushConsumerOptions): Promise<PushConsumer>
  pullConsumer(options: PullConsumerOptions): Promise<PullConsumer>
  simpleConsumer(options: SimpleConsumerOptions): Promise<SimpleConsumer>
  admin(): Admin
  /** What it has done, and what it holds just now; also when it is closed. */
  metrics(): Metrics
}

/**
 * Counted since the client was made: `sent` (brokers have them), `send_failures`, `send_retries` (requests that were made
 * again), `received`, `redelivered` (those of them that had been delivered before), `acknowledged` (handled or acked),
 * `retried` and `rejected` (by push consumers' handlers), and `wakeups` of this thread's event loop, by all of its clients.
 * As it is just now: `sends_in_flight`, `credits_free` and `credit_bytes_free` (what producers may send before they wait),
 * `buffered` and `buffered_bytes` (what push and pull consumers have here, not done), and `connections` (none to a server in
 * the process). The names are those of Python.
 */
export type Metrics = Readonly<
  Record<
    | 'sent'
    | 'send_failures'
    | 'send_retries'
    | 'sends_in_flight'
    | 'received'
    | 'redelivered'
    | 'acknowledged'
    | 'retried'
    | 'rejected'
    | 'buffered'
    | 'buffered_bytes'
    | 'connections'
    | 'credits_free'
    | 'credit_bytes_free'
    | 'wakeups',
    number
  >
>

export interface ProducerOptions {
  readonly group?: string
  /** At other brokers; 2. */
  readonly retries?: number
  /** Retries included; 3 s. */
  readonly sendTimeoutMs?: Millis
  /** Bodies from this size on are compressed; 4096. */
  readonly compressOver?: number
  /** Messages on their way; 1024. More wait in `send`. */
  readonly maxInFlight?: number
  /** 64 MiB. */
  readonly maxInFlightBytes?: number
  /** What is sent in one tick goes together; this waits longer. 0. */
  readonly lingerMs?: Millis
  /** Whether a status that is not `ok` is an error. */
  readonly strictStore?: boolean
}

export interface Producer extends Closable {
  /** Resolves when a broker has it. Aborted: the message may be on its way all the same. */
  send(message: OutgoingMessage, options?: CallOptions & { readonly queue?: MessageQueue }): Promise<SendResult>
  /** Any topics, pipelined; results in the order of messages. It takes the next message when there is room for it. */
  sendMany(messages: Iterable<OutgoingMessage>, options?: CallOptions): Promise<Array<SendResult | PosthouseError>>
  /** RocketMQ's batch: one topic, one queue, no delay; one request for each 4 MiB. Results in the order of messages. */
  sendBatch(messages: readonly OutgoingMessage[], options?: CallOptions): Promise<SendResult[]>
  /** Does not ask what becomes of it. Throws ERR_POSTHOUSE_QUEUE_FULL when `maxInFlight` are on their way. */
  sendOneway(message: OutgoingMessage): void
  /** Sends it, and resolves with the reply of the consumer that gets it; `timeoutMs` is `sendTimeoutMs` unless it is said. */
  request(message: OutgoingMessage, options?: CallOptions): Promise<ReceivedMessage>
  /** Calls a delayed message back. */
  recall(topic: string, recallHandle: string, options?: CallOptions): Promise<RecallResult>
  /** Resolves when nothing is on its way. */
  flush(options?: CallOptions): Promise<void>
  /** Sends what is written, with back-pressure from `maxInFlight`. */
  writable(): WritableStream<OutgoingMessage>
}

export interface RecallResult {
  readonly messageId: string
  /** Whether there was such a message and it will not be delivered; Apache's brokers do not say. */
  readonly recalled: boolean | undefined
}

export type TxState = 'commit' | 'rollback' | 'unknown'
/** Asked by brokers about a message that nobody decided about; `unknown`, and a failure: they ask again. */
export type Check = (message: ReceivedMessage) => TxState | undefined | Promise<TxState | undefined>

/** `await using`: rolled back unless it was decided. */
export interface Transaction extends AsyncDisposable {
  readonly result: SendResult
  commit(): Promise<void>
  rollback(): Promise<void>
  /** Leaves it to the check. */
  unknown(): void
}

/** Keeps the process alive while a half message that it began is undecided, until it is closed. */
export interface TransactionProducer extends Producer {
  /** Sends a half message: nobody gets it before it is committed. */
  begin(message: OutgoingMessage, options?: CallOptions): Promise<Transaction>
  /** `local` resolves: it is committed. It rejects: it is rolled back, and the promise rejects as well. */
  transaction<T>(message: OutgoingMessage, local: (transaction: Transaction) => Promise<T>): Promise<T>
}

export interface PushConsumerOptions {
  readonly group: string
  readonly subscribe: Subscriptions
  /** Without one, iterate. */
  readonly handler?: Handler
  /** Closes the consumer. */
  readonly signal?: AbortSignal
  /** Messages of a queue come one after the other; a failed one holds up those behind it. */
  readonly orderly?: boolean
  /** Each member of the group gets all. */
  readonly broadcast?: boolean
  /**
   * Where a member that broadcasts keeps what it has done, as Java writes it; for it alone. Unset: it begins as a new group
   * does.
   */
  readonly offsetsFile?: string
  /** Handlers that run at the same time; 20. */
  readonly concurrency?: number
  readonly startFrom?: StartFrom
  /** Deliveries before a message is a dead letter; 16, or without end if orderly. */
  readonly maxAttempts?: number
  /** Of each queue; 1000. */
  readonly cacheMessages?: number
  /** Of each queue; 64 MiB. */
  readonly cacheBytes?: number
  /**
   * 15 min; 0: without end. What a handler has longer comes again, its signal aborts, and what it says in the end does not
   * count. In order its message waits for it all the same, and what it says counts.
   */
  readonly handlerTimeoutMs?: Millis
}

/** Without a handler, iterate: asking for the next acks, `return()` acks, `throw()` retries. */
export interface PushConsumer extends Closable, AsyncIterable<ReceivedMessage> {
  readonly closed: Promise<void>
  pause(): void
  resume(): void
  assignment(): readonly MessageQueue[]
  /** What is here, up to `max` (256) at once; asking for the next batch acks all of the last one. */
  batches(max?: number): AsyncIterable<readonly ReceivedMessage[]>
  /** As a socket: it keeps the process alive until it is closed, unless it is told not to. */
  ref(): this
  unref(): this
}

export interface PullConsumerOptions {
  readonly group: string
  /** What was polled counts as done, and brokers are told this often; 5 s. `false`: by `commit` only. */
  readonly autoCommitMs?: Millis | false
  /** Each member of the group reads all; what it has done it keeps itself, and no broker is told. */
  readonly broadcast?: boolean
  /**
   * Where a member that broadcasts keeps what it has done, as Java writes it; for it alone. Unset: it begins as a new group
   * does.
   */
  readonly offsetsFile?: string
  readonly startFrom?: StartFrom
}

export interface PullConsumer extends Closable, AsyncIterable<ReceivedMessage> {
  /** Shares the topic's queues with the other members of the group. */
  subscribe(topic: string, filter?: Filter): Promise<void>
  /** Reads these queues, whoever else does. */
  assign(queues: Iterable<MessageQueue>): Promise<void>
  /** The next messages of one queue, up to `max` (256); none after `timeoutMs` (5 s). */
  poll(options?: CallOptions & { readonly max?: number }): Promise<readonly ReceivedMessage[]>
  seek(queue: MessageQueue, to: number | StartFrom): Promise<void>
  /** The offset of the next message that it gets of a queue. */
  position(queue: MessageQueue): number
  commit(offsets?: Iterable<readonly [MessageQueue, number]>): Promise<void>
  committed(queue: MessageQueue): Promise<number | undefined>
  offsetAt(queue: MessageQueue, when: Date): Promise<number>
  queues(topic: string): Promise<readonly MessageQueue[]>
  pause(queues: Iterable<MessageQueue>): void
  resume(queues: Iterable<MessageQueue>): void
}

export interface SimpleConsumerOptions {
  readonly group: string
  readonly subscribe: Subscriptions
  /** How long messages are on loan; 60 s. */
  readonly invisibleMs?: Millis
}

/** Messages on loan (POP): no queue belongs to anybody, and each message is acked by itself. */
export interface SimpleConsumer extends Closable {
  /** Up to `max` (32, which is the most that brokers give at once); none after `waitMs` (15 s). */
  receive(
    options?: CallOptions & { readonly max?: number; readonly waitMs?: Millis; readonly invisibleMs?: Millis }
  ): Promise<readonly ReceivedMessage[]>
  /**
   * They are done. `false`: one of them is not, and comes again, because its loan was over and it was lent anew, or is
   * about to be. Only Posthouse's brokers say so.
   */
  ack(messages: ReceivedMessage | Iterable<ReceivedMessage>): Promise<boolean>
  /** Lends it for so long from now on; `ERR_POSTHOUSE_OFFSET` if its loan was over and it was lent anew. */
  extend(message: ReceivedMessage, invisibleMs: Millis): Promise<void>
}

export interface Admin {
  /** Makes a topic, or changes it if `existOk` is not `false`. 8 queues, `'mixed'`. */
  createTopic(
    topic: string,
    options?: {
      readonly queues?: number
      readonly existOk?: boolean
      readonly kind?: 'normal' | 'fifo' | 'delay' | 'transaction' | 'mixed'
    }
  ): Promise<void>
  /** Deletes it with its messages. One that is not there is deleted already, unless `missingOk` is `false`. */
  deleteTopic(topic: string, options?: { readonly missingOk?: boolean }): Promise<void>
  topics(): Promise<readonly string[]>
  /** Of each queue its first and its next offset. */
  offsets(topic: string): Promise<ReadonlyArray<readonly [MessageQueue, number, number]>>
  createGroup(group: string, options?: { readonly orderly?: boolean; readonly maxAttempts?: number }): Promise<void>
  deleteGroup(group: string): Promise<void>
  groups(): Promise<readonly string[]>
  /** Of each queue, how many messages the group has not done. */
  lag(group: string, topic?: string): Promise<ReadonlyArray<readonly [MessageQueue, number]>>
  /** Lets a group go on elsewhere; where, of each queue. */
  resetOffset(group: string, topic: string, to: StartFrom): Promise<ReadonlyArray<readonly [MessageQueue, number]>>
  message(topic: string, messageId: string): Promise<ReceivedMessage | undefined>
  /** Messages with this key, newest first; 32. */
  messagesByKey(topic: string, key: string, options?: { readonly limit?: number }): Promise<readonly ReceivedMessage[]>
}

export interface EmbeddedOptions {
  /** Its folder. Unset: in memory; the oldest messages go when that is full, and if what is there cannot go, code 14. */
  readonly path?: string
  /** What a server in memory keeps; 256 MiB, and 64 at least. */
  readonly memoryBytes?: number
  /** `'127.0.0.1:0'` lets any RocketMQ client join, on a port that is picked. `false`: only this process. */
  readonly listen?: string | false
  /** Made at the start. */
  readonly topics?: Iterable<string>
  readonly autoCreateTopics?: boolean
  /** `'manual'`: time stands still for messages until `advance`. */
  readonly clock?: 'real' | 'manual'
  /** By RocketMQ's names. */
  readonly config?: Readonly<Record<string, string | number | boolean>>
}

/** A name server and a broker in this process. It does not keep the process alive. */
export interface Server extends Closable {
  /** For `connect`, also of other processes if it listens. */
  readonly url: string
  /** For any RocketMQ client. */
  readonly namesrvAddr: string
  connect(options?: Omit<ClientOptions, 'url' | 'credentials' | 'tls'>): Promise<Client>
  /** Moves a manual clock; what becomes due on the way is done first. How many messages that was. */
  advance(ms: Millis): Promise<number>
  /** Between tests: no messages, no groups, only the topics it was started with. */
  reset(): Promise<void>
}

export const Server: { embedded(options?: EmbeddedOptions): Promise<Server> }

export const version: string
