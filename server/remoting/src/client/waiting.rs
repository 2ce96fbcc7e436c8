//! Who waits for which answer, and until when.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::{Answers, CallError};
use crate::answer::Answer;

/// The calls of one connection.
#[derive(Default)]
pub(super) struct Waiting {
    calls: Mutex<Calls>,
    /// A deadline before all others came.
    sooner: Notify,
}

#[derive(Default)]
struct Calls {
    by_opaque: HashMap<i32, Slot>,
    broken: bool,
    /// No call ends before this; an answered one may have stood for it.
    next: Option<Instant>,
}

struct Slot {
    until: Instant,
    state: State,
}

enum State {
    Waiting(Option<Waker>),
    Answered(Bytes),
    Late,
    /// One of many: who is told, and its number there.
    Told(Arc<dyn Answers>, usize),
}

/// Who is to be told what, outside the lock.
#[derive(Default)]
struct Tell(Vec<(Arc<dyn Answers>, Vec<Ended>)>);

/// The number of a request, and what came of it.
pub(super) type Ended = (usize, Result<Answer, CallError>);

impl Tell {
    fn add(&mut self, who: Arc<dyn Answers>, ended: Ended) {
        match self.0.last_mut() {
            Some((last, all)) if Arc::ptr_eq(last, &who) => all.push(ended),
            _ => self.0.push((who, vec![ended])),
        }
    }

    fn tell(self) {
        for (who, ended) in self.0 {
            who.come(ended);
        }
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_open(&self) -> bool {
        !self.lock().broken
    }

    /// `false` if the connection is broken.
    pub(super) fn add(&self, opaque: i32, until: Instant) -> bool {
        let mut calls = self.lock();
        if calls.broken {
            return false;
        }
        let state = State::Waiting(None);
        calls.by_opaque.insert(opaque, Slot { until, state });
        if calls.next.is_none_or(|next| until < next) {
            calls.next = Some(until);
            self.sooner.notify_one();
        }
        true
    }

    /// As [`Waiting::add`], for many, whose opaques lie one behind the other.
    pub(super) fn add_each(
        &self,
        opaques: impl Iterator<Item = i32>,
        until: Instant,
        who: &Arc<dyn Answers>,
    ) -> bool {
        let mut calls = self.lock();
        if calls.broken {
            return false;
        }
        for (number, opaque) in opaques.enumerate() {
            let state = State::Told(who.clone(), number);
            calls.by_opaque.insert(opaque, Slot { until, state });
        }
        if calls.next.is_none_or(|next| until < next) {
            calls.next = Some(until);
            self.sooner.notify_one();
        }
        true
    }

    /// Hands answers to their calls. Those that nobody waits for any more are dropped.
    pub(super) fn answer(&self, answers: &mut Vec<(i32, Bytes)>) {
        let mut tell = Tell::default();
        let mut calls = self.lock();
        for (opaque, answer) in answers.drain(..) {
            let Entry::Occupied(mut entry) = calls.by_opaque.entry(opaque) else {
                continue;
            };
            if matches!(entry.get().state, State::Told(..)) {
                if let State::Told(who, number) = entry.remove().state {
                    tell.add(who, (number, Ok(Answer::new(answer))));
                }
                continue;
            }
            let state = &mut entry.get_mut().state;
            let before = std::mem::replace(state, State::Answered(answer));
            if let State::Waiting(Some(waker)) = before {
                waker.wake();
            }
        }
        drop(calls);
        tell.tell();
    }

    /// The connection is gone: nobody gets an answer any more, except who has it already.
    pub(super) fn break_off(&self, address: SocketAddr) {
        let mut tell = Tell::default();
        let mut calls = self.lock();
        calls.broken = true;
        calls.end_told(|_| true, || CallError::Broken(address), &mut tell);
        for slot in calls.by_opaque.values_mut() {
            if let State::Waiting(waker) = &mut slot.state
                && let Some(waker) = waker.take()
            {
                waker.wake();
            }
        }
        drop(calls);
        tell.tell();
    }

    /// Ends calls whose time is over, for as long as the connection lives.
    pub(super) async fn deadlines(&self) {
        loop {
            let next = self.expire();
            let sooner = self.sooner.notified();
            match next {
                Some(next) => tokio::select! {
                    () = sleep_until(next) => {}
                    () = sooner => {}
                },
                None => sooner.await,
            }
        }
    }

    fn expire(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut calls = self.lock();
        if calls.next.is_some_and(|next| next > now) {
            return calls.next;
        }
        let mut next: Option<Instant> = None;
        let mut tell = Tell::default();
        calls.end_told(|slot| slot.until <= now, || CallError::Timeout, &mut tell);
        for slot in calls.by_opaque.values_mut() {
            if slot.until > now {
                next = Some(next.map_or(slot.until, |next| next.min(slot.until)));
            } else if let State::Waiting(waker) = &mut slot.state {
                let waker = waker.take();
                slot.state = State::Late;
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
        }
        calls.next = next;
        drop(calls);
        tell.tell();
        next
    }
}

impl Calls {
    /// Takes out those of many that end without an answer.
    fn end_told(
        &mut self,
        ends: impl Fn(&Slot) -> bool,
        why: impl Fn() -> CallError,
        tell: &mut Tell,
    ) {
        let told = |slot: &Slot| matches!(slot.state, State::Told(..));
        let ended = (self.by_opaque).extract_if(|_, slot| told(slot) && ends(slot));
        for (_, slot) in ended {
            if let State::Told(who, number) = slot.state {
                tell.add(who, (number, Err(why())));
            }
        }
    }
}

/// Resolves to the answer. Dropped, it is waited for no longer.
pub(super) struct Call {
    pub(super) link: Arc<super::link::Link>,
    pub(super) opaque: i32,
}

impl Future for Call {
    type Output = Result<Answer, CallError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut calls = self.link.waiting.lock();
        let broken = calls.broken;
        let Some(slot) = calls.by_opaque.get_mut(&self.opaque) else {
            return Poll::Ready(Err(CallError::Broken(self.link.address)));
        };
        match &mut slot.state {
            State::Answered(answer) => Poll::Ready(Ok(Answer::new(std::mem::take(answer)))),
            State::Late | State::Told(..) => Poll::Ready(Err(CallError::Timeout)),
            State::Waiting(_) if broken => Poll::Ready(Err(CallError::Broken(self.link.address))),
            State::Waiting(waker) => {
                if !waker
                    .as_ref()
                    .is_some_and(|waker| waker.will_wake(context.waker()))
                {
                    *waker = Some(context.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.link.waiting.lock().by_opaque.remove(&self.opaque);
    }
}
