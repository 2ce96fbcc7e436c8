//! What is told to a caller or taken back: leases, and questions about transactions.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use crate::body::Body;

/// Something that a caller gets. Dropped before [`Promise::told`], it takes back what it is about.
pub(crate) trait Promise: Send + Unpin + 'static {
    /// The connection has it: what it cannot write then is lost with the connection.
    fn told(&mut self);
}

/// The body of an answer that tells of a promise.
pub(crate) fn body(text: Bytes, mut promise: impl Promise) -> Body {
    if text.is_empty() {
        // Nobody polls an empty body: the headers are all that is told.
        promise.told();
        return Body::empty();
    }
    Body::new(Told {
        text: Full::new(text),
        promise,
    })
}

/// A body that knows whether the connection took it.
struct Told<P> {
    text: Full<Bytes>,
    promise: P,
}

impl<P: Promise> HttpBody for Told<P> {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.text).poll_frame(cx);
        if polled.is_ready() {
            self.promise.told();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.text.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.text.size_hint()
    }
}
