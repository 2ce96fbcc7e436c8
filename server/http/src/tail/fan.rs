//! Riders: streams that have what they want of a topic but for what comes next. One task writes that to all their
//! sockets; none of them wakes, nor does its connection.
//!
//! ```text
//! Reader ──events──> Fan ──a slice of riders, then a yield──> socket, socket, socket
//!                     └─ a socket is full, or its connection is writing ─> dismissed: the stream sends by itself
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use slab::Slab;

use super::cursor::Place;
use super::round::Round;
use super::wanted::Wanted;
use crate::line::{Line, Past};

/// Sockets that are written to between two yields: some 10 µs each.
const SLICE: usize = 16;
/// Riders that are looked at between two yields: some 100 ns each, where they want nothing of what there is.
const LOOKS: usize = 512;

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
    /// `None`: everything.
    wanted: Option<Arc<Wanted>>,
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
    pub(super) fn mount(
        &self,
        line: &Arc<Line>,
        wanted: &Arc<Wanted>,
        number: u64,
    ) -> Option<Seat<'_>> {
        let mut state = self.lock();
        if state.end.number != number {
            return None;
        }
        let rider = Rider {
            line: line.clone(),
            wanted: (!wanted.is_everything()).then(|| wanted.clone()),
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
    pub(super) fn serve(&self, from: usize, mut round: Option<&mut Round>) -> Option<usize> {
        let state = &mut *self.lock();
        let mut left = SLICE;
        for at in from..from + LOOKS {
            // Slots are never more than they were at most.
            if at >= state.riders.capacity() {
                return None;
            }
            if left == 0 {
                return Some(at);
            }
            let rider = state.riders.get_mut(at);
            let Some(rider) = rider.filter(|rider| !rider.dismissed) else {
                continue;
            };
            if rider.at.number == state.end.number {
                continue;
            }
            let past = match &mut round {
                None => Past::No,
                Some(round) => match round.of(rider.wanted.as_deref()) {
                    nothing if nothing.is_empty() => Past::Whole,
                    chunks => {
                        left -= 1;
                        rider.line.write_past(chunks)
                    }
                },
            };
            if past != Past::No {
                rider.at = state.end.clone();
            }
            if past != Past::Whole {
                rider.dismissed = true;
                rider.stream.wake_by_ref();
            }
        }
        Some(from + LOOKS)
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
    use bytes::Bytes;
    use posthouse_client::Filter;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::super::reader::Event;
    use super::*;
    use crate::line::Wire;
    use crate::line::tests::connected;

    fn point(number: u64) -> Point {
        let place = Place(vec![number]);
        Point { number, place }
    }

    fn wanted(filter: Filter) -> Arc<Wanted> {
        Arc::new(Wanted::new(filter, &[], &[]).unwrap())
    }

    fn round(events: &[(&str, &'static str)]) -> Round {
        let event = |(tag, chunk): &(&str, &'static str)| {
            Arc::new(Event {
                queue: 0,
                offset: 0,
                next: 1,
                tag: Some((*tag).into()),
                data: Bytes::new(),
                frame: Bytes::new(),
                chunk: Bytes::from_static(chunk.as_bytes()),
                is_gap: false,
            })
        };
        Round::new(events.iter().map(event).collect())
    }

    /// A connection that has nothing to write, and its peer.
    async fn idle() -> (Wire, TcpStream) {
        let (mut wire, peer) = connected().await;
        wire.flush().await.unwrap();
        (wire, peer)
    }

    async fn read((mut wire, mut peer): (Wire, TcpStream)) -> String {
        wire.shutdown().await.unwrap();
        let mut read = String::new();
        peer.read_to_string(&mut read).await.unwrap();
        read
    }

    #[tokio::test]
    async fn who_left_is_where_it_was_told_and_its_place_is_the_next_ones() {
        let fan = Fan::new(point(0).place);
        let (all, mut event) = (wanted(Filter::All), round(&[("", "event ")]));
        let (first, second) = (idle().await, idle().await);
        let left = fan.mount(first.0.line(), &all, 0).unwrap();
        fan.begin(point(1));
        fan.serve(0, Some(&mut event));
        fan.begin(point(2));
        assert_eq!(left.leave().unwrap().number, 1);
        let stays = fan.mount(second.0.line(), &all, 2).unwrap();
        fan.serve(0, Some(&mut event));
        fan.begin(point(3));
        fan.serve(0, Some(&mut event));
        assert_eq!(stays.leave().unwrap().place, point(3).place);
        for each in [first, second] {
            assert_eq!(read(each).await, "event ");
        }
    }

    #[tokio::test]
    async fn everybody_gets_what_it_wants_and_all_are_as_far() {
        let fan = Fan::new(point(0).place);
        let wants = ["a", "b", "a || c", "d"].map(|tags| wanted(Filter::tags(tags)));
        let mut idles = Vec::new();
        for _ in &wants {
            idles.push(idle().await);
        }
        let seats = idles.iter().zip(&wants);
        let seats: Vec<_> = seats
            .map(|((wire, _), wanted)| fan.mount(wire.line(), wanted, 0).unwrap())
            .collect();
        fan.begin(point(3));
        fan.serve(
            0,
            Some(&mut round(&[("a", "1 "), ("b", "2 "), ("c", "3 ")])),
        );
        for seat in seats {
            assert_eq!(seat.leave().unwrap().number, 3);
        }
        for (each, expected) in idles.into_iter().zip(["1 ", "2 ", "1 3 ", ""]) {
            assert_eq!(read(each).await, expected);
        }
    }

    #[tokio::test]
    async fn who_wants_nothing_keeps_nobody_from_their_turn() {
        let fan = Fan::new(point(0).place);
        let (one, other) = (idle().await, idle().await);
        let nothing = wanted(Filter::tags("b"));
        let wires = std::iter::repeat_n(one.0.line(), 3 * LOOKS);
        let _seats: Vec<_> = wires
            .map(|line| fan.mount(line, &nothing, 0).unwrap())
            .collect();
        let _last = fan.mount(other.0.line(), &wanted(Filter::All), 0).unwrap();
        fan.begin(point(1));
        let (mut event, mut at, mut pauses) = (round(&[("a", "event")]), 0, 0);
        while let Some(next) = fan.serve(at, Some(&mut event)) {
            (at, pauses) = (next, pauses + 1);
        }
        assert!(pauses >= 3, "{pauses}");
        assert_eq!((&*read(one).await, &*read(other).await), ("", "event"));
    }
}
