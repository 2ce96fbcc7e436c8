//! The body of an answer: mostly one text.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

/// Why the body of an answer ends early.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An answer.
pub(crate) type Response = hyper::Response<Body>;

/// The body of an answer.
pub(crate) struct Body(Kind);

enum Kind {
    /// Known as a whole; behind its end it is empty.
    Whole(Bytes),
    /// Made while it is sent.
    Made(Pin<Box<dyn HttpBody<Data = Bytes, Error = BoxError> + Send>>),
}

impl Body {
    pub(crate) fn empty() -> Body {
        Body(Kind::Whole(Bytes::new()))
    }

    /// What is made while it is sent.
    pub(crate) fn new<B>(body: B) -> Body
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let body = http_body_util::BodyExt::map_err(body, Into::into);
        Body(Kind::Made(Box::pin(body)))
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(whole: T) -> Body {
        Body(Kind::Whole(whole.into()))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Kind::Whole(whole) if whole.is_empty() => Poll::Ready(None),
            Kind::Whole(whole) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(whole))))),
            Kind::Made(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(whole) => whole.is_empty(),
            Kind::Made(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(whole) => SizeHint::with_exact(whole.len() as u64),
            Kind::Made(body) => body.size_hint(),
        }
    }
}
