//! One request as its operation sees it, and the answers most operations give.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, StatusCode};
use serde::Serialize;

use crate::problem::{self, Problem};
use crate::server::Node;

/// One request.
pub(crate) struct Call {
    /// What lives as long as the server: the client, limits, whether it drains.
    pub node: Arc<Node>,
    /// Values of the path's parameters, decoded once, in the order of the path.
    pub path: Vec<String>,
    /// The query string as it came.
    pub query: String,
    /// Headers.
    pub headers: HeaderMap,
    body: Body,
}

impl Call {
    pub(crate) fn new(
        node: Arc<Node>,
        path: Vec<String>,
        query: String,
        headers: HeaderMap,
        body: Body,
    ) -> Call {
        Call {
            node,
            path,
            query,
            headers,
            body,
        }
    }

    /// The parameter of the path at this place.
    pub(crate) fn parameter(&self, at: usize) -> &str {
        self.path.get(at).map_or("", String::as_str)
    }

    /// The whole body.
    ///
    /// # Errors
    /// `request-too-large` over `limit` bytes; `malformed-request` if the peer stopped in the middle.
    pub(crate) async fn body(&mut self, limit: usize) -> Result<Bytes, Problem> {
        let body = std::mem::take(&mut self.body);
        match Limited::new(body, limit).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(Problem::new(&problem::REQUEST_TOO_LARGE)
                    .detail(format!("at most {limit} bytes are taken")))
            }
            Err(_) => Err(Problem::new(&problem::INVALID_REQUEST)
                .detail("the body ended before it was whole")),
        }
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
