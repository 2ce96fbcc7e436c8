//! Calls delayed messages back.

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use hyper::StatusCode;
use posthouse_client::Error;
use posthouse_client::code::response::{ILLEGAL_OPERATION, NO_PERMISSION};

use crate::body::{Body, Response};
use crate::call::Call;
use crate::clock;
use crate::operations::{Operation, row};
use crate::problem::{self, Problem};
use crate::publish::Target;

pub(crate) const OPERATIONS: &[Operation] = &[
    row!(DELETE "/v1/topics/{topic}/scheduled-messages/{recall_handle}" "recallMessage" recall,
        INVALID_RECALL_HANDLE, RESERVED_TOPIC, TOPIC_NOT_FOUND, BROKER_NOT_FOUND, MESSAGE_ALREADY_DUE,
        INVALID_TOPIC, RECALL_MISMATCH),
];

async fn recall(call: Call) -> Result<Response, Problem> {
    let target = Target::of(&call)?;
    let handle = call.parameter(1);
    let invalid = || {
        Problem::new(&problem::INVALID_RECALL_HANDLE)
            .detail("this is no handle of a delayed message")
    };
    let topic = topic_of(handle).ok_or_else(invalid)?;
    if *topic != *target.topic {
        let detail = "the handle is of a message to another topic";
        return Err(Problem::new(&problem::RECALL_MISMATCH).detail(detail));
    }
    let node = &call.node;
    let due = || {
        Problem::new(&problem::MESSAGE_ALREADY_DUE).detail(
            "its time has come: it is delivered, or about to be, unless it was called back before",
        )
    };
    let recalled = node.publisher.producer(&node.client)?.recall(handle);
    match target.in_time(recalled).await? {
        Ok(told) if told.recalled == Some(true) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            Ok(response)
        }
        Ok(told) if told.recalled == Some(false) => Err(due()),
        // Apache's brokers answer the same to every handle.
        Ok(_) => Err(Problem::new(&problem::UNSUPPORTED_BY_BROKER)
            .detail("the broker cannot say whether it called the message back; it may have")),
        Err(Error::Handle(_)) => Err(invalid()),
        // Of a time that is past, and of one that is further away than a message may wait.
        Err(error) if error.code() == Some(ILLEGAL_OPERATION) => Err(match is_far(handle) {
            true => invalid(),
            false => due(),
        }),
        Err(error) if error.code() == Some(NO_PERMISSION) => {
            Err(Problem::new(&problem::UNSUPPORTED_BY_BROKER)
                .detail("the broker calls nothing back: recallMessageEnable is off"))
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether a handle is of a time that is certainly to come, whatever the difference of clocks.
fn is_far(handle: &str) -> bool {
    const APART: i64 = 3_600_000;
    due_at(handle).is_some_and(|at| at > clock::wall_ms().saturating_add(APART))
}

/// The topic that a handle names.
fn topic_of(handle: &str) -> Option<String> {
    read(handle).map(|(topic, _)| topic)
}

/// When the message of a handle is due: milliseconds since the Unix epoch.
pub(crate) fn due_at(handle: &str) -> Option<i64> {
    read(handle)?.1.parse().ok()
}

/// Topic and time of a handle: base64url of `v1 topic broker time id`.
fn read(handle: &str) -> Option<(String, String)> {
    let bytes = URL_SAFE
        .decode(handle)
        .or_else(|_| URL_SAFE_NO_PAD.decode(handle))
        .ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let parts: Vec<&str> = text.split(' ').collect();
    match parts.as_slice() {
        ["v1", topic, _, time, _] => Some(((*topic).to_owned(), (*time).to_owned())),
        _ => None,
    }
}
