//! The body is the message: what is said of it stands in headers.

use bytes::Bytes;

use super::{Read, begin, publish as send, read_body};
use crate::body::Response;
use crate::call::Call;
use crate::clock;
use crate::mq_headers;
use crate::problem::Problem;

#[allow(clippy::manual_async_fn)] // the future of an `async fn` has room for its arguments twice
pub(super) fn publish(mut call: Call) -> impl Future<Output = Result<Response, Problem>> + Send {
    async move {
        let (target, key, _held) = begin(&call)?;
        let limit = call.node.options.limits.body;
        let read = mq_headers::read(&call.headers, &target.topic, clock::wall_ms());
        let body = call.body(limit).await.map_err(mq_headers::too_large)?;
        let draft = mq_headers::finish(read, body.clone(), limit)?;
        let read = match key {
            None => Read::of(draft),
            // A long body is long to digest.
            key => {
                let named = move |_: &Bytes| Ok(Read::of(draft).named(key));
                read_body(body, named).await?
            }
        };
        send(&mut call, &target, read).await
    }
}
