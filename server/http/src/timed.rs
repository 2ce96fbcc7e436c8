//! A request's body that may not dawdle.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::options::Limits;

/// Why a body is not whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It paused too long, or came too slowly.
    #[error("the body came too slowly")]
    Slow,
    /// The peer broke off.
    #[error(transparent)]
    Broken(#[from] hyper::Error),
}

/// A request's body that may not dawdle. The clock starts when the body is first asked for.
pub(crate) struct Timed {
    body: Incoming,
    pause: Duration,
    grace: Duration,
    floor: u64,
    started: Option<Instant>,
    received: u64,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Timed {
    pub(crate) fn new(body: Incoming, limits: &Limits) -> Timed {
        Timed {
            body,
            pause: limits.body_pause,
            grace: limits.body_grace,
            floor: limits.body_floor.max(1),
            started: None,
            received: 0,
            timer: None,
        }
    }

    /// When the next piece must have come: within the pause, and before the average is below the floor.
    fn deadline(&mut self) -> Instant {
        let now = Instant::now();
        let started = *self.started.get_or_insert(now);
        let floor = self.grace + Duration::from_secs(self.received / self.floor);
        (now + self.pause).min(started + floor.max(Duration::from_millis(1)))
    }
}

impl Body for Timed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.received += frame.data_ref().map_or(0, Bytes::len) as u64;
                this.timer = None;
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(end) => Poll::Ready(end.map(|frame| frame.map_err(Error::Broken))),
            Poll::Pending => {
                if this.timer.is_none() {
                    let deadline = this.deadline();
                    this.timer = Some(Box::pin(sleep_until(deadline)));
                }
                if let Some(timer) = &mut this.timer {
                    ready!(timer.as_mut().poll(cx));
                }
                Poll::Ready(Some(Err(Error::Slow)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
