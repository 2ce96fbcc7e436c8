//! One request as its operation sees it, and the answers most operations give.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, IF_MATCH};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, StatusCode, Uri, Version};
use serde::Serialize;

use crate::body::{Body, Response};
use crate::gauge::Taken;
use crate::line::Line;
use crate::node::Node;
use crate::problem::{self, Fault, Problem};
use crate::request_id::RequestId;
use crate::timed::{self, Timed};

/// A body of so many bytes takes its thread long to read.
const LONG: usize = 256 << 10;

/// One request.
pub(crate) struct Call {
    /// What lives as long as the server: the client, limits, whether it drains.
    pub node: Arc<Node>,
    /// Its method; `HEAD` is served by what serves `GET`.
    pub method: Method,
    /// Values of the path's parameters, decoded once, in the order of the path.
    pub path: Vec<String>,
    /// Path and query as they came.
    pub uri: Uri,
    /// Headers.
    pub headers: HeaderMap,
    /// That of HTTP.
    pub version: Version,
    /// The request's id.
    pub id: RequestId,
    /// The connection that it came by.
    pub line: Arc<Line>,
    body: Timed,
    held: Option<Taken>,
}

impl Call {
    pub(crate) fn new(
        node: Arc<Node>,
        path: Vec<String>,
        id: RequestId,
        line: Arc<Line>,
        head: Parts,
        body: Timed,
    ) -> Call {
        Call {
            node,
            method: head.method,
            path,
            uri: head.uri,
            headers: head.headers,
            version: head.version,
            id,
            line,
            body,
            held: None,
        }
    }

    /// The parameter of the path at this place.
    pub(crate) fn parameter(&self, at: usize) -> &str {
        self.path.get(at).map_or("", String::as_str)
    }

    /// The query string as it came.
    pub(crate) fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }

    /// The whole body. Its bytes count among those that the server holds until the call ends.
    ///
    /// # Errors
    /// `request-too-large` over `limit` bytes; `request-timeout` if the peer dawdled; `invalid-request`
    /// if it stopped in the middle; `unavailable` while too many bytes are held.
    pub(crate) async fn body(&mut self, limit: usize) -> Result<Bytes, Problem> {
        let told = self.body.size_hint().exact();
        let told = told.and_then(|told| usize::try_from(told).ok());
        let too_large = || {
            Problem::new(&problem::REQUEST_TOO_LARGE)
                .detail(format!("at most {limit} bytes are taken"))
                .header(CONNECTION, HeaderValue::from_static("close"))
        };
        if told.is_some_and(|told| told > limit) {
            return Err(too_large());
        }
        let bodies = &self.node.bodies;
        let full = || {
            let detail = "the server holds too many bytes of requests just now";
            bodies.over(&problem::UNAVAILABLE, detail)
        };
        let held = self
            .held
            .insert(bodies.take(told.unwrap_or(0)).ok_or_else(full)?);
        let mut whole = BytesMut::new();
        let mut only = Bytes::new();
        while let Some(frame) = self.body.frame().await {
            let Ok(data) = frame.map_err(broken)?.into_data() else {
                continue;
            };
            // What was not announced is counted as it comes.
            if told.is_none() {
                if whole.len() + data.len() > limit {
                    return Err(too_large());
                }
                if !bodies.grow(held, data.len()) {
                    return Err(full());
                }
            }
            if told == Some(data.len()) {
                // All at once: it stays where it lies.
                only = data;
                continue;
            }
            if whole.is_empty() {
                whole.reserve(told.unwrap_or(0));
            }
            whole.extend_from_slice(&data);
            if whole.len() >= LONG {
                // Pieces follow each other as fast as they are copied: threads that wait for this core go first.
                std::thread::yield_now();
            }
        }
        Ok(match only.is_empty() {
            true => whole.freeze(),
            false => only,
        })
    }
}

