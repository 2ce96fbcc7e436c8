//! The pages for people, and their parts: files in the binary, which use nothing but the public API.

use hyper::StatusCode;
use hyper::header::{ACCEPT, CONTENT_SECURITY_POLICY, HeaderValue, VARY};
use serde_json::json;

use crate::body::Response;
use crate::call::{Call, json_answer};
use crate::docs::{POLICY, fixed};
use crate::operations::{Operation, row};
use crate::problem::Problem;

pub(crate) const OPERATIONS: &[Operation] = &[
    row!(GET "/" "getPage" page),
    row!(GET "/page.css" "getPageStyle" style),
    row!(GET "/page.js" "getPageScript" script),
    row!(GET "/docs" "getDocs" docs),
    row!(GET "/docs.css" "getDocsStyle" docs_style),
    row!(GET "/docs.js" "getDocsScript" docs_script),
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
            "docs": "/docs",
            "topics": "/v1/topics",
            "groups": "/v1/groups",
            "cluster": "/v1/cluster",
            "health": "/readyz",
        });
        return Ok(vary(json_answer(StatusCode::OK, &links)));
    }
    Ok(vary(html(&call, include_str!("../page/index.html"))))
}

/// The contract for people.
async fn docs(call: Call) -> Result<Response, Problem> {
    Ok(html(&call, include_str!("../page/docs.html")))
}

fn html(call: &Call, text: &'static str) -> Response {
    let mut response = fixed(call, "text/html; charset=utf-8", text);
    let policy = HeaderValue::from_static(POLICY);
    response
        .headers_mut()
        .insert(CONTENT_SECURITY_POLICY, policy);
    response
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

async fn docs_style(call: Call) -> Result<Response, Problem> {
    let text = include_str!("../page/docs.css");
    Ok(fixed(&call, "text/css; charset=utf-8", text))
}

async fn docs_script(call: Call) -> Result<Response, Problem> {
    let text = include_str!("../page/docs.js");
    Ok(fixed(&call, "text/javascript; charset=utf-8", text))
}

async fn script(call: Call) -> Result<Response, Problem> {
    let text = include_str!("../page/page.js");
    Ok(fixed(&call, "text/javascript; charset=utf-8", text))
}
