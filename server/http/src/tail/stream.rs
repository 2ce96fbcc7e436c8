//! One stream: catches up by pulls of its own, then rides on the topic's reader.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use posthouse_client::{Pull, Pulled};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::cursor::Place;
use super::reader::{Event, Found, Reader, SLICE, frame, gap};
use super::wanted::Wanted;
use crate::node::Node;
use crate::sse::{self, End, Out};

const HOLD: Duration = Duration::from_secs(20);

/// One stream.
pub(crate) struct Stream {
    pub node: Arc<Node>,
    pub reader: Arc<Reader>,
    pub wanted: Arc<Wanted>,
    /// The next offset of each queue.
    pub place: Place,
    /// Whether it begins elsewhere than at the end.
    pub behind: bool,
    pub out: Out,
    pub events_left: u64,
    pub max_duration: Option<Duration>,
}

impl Stream {
    pub(crate) async fn run(mut self) {
        let (node, out, asked) = (self.node.clone(), self.out.clone(), self.max_duration);
        sse::run(&node, &out, asked, Box::pin(self.work())).await;
    }

    async fn work(&mut self) -> Result<(), End> {
        // The place at once: who is cut off before the first event goes on from here.
        let id = self.reader.sign(&self.place);
        let hello = sse::hello(self.node.options.sse_retry, Some(&id));
        self.out.send(hello).await?;
        if self.behind {
            // It goes out before long messages are written.
            tokio::task::yield_now().await;
        }
        if self.wanted.is_sql() {
            return Box::pin(self.follow_alone()).await;
        }
        let mut moved = self.reader.subscribe();
        loop {
            if self.behind {
                // Boxed, so that a stream has no room for it while it rides, which is most of its life.
                Box::pin(self.catch_up()).await?;
            }
            let Some((number, seen)) = self.reader.join(&self.place) else {
                self.behind = true;
                continue;
            };
            self.ride(number, seen, &mut moved).await?;
            self.behind = true;
        }
    }

    /// Sends what the topic's reader finds, until its ring has gone on without us. `seen` is the reader's
    /// place at `number`: while ours differs, events get ids of our own.
    async fn ride(
        &mut self,
        mut number: u64,
        mut seen: Place,
        moved: &mut tokio::sync::watch::Receiver<()>,
    ) -> Result<(), End> {
        let mut aligned = seen == self.place;
        // Set once for all events until the next sign of life.
        let every = self.node.options.sse_heartbeat;
        let beat = sleep_until(Instant::now() + sse::jittered(every));
        let mut beat = std::pin::pin!(beat);
        let reader = self.reader.clone();
        let may_ride = self.events_left == u64::MAX;
        loop {
            moved.mark_unchanged();
            match self.reader.after(number) {
                Found::Lost => return Ok(()),
                Found::Events(events) => {
                    for event in &events {
                        number += 1;
                        if !aligned {
                            seen.set(event.queue, event.next);
                        }
                        self.offer(event, aligned).await?;
                        aligned = aligned || seen == self.place;
                    }
                    // The slices of many streams take turns with everything else on this thread. A short one ends
                    // by itself.
                    if events.len() == SLICE {
                        tokio::task::yield_now().await;
                    }
                }
                Found::End(id) => {
                    if beat.is_elapsed() {
                        let id = if aligned {
                            id
                        } else {
                            reader.sign(&self.place)
                        };
                        self.out.send(sse::heartbeat(Some(&id))).await?;
                        beat.as_mut().reset(Instant::now() + every);
                    }
                    let line = self.out.line().filter(|_| aligned && may_ride);
                    let Some(seat) =
                        line.and_then(|line| reader.fan.mount(line, &self.wanted, number))
                    else {
                        tokio::select! {
                            _ = moved.changed() => {}
                            () = &mut beat => {}
                        }
                        continue;
                    };
                    tokio::select! {
                        () = seat.dismissed() => {}
                        () = &mut beat => {}
                    }
                    if let Some(at) = seat.leave() {
                        number = at.number;
                        self.place.clone_from(&at.place);
                    }
                }
            }
        }
    }

