//! Whether the process answers, and whether it should be sent work.

use axum::response::Response;
use hyper::StatusCode;
use serde_json::json;

use crate::call::{Call, json_answer};
use crate::problem::Problem;

/// The process answers.
pub(crate) async fn live(_call: Call) -> Result<Response, Problem> {
    Ok(json_answer(StatusCode::OK, &json!({"live": true})))
}

/// 503 while draining. Reasons are not said here: a probe needs none, and a stranger gets none.
pub(crate) async fn ready(call: Call) -> Result<Response, Problem> {
    let ready = call.node.is_ready();
    let status = match ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    Ok(json_answer(status, &json!({"ready": ready})))
}
