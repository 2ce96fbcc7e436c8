//! What is wrong with a request, as `application/problem+json` (RFC 9457).
//!
//! The table is the only list of problem types: the contract's responses and the pages under
//! `/problems/` are made from it.

mod of_client;

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use crate::body::{Body, Response};

/// A type of problem.
#[derive(Debug)]
pub struct Kind {
    /// The last part of its URI, `/problems/{slug}`.
    pub slug: &'static str,
    /// One line for people.
    pub title: &'static str,
    /// The status of the answer.
    pub status: u16,
    /// RocketMQ 5's code for it, where there is one.
    pub code: Option<u32>,
    /// Whether the same request may succeed later.
    pub retryable: bool,
}

macro_rules! kinds {
    ($($name:ident $status:literal $slug:literal $title:literal $code:expr, $retryable:literal;)*) => {
        $(pub(crate) static $name: Kind = Kind {
            slug: $slug, title: $title, status: $status, code: $code, retryable: $retryable,
        };)*
        /// Every type of problem.
        pub static KINDS: &[&Kind] = &[$(&$name),*];
    };
}

kinds! {
    MALFORMED_JSON 400 "malformed-json" "Malformed JSON" Some(40000), false;
    INVALID_REQUEST 400 "invalid-request" "Invalid request" Some(40000), false;
    INVALID_PARAMETER 400 "invalid-parameter" "Invalid parameter" None, false;
    INVALID_PATH 400 "invalid-path" "Invalid path" None, false;
    INVALID_HOST 400 "invalid-host" "Invalid Host" None, false;
    INVALID_IDEMPOTENCY_KEY 400 "invalid-idempotency-key" "Invalid Idempotency-Key" None, false;
    INVALID_RECALL_HANDLE 400 "invalid-recall-handle" "Invalid recall handle" Some(40000), false;
    INVALID_TRANSACTION_ID 400 "invalid-transaction-id" "Invalid transaction id" Some(40008), false;
    INVALID_LEASE 400 "invalid-lease" "Invalid lease" Some(40013), false;
    INVALID_CURSOR 400 "invalid-cursor" "Invalid cursor" None, false;
    INVALID_PAGE_TOKEN 400 "invalid-page-token" "Invalid page token" None, false;
    INVALID_REPLY_TOKEN 400 "invalid-reply-token" "Invalid reply token" None, false;
    FORBIDDEN 403 "forbidden" "Forbidden" Some(40300), false;
    ORIGIN_NOT_ALLOWED 403 "origin-not-allowed" "Origin not allowed" Some(40300), false;
    RESERVED_TOPIC 403 "reserved-topic" "Reserved topic" Some(40002), false;
    TOPIC_NOT_WRITABLE 403 "topic-not-writable" "Topic not writable" Some(40300), false;
    NOT_FOUND 404 "not-found" "Not found" Some(40400), false;
    TOPIC_NOT_FOUND 404 "topic-not-found" "Topic not found" Some(40402), false;
    GROUP_NOT_FOUND 404 "group-not-found" "Group not found" Some(40403), false;
    SUBSCRIPTION_NOT_FOUND 404 "subscription-not-found" "Subscription not found" None, false;
    MESSAGE_NOT_FOUND 404 "message-not-found" "Message not found" Some(40401), false;
    BROKER_NOT_FOUND 404 "broker-not-found" "Broker not found" None, false;
    QUEUE_NOT_FOUND 404 "queue-not-found" "Queue not found" Some(40404), false;
    OPERATION_NOT_FOUND 404 "operation-not-found" "Operation not found" None, false;
    CHECKER_NOT_FOUND 404 "checker-not-found" "Checker not found" None, false;
    TRANSACTION_NOT_FOUND 404 "transaction-not-found" "Transaction not found" None, false;
    METHOD_NOT_ALLOWED 405 "method-not-allowed" "Method not allowed" None, false;
    NOT_ACCEPTABLE 406 "not-acceptable" "Not acceptable" None, false;
    REQUEST_TIMEOUT 408 "request-timeout" "Request timeout" Some(40800), true;
    ALREADY_EXISTS_DIFFERENTLY 409 "already-exists-differently" "Already exists differently" None, false;
    IDEMPOTENCY_IN_PROGRESS 409 "idempotency-in-progress" "Idempotency-Key in progress" None, true;
    MESSAGE_ALREADY_DUE 409 "message-already-due" "Message already due" None, false;
    TRANSACTION_ALREADY_RESOLVED 409 "transaction-already-resolved" "Transaction already resolved" None, false;
    SUBSCRIPTION_MISMATCH 409 "subscription-mismatch" "Subscription mismatch" None, false;
    GROUP_CONSUMED_BY_PULL 409 "group-consumed-by-pull" "Group consumed by pull" None, false;
    LEASE_EXPIRED 410 "lease-expired" "Lease expired" Some(40013), false;
    PAGE_TOKEN_EXPIRED 410 "page-token-expired" "Page token expired" None, false;
    REQUESTER_GONE 410 "requester-gone" "Requester gone" None, false;
    PRECONDITION_FAILED 412 "precondition-failed" "Precondition failed" Some(42800), false;
    MESSAGE_TOO_LARGE 413 "message-too-large" "Message too large" Some(41301), false;
    REQUEST_TOO_LARGE 413 "request-too-large" "Request too large" Some(41300), false;
    URI_TOO_LONG 414 "uri-too-long" "URI too long" None, false;
    UNSUPPORTED_MEDIA_TYPE 415 "unsupported-media-type" "Unsupported media type" None, false;
    UNSUPPORTED_ENCODING 415 "unsupported-encoding" "Unsupported content encoding" None, false;
    MISDIRECTED 421 "misdirected-request" "Misdirected request" None, false;
    INVALID_TOPIC 422 "invalid-topic" "Invalid topic name" Some(40002), false;
    INVALID_GROUP 422 "invalid-group" "Invalid group name" Some(40003), false;
    EMPTY_BODY 422 "empty-body" "Empty body" Some(41302), false;
    INVALID_BASE64 422 "invalid-base64" "Invalid base64" Some(40016), false;
    INVALID_TAG 422 "invalid-tag" "Invalid tag" Some(40004), false;
    INVALID_KEY 422 "invalid-key" "Invalid key" Some(40005), false;
    INVALID_MESSAGE_GROUP 422 "invalid-message-group" "Invalid message group" Some(40006), false;
    INVALID_PROPERTY 422 "invalid-property" "Invalid property" Some(40007), false;
    RESERVED_PROPERTY 422 "reserved-property" "Reserved property" Some(40007), false;
    PROPERTIES_TOO_LARGE 422 "properties-too-large" "Properties too large" Some(43101), false;
    INVALID_DELIVERY_TIME 422 "invalid-delivery-time" "Invalid delivery time" Some(40012), false;
    MESSAGE_TYPE_MISMATCH 422 "message-type-mismatch" "Message type mismatch" Some(40014), false;
    INVALID_BATCH 422 "invalid-batch" "Invalid batch" Some(40000), false;
    IDEMPOTENCY_KEY_REUSED 422 "idempotency-key-reused" "Idempotency-Key reused" None, false;
    IDEMPOTENCY_KEY_REFUSED 422 "idempotency-key-refused" "Idempotency-Key not taken here" None, false;
    RECALL_MISMATCH 422 "recall-mismatch" "Recall handle of another topic" None, false;
    LEASE_MISMATCH 422 "lease-mismatch" "Lease of another group" None, false;
    INVALID_LEASE_DURATION 422 "invalid-lease-duration" "Invalid lease duration" Some(40011), false;
    INVALID_FILTER 422 "invalid-filter" "Invalid filter" Some(40010), false;
    INVALID_OFFSET 422 "invalid-offset" "Invalid offset" Some(40019), false;
    INVALID_SETTING 422 "invalid-setting" "Invalid setting" None, false;
    INVALID_CLOUDEVENT 422 "invalid-cloudevent" "Invalid CloudEvent" None, false;
    FORBIDDEN_URL 422 "forbidden-url" "Forbidden URL" None, false;
    WEBHOOK_NOT_CONFIRMED 422 "webhook-not-confirmed" "Webhook not confirmed" None, false;
    CONFIRMATION_REQUIRED 422 "confirmation-required" "Confirmation required" None, false;
    LIMIT_EXCEEDED 422 "limit-exceeded" "Limit exceeded" None, false;
    PREDECESSOR_FAILED 424 "predecessor-failed" "An earlier entry of the message group failed" None, false;
    PRECONDITION_REQUIRED 428 "precondition-required" "Precondition required" Some(42800), false;
    QUOTA_EXCEEDED 429 "quota-exceeded" "Quota exceeded" Some(42900), true;
    HEADERS_TOO_LARGE 431 "headers-too-large" "Headers too large" Some(43100), false;
    INTERNAL 500 "internal" "Internal error" Some(50001), true;
    UNSUPPORTED_BY_BROKER 501 "unsupported-by-broker" "Not supported by the broker" None, false;
    UNAVAILABLE 503 "unavailable" "Unavailable" Some(50002), true;
    BROKER_TIMEOUT 504 "broker-timeout" "Broker timeout" Some(50400), true;
    PUBLISH_OUTCOME_UNKNOWN 504 "publish-outcome-unknown" "Publish outcome unknown" Some(50400), true;
    REPLY_TIMEOUT 504 "reply-timeout" "Reply timeout" Some(50400), true;
}

