//! The contract and the pages about problems, served from the binary: they work offline.

use std::sync::LazyLock;

use hyper::StatusCode;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH,
};

use crate::body::{Body, Response};
use crate::call::Call;
use crate::etag;
use crate::operations::{Operation, row};
use crate::problem::{self, KINDS, Kind, Problem};

pub(crate) const OPERATIONS: &[Operation] = &[
    row!(GET "/openapi.json" "getOpenapiJson" openapi_json),
    row!(GET "/openapi.yaml" "getOpenapiYaml" openapi_yaml),
    row!(GET "/problems/{slug}" "getProblem" about, NOT_FOUND),
];

/// The contract, as it was written.
pub const OPENAPI: &str = include_str!("../../../openapi/openapi.yaml");

/// A page of ours loads nothing from anywhere, and nobody may frame it.
pub(crate) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The contract as JSON.
pub fn openapi() -> &'static serde_json::Value {
    static CONTRACT: LazyLock<serde_json::Value> =
        // A test reads it; what is embedded cannot change afterwards.
        LazyLock::new(|| serde_yaml_ng::from_str(OPENAPI).unwrap_or_default());
    &CONTRACT
}

async fn openapi_json(call: Call) -> Result<Response, Problem> {
    static TEXT: LazyLock<String> = LazyLock::new(|| openapi().to_string());
    Ok(fixed(&call, "application/json", &TEXT))
}

async fn openapi_yaml(call: Call) -> Result<Response, Problem> {
    Ok(fixed(&call, "application/yaml", OPENAPI))
}

/// Something that only a new binary changes.
pub(crate) fn fixed(call: &Call, kind: &'static str, text: &'static str) -> Response {
    let tag = etag::of(text);
    let same = call.headers.get(IF_NONE_MATCH) == Some(&tag);
    let mut response = Response::new(Body::from(if same { "" } else { text }));
    if same {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(ETAG, tag);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A page of ours.
pub(crate) fn html(text: impl Into<Body>) -> Response {
    let mut response = Response::new(text.into());
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

async fn about(call: Call) -> Result<Response, Problem> {
    let kind = KINDS.iter().find(|kind| kind.slug == call.parameter(0));
    let kind = kind.ok_or_else(|| {
        Problem::new(&problem::NOT_FOUND).detail("there is no such type of problem")
    })?;
    Ok(html(page(kind)))
}

fn page(kind: &Kind) -> String {
    let Kind {
        slug,
        title,
        status,
        code,
        retryable,
    } = kind;
    let code = code.map_or(String::new(), |code| {
        format!("<p>RocketMQ code {code}.</p>")
    });
    let again = match retryable {
        true => "The same request may succeed later.",
        false => "The same request will not succeed again unless something changes.",
    };
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <link rel=\"stylesheet\" href=\"/page.css\"><title>{title}</title><main><h1>{title}</h1>\
         <p><code>/problems/{slug}</code>, status {status}.</p>{code}<p>{again} \
         <code>detail</code> and <code>errors</code> of the answer say what was wrong; \
         <code>instance</code> is the request's id.</p></main></html>"
    )
}
