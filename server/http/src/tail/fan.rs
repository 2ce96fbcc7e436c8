//! Riders: streams that want every event of a topic as it is written, and have all but the next. One task writes
//! that to all their sockets; none of them wakes, nor does its connection.
//!
//! ```text
//! Reader ──events──> Fan ──a slice of riders, then a yield──> socket, socket, socket
//!                     └─ a socket is full, or its connection is writing ─> dismissed: the stream sends by itself
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use slab::Slab;

use super::cursor::Place;
use crate::line::{Line, Past};

/// Sockets that are written to between two yields: some 10 µs each.
const SLICE: usize = 16;

/// A place in the reader's ring.
#[derive(Clone, Debug)]
pub(super) struct Point {
    /// The number of the next event.
    pub number: u64,
    pub place: Place,
}

/// Who rides.
pub(super) struct Fan(Mutex<State>);

struct State {
    /// Where this round, or the last one, brings riders: those that are elsewhere are still to be served.
    end: Arc<Point>,
    riders: Slab<Rider>,
}

struct Rider {
    line: Arc<Line>,
    at: Arc<Point>,
    dismissed: bool,
    stream: Waker,
}

/// A stream's place among the riders, as long as it keeps it.
pub(super) struct Seat<'f> {
    fan: &'f Fan,
    key: usize,
}

impl Fan {
    pub(super) fn new(place: Place) -> Fan {
        let end = Arc::new(Point { number: 0, place });
        let riders = Slab::new();
        Fan(Mutex::new(State { end, riders }))
    }

    /// Takes a stream that has everything before this number; `None` unless that is where riders are.
    pub(super) fn mount(&self, line: &Arc<Line>, number: u64) -> Option<Seat<'_>> {
        let mut state = self.lock();
        if state.end.number != number {
            return None;
        }
        let rider = Rider {
            line: line.clone(),
            at: state.end.clone(),
            dismissed: false,
            stream: Waker::noop().clone(),
        };
        let key = state.riders.insert(rider);
        Some(Seat { fan: self, key })
    }

    /// Where riders are when no round is under way.
    pub(super) fn end(&self) -> Arc<Point> {
        self.lock().end.clone()
    }

    /// Begins a round.
    pub(super) fn begin(&self, end: Point) {
        self.lock().end = Arc::new(end);
    }

    /// Serves some riders, from this one on, with what brings them to the end of the round; `None`: they are too far
    /// behind. Returns who is next.
    pub(super) fn serve(&self, from: usize, chunks: Option<&Bytes>) -> Option<usize> {
        let state = &mut *self.lock();
        let (mut at, mut left) = (from, SLICE);
        while left > 0 {
            // Slots are never more than they were at most.
            if at >= state.riders.capacity() {
                return None;
            }
            let rider = state.riders.get_mut(at);
            at += 1;
            let Some(rider) = rider.filter(|rider| !rider.dismissed) else {
                continue;
            };
            if rider.at.number == state.end.number {
                continue;
            }
            left -= 1;
            let past = chunks.map_or(Past::No, |chunks| rider.line.write_past(chunks));
            if past != Past::No {
                rider.at = state.end.clone();
            }
            if past != Past::Whole {
                rider.dismissed = true;
                rider.stream.wake_by_ref();
            }
        }
        Some(at)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat<'_> {
    /// Returns once the stream has to send by itself.
    pub(super) async fn dismissed(&self) {
        std::future::poll_fn(|cx| self.poll_dismissed(cx)).await;
    }

    fn poll_dismissed(&self, cx: &Context<'_>) -> Poll<()> {
        match self.fan.lock().riders.get_mut(self.key) {
            Some(rider) if !rider.dismissed => {
                if !rider.stream.will_wake(cx.waker()) {
                    rider.stream.clone_from(cx.waker());
                }
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    /// Gives the place up; returns where the stream is. From then on nothing is written for it: were it asked before it leaves,
    /// a round on another thread could bring it further in between, and it would send that again.
    pub(super) fn leave(self) -> Option<Arc<Point>> {
        let rider = self.fan.lock().riders.try_remove(self.key);
        // The key may be another's by now.
        std::mem::forget(self);
        rider.map(|rider| rider.at)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.fan.lock().riders.try_remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::line::tests::connected;

    fn point(number: u64) -> Point {
        let place = Place(vec![number]);
        Point { number, place }
    }

    #[tokio::test]
    async fn who_left_is_where_it_was_told_and_its_place_is_the_next_ones() {
        let fan = Fan::new(point(0).place);
        let chunk = Bytes::from_static(b"event ");
        let [mut first, mut second] = [connected().await, connected().await];
        for (wire, _) in [&mut first, &mut second] {
            wire.flush().await.unwrap();
        }
        let left = fan.mount(first.0.line(), 0).unwrap();
        fan.begin(point(1));
        fan.serve(0, Some(&chunk));
        fan.begin(point(2));
        assert_eq!(left.leave().unwrap().number, 1);
        let stays = fan.mount(second.0.line(), 2).unwrap();
        fan.serve(0, Some(&chunk));
        fan.begin(point(3));
        fan.serve(0, Some(&chunk));
        assert_eq!(stays.leave().unwrap().place, point(3).place);
        for (mut wire, mut peer) in [first, second] {
            wire.shutdown().await.unwrap();
            let mut read = String::new();
            peer.read_to_string(&mut read).await.unwrap();
            assert_eq!(read, "event ");
        }
    }
}
