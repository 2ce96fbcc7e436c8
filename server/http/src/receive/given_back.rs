//! Leases that are given back unless their caller got them.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use posthouse_client::{Leased, SimpleConsumer};

/// A message that is given back comes again so soon.
const SOON: Duration = Duration::from_millis(1);

/// Messages on lease for a caller. Dropped before the caller got them, they are given back.
pub(super) struct Unless {
    consumer: SimpleConsumer,
    leased: Vec<Leased>,
}

impl Unless {
    pub(super) fn new(consumer: SimpleConsumer, leased: Vec<Leased>) -> Unless {
        Unless { consumer, leased }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.leased.is_empty()
    }

    pub(super) fn messages(&self) -> &[Leased] {
        &self.leased
    }

    /// The body of the answer that tells of them.
    pub(super) fn told_by(mut self, text: Bytes) -> Body {
        if text.is_empty() {
            // Nobody polls an empty body: the headers are all that is told.
            self.leased.clear();
        }
        match self.is_empty() {
            true => Body::from(text),
            false => Body::new(Told {
                text: Full::new(text),
                unless: self,
            }),
        }
    }
}

impl Drop for Unless {
    fn drop(&mut self) {
        if self.leased.is_empty() {
            return;
        }
        let (consumer, leased) = (self.consumer.clone(), std::mem::take(&mut self.leased));
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        // Not waited for by anybody: if it fails, the leases end by themselves.
        runtime.spawn(async move {
            for one in &leased {
                // Uncounted; a broker that cannot, counts.
                let given_back = consumer.release(&one.lease, Duration::ZERO, false).await;
                let given_back = match given_back {
                    Ok(_) => Ok(()),
                    Err(_) => consumer.extend(&one.lease, SOON).await.map(drop),
                };
                if let Err(error) = given_back {
                    tracing::debug!(%error, lease = %one.lease, "a lease whose caller is gone ends by itself");
                }
            }
        });
    }
}

/// A body that knows whether the connection took it.
struct Told {
    text: Full<Bytes>,
    unless: Unless,
}

impl HttpBody for Told {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.text).poll_frame(cx);
        if matches!(polled, Poll::Ready(_)) {
            // The connection has it: what it cannot write then is lost with the connection.
            self.unless.leased.clear();
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
