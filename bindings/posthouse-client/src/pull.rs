//! One pull of one queue: what push consumers, pull consumers and tails have in common.

use std::sync::Arc;
use std::time::Duration;

use model::flag::pull;
use remoting::code::{request, response};
use remoting::header::pull::{PullAnswer, PullHeader};
use remoting::{Answer, Command};

use crate::client::{Client, Inner};
use crate::error::{Error, Result};
use crate::filter::{Filter, Wanted};
use crate::queue::Queue;
use crate::received::{Received, records};

/// The group whose members every broker knows and counts nowhere (Apache's tools pull under it).
pub(crate) const NO_GROUP: &str = "TOOLS_CONSUMER";
/// Behind the hold time: how long the answer may take. Apache's brokers look at deadlines every 5 s.
const SLACK: Duration = Duration::from_secs(15);

/// What is wanted of a queue at once, see [`Client::pull`].
#[derive(Clone, Debug)]
pub struct Pull {
    /// What is wanted. An SQL expression is best checked before, see
    /// [`crate::Admin::check_filter`]: in a pull, Apache's brokers pass over a wrong one.
    pub filter: Filter,
    /// At most so many messages.
    pub max: u32,
    /// At most so many bytes, but always a whole message. Brokers before 5.0 do not heed it.
    pub max_bytes: Option<u32>,
    /// How long the broker may wait while there are none; zero does not wait.
    pub hold: Duration,
}

impl Default for Pull {
    fn default() -> Self {
        Pull {
            filter: Filter::All,
            max: 32,
            max_bytes: None,
            hold: Duration::ZERO,
        }
    }
}

/// What a queue had.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The messages that are wanted. There may be none although there is more behind: go on at `next`.
    pub messages: Vec<Received>,
    /// The offset to go on at.
    pub next: u64,
    /// The offset of the first message that is there.
    pub start: u64,
    /// The offset that the next message will get.
    pub end: u64,
    /// The offset that was asked for is not there, or not any more; `next` says where to go on.
    pub moved: bool,
}

impl Client {
    /// Reads a queue at an offset, as nobody's consumer: no group, no commit, no rebalance. Whoever
    /// follows a queue calls it again and again with [`Pulled::next`] and some [`Pull::hold`].
    ///
    /// ```no_run
    /// # async fn example() -> posthouse_client::Result<()> {
    /// use std::time::Duration;
    /// use posthouse_client::{Client, Config, Filter, Pull};
    ///
    /// let client = Client::new(Config::new("127.0.0.1:9876"));
    /// let admin = client.admin();
    /// let queue = admin.queues("orders").await?.remove(0);
    /// let mut offset = admin.max_offset(&queue).await?;
    /// let pull = Pull { filter: Filter::tags("eu"), hold: Duration::from_secs(20), ..Pull::default() };
    /// loop {
    ///     let pulled = client.pull(&queue, offset, &pull).await?;
    ///     for message in pulled.messages {
    ///         println!("{} at {}", message.id(), message.queue_offset);
    ///     }
    ///     offset = pulled.next;
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the queue has no broker, or that refuses or gives no answer.
    pub async fn pull(&self, queue: &Queue, offset: u64, pull: &Pull) -> Result<Pulled> {
        self.inner.open()?;
        let names = &self.inner.names;
        let queue = &names.full_queue(queue);
        let wanted = Wanted::new(&queue.topic, &pull.filter)?;
        let mut sys_flag = pull::SUBSCRIPTION;
        if !pull.hold.is_zero() {
            sys_flag |= pull::SUSPEND;
        }
        let header = PullHeader {
            consumer_group: NO_GROUP,
            topic: &queue.topic,
            queue_id: queue.id as i32,
            queue_offset: offset.cast_signed(),
            max_msgs: pull.max.clamp(1, i32::MAX as u32) as i32,
            sys_flag,
            commit_offset: 0,
            suspend_ms: pull.hold.as_millis() as i64,
            subscription: Some(&wanted.subscription.expression),
            sub_version: wanted.subscription.version,
            expression_type: Some(wanted.subscription.kind.as_str()),
            max_bytes: pull.max_bytes.map(|max| max.min(i32::MAX as u32) as i32),
        };
        let told = self.inner.pull(queue, 0, &header, pull.hold).await?;
        let mut messages = match told.moved {
            true => Vec::new(),
            false => told.messages(queue)?,
        };
        messages.retain(|(message, _)| wanted.accepts(message));
        Ok(Pulled {
            messages: (messages.into_iter())
                .map(|(message, _)| names.received(message))
                .collect(),
            next: told.header.next_offset.unsigned_abs(),
            start: told.header.min_offset.unsigned_abs(),
            end: told.header.max_offset.unsigned_abs(),
            moved: told.moved,
        })
    }
}

/// What a broker said to a pull.
pub(crate) struct Told {
    answer: Answer,
    pub(crate) header: PullAnswer,
    /// That offset is not there; go on at the next one of the header.
    pub(crate) moved: bool,
}

impl Told {
    /// The messages, and how many bytes each takes.
    pub(crate) fn messages(&self, queue: &Queue) -> Result<Vec<(Received, usize)>> {
        let address: &Arc<str> = &queue.broker;
        let body = self.answer.body();
        let body = body.map_err(|error| Error::malformed(address, error))?;
        // Names that only these messages count: who drops them elsewhere does not hold up who makes the next ones.
        let queue = Queue::new(&*queue.topic, &*queue.broker, queue.id);
        Ok(records(&body, |_| queue.clone()))
    }
}

impl Inner {
    /// Pulls from a member of the queue's broker set.
    pub(crate) async fn pull(
        &self,
        queue: &Queue,
        member: i64,
        header: &PullHeader<'_>,
        hold: Duration,
    ) -> Result<Told> {
        let channel = self.member_of(&queue.topic, &queue.broker, member).await?;
        let command = header.fill(Command::request(request::PULL_MESSAGE));
        let answer = channel.ask(command, hold + SLACK).await?;
        let read = answer.read(|frame| match frame.code {
            response::SUCCESS
            | response::PULL_NOT_FOUND
            | response::PULL_RETRY_IMMEDIATELY
            | response::PULL_OFFSET_MOVED => {
                let header = PullAnswer::read(frame);
                let header = header.map_err(|error| Error::malformed(channel.address(), error))?;
                Ok((frame.code == response::PULL_OFFSET_MOVED, header))
            }
            code => Err(channel.refused(code, frame.remark)),
        });
        let (moved, header) =
            read.map_err(|error| Error::malformed(channel.address(), error))??;
        Ok(Told {
            answer,
            header,
            moved,
        })
    }
}
