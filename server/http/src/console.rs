//! The page for people: three files in the binary, which use nothing but the public API.

use axum::response::Response;
use hyper::StatusCode;
use hyper::header::{ACCEPT, CONTENT_SECURITY_POLICY, HeaderValue, VARY};
use serde_json::json;

use crate::call::{Call, json_answer};
use crate::docs::{POLICY, fixed};
use crate::operations::{Operation, row};
use crate::problem::Problem;

pub(crate) const OPERATIONS: &[Operation] = &[
    row!(GET "/" "getPage" page),
    row!(GET "/page.css" "getPageStyle" style),
    row!(GET "/page.js" "getPageScript" script),
];

/// The page for who asks for HTML, as browsers do; for everybody else where to go on.
async fn page(call: Call) -> Result<Response, Problem> {
    let accept = call
        .headers
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    if !accept.is_some_and(|accept| accept.contains("text/html")) {
        let links = json!({
            "openapi": "/openapi.json",
            "topics": "/v1/topics",
            "groups": "/v1/groups",
            "cluster": "/v1/cluster",
            "health": "/readyz",
        });
        return Ok(vary(json_answer(StatusCode::OK, &links)));
    }
    let text = include_str!("../page/index.html");
    let mut response = vary(fixed(&call, "text/html; charset=utf-8", text));
    let policy = HeaderValue::from_static(POLICY);
    response
        .headers_mut()
        .insert(CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

fn vary(mut response: Response) -> Response {
    response
        .headers_mut()
        .append(VARY, HeaderValue::from_static("Accept"));
    response
}

async fn style(call: Call) -> Result<Response, Problem> {
    let text = include_str!("../page/page.css");
    Ok(fixed(&call, "text/css; charset=utf-8", text))
}

async fn script(call: Call) -> Result<Response, Problem> {
    let text = include_str!("../page/page.js");
    Ok(fixed(&call, "text/javascript; charset=utf-8", text))
}
