//! Everything that can go wrong, named by what happened. The texts are those Apache 5.3.3 sends as
//! remarks, because users search for them; which number an error has is the door's business.

use std::net::{IpAddr, SocketAddr};

use model::receipt::ReceiptError;
use model::topic::TopicConfig;
use model::{GroupName, NameError, TopicName};
use store::StageError;

use crate::Decision;

const FAQ: &str = "See https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.";

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A topic or group name that cannot be one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The broker may not be written, and the topic is an ordered one.
    #[error("the broker[{broker}] sending message is forbidden")]
    BrokerNotWritable {
        /// The broker's advertised address.
        broker: SocketAddr,
    },
    /// The broker may not be read.
    #[error("the broker[{broker}] pulling message is forbidden")]
    BrokerNotReadable {
        /// The broker's advertised address.
        broker: SocketAddr,
    },
    /// Lite pull is switched off.
    #[error("the broker[{broker}] for lite pull consumer is forbidden")]
    LitePullForbidden {
        /// The broker's advertised address.
        broker: SocketAddr,
    },
    /// The broker takes no sends yet.
    #[error("broker unable to service, until {until}")]
    NotYetServing {
        /// When it will, ms since the Unix epoch.
        until: i64,
    },
    /// Only the broker itself writes this topic.
    #[error("Sending message to topic[{0}] is forbidden.")]
    SystemTopicNotSendable(TopicName),
    /// Transactions are refused.
    #[error("the broker[{broker}] sending transaction message is forbidden")]
    TransactionForbidden {
        /// The broker's advertised address.
        broker: SocketAddr,
    },
    /// A half message that cannot be one.
    #[error("{0} cannot be a half message; nothing was stored")]
    TransactionShape(&'static str),
    /// No half message lies there.
    #[error("Find prepared transaction message failed")]
    HalfMissing,
    /// The half message is another one's.
    #[error("{0}")]
    HalfDiffers(&'static str),
    /// The time in which the producer is not asked is over, so that a question decides.
    #[error(
        "CHECK_IMMUNITY_TIME_IN_SECONDS is over: nothing was decided, the producer is asked what became of the transaction"
    )]
    TransactionLate,
    /// There is no such operation, or none any more.
    #[error("there is no operation {0}")]
    OperationMissing(String),
    /// The topic has no checker.
    #[error("topic {0} has no checker")]
    CheckerMissing(String),
    /// Settings that cannot be changed like this while the broker runs: a line for each, with its name.
    #[error("{}", .0.join("\n"))]
    Settings(Vec<String>),
    /// Another message was sent with this idempotency key.
    #[error("another message was sent with this idempotency key")]
    IdempotencyDiffers,
    /// Another decision came first.
    #[error("the transaction was {} before; nothing was changed", ended(*.first))]
    TransactionDecided {
        /// The decision that stands.
        first: Decision,
    },
    /// There is no such topic.
    #[error("{}", topic_missing(.topic, *.asked))]
    TopicMissing {
        /// The name that was asked for.
        topic: String,
        /// By what; Apache words it differently each time.
        asked: AskedFor,
    },
    /// The topic may not be read.
    #[error("the topic[{0}] pulling message is forbidden")]
    TopicNotReadable(TopicName),
    /// The topic may not be written.
    #[error("the topic[{0}] sending message is forbidden")]
    TopicNotWritable(TopicName),
    /// A queue a producer may not write.
    #[error("{}", queue_not_writable(*.queue, .topic, *.producer))]
    QueueNotWritable {
        /// The queue that was asked for.
        queue: i32,
        /// The topic as it is.
        topic: Box<TopicConfig>,
        /// Who asked.
        producer: SocketAddr,
    },
    /// A queue a consumer may not read.
    #[error(
        "queueId[{queue}] is illegal, topic:[{topic}] topicConfig.readQueueNums:[{read_queues}] consumer:[/{consumer}]"
    )]
    QueueNotReadable {
        /// The queue that was asked for.
        queue: i32,
        /// The topic.
        topic: TopicName,
        /// How many queues it has to read.
        read_queues: u32,
        /// Who asked.
        consumer: SocketAddr,
    },
    /// There is no such group.
    #[error("{}", group_missing(.group, *.asked))]
    GroupMissing {
        /// The name that was asked for.
        group: String,
        /// By what; Apache words it differently each time.
        asked: AskedFor,
    },
    /// The group may not consume.
    #[error("subscription group no permission, {0}")]
    GroupNotReadable(GroupName),
    /// The group may not consume by broadcasting.
    #[error("the consumer group[{0}] can not consume by broadcast way")]
    BroadcastForbidden(GroupName),
    /// The group may not read this topic.
    #[error("the consumer group[{group}] is forbidden for topic[{topic}]")]
    TopicForbidden {
        /// The group.
        group: GroupName,
        /// The topic.
        topic: TopicName,
    },
    /// No member of the group is known.
    #[error("the consumer's group info not exist\n{FAQ}")]
    GroupNotLive,
    /// No member of the group subscribes to the topic.
    #[error("the consumer's subscription not exist\n{FAQ}")]
    NotSubscribed,
    /// The subscription known here is older than the one the pull was made for.
    #[error("the consumer's subscription not latest")]
    SubscriptionNotLatest,
    /// The expression in the pull does not parse.
    #[error("parse the consumer's subscription failed: {0}")]
    SubscriptionUnparsable(String),
    /// SQL92 filters are switched off.
    #[error("The broker does not support consumer to filter message by SQL92")]
    SqlNotSupported,
    /// The broker may not be read by popping.
    #[error("the broker[{broker}] pop message is forbidden")]
    PopForbidden {
        /// The broker's advertised address.
        broker: IpAddr,
    },
    /// A pop that was on its way for too long: its client has given it up.
    #[error("the broker[{broker}] pop message is timeout too much")]
    PopTooOld {
        /// The broker's advertised address.
        broker: IpAddr,
    },
    /// A pop of more messages than one may have.
    #[error("the broker[{broker}] pop message's num is greater than 32")]
    PopTooMany {
        /// The broker's advertised address.
        broker: IpAddr,
    },
    /// A queue that an ack or a change names and that the topic does not have.
    #[error(
        "queueId[{queue}] is illegal, topic:[{topic}] topicConfig.readQueueNums:[{read_queues}] consumer:[/{consumer}]"
    )]
    NoSuchPopQueue {
        /// The queue that was named.
        queue: i32,
        /// The topic.
        topic: TopicName,
        /// How many queues it has to read.
        read_queues: u32,
        /// Who asked.
        consumer: SocketAddr,
    },
    /// An offset that an ack or a change names and that the queue does not have.
    #[error("offset is illegal, key:{topic}@{queue}, commit:{offset}, store:{min}~{max}")]
    NoSuchPopOffset {
        /// The topic.
        topic: TopicName,
        /// The queue.
        queue: i32,
        /// The offset that was named.
        offset: i64,
        /// The queue's first kept position.
        min: u64,
        /// The position behind its last message.
        max: u64,
    },
    /// A batch of acks without one.
    #[error("there is no ack in the batch")]
    NoAcks,
    /// A receipt handle that is none.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// Retry topics are always pulled.
    #[error("retry topic is not allowed to set mode")]
    RetryTopicMode,
    /// An empty or absent body.
    #[error("the message body is empty")]
    BodyEmpty,
    /// Body or properties are longer than a record allows.
    #[error(
        "the message is illegal, maybe msg body or properties length not matched. msg body length limit {body_max}B, msg properties length limit 32KB."
    )]
    TooLarge {
        /// The limit in force.
        body_max: usize,
    },
    /// The batch's items do not add up.
    #[error("the batch is malformed: {0}")]
    BatchMalformed(&'static str),
    /// A message of a batch says a CRC that its body does not have.
    #[error("the message is illegal: a body of the batch does not match its CRC")]
    BodyCorrupt,
    /// Batches do not go to retry topics.
    #[error("batch request does not support retry group {0}")]
    BatchToRetry(TopicName),
    /// No such statistics item, or nothing was counted in it.
    #[error("The stats <{name}> <{key}> not exist")]
    StatsMissing {
        /// Apache's name of it.
        name: String,
        /// What it is of.
        key: String,
    },
    /// A delayed message for a time that is too far ahead. Apache's text, which is one for all.
    #[error(
        "timer message illegal, the delay time should not be bigger than the max delay {max}ms; or if set del msg, the delay time should be bigger than the current time"
    )]
    TimerTooFar {
        /// The farthest, in milliseconds from now.
        max: i64,
    },
    /// A delay level or a time that is no number.
    #[error("timer message illegal, {name} is no number: {text:?}")]
    TimerUnreadable {
        /// The property.
        name: &'static str,
        /// What it says, or the beginning of that.
        text: String,
    },
    /// Messages for any time are switched off.
    #[error("accurate timer message is not enabled, timerWheelEnable is false")]
    TimersOff,
    /// Messages of a batch cannot be delayed.
    #[error("the message is illegal: messages of a batch cannot be delayed")]
    BatchDelayed,
    /// Recalls are switched off.
    #[error("recall failed, operation is forbidden")]
    RecallForbidden,
    /// A recall handle that is none, or not for here or now.
    #[error("{0}")]
    Recall(&'static str),
    /// A request that contradicts itself, or lacks what it needs.
    #[error("{0}")]
    Invalid(String),
    /// The topic belongs to the broker.
    #[error("The topic[{0}] is conflict with system topic.")]
    SystemTopic(TopicName),
    /// The attributes cannot be applied.
    #[error("{0}")]
    Attributes(String),
    /// There is no committed offset, and consumption should not start at 0.
    #[error("Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first")]
    NoOffset,
    /// There is no committed offset, and the client asked not to get a 0 instead.
    #[error("Not found, do not set to zero, maybe this group boot first")]
    NoOffsetNoZero,
    /// A commit without its queue or its offset.
    #[error("{what} is null, topic is {topic}")]
    OffsetIncomplete {
        /// `QueueId` or `Offset`.
        what: &'static str,
        /// The topic.
        topic: String,
    },
    /// The queue does not reach to where the group is to be sent.
    #[error("Target offset {offset} not in consume queue range [{min}-{max}]")]
    OffsetOutOfRange {
        /// The offset asked for.
        offset: i64,
        /// The queue's first kept position.
        min: i64,
        /// The position behind its last message.
        max: i64,
    },
    /// The group has no offsets in the topic that could be reset.
    #[error("THe consumer group <{0}> not exist")]
    NoOffsets(String),
    /// The consumers should be told of a reset, and there is none.
    #[error(
        "Consumer not online, so can not reset offset, Group: {group} Topic: {topic} Timestamp: {time}"
    )]
    ResetOffline {
        /// The group.
        group: String,
        /// The topic.
        topic: String,
        /// The time of the reset, ms since the Unix epoch.
        time: i64,
    },
    /// No record begins there.
    #[error("can not find message by the offset, {0}")]
    NoRecord(i64),
    /// There is no message there that could be sent back.
    #[error("look message by offset failed, {0}")]
    NothingToSendBack(i64),
    /// No message has the key.
    #[error("can not find message, maybe time range not correct")]
    NoMessageWithKey,
    /// Nobody is in the group.
    #[error("no consumer for this group, {0}")]
    NoMembers(String),
    /// Nobody is in the group (asked by an administrator).
    #[error("the consumer group[{0}] not online")]
    ConsumersOffline(String),
    /// This consumer is not there.
    #[error("The Consumer <{group}> <{client}> not online")]
    ConsumerOffline {
        /// The group.
        group: String,
        /// The client.
        client: String,
    },
    /// This consumer does not understand the question.
    #[error("the client does not support this feature. client={client} version={version}")]
    ConsumerTooOld {
        /// The client.
        client: String,
        /// RocketMQ's version number of it.
        version: i32,
    },
    /// This consumer did not answer.
    #[error("consumer <{group}> <{client}> Timeout: it did not answer, or is gone")]
    ConsumerSilent {
        /// The group.
        group: String,
        /// The client.
        client: String,
    },
    /// No member of the group is there to be asked.
    #[error("No Any Consumer online in the consumer group: [{0}]")]
    NoConsumerOnline(String),
    /// A reply that names no client, or one that is not connected.
    #[error("{}", reply_to_nobody(.0.as_deref()))]
    ReplyToNobody(Option<String>),
    /// The client that waits for a reply did not take it.
    #[error("push reply message to {0}fail.")]
    ReplyNotTaken(String),
    /// Nobody produces for the group.
    #[error("the producer group[{0}] not exist")]
    ProducersOffline(String),
    /// Too much is waiting; nothing was done, try again soon.
    #[error("[TIMEOUT_CLEAN_QUEUE]broker busy, start flow control for a while, {0}")]
    Busy(&'static str),
    /// The disk is full, or the store does not take anything for another reason.
    #[error("service not available now. {0}")]
    Unavailable(String),
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(String),
}