/// Where in a request something is wrong.
#[derive(Debug, Clone)]
pub enum Place {
    /// JSON pointer into the body.
    Pointer(String),
    /// A parameter of query or path.
    Parameter(String),
    /// A header.
    Header(String),
}

/// One thing that is wrong in a request.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What, in our words.
    pub detail: String,
}

/// An answer that is not a success.
#[derive(Debug)]
pub struct Problem {
    kind: &'static Kind,
    detail: Option<String>,
    faults: Vec<Fault>,
    extra: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem of this type.
    pub fn new(kind: &'static Kind) -> Problem {
        Problem {
            kind,
            detail: None,
            faults: Vec::new(),
            extra: Map::new(),
            headers: Vec::new(),
        }
    }

    /// One sentence about this occurrence. Ours: never the text of an inner error.
    pub fn detail(mut self, detail: impl Into<String>) -> Problem {
        self.detail = Some(detail.into());
        self
    }

    /// Everything that is wrong, not only the first.
    pub fn faults(mut self, faults: Vec<Fault>) -> Problem {
        self.faults = faults;
        self
    }

    /// A member that only this type has.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Problem {
        self.extra.insert(name.to_owned(), value.into());
        self
    }

    /// A header of the answer.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Problem {
        self.headers.push((name, value));
        self
    }

    /// Its type.
    pub fn kind(&self) -> &'static Kind {
        self.kind
    }

    /// As an object: the body of an answer, or an entry of a batch's results.
    pub fn to_json(&self, instance: Option<&str>) -> Value {
        let mut object = json!({
            "type": format!("/problems/{}", self.kind.slug),
            "title": self.kind.title,
            "status": self.kind.status,
            "retryable": self.kind.retryable,
        });
        let Some(members) = object.as_object_mut() else {
            return object;
        };
        let optional = [
            ("code", self.kind.code.map(Value::from)),
            ("detail", self.detail.clone().map(Value::from)),
            ("instance", instance.map(Value::from)),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                members.insert(name.to_owned(), value);
            }
        }
        if !self.faults.is_empty() {
            let faults = self.faults.iter().map(Fault::to_json).collect();
            members.insert("errors".to_owned(), Value::Array(faults));
        }
        members.extend(self.extra.clone());
        object
    }

    /// The answer to the request with this id.
    pub(crate) fn answer(self, instance: Option<&str>) -> Response {
        let body = self.to_json(instance).to_string();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() =
            StatusCode::from_u16(self.kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(CONTENT_TYPE, json);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        response.extensions_mut().insert(self.kind);
        response
    }
}

impl Fault {
    /// Something wrong in the body, at this JSON pointer.
    pub fn pointer(pointer: impl Into<String>, detail: impl Into<String>) -> Fault {
        Fault {
            place: Place::Pointer(pointer.into()),
            detail: detail.into(),
        }
    }

    /// Something wrong in a parameter of query or path.
    pub fn parameter(name: impl Into<String>, detail: impl Into<String>) -> Fault {
        Fault {
            place: Place::Parameter(name.into()),
            detail: detail.into(),
        }
    }

    /// Something wrong in a header.
    pub fn header(name: impl Into<String>, detail: impl Into<String>) -> Fault {
        Fault {
            place: Place::Header(name.into()),
            detail: detail.into(),
        }
    }

    fn to_json(&self) -> Value {
        let (name, place) = match &self.place {
            Place::Pointer(place) => ("pointer", place),
            Place::Parameter(place) => ("parameter", place),
            Place::Header(place) => ("header", place),
        };
        json!({name: place, "detail": self.detail})
    }
}
