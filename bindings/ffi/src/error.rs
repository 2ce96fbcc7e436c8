//! Every error that crosses the boundary, with a code that never changes.

use posthouse_client::{BatchError, Error as ClientError, MessageError};

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What kind of error it is. The texts are part of both packages' interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // `as_str` says them
pub enum Code {
    Config,
    Closed,
    Forked,
    Connect,
    Timeout,
    Auth,
    TopicNotFound,
    GroupNotFound,
    InvalidMessage,
    MessageTooLarge,
    Filter,
    Throttled,
    QueueFull,
    Offset,
    Transaction,
    Unsupported,
    Internal,
}

impl Code {
    /// Every code.
    pub const ALL: [Code; 17] = [
        Code::Config,
        Code::Closed,
        Code::Forked,
        Code::Connect,
        Code::Timeout,
        Code::Auth,
        Code::TopicNotFound,
        Code::GroupNotFound,
        Code::InvalidMessage,
        Code::MessageTooLarge,
        Code::Filter,
        Code::Throttled,
        Code::QueueFull,
        Code::Offset,
        Code::Transaction,
        Code::Unsupported,
        Code::Internal,
    ];

    /// The stable text, as Python shows it; Node's is this in capitals behind `ERR_POSTHOUSE_`.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::Config => "config",
            Code::Closed => "closed",
            Code::Forked => "forked",
            Code::Connect => "connect",
            Code::Timeout => "timeout",
            Code::Auth => "auth",
            Code::TopicNotFound => "topic_not_found",
            Code::GroupNotFound => "group_not_found",
            Code::InvalidMessage => "invalid_message",
            Code::MessageTooLarge => "message_too_large",
            Code::Filter => "filter",
            Code::Throttled => "throttled",
            Code::QueueFull => "queue_full",
            Code::Offset => "offset",
            Code::Transaction => "transaction",
            Code::Unsupported => "unsupported",
            Code::Internal => "internal",
        }
    }

    /// What a server's response code means to a caller.
    fn of_response(code: i32) -> Code {
        match code {
            // SYSTEM_BUSY, SERVICE_NOT_AVAILABLE (a full disk), POLLING_FULL: later it may work.
            2 | 14 | 207 => Code::Throttled,
            // MESSAGE_ILLEGAL; another message was sent with this idempotency key
            13 | 310_000 => Code::InvalidMessage,
            16 => Code::Auth,
            17 => Code::TopicNotFound,
            // SUBSCRIPTION_PARSE_FAILED, SUBSCRIPTION_NOT_LATEST, FILTER_DATA_NOT_EXIST
            23 | 25 | 27 => Code::Filter,
            26 => Code::GroupNotFound,
            604 => Code::Transaction,
            // PULL_OFFSET_MOVED
            21 => Code::Offset,
            // REQUEST_CODE_NOT_SUPPORTED
            3 => Code::Unsupported,
            _ => Code::Internal,
        }
    }
}

/// An error that crosses the boundary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Its kind.
    pub code: Code,
    /// For people.
    pub message: String,
    /// The code on the wire, if a server answered.
    pub response_code: Option<i32>,
    /// Whether the same call may work later or elsewhere.
    pub retryable: bool,
    /// The topic it is about, if it is about one.
    pub topic: Option<String>,
    /// The broker it is about, or its address.
    pub broker: Option<String>,
}

impl Error {
    /// An error that no server had a part in.
    pub fn new(code: Code, message: impl Into<String>) -> Error {
        Error {
            code,
            message: message.into(),
            response_code: None,
            retryable: matches!(code, Code::QueueFull | Code::Throttled),
            topic: None,
            broker: None,
        }
    }

    /// Something was closed.
    pub fn closed(what: &str) -> Error {
        Error::new(Code::Closed, format!("the {what} is closed"))
    }
}

fn code_of(error: &ClientError) -> Code {
    match error {
        ClientError::Message(MessageError::TooLong(..)) => Code::MessageTooLarge,
        ClientError::Message(_) => Code::InvalidMessage,
        ClientError::Name(_) | ClientError::NoNameServer | ClientError::GroupInUse(_) => {
            Code::Config
        }
        ClientError::Address(_, None) => Code::Config,
        ClientError::Address(_, Some(_)) | ClientError::UnknownBroker(_) => Code::Connect,
        ClientError::NoRoute(_) | ClientError::NoQueue(..) => Code::TopicNotFound,
        ClientError::NotAssigned(_) | ClientError::LeaseEnded => Code::Offset,
        ClientError::Refused(refusal) => Code::of_response(refusal.code),
        ClientError::Handle(_) | ClientError::OffsetsFile { .. } => Code::Config,
        ClientError::Unsupported { .. } => Code::Unsupported,
        ClientError::NoReply(_) => Code::Timeout,
        error if error.is_timeout() => Code::Timeout,
        ClientError::Timeout(last) => code_of(last),
        ClientError::Call { .. } => Code::Connect,
        ClientError::Closed => Code::Closed,
        _ => Code::Internal,
    }
}

impl From<ClientError> for Error {
    fn from(error: ClientError) -> Error {
        let topic = match &error {
            ClientError::NoRoute(topic) | ClientError::NoQueue(topic, _) => Some(topic.clone()),
            ClientError::NotAssigned(queue) => Some(queue.topic.to_string()),
            _ => None,
        };
        let broker = match &error {
            ClientError::UnknownBroker(broker) => Some(broker.clone()),
            ClientError::Call { address, .. }
            | ClientError::Unsupported { address, .. }
            | ClientError::Malformed { address, .. } => Some(address.to_string()),
            ClientError::Refused(refusal) => Some(refusal.address.to_string()),
            _ => None,
        };
        let mut message = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(source) = cause {
            let text = source.to_string();
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = source.source();
        }
        Error {
            code: code_of(&error),
            message,
            response_code: error.code(),
            retryable: error.is_retryable(),
            topic,
            broker,
        }
    }
}

impl From<BatchError> for Error {
    fn from(error: BatchError) -> Error {
        let sent = error.sent.len();
        let mut inner = Error::from(error.error);
        if sent > 0 {
            inner.message = format!("{sent} messages were sent, then: {}", inner.message);
        }
        inner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_apart() {
        let mut seen = std::collections::BTreeSet::new();
        assert!(Code::ALL.into_iter().all(|code| seen.insert(code.as_str())));
    }

    #[test]
    fn an_error_names_topic_and_kind() {
        let error = Error::from(ClientError::NoRoute("orders".to_owned()));
        assert_eq!(error.code, Code::TopicNotFound);
        assert_eq!(error.topic.as_deref(), Some("orders"));
        let error = Error::from(ClientError::Message(MessageError::TooLong(5, 4)));
        assert_eq!(error.code.as_str(), "message_too_large");
    }
}