/// What a missing topic or group was needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedFor {
    /// A send.
    Send,
    /// A pull.
    Pull,
    /// A commit of an offset.
    Commit,
    /// The configuration itself.
    Config,
    /// Statistics.
    Stats,
    /// A recall.
    Recall,
    /// A reset of offsets.
    Reset,
}

fn ended(decision: Decision) -> &'static str {
    match decision {
        Decision::Commit => "committed",
        Decision::Rollback => "rolled back",
    }
}

fn topic_missing(topic: &str, asked: AskedFor) -> String {
    match asked {
        AskedFor::Send => format!("topic[{topic}] not exist, apply first please!\n{FAQ}"),
        AskedFor::Pull => format!("topic[{topic}] not exist, apply first please! \n{FAQ}"),
        AskedFor::Commit => format!("Topic {topic} not exist!"),
        AskedFor::Config => format!("No topic in this broker. topic: {topic}"),
        AskedFor::Stats => format!("topic[{topic}] not exist"),
        AskedFor::Recall => format!("recall failed, the topic[{topic}] not exist"),
        AskedFor::Reset => format!("Topic {topic} does not exist"),
    }
}

fn group_missing(group: &str, asked: AskedFor) -> String {
    match asked {
        AskedFor::Commit => format!("Group {group} not exist!"),
        AskedFor::Send => format!("subscription group not exist, {group} {FAQ}"),
        AskedFor::Pull => format!("subscription group [{group}] does not exist, \n{FAQ}"),
        AskedFor::Config | AskedFor::Stats | AskedFor::Recall => {
            format!("No group in this broker. group: {group}")
        }
        AskedFor::Reset => format!("Group {group} does not exist"),
    }
}

