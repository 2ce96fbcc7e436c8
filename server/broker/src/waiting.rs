//! What waits of one topic, as lists that go on where the last one ended: delayed messages, and half
//! messages nobody decided about yet.

use std::fmt;
use std::sync::Arc;

use model::message::key;
use model::record::View;
use model::{LogOffset, QueueOffset};
use store::{Kind, Open, ReadError, Store, Wait};

use crate::delay::handle;
use crate::offset::read_failed;
use crate::topic::topic_missing;
use crate::transaction::expires_at;
use crate::{Answer, AskedFor, Broker, Caller, Error, limits};

/// Where a list ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    due: i64,
    at: LogOffset,
}

/// A message that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// When it comes, or of a half message when its producers are asked next; ms since the Unix epoch.
    pub due: i64,
    /// Where it waits in the log.
    pub log_offset: LogOffset,
    /// Where it waits in its queue.
    pub queue_offset: QueueOffset,
    /// The topic it goes to.
    pub topic: String,
    /// The queue it goes to.
    pub queue: u32,
    /// Its `UNIQ_KEY`.
    pub unique_key: String,
    /// When it was stored, ms since the Unix epoch.
    pub stored_at: i64,
    /// Its delay level, if it waits for one.
    pub level: Option<i32>,
    /// What calls it back; levels and half messages have none.
    pub recall_handle: Option<String>,
    /// Of a half message, the group that sent it.
    pub group: String,
    /// Of a half message, when it is rolled back by itself, ms since the Unix epoch.
    pub expires_at: Option<i64>,
    /// Of a half message, how often its producers were asked.
    pub checks: u32,
}

/// A part of what waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// In the order they are due.
    pub messages: Vec<Waiting>,
    /// Where the next list goes on; `None` at the end.
    pub next: Option<Place>,
}

impl Broker {
    /// Delayed messages that go to a topic, in the order they are due: up to `max`, behind `after`, which
    /// is the text of an earlier list's [`Listed::next`].
    ///
    /// # Errors
    /// [`Error::TopicMissing`]; [`Error::Invalid`] for an `after` that is none.
    pub fn list_delayed(
        &self,
        caller: &Caller,
        topic: &str,
        after: Option<&str>,
        max: Option<i32>,
    ) -> Result<Answer<Listed>, Error> {
        self.list(caller, Kind::Timer, topic, after, max)
    }

    /// Half messages for a topic that nobody decided about yet, as [`Broker::list_delayed`].
    ///
    /// # Errors
    /// As [`Broker::list_delayed`].
    pub fn list_transactions(
        &self,
        caller: &Caller,
        topic: &str,
        after: Option<&str>,
        max: Option<i32>,
    ) -> Result<Answer<Listed>, Error> {
        let answer = self.list(caller, Kind::Half, topic, after, max)?;
        Ok(answer.map(|mut listed| {
            let state = self.transactions.state();
            for half in &mut listed.messages {
                half.checks = state.checks_of(half.log_offset);
            }
            listed
        }))
    }

    fn list(
        &self,
        caller: &Caller,
        kind: Kind,
        topic: &str,
        after: Option<&str>,
        max: Option<i32>,
    ) -> Result<Answer<Listed>, Error> {
        let found = self.topics.find(topic);
        let topic = found.ok_or_else(|| topic_missing(topic, AskedFor::Pull))?;
        let after = after.map(Place::parse).transpose()?;
        let max = usize::try_from(max.unwrap_or(i32::MAX)).unwrap_or(1);
        let max = max.clamp(1, limits::LISTED);
        let (store, broker) = (Arc::clone(&self.store), self.options.name.clone());
        self.cold.answer(caller, move || {
            list(
                &store,
                kind,
                topic.config.name.as_str(),
                after,
                max,
                &broker,
            )
        })
    }
}

fn list(
    store: &Store,
    kind: Kind,
    topic: &str,
    after: Option<Place>,
    max: usize,
    broker: &str,
) -> Result<Listed, Error> {
    const PAGE: usize = 256;
    let mut listed = Listed {
        messages: Vec::new(),
        next: after,
    };
    let (mut opens, mut record) = (Vec::new(), Vec::new());
    let mut looked = 0;
    while looked < limits::LIST_SCAN {
        opens.clear();
        let after = listed.next.map(Place::open);
        store.pending().list(kind, after, PAGE, &mut opens);
        for &open in &opens {
            if listed.messages.len() == max {
                return Ok(listed);
            }
            looked += 1;
            listed.next = Some(Place {
                due: open.due,
                at: open.at,
            });
            record.clear();
            match store.record(open.at, Wait::Yes, &mut record) {
                Ok(_) => {}
                // Decided, or delivered and deleted, meanwhile; or damaged: the log says so.
                Err(ReadError::Missing(_) | ReadError::Damaged(_)) => continue,
                Err(error) => return Err(read_failed(error)),
            }
            let view = View::parse(&record).ok();
            let ours = view.filter(|view| view.property(key::REAL_TOPIC) == Some(topic));
            listed
                .messages
                .extend(ours.map(|view| waiting(&open, &view, broker)));
        }
        if opens.len() < PAGE {
            listed.next = None;
            break;
        }
    }
    Ok(listed)
}

fn waiting(open: &Open, view: &View<'_>, broker: &str) -> Waiting {
    let text = |name| view.property(name).unwrap_or_default().to_owned();
    let level = view
        .property(key::DELAY)
        .and_then(|level| level.parse().ok());
    let level = level.filter(|&level: &i32| level > 0);
    let (topic, unique_key) = (text(key::REAL_TOPIC), text(key::UNIQ_KEY));
    let half = Kind::of(view.topic()) == Some(Kind::Half);
    let recalls = !half && level.is_none() && !unique_key.is_empty();
    Waiting {
        due: open.due,
        log_offset: open.at,
        queue_offset: view.queue_offset(),
        queue: text(key::REAL_QID).parse().unwrap_or_default(),
        stored_at: view.stored_at(),
        recall_handle: recalls.then(|| handle::write(&topic, broker, open.due, &unique_key)),
        level,
        group: if half {
            text(key::PGROUP)
        } else {
            String::new()
        },
        expires_at: expires_at(view),
        checks: 0,
        topic,
        unique_key,
    }
}

impl Place {
    fn parse(text: &str) -> Result<Place, Error> {
        let parts = text.rsplit_once('-');
        let place = parts.and_then(|(due, at)| {
            Some(Place {
                due: due.parse().ok()?,
                at: LogOffset(at.parse().ok()?),
            })
        });
        let short: String = text.chars().take(64).collect();
        place.ok_or_else(|| Error::Invalid(format!("no list ended at \"{short}\"")))
    }

    fn open(self) -> Open {
        Open {
            at: self.at,
            size: 0,
            due: self.due,
            key: 0,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.due, self.at.0)
    }
}
