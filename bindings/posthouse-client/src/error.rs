//! What can go wrong, in one enum.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::NameError;
use remoting::client::CallError;
use remoting::code::response;

use crate::queue::Queue;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A topic or group has a name that no broker takes.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A message that no broker would take.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The configuration names no name server.
    #[error("no name server is configured")]
    NoNameServer,
    /// A host that cannot be found, or no `host:port`.
    #[error("{0} is no address")]
    Address(String, #[source] Option<std::io::Error>),
    /// No name server knows the topic.
    #[error("topic {0} has no route")]
    NoRoute(String),
    /// The topic is known, but has no queue for this purpose.
    #[error("topic {0} has no queue that can be {1}")]
    NoQueue(String, &'static str),
    /// A broker that no route names.
    #[error("no route leads to broker {0}")]
    UnknownBroker(String),
    /// The group has a consumer in this client already.
    #[error("group {0} has a consumer in this client already")]
    GroupInUse(String),
    /// The queue is not the consumer's own just now.
    #[error("{0} is not assigned to this consumer")]
    NotAssigned(Queue),
    /// The message is not out on this lease any more: the lease ended, or another one is in its place.
    #[error("the lease has ended")]
    LeaseEnded,
    /// The text is no recall handle.
    #[error("{0} is no recall handle")]
    Handle(String),
    /// A request was sent, and nobody replied to it in this time.
    #[error("no reply within {0:?}")]
    NoReply(Duration),
    /// A broadcasting member's file of offsets cannot be read, or not be written.
    #[error("the file of offsets {} cannot be used", path.display())]
    OffsetsFile {
        /// The file.
        path: PathBuf,
        /// What happened.
        #[source]
        source: std::io::Error,
    },
    /// The server said no.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// Only Posthouse's brokers do what was asked for, and this one is none. Nothing was done.
    #[error("{address} {what}")]
    Unsupported {
        /// Who was asked.
        address: Arc<str>,
        /// What it does not do.
        what: &'static str,
    },
    /// No answer came.
    #[error("no answer from {address}")]
    Call {
        /// Who was asked.
        address: Arc<str>,
        /// What happened.
        #[source]
        source: CallError,
    },
    /// An answer came that makes no sense.
    #[error("the answer of {address} makes no sense: {what}")]
    Malformed {
        /// Who answered.
        address: Arc<str>,
        /// What is wrong with it.
        what: String,
    },
    /// The time for the whole call, its repetitions included, is over.
    #[error("the time is over; last: {0}")]
    Timeout(#[source] Box<Error>),
    /// The client, producer or consumer was shut down.
    #[error("it was shut down")]
    Closed,
}

/// What a server said instead of yes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address} answers {code} ({}): {remark}", name(*.code))]
pub struct Refusal {
    /// The response code, see [`remoting::code::response`].
    pub code: i32,
    /// The server's text.
    pub remark: String,
    /// Who said it.
    pub address: Arc<str>,
}

fn name(code: i32) -> &'static str {
    response::name_of(code).unwrap_or("unknown")
}

/// Why a message is not sent at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Brokers refuse messages without a body.
    #[error("a message needs a body")]
    EmptyBody,
    /// The body is longer than the producer's limit.
    #[error("a body of {0} bytes is longer than {1}")]
    TooLong(usize, usize),
    /// A property's name is RocketMQ's own.
    #[error("the property name {0} is reserved")]
    Reserved(String),
    /// A property's name or value is empty, or has one of the two separators in it.
    #[error("property {0} is empty or has a control character in it")]
    Property(String),
    /// All properties together are too long for a record.
    #[error("properties of {0} bytes are longer than 32767")]
    Properties(usize),
    /// A batch goes to one topic, and not later.
    #[error(
        "in a batch, every message has the same topic, the same sharding key, no delay and no idempotency key"
    )]
    Batch,
    /// A message in a transaction is delivered when that is decided.
    #[error("a message in a transaction cannot be delivered later")]
    Transaction,
    /// Its sender waits for no reply.
    #[error("the message asks for no reply")]
    NoRequest,
    /// A compressed body that cannot be read.
    #[error("the body cannot be decompressed: {0}")]
    Compression(String),
}

impl Error {
    /// The response code, if a server answered.
    pub fn code(&self) -> Option<i32> {
        match self {
            Error::Refused(refusal) => Some(refusal.code),
            Error::Timeout(last) => last.code(),
            _ => None,
        }
    }

    /// The server's text, if a server answered.
    pub fn remark(&self) -> Option<&str> {
        match self {
            Error::Refused(refusal) => Some(&refusal.remark),
            Error::Timeout(last) => last.remark(),
            _ => None,
        }
    }

    /// Whether another broker may do what this one did not: Java's list of codes, and every call
    /// that got no answer.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Refused(refusal) => matches!(
                refusal.code,
                response::TOPIC_NOT_EXIST
                    | response::SERVICE_NOT_AVAILABLE
                    | response::SYSTEM_ERROR
                    | response::SYSTEM_BUSY
                    | response::NO_PERMISSION
                    | response::NO_BUYER_ID
                    | response::NOT_IN_CURRENT_UNIT
                    | response::GO_AWAY
            ),
            Error::Call { .. } | Error::Timeout(_) => true,
            _ => false,
        }
    }

    /// Whether what was asked for may have been done although no answer says so: the connection broke, or the
    /// answer could not be read.
    pub fn may_be_done(&self) -> bool {
        match self {
            Error::Call { source, .. } => !matches!(source, CallError::Connect(..)),
            Error::Timeout(last) => last.may_be_done(),
            Error::Malformed { .. } => true,
            _ => false,
        }
    }

    /// Whether its time was over before an answer came: it may have been done.
    pub fn is_timeout(&self) -> bool {
        let timeout = |source: &CallError| matches!(source, CallError::Timeout);
        match self {
            Error::Call { source, .. } => timeout(source),
            Error::Timeout(last) => {
                !matches!(&**last, Error::Call { source, .. } if !timeout(source))
            }
            Error::NoReply(_) => true,
            _ => false,
        }
    }

    pub(crate) fn malformed(address: &Arc<str>, what: impl ToString) -> Error {
        Error::Malformed {
            address: address.clone(),
            what: what.to_string(),
        }
    }
}