fn reply_to_nobody(client: Option<&str>) -> String {
    match client {
        Some(client) => format!("push reply message fail, channel of <{client}> not found."),
        None => "reply message properties[REPLY_TO_CLIENT] is null".to_owned(),
    }
}

fn queue_not_writable(queue: i32, topic: &TopicConfig, producer: SocketAddr) -> String {
    format!(
        "request queueId[{queue}] is illegal, {} Producer: {producer}",
        describe(topic)
    )
}

/// A topic as Java's `TopicConfig.toString` words it.
fn describe(topic: &TopicConfig) -> String {
    let perm = topic.perm;
    let bit = |set, letter| if set { letter } else { '-' };
    let attributes: Vec<String> = (topic.attributes.iter())
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    format!(
        "TopicConfig [topicName={}, readQueueNums={}, writeQueueNums={}, perm={}{}{}, topicFilterType={}, topicSysFlag={}, order={}, attributes={{{}}}]",
        topic.name,
        topic.read_queues,
        topic.write_queues,
        bit(perm.readable(), 'R'),
        bit(perm.writable(), 'W'),
        bit(perm.inherited(), 'X'),
        topic.filter.as_str(),
        topic.sys_flag,
        topic.order,
        attributes.join(", ")
    )
}

impl From<StageError> for Error {
    fn from(error: StageError) -> Error {
        match error {
            StageError::Busy => Error::Busy("the staging buffer is full"),
            StageError::Full => Error::Unavailable(
                "It may be caused by one of the following reasons: the broker's disk is full, messages are put to the slave, message store has been shut down, etc."
                    .to_owned(),
            ),
            other => Error::Unavailable(other.to_string()),
        }
    }
}
