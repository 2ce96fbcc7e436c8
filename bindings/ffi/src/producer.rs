//! Sends for the language: many at once, none without credit, and results in bursts.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use posthouse_client::{Decision, Each, Ends, Message, ProducerOptions, Queue, Sent};
use tokio::sync::mpsc;

use crate::client::Client;
use crate::consumer::Checks;
use crate::error::{Code, Error, Result};
use crate::inbox::Inbox;
use crate::runtime::{Parents, Runtime};

/// A message on its way, with the id by which the language knows it.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The language's id for it.
    pub id: u64,
    /// The message.
    pub message: Message,
    /// The queue it must go to; `None`: any.
    pub queue: Option<Queue>,
    /// How long it may take; `None`: as the producer is set.
    pub limit: Option<Duration>,
}

/// What became of a send: the language's id, and the result.
pub type Done = (u64, Result<Sent>);

/// Where results of sends go: an inbox of the language's own things.
pub trait Sink: Send + Sync {
    /// These sends have ended.
    fn done(&self, done: Vec<Done>);
}

impl<T: From<Done> + Send> Sink for Inbox<T> {
    fn done(&self, done: Vec<Done>) {
        self.push(done.into_iter().map(T::from));
    }
}

/// How many messages, and how many bytes of bodies, may be on their way.
#[derive(Debug)]
pub struct Credit {
    left: Mutex<Left>,
    given: Condvar,
    /// Threads that wait. A condition variable asks the system even if nobody does.
    waiting: AtomicUsize,
    most: Left,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Left {
    messages: usize,
    bytes: usize,
}

impl Credit {
    /// So much.
    pub fn new(messages: usize, bytes: usize) -> Credit {
        let most = Left {
            messages: messages.max(1),
            bytes: bytes.max(1),
        };
        Credit {
            left: Mutex::new(most),
            given: Condvar::new(),
            waiting: AtomicUsize::new(0),
            most,
        }
    }

    /// Takes credit for a body. One that is larger than all there is goes when nothing else is on its way.
    fn take(&self, bytes: usize) -> bool {
        let mut left = self.lock();
        let fits = left.bytes >= bytes || *left == self.most;
        if left.messages == 0 || !fits {
            return false;
        }
        left.messages -= 1;
        left.bytes = left.bytes.saturating_sub(bytes);
        true
    }

    fn give(&self, messages: usize, bytes: usize) {
        let mut left = self.lock();
        left.messages = (left.messages + messages).min(self.most.messages);
        left.bytes = (left.bytes + bytes).min(self.most.bytes);
        if left.messages == self.most.messages {
            left.bytes = self.most.bytes;
        }
        // Who waits said so under the same lock.
        let waiting = self.waiting.load(Ordering::Relaxed);
        drop(left);
        if waiting > 0 {
            self.given.notify_all();
        }
    }

    /// How many messages are on their way.
    pub fn in_flight(&self) -> usize {
        self.most.messages - self.lock().messages
    }

    /// How many messages, and how many bytes of bodies, may still be sent.
    pub fn free(&self) -> (usize, usize) {
        let left = self.lock();
        (left.messages, left.bytes)
    }

    /// Waits until there is credit for a message, at most so long. Whether there is.
    pub fn wait(&self, limit: Duration) -> bool {
        self.wait_until(limit, |left| left.messages > 0 && left.bytes > 0)
    }

    /// Waits until nothing is on its way, at most so long. Whether that is so.
    pub fn wait_idle(&self, limit: Duration) -> bool {
        self.wait_until(limit, |left| left.messages == self.most.messages)
    }

