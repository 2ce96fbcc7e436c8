//! Which function answers which method and path: one row an operation of `openapi/openapi.yaml`.
//!
//! Each area of the API keeps its own rows beside its functions; this file puts them together.

use std::future::Future;
use std::pin::Pin;
use std::sync::LazyLock;

use hyper::Method;

use crate::body::Response;
use crate::call::Call;
use crate::problem::{self, Kind, Problem};
use crate::{
    browse, checkers, checks, cluster, console, dead_letters, docs, events, group_stream, groups,
    health, leases, publish, receive, requests, scheduled, tail, tickets, topics, transactions,
};

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
    /// The types of problem it can answer, beside those of [`COMMON`].
    pub problems: &'static [&'static Kind],
    pub(crate) run: fn(Call) -> Answer,
}

/// Problems that every operation can answer.
pub static COMMON: &[&Kind] = &[
    &problem::INVALID_PARAMETER,
    &problem::INVALID_PATH,
    &problem::INVALID_HOST,
    &problem::ORIGIN_NOT_ALLOWED,
    &problem::NOT_ACCEPTABLE,
    &problem::REQUEST_TIMEOUT,
    &problem::REQUEST_TOO_LARGE,
    &problem::URI_TOO_LONG,
    &problem::UNSUPPORTED_ENCODING,
    &problem::MISDIRECTED,
    &problem::QUOTA_EXCEEDED,
    &problem::HEADERS_TOO_LARGE,
    &problem::INTERNAL,
    &problem::UNAVAILABLE,
    &problem::BROKER_TIMEOUT,
    &problem::UNSUPPORTED_BY_BROKER,
    &problem::FORBIDDEN,
];

/// A row: method, path, id, async function, and the problems that only some operations have.
macro_rules! row {
    ($method:ident $path:literal $id:literal $run:path $(, $problem:ident)* $(,)?) => {
        $crate::operations::Operation {
            id: $id,
            method: hyper::Method::$method,
            path: $path,
            problems: &[$(&$crate::problem::$problem),*],
            run: |call| Box::pin($run(call)),
        }
    };
}
pub(crate) use row;

/// Every operation that is served, in the order of the contract.
pub fn operations() -> &'static [Operation] {
    static OPERATIONS: LazyLock<Vec<Operation>> = LazyLock::new(|| {
        [
            cluster::OPERATIONS,
            console::OPERATIONS,
            dead_letters::OPERATIONS,
            docs::OPERATIONS,
            groups::OPERATIONS,
            health::OPERATIONS,
            tail::OPERATIONS,
            group_stream::OPERATIONS,
            tickets::OPERATIONS,
            publish::OPERATIONS,
            events::OPERATIONS,
            scheduled::OPERATIONS,
            receive::OPERATIONS,
            leases::OPERATIONS,
            browse::OPERATIONS,
            transactions::OPERATIONS,
            checks::OPERATIONS,
            checkers::OPERATIONS,
            requests::OPERATIONS,
            topics::OPERATIONS,
        ]
        .concat()
    });
    &OPERATIONS
}

/// What the port for operators serves, none of it in the contract.
pub(crate) fn management() -> &'static [Operation] {
    health::MANAGEMENT
}