/// Why a body is not whole.
fn broken(error: timed::Error) -> Problem {
    match error {
        timed::Error::Slow => Problem::new(&problem::REQUEST_TIMEOUT)
            .detail("the body came too slowly")
            .header(CONNECTION, HeaderValue::from_static("close")),
        timed::Error::Broken(_) => {
            Problem::new(&problem::INVALID_REQUEST).detail("the body ended before it was whole")
        }
    }
}

impl Call {
    /// The body, if there is one; it must say that it is JSON of this kind.
    ///
    /// # Errors
    /// `unsupported-media-type`, and those of [`Call::body`].
    pub(crate) async fn optional_json(
        &mut self,
        limit: usize,
        kind: &str,
    ) -> Result<Option<Bytes>, Problem> {
        let body = self.body(limit).await?;
        if body.is_empty() {
            return Ok(None);
        }
        self.must_be(kind)?;
        Ok(Some(body))
    }

    /// The body, which must be there and say that it is JSON of this kind.
    ///
    /// # Errors
    /// `unsupported-media-type`, and those of [`Call::body`].
    pub(crate) async fn json(&mut self, limit: usize, kind: &str) -> Result<Bytes, Problem> {
        let body = self.body(limit).await?;
        self.must_be(kind)?;
        Ok(body)
    }

    /// The settings of a resource that is put; without a body the defaults.
    ///
    /// # Errors
    /// Those of [`Call::optional_json`] and of `parse`.
    pub(crate) async fn settings<T: Default>(
        &mut self,
        parse: fn(&[u8]) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let limit = self.node.options.limits.small;
        match self.optional_json(limit, "application/json").await? {
            Some(body) => parse(&body),
            None => Ok(T::default()),
        }
    }

    /// A merge patch (RFC 7396) of a resource's settings. Nothing can be taken away, so `null` is of a
    /// wrong type.
    ///
    /// # Errors
    /// Those of [`Call::json`] and of `parse`.
    pub(crate) async fn patch<T>(
        &mut self,
        parse: fn(&[u8]) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let limit = self.node.options.limits.small;
        parse(&self.json(limit, "application/merge-patch+json").await?)
    }

    /// Whether the caller's `If-Match`, if there is one, names what is there.
    ///
    /// # Errors
    /// `precondition-failed`.
    pub(crate) fn if_match(&self, tag: &HeaderValue) -> Result<(), Problem> {
        let Some(wanted) = self.headers.get(IF_MATCH) else {
            return Ok(());
        };
        let wanted = wanted.to_str().unwrap_or_default();
        let mut all = wanted.split(',').map(str::trim);
        match all.any(|own| own == "*" || own.as_bytes() == tag.as_bytes()) {
            true => Ok(()),
            false => Err(Problem::new(&problem::PRECONDITION_FAILED)
                .detail("it has changed since; read it again")),
        }
    }

    /// Whether the body is said to be of this media type, in UTF-8 if it says in what.
    fn must_be(&self, kind: &str) -> Result<(), Problem> {
        let given = self.headers.get(CONTENT_TYPE);
        let given = given
            .and_then(|given| given.to_str().ok())
            .unwrap_or_default();
        let mut parts = given.split(';').map(str::trim);
        let named = parts
            .next()
            .is_some_and(|own| own.eq_ignore_ascii_case(kind));
        let utf8 = parts.all(|part| match part.split_once('=') {
            Some((name, set)) if name.trim().eq_ignore_ascii_case("charset") => {
                set.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        });
        if named && utf8 {
            return Ok(());
        }
        let fault = Fault::header("Content-Type", format!("{kind} expected, in UTF-8"));
        Err(Problem::new(&problem::UNSUPPORTED_MEDIA_TYPE).faults(vec![fault]))
    }
}

/// A JSON answer. Nothing that depends on messages may be kept by caches.
pub(crate) fn json_answer<T: Serialize>(status: StatusCode, value: &T) -> Response {
    let text = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
