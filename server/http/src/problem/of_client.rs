//! What an error of the client is to a caller: one match, so that a new error asks for its row.

use hyper::header::{HeaderValue, RETRY_AFTER};
use posthouse_client::{Error, MessageError, NameError, Refusal, code};

use super::{
    BROKER_NOT_FOUND, BROKER_TIMEOUT, EMPTY_BODY, FORBIDDEN, GROUP_NOT_FOUND, INTERNAL,
    INVALID_FILTER, INVALID_GROUP, INVALID_PROPERTY, INVALID_TOPIC, LEASE_EXPIRED,
    MESSAGE_TOO_LARGE, PROPERTIES_TOO_LARGE, Problem, RESERVED_PROPERTY, TOPIC_NOT_FOUND,
    TOPIC_NOT_WRITABLE, UNAVAILABLE, UNSUPPORTED_BY_BROKER,
};

impl Problem {
    /// A broker was asked, and said nothing.
    pub fn late() -> Problem {
        Problem::new(&BROKER_TIMEOUT).detail("the broker did not answer in time")
    }

    /// Nobody can do this just now.
    pub fn unavailable(detail: &str) -> Problem {
        Problem::new(&UNAVAILABLE)
            .detail(detail)
            .header(RETRY_AFTER, HeaderValue::from_static("1"))
    }
}

/// The texts are ours: an address or a Java stack trace in a remark is for the log.
impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        match error {
            Error::Name(error) => of_name(error),
            Error::Message(error) => of_message(&error),
            Error::NoRoute(topic) => {
                Problem::new(&TOPIC_NOT_FOUND).detail(format!("there is no topic {topic}"))
            }
            Error::NoQueue(topic, what) => {
                let detail = format!("topic {topic} has no queue that can be {what}");
                Problem::new(&TOPIC_NOT_WRITABLE).detail(detail)
            }
            Error::UnknownBroker(broker) => {
                Problem::new(&BROKER_NOT_FOUND).detail(format!("there is no broker {broker}"))
            }
            Error::Refused(refusal) => of_refusal(&refusal),
            Error::Unsupported { what, .. } => {
                Problem::new(&UNSUPPORTED_BY_BROKER).detail(format!("the broker {what}"))
            }
            Error::LeaseEnded => Problem::new(&LEASE_EXPIRED).detail(
                "the message is not out on this lease any more, and comes again unless it is done",
            ),
            Error::NoReply(_) => Problem::new(&BROKER_TIMEOUT).detail("nobody replied in time"),
            Error::Timeout(_) => Problem::new(&BROKER_TIMEOUT).detail("no broker answered in time"),
            Error::Call { .. } if error.is_timeout() => Problem::late(),
            Error::NoNameServer | Error::Address(..) | Error::Call { .. } => {
                tracing::warn!(%error, "the cluster cannot be reached");
                Problem::unavailable("the cluster cannot be reached")
            }
            Error::Closed => Problem::unavailable("the server is ending"),
            Error::GroupInUse(_)
            | Error::NotAssigned(_)
            | Error::Handle(_)
            | Error::OffsetsFile { .. }
            | Error::Malformed { .. } => {
                tracing::error!(%error, "an error of the client that no request should cause");
                Problem::new(&INTERNAL)
            }
        }
    }
}

fn of_name(error: NameError) -> Problem {
    let (NameError::Blank(what) | NameError::Illegal(what) | NameError::TooLong(what)) = error;
    let kind = match what {
        "group" => &INVALID_GROUP,
        _ => &INVALID_TOPIC,
    };
    Problem::new(kind).detail(error.to_string())
}

fn of_message(error: &MessageError) -> Problem {
    let kind = match error {
        MessageError::EmptyBody => &EMPTY_BODY,
        MessageError::TooLong(..) => &MESSAGE_TOO_LARGE,
        MessageError::Reserved(_) => &RESERVED_PROPERTY,
        MessageError::Property(_) => &INVALID_PROPERTY,
        MessageError::Properties(_) => &PROPERTIES_TOO_LARGE,
        MessageError::Batch
        | MessageError::Transaction
        | MessageError::NoRequest
        | MessageError::Compression(_) => &INTERNAL,
    };
    Problem::new(kind).detail(error.to_string())
}

fn of_refusal(refusal: &Refusal) -> Problem {
    use code::response::{
        FLOW_CONTROL, NO_PERMISSION, REQUEST_CODE_NOT_SUPPORTED, SERVICE_NOT_AVAILABLE,
        SUBSCRIPTION_GROUP_NOT_EXIST, SUBSCRIPTION_PARSE_FAILED, SYSTEM_BUSY, SYSTEM_ERROR,
        TOPIC_NOT_EXIST,
    };
    tracing::debug!(%refusal, "a broker refused");
    if refusal.code == SYSTEM_ERROR
        && let Some(detail) = switched_off(&refusal.remark)
    {
        return Problem::new(&UNSUPPORTED_BY_BROKER).detail(detail);
    }
    match refusal.code {
        TOPIC_NOT_EXIST => Problem::new(&TOPIC_NOT_FOUND).detail("the broker has no such topic"),
        SUBSCRIPTION_GROUP_NOT_EXIST => {
            Problem::new(&GROUP_NOT_FOUND).detail("the broker has no such group")
        }
        SUBSCRIPTION_PARSE_FAILED => Problem::new(&INVALID_FILTER).detail(&*refusal.remark),
        NO_PERMISSION => Problem::new(&FORBIDDEN).detail("the broker does not permit it"),
        REQUEST_CODE_NOT_SUPPORTED => Problem::new(&UNSUPPORTED_BY_BROKER)
            .detail("the broker does not know this kind of request"),
        SERVICE_NOT_AVAILABLE | SYSTEM_BUSY | FLOW_CONTROL => {
            Problem::unavailable("the broker takes no requests of this kind just now")
        }
        _ => {
            tracing::warn!(%refusal, "a broker refused, and no problem says so more precisely");
            Problem::new(&INTERNAL).detail(format!("the broker answered {}", refusal.code))
        }
    }
}

/// What a broker was configured not to do; only its text tells that from a failure.
fn switched_off(remark: &str) -> Option<&'static str> {
    let known = [
        (
            "filter message by SQL92",
            "the broker filters by no SQL92: its enablePropertyFilter is off",
        ),
        (
            "timerWheelEnable",
            "the broker knows delay levels only: its timerWheelEnable is off",
        ),
    ];
    let mut known = known.into_iter();
    known.find_map(|(text, detail)| remark.contains(text).then_some(detail))
}
