//! Which function answers which method and path: one row an operation of `openapi/openapi.yaml`.

use std::future::Future;
use std::pin::Pin;

use axum::response::Response;
use hyper::Method;

use crate::call::Call;
use crate::health;
use crate::problem::Problem;

/// What an operation comes to.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Response, Problem>> + Send>>;

/// One row of the table.
#[derive(Clone)]
pub struct Operation {
    /// `operationId` of the contract; also the label of metrics.
    pub id: &'static str,
    /// The method.
    pub method: Method,
    /// The path, `{name}` for a parameter.
    pub path: &'static str,
    pub(crate) run: fn(Call) -> Answer,
}

/// A row whose function is async.
macro_rules! row {
    ($method:ident $path:literal $id:literal $run:path) => {
        Operation {
            id: $id,
            method: Method::$method,
            path: $path,
            run: |call| Box::pin($run(call)),
        }
    };
}

/// Every operation that is served, in the order of the contract.
pub fn operations() -> &'static [Operation] {
    static OPERATIONS: &[Operation] = &[
        row!(GET "/livez" "livez" health::live),
        row!(GET "/readyz" "readyz" health::ready),
    ];
    OPERATIONS
}