    /// Sends an event unless it is known or not wanted.
    async fn offer(&mut self, event: &Event, aligned: bool) -> Result<(), End> {
        let known = self
            .place
            .0
            .get(event.queue)
            .is_some_and(|next| event.offset < *next);
        if known {
            return Ok(());
        }
        self.place.set(event.queue, event.next);
        if !self.wanted.accepts_event(event) {
            return Ok(());
        }
        let whole = match aligned {
            true => event.frame.clone(),
            false => frame(event.is_gap, &self.reader.sign(&self.place), &event.data),
        };
        self.send(whole, !event.is_gap).await
    }

    async fn send(&mut self, whole: Bytes, counts: bool) -> Result<(), End> {
        self.out.send(whole).await?;
        self.events_left -= u64::from(counts);
        match self.events_left {
            0 => Err(End::Done),
            _ => Ok(()),
        }
    }

    /// Pulls every queue to its end, a piece of each in turn.
    async fn catch_up(&mut self) -> Result<(), End> {
        let pull = Pull {
            filter: self.wanted.filter.clone(),
            ..Pull::default()
        };
        self.behind = false;
        let mut open: Vec<usize> = (0..self.reader.queues.len()).collect();
        // A queue that nobody wants is not read: its place is the reader's.
        let head = self.reader.head();
        for at in 0..head.0.len() {
            if !self.wanted.has_queue(at) {
                self.place.set(at, head.0.get(at).copied().unwrap_or(0));
            }
        }
        open.retain(|at| self.wanted.has_queue(*at));
        while !open.is_empty() {
            let mut still = Vec::new();
            for at in open {
                let (Some(queue), Some(&from)) =
                    (self.reader.queues.get(at).cloned(), self.place.0.get(at))
                else {
                    continue;
                };
                let pulled = self.node.client.pull(&queue, from, &pull).await;
                let pulled = pulled.map_err(|error| End::Problem(Box::new(error.into())))?;
                let more = pulled.next < pulled.end;
                self.take(at, from, &pulled).await?;
                if more {
                    still.push(at);
                }
            }
            open = still;
        }
        Ok(())
    }

    /// Sends what one pull gave.
    async fn take(&mut self, at: usize, from: u64, pulled: &Pulled) -> Result<(), End> {
        if pulled.moved
            && let Some(queue) = self.reader.queues.get(at)
        {
            let gap = gap(queue, from, pulled.next);
            self.place.set(at, pulled.next);
            let whole = frame(true, &self.reader.sign(&self.place), &gap);
            self.send(whole, false).await?;
        }
        for message in &pulled.messages {
            self.place.set(at, message.queue_offset + 1);
            if self.wanted.is_sql() || self.wanted.accepts_pulled(at, message) {
                let data = self.reader.data(message);
                let whole = frame(false, &self.reader.sign(&self.place), &data);
                self.send(whole, true).await?;
            }
        }
        self.place.set(at, pulled.next);
        Ok(())
    }

    /// Follows with long polls of its own: only the broker knows what an expression means.
    async fn follow_alone(&mut self) -> Result<(), End> {
        let (found, mut pulled) = mpsc::channel(1);
        let mut pulling = JoinSet::new();
        for at in (0..self.reader.queues.len()).filter(|at| self.wanted.has_queue(*at)) {
            let (node, found) = (self.node.clone(), found.clone());
            let (Some(queue), Some(&next)) =
                (self.reader.queues.get(at).cloned(), self.place.0.get(at))
            else {
                continue;
            };
            let pull = Pull {
                filter: self.wanted.filter.clone(),
                hold: HOLD,
                ..Pull::default()
            };
            let mut next = next;
            pulling.spawn(async move {
                loop {
                    let answer = node.client.pull(&queue, next, &pull).await;
                    let from = next;
                    let failed = answer.is_err();
                    next = answer.as_ref().map_or(next, |pulled| pulled.next);
                    if found.send((at, from, answer)).await.is_err() || failed {
                        return;
                    }
                }
            });
        }
        let every = self.node.options.sse_heartbeat;
        let mut beat = Instant::now() + sse::jittered(every);
        loop {
            tokio::select! {
                Some((at, from, answer)) = pulled.recv() => {
                    let answer = answer.map_err(|error| End::Problem(Box::new(error.into())))?;
                    self.take(at, from, &answer).await?;
                }
                () = sleep_until(beat) => {
                    let id = self.reader.sign(&self.place);
                    self.out.send(sse::heartbeat(Some(&id))).await?;
                    beat = Instant::now() + every;
                }
            }
        }
    }
}
