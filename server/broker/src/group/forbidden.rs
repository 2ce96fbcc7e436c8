//! Topics that single groups may not read, though they might otherwise (Apache
//! `UPDATE_AND_GET_GROUP_FORBIDDEN`).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use model::{GroupName, Mark, TopicName};
use store::{Store, Table};

use super::VERSION_KEY;
use crate::{Answer, Broker, Caller, Error, limits, row};

/// Topics by group. An entry is a row of the log; its value is empty.
#[derive(Debug, Default)]
pub(crate) struct Forbidden {
    topics: RwLock<Topics>,
    /// How many entries there are: a pull looks no further when there is none.
    count: AtomicUsize,
}

type Topics = BTreeMap<GroupName, Vec<TopicName>>;

fn key(group: &GroupName, topic: &TopicName) -> Vec<u8> {
    format!("{group}\0{topic}").into_bytes()
}

impl Forbidden {
    /// What the store knows.
    pub fn open(store: &Store) -> Forbidden {
        let forbidden = Forbidden::default();
        for (key, _) in store.rows(Table::Forbidden) {
            let names = std::str::from_utf8(&key).ok();
            let names = names.and_then(|names| names.split_once('\0'));
            let parsed =
                names.map(|(group, topic)| (GroupName::parse(group), TopicName::parse(topic)));
            if let Some((Ok(group), Ok(topic))) = parsed {
                forbidden.set(group, topic, true);
            }
        }
        forbidden
    }

    /// Whether the group may not read the topic.
    pub fn holds(&self, group: &GroupName, topic: &TopicName) -> bool {
        if self.count.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics
            .get(group)
            .is_some_and(|topics| topics.contains(topic))
    }

    /// Every group that may not read some topics.
    pub fn all(&self) -> Topics {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.clone()
    }

    fn of(&self, group: &GroupName) -> Vec<TopicName> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.get(group).cloned().unwrap_or_default()
    }

    fn set(&self, group: GroupName, topic: TopicName, forbidden: bool) {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        let of_group = topics.entry(group.clone()).or_default();
        of_group.retain(|there| *there != topic);
        if forbidden {
            of_group.push(topic);
        }
        if of_group.is_empty() {
            topics.remove(&group);
        }
        let count = topics.values().map(Vec::len).sum();
        self.count.store(count, Ordering::Relaxed);
    }
}

impl super::Groups {
    /// Forbids a group a topic, or allows it again, in the log and then for readers.
    fn forbid(
        &self,
        store: &Store,
        now: i64,
        group: &GroupName,
        topic: &TopicName,
        forbidden: bool,
    ) -> Result<Mark, Error> {
        let mut version = self.lock_version();
        if forbidden && self.forbidden.count.load(Ordering::Relaxed) >= limits::FORBIDDEN {
            return Err(Error::Busy("too many topics are forbidden to groups"));
        }
        let next = version.next(now);
        let value = forbidden.then_some(&[][..]);
        let mark = store.put(&[
            (Table::Forbidden, &key(group, topic), value),
            (Table::Values, VERSION_KEY, Some(&row::version(next))),
        ])?;
        *version = next;
        self.forbidden.set(group.clone(), topic.clone(), forbidden);
        Ok(mark)
    }

    /// Forgets what a group that is deleted may not read: a new one of its name begins afresh.
    pub(super) fn allow_all(
        &self,
        store: &Store,
        now: i64,
        group: &GroupName,
    ) -> Result<(), Error> {
        for topic in self.forbidden.of(group) {
            self.forbid(store, now, group, &topic, false)?;
        }
        Ok(())
    }
}

impl Broker {
    /// Says whether a group may read a topic; `readable` says so first. Neither needs to exist. One
    /// topic's state says nothing of the group's others: Apache forgets them all when one is allowed
    /// again.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Busy`], [`Error::Store`].
    pub fn group_readable(
        &self,
        _caller: &Caller,
        group: &str,
        topic: &str,
        readable: Option<bool>,
    ) -> Result<Answer<bool>, Error> {
        let (group, topic) = (GroupName::parse(group)?, TopicName::parse(topic)?);
        let forbidden = self.groups.forbidden.holds(&group, &topic);
        match readable {
            Some(readable) if readable == forbidden => {
                let now = self.clock.wall();
                let mark = (self.groups).forbid(&self.store, now, &group, &topic, !readable)?;
                tracing::info!(%group, %topic, readable, "a topic was forbidden to a group, or allowed");
                Ok(Answer::After(mark, readable))
            }
            _ => Ok(Answer::Ready(!forbidden)),
        }
    }

    /// Refuses a group a topic that is forbidden to it. Apache looks only when a pull brings no
    /// expression of its own; here neither a pull consumer nor a pop slips through.
    pub(crate) fn check_allowed(&self, group: &GroupName, topic: &TopicName) -> Result<(), Error> {
        match self.groups.forbidden.holds(group, topic) {
            false => Ok(()),
            true => Err(Error::TopicForbidden {
                group: group.clone(),
                topic: topic.clone(),
            }),
        }
    }

    /// Topics that groups may not read, by group.
    pub fn forbidden_topics(&self) -> BTreeMap<GroupName, Vec<TopicName>> {
        self.groups.forbidden.all()
    }
}
