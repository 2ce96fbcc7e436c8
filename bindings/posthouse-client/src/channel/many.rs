//! Many requests to one server: written together, in order, and without a task or a future for any of them.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use remoting::client::{Answers, CallError};
use remoting::{Answer, Command};
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, timeout_at};

use super::{Channel, Way};
use crate::error::Result;

/// Many requests, and who is told what came of them.
pub(crate) trait Many: Send + Sync + 'static {
    /// How many there are.
    fn count(&self) -> usize;
    /// Appends one of them, with this opaque.
    fn encode(&self, number: usize, opaque: i32, out: &mut Vec<u8>);
    /// These have ended. Must not block.
    fn ended(self: Arc<Self>, ended: Vec<(usize, Result<Answer>)>);
    /// Who asks the server first whether it is Posthouse's; `None`: nobody, any server will do.
    fn asks(&self) -> Option<&str>;
    /// The server did not say that it is: nothing was sent. Must not block.
    fn unsent(self: Arc<Self>);
}

/// Memory that is kept for the next requests, at most.
const SPARE: usize = 1 << 20;

/// [`Many`], as a connection knows them.
struct Sent<M> {
    channel: Arc<Channel>,
    many: Arc<M>,
}

impl<M: Many> Answers for Sent<M> {
    fn come(self: Arc<Self>, ended: Vec<(usize, std::result::Result<Answer, CallError>)>) {
        let failed = |source| self.channel.failed(source);
        let ended = ended.into_iter();
        let ended = ended.map(|(number, answer)| (number, answer.map_err(failed)));
        self.many.clone().ended(ended.collect());
    }
}

impl Channel {
    /// Sends requests in this order, behind those that were sent before. Each one ends at `until`. Inside the
    /// process they are run on the spot.
    pub(crate) fn send_many(self: &Arc<Self>, many: Arc<impl Many>, until: Instant) {
        let sent = Arc::new(Sent {
            channel: self.clone(),
            many,
        });
        let asks = sent.many.asks().is_some() && !self.is_known_posthouse();
        if !asks && self.in_line.load(Ordering::Acquire) == 0 && self.try_many(&sent, until) {
            return;
        }
        self.in_line.fetch_add(1, Ordering::AcqRel);
        // Its place in the line is taken here and now, by the first poll: tasks begin in any order. The budget of
        // the task that calls must not be in the way of that.
        let mut turn = Box::pin(unconstrained(self.line.clone().lock_owned()));
        let now = turn.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        drop(tokio::spawn(async move {
            let channel = sent.channel.clone();
            let ready = async {
                // Whoever is behind waits until this is sent, or never will be.
                let _turn = match now {
                    Poll::Ready(turn) => turn,
                    Poll::Pending => turn.await,
                };
                if let Some(client_id) = sent.many.asks() {
                    let left = until.saturating_duration_since(Instant::now());
                    if !matches!(channel.is_posthouse(client_id, left).await, Ok(true)) {
                        sent.many.clone().unsent();
                        return Ok(());
                    }
                }
                while !channel.try_many(&sent, until) {
                    if let Way::Tcp(tcp) = &channel.way {
                        tcp.ready(until).await?;
                    }
                }
                Ok(())
            };
            let ready = timeout_at(until, ready).await;
            if let Err(error) = ready.unwrap_or(Err(CallError::Timeout)) {
                let all = (0..sent.many.count()).map(|number| (number, Err(again(&error))));
                sent.clone().come(all.collect());
            }
            channel.in_line.fetch_sub(1, Ordering::AcqRel);
        }));
    }

    /// Whether they are sent.
    fn try_many(&self, sent: &Arc<Sent<impl Many>>, until: Instant) -> bool {
        let encode = |number, opaque, out: &mut Vec<u8>| match &self.credentials {
            None => sent.many.encode(number, opaque, out),
            Some(credentials) => {
                let whole = self.whole(|opaque, out| sent.many.encode(number, opaque, out));
                // Our own frame can be read.
                if let Ok(whole) = whole {
                    let signed = credentials.sign(whole);
                    Command { opaque, ..signed }.encode(out);
                }
            }
        };
        match &self.way {
            Way::Tcp(tcp) => {
                let answers: Arc<dyn Answers> = sent.clone();
                tcp.send_each(sent.many.count(), until, encode, &answers)
            }
            Way::Local { local, spare, .. } => {
                let lock = || spare.lock().unwrap_or_else(PoisonError::into_inner);
                let mut requests = std::mem::take(&mut *lock());
                for number in 0..sent.many.count() {
                    encode(number, 1, &mut requests);
                }
                let begun = local.begin(&requests);
                if requests.capacity() <= SPARE {
                    requests.clear();
                    *lock() = requests;
                }
                match local.answers(begun) {
                    Ok(told) => sent.clone().told(told),
                    Err(burst) => {
                        let sent = sent.clone();
                        drop(tokio::spawn(async move {
                            let Way::Local { local, .. } = &sent.channel.way else {
                                return;
                            };
                            let told = local.finish(burst, until).await;
                            sent.clone().told(told);
                        }));
                    }
                }
                true
            }
        }
    }
}

impl<M: Many> Sent<M> {
    /// What came of all of them.
    fn told(self: Arc<Self>, told: Vec<std::result::Result<Option<Answer>, CallError>>) {
        let answer = |told: std::result::Result<Option<Answer>, CallError>| {
            told.and_then(|answer| answer.ok_or(CallError::Timeout))
        };
        self.come(told.into_iter().map(answer).enumerate().collect());
    }
}

/// The same error for another request.
fn again(error: &CallError) -> CallError {
    match error {
        CallError::Connect(address, source) => {
            let source = std::io::Error::new(source.kind(), source.to_string());
            CallError::Connect(*address, source)
        }
        CallError::Broken(address) => CallError::Broken(*address),
        CallError::Frame(error) => CallError::Frame(*error),
        CallError::Panicked => CallError::Panicked,
        CallError::Timeout => CallError::Timeout,
    }
}
