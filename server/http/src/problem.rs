//! What is wrong with a request, as `application/problem+json` (RFC 9457).
//!
//! The table is the only list of problem types: the contract's responses and the pages under
//! `/problems/` are made from it.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

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
    ORIGIN_NOT_ALLOWED 403 "origin-not-allowed" "Origin not allowed" Some(40300), false;
    NOT_FOUND 404 "not-found" "Not found" Some(40400), false;
    METHOD_NOT_ALLOWED 405 "method-not-allowed" "Method not allowed" None, false;
    REQUEST_TOO_LARGE 413 "request-too-large" "Request too large" Some(41300), false;
    MISDIRECTED 421 "misdirected-request" "Misdirected request" None, false;
    INTERNAL 500 "internal" "Internal error" Some(50001), true;
    UNAVAILABLE 503 "unavailable" "Unavailable" Some(50002), true;
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
    pub fn answer(self, instance: Option<&str>) -> Response {
        let body = self.to_json(instance).to_string();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() =
            StatusCode::from_u16(self.kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(CONTENT_TYPE, json);
        headers.extend(self.headers);
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.answer(None)
    }
}

impl Fault {
    fn to_json(&self) -> Value {
        let (name, place) = match &self.place {
            Place::Pointer(place) => ("pointer", place),
            Place::Parameter(place) => ("parameter", place),
            Place::Header(place) => ("header", place),
        };
        json!({name: place, "detail": self.detail})
    }
}