    fn wait_until(&self, limit: Duration, enough: impl Fn(&Left) -> bool) -> bool {
        let end = Instant::now() + limit;
        let mut left = self.lock();
        while !enough(&left) {
            let rest = end.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return false;
            }
            self.waiting.fetch_add(1, Ordering::Relaxed);
            let waited = self.given.wait_timeout(left, rest);
            left = waited.unwrap_or_else(PoisonError::into_inner).0;
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Messages that are sent together, and where their results go.
type Burst = (Vec<Outgoing>, Arc<dyn Sink>);

/// Sends for the language.
pub struct Producer {
    runtime: Arc<Runtime>,
    inner: Parents<posthouse_client::Producer>,
    bursts: Parents<mpsc::UnboundedSender<Burst>>,
    /// Bursts that the runtime was given and has not sent.
    queued: Arc<AtomicUsize>,
    /// Whether its brokers are in this process.
    inside: bool,
    credit: Arc<Credit>,
    /// Of one that is asked about its half messages.
    checks: Option<Arc<Checks>>,
    closed: AtomicBool,
}

impl Producer {
    /// A producer of a group.
    ///
    /// # Errors
    /// [`Code::Config`] for a group that is no name; [`Code::Closed`], [`Code::Forked`].
    pub fn open(
        client: &Client,
        group: &str,
        options: ProducerOptions,
        credit: Credit,
    ) -> Result<Producer> {
        let inner = client.get()?;
        let made = (client.runtime()).enter(|| inner.producer_with(group, options));
        Ok(Producer::over(client, made?, credit))
    }

    /// A producer of transactions of a group, and the questions about those that nobody decided about.
    ///
    /// # Errors
    /// As [`Producer::open`].
    pub fn transactional(
        client: &Client,
        group: &str,
        options: ProducerOptions,
        credit: Credit,
    ) -> Result<(Producer, Arc<Checks>)> {
        let inner = client.get()?;
        let checks = Arc::new(Checks::default());
        let asking = checks.clone();
        let check = move |asked| {
            let asking = asking.clone();
            // Unanswered, it waits on, and the broker asks again.
            async move { asking.ask(asked).await.unwrap_or(Decision::Unknown) }
        };
        let made = (client.runtime()).enter(|| inner.transaction_producer(group, options, check));
        let mut producer = Producer::over(client, made?, credit);
        producer.checks = Some(checks.clone());
        Ok((producer, checks))
    }

    fn over(client: &Client, inner: posthouse_client::Producer, credit: Credit) -> Producer {
        let runtime = client.runtime().clone();
        let credit = Arc::new(credit);
        client.count_credit(&credit);
        let (bursts, arriving) = mpsc::unbounded_channel();
        let queued = Arc::<AtomicUsize>::default();
        // Ends with the sender.
        let run = run(inner.clone(), credit.clone(), arriving, queued.clone());
        drop(runtime.spawn(run));
        Producer {
            runtime,
            inner: Parents::new(inner),
            bursts: Parents::new(bursts),
            queued,
            inside: client.is_inside(),
            credit,
            checks: None,
            closed: AtomicBool::new(false),
        }
    }

    /// The producer itself.
    ///
    /// # Errors
    /// [`Code::Closed`], [`Code::Forked`].
    pub fn get(&self) -> Result<&posthouse_client::Producer> {
        self.runtime.check()?;
        match self.closed.load(Ordering::Acquire) {
            true => Err(Error::closed("producer")),
            false => Ok(self.inner.get()),
        }
    }

    /// The runtime that it works on.
    pub fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    /// What may be on its way.
    pub fn credit(&self) -> &Arc<Credit> {
        &self.credit
    }

    /// Sends as many of the messages, from the first on, as there is credit for; what is over stays in
    /// `messages`. Each one's result goes to `done`, in any order; a result gives its credit back.
    ///
    /// # Errors
    /// As [`Producer::get`]; then nothing was sent.
    pub fn submit(&self, messages: &mut VecDeque<Outgoing>, done: Arc<dyn Sink>) -> Result<()> {
        self.get()?;
        match self.with_credit(messages) {
            burst if burst.is_empty() => Ok(()),
            burst => self.queue(burst, done),
        }
    }

    /// As [`Producer::submit`], for a thread that waits for the results and may be held up: a broker of this
    /// process does its work on it, which saves waking one thread and then the other.
    ///
    /// # Errors
    /// As [`Producer::submit`].
    pub fn submit_here(
        &self,
        messages: &mut VecDeque<Outgoing>,
        done: Arc<dyn Sink>,
    ) -> Result<()> {
        let producer = self.get()?;
        let burst = self.with_credit(messages);
        // Behind what was submitted before.
        let here = self.inside && self.queued.load(Ordering::Acquire) == 0;
        match burst.is_empty() {
            true => Ok(()),
            false if here => {
                self.runtime
                    .enter(|| send(producer, &self.credit, burst, &done));
                Ok(())
            }
            false => self.queue(burst, done),
        }
    }

    /// Takes those that there is credit for, from the first on.
    fn with_credit(&self, messages: &mut VecDeque<Outgoing>) -> Vec<Outgoing> {
        let has_credit = |outgoing: &Outgoing| self.credit.take(outgoing.message.body.len());
        let taken = messages.iter().take_while(|one| has_credit(one)).count();
        messages.drain(..taken).collect()
    }

    fn queue(&self, burst: Vec<Outgoing>, done: Arc<dyn Sink>) -> Result<()> {
        self.queued.fetch_add(1, Ordering::AcqRel);
        let sent = self.bursts.send((burst, done));
        sent.map_err(|_| Error::new(Code::Internal, "the sending task has ended"))
    }

    /// Waits for what is on its way, then takes leave. A second time, and in a forked child, it does
    /// nothing.
    pub fn close(&self, limit: Duration) {
        let _ = self.close_while(limit, || Ok::<(), Error>(()));
    }

    /// As [`Producer::close`], for a language with signals: every 100 ms `look` is asked whether to go on
    /// waiting. If it says no, the producer is closed all the same.
    ///
    /// # Errors
    /// What `look` says.
    pub fn close_while<E: From<Error>>(
        &self,
        limit: Duration,
        mut look: impl FnMut() -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        if self.runtime.is_parents() || self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        if let Some(checks) = &self.checks {
            checks.close();
        }
        let end = Instant::now() + limit;
        let left = || end.saturating_duration_since(Instant::now());
        let mut looked = Ok(());
        while looked.is_ok() && !self.credit.wait_idle(left().min(MOMENT)) && !left().is_zero() {
            looked = look();
        }
        let inner = self.inner.get().clone();
        let leave = async move { inner.shutdown().await };
        // Who does not answer in time learns of it when the client leaves.
        match looked {
            Ok(()) => {
                let most = left().max(MOMENT);
                let leave = async move { drop(tokio::time::timeout(most, leave).await) };
                self.runtime.wait(leave, look)
            }
            Err(stop) => {
                let _ = self.runtime.wait_for(MOMENT, leave);
                Err(stop)
            }
        }
    }
}

/// How long a wait goes on before signals are looked for; and what taking leave gets, however long the rest
/// took.
const MOMENT: Duration = Duration::from_millis(100);

/// Bursts that are handed on together.
const BURSTS: usize = 64;

/// Sends bursts in their order.
async fn run(
    producer: posthouse_client::Producer,
    credit: Arc<Credit>,
    mut arriving: mpsc::UnboundedReceiver<Burst>,
    queued: Arc<AtomicUsize>,
) {
    let mut bursts = Vec::with_capacity(BURSTS);
    while arriving.recv_many(&mut bursts, BURSTS).await > 0 {
        for (burst, done) in bursts.drain(..) {
            send(&producer, &credit, burst, &done);
            queued.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Sends a burst. To be called inside the runtime.
fn send(
    producer: &posthouse_client::Producer,
    credit: &Arc<Credit>,
    burst: Vec<Outgoing>,
    done: &Arc<dyn Sink>,
) {
    let mut burst = burst.into_iter().peekable();
    // Those with the same limit go together.
    while let Some(limit) = burst.peek().map(|one| one.limit) {
        let (mut messages, mut sent) = (Vec::new(), Vec::new());
        while let Some(one) = burst.next_if(|one| one.limit == limit) {
            sent.push((one.id, one.message.body.len()));
            let (message, queue) = (one.message, one.queue);
            messages.push(Each { message, queue });
        }
        let ends = Sending {
            sent,
            credit: credit.clone(),
            done: done.clone(),
        };
        producer.send_each(messages, limit, Arc::new(ends));
    }
}

/// Messages that were sent together.
struct Sending {
    /// Of each, the language's id and the bytes of credit that it took.
    sent: Vec<(u64, usize)>,
    credit: Arc<Credit>,
    done: Arc<dyn Sink>,
}

impl Ends for Sending {
    /// Gives credit back and tells the results in one go: who sees all credit back, and then waits for
    /// something else of the runtime's, has every result.
    fn ended(&self, ended: Vec<(usize, posthouse_client::Result<Sent>)>) {
        let mut bytes = 0;
        let mut done = Vec::with_capacity(ended.len());
        for (at, result) in ended {
            if let Some((id, body)) = self.sent.get(at) {
                bytes += body;
                done.push((*id, result.map_err(Error::from)));
            }
        }
        self.credit.give(done.len(), bytes);
        self.done.done(done);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_is_counted_in_messages_and_bytes() {
        let credit = Credit::new(2, 10);
        assert!(credit.take(4));
        assert!(!credit.take(7));
        assert!(credit.take(6));
        assert!(!credit.take(0));
        assert!(!credit.wait(Duration::ZERO));
        credit.give(2, 10);
        assert!(credit.wait_idle(Duration::ZERO));
        assert!(credit.take(11), "alone, anything goes");
        assert!(!credit.take(1));
    }
}
