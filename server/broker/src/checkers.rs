//! Stored checkers: for a topic, the URL that some door asks what became of a transaction nobody decided
//! about. The broker only keeps them; it asks the door, which is a producer of the group.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::message::{append, property};
use model::{GroupName, TopicName};
use store::{Store, Table};

use crate::topic::topic_missing;
use crate::{Answer, AskedFor, Broker, Error, limits};

/// A checker. What its URL may be is the door's business, which calls it.
#[derive(Clone, PartialEq, Eq)]
pub struct Checker {
    /// The topic that half messages go to.
    pub topic: TopicName,
    /// The group that sends them.
    pub group: GroupName,
    /// Where is asked.
    pub url: String,
    /// What questions are signed with.
    pub secret: String,
    /// When it was put, ms since the Unix epoch.
    pub created_at: i64,
}

/// Without the secret, which no log may have.
impl std::fmt::Debug for Checker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checker")
            .field("topic", &self.topic)
            .field("group", &self.group)
            .field("url", &self.url)
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

/// All of them. Each is a row of [`Table::Checkers`]: its topic, and names and values as a message's
/// properties are stored.
#[derive(Debug, Default)]
pub(crate) struct Checkers(Mutex<BTreeMap<TopicName, Checker>>);

impl Checkers {
    /// What the store knows.
    pub fn open(store: &Store) -> Checkers {
        let mut all = BTreeMap::new();
        for (key, value) in store.rows(Table::Checkers) {
            match read(&key, &value) {
                Some(checker) => drop(all.insert(checker.topic.clone(), checker)),
                None => {
                    tracing::error!(key = %String::from_utf8_lossy(&key), "a checker's row cannot be read");
                }
            }
        }
        Checkers(Mutex::new(all))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TopicName, Checker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Broker {
    /// Puts a checker in the place of its topic's, if it has one.
    ///
    /// # Errors
    /// [`Error::TopicMissing`]; [`Error::Invalid`] if a text is empty, too long, or has control characters;
    /// [`Error::Busy`] if there are too many; [`Error::Store`].
    pub fn put_checker(&self, checker: Checker) -> Result<Answer<()>, Error> {
        for text in [&checker.url, &checker.secret] {
            // They are kept among properties, which control characters would end.
            let wrong = text.is_empty() || text.contains(char::is_control);
            if wrong || text.len() > limits::CHECKER_TEXT {
                return Err(Error::Invalid(format!(
                    "url and secret have from 1 to {} bytes, and no control characters",
                    limits::CHECKER_TEXT
                )));
            }
        }
        let topic = checker.topic.as_str();
        let mut all = self.checkers.lock();
        // Under the lock, so that a deletion of the topic finds it or comes first.
        if self.topics.find(topic).is_none() {
            return Err(topic_missing(topic, AskedFor::Config));
        }
        if all.len() >= limits::CHECKERS && !all.contains_key(&checker.topic) {
            return Err(Error::Busy("there are too many checkers"));
        }
        let row = row(&checker);
        let mark = (self.store).put(&[(Table::Checkers, topic.as_bytes(), Some(&row))])?;
        tracing::info!(topic, group = %checker.group, "a checker of transactions was put");
        all.insert(checker.topic.clone(), checker);
        Ok(Answer::After(mark, ()))
    }

    /// The checkers, by topic; of one topic if it is named.
    pub fn checkers(&self, topic: Option<&str>) -> Vec<Checker> {
        let all = self.checkers.lock();
        let wanted = |checker: &&Checker| topic.is_none_or(|topic| checker.topic.as_str() == topic);
        all.values().filter(wanted).cloned().collect()
    }

    /// Takes a topic's checker away.
    ///
    /// # Errors
    /// [`Error::CheckerMissing`] if it has none; [`Error::Store`].
    pub fn delete_checker(&self, topic: &str) -> Result<Answer<()>, Error> {
        let mut all = self.checkers.lock();
        if !all.contains_key(topic) {
            return Err(Error::CheckerMissing(topic.to_owned()));
        }
        let mark = (self.store).put(&[(Table::Checkers, topic.as_bytes(), None)])?;
        all.remove(topic);
        tracing::info!(topic, "a checker of transactions was deleted");
        Ok(Answer::After(mark, ()))
    }

    /// A topic is deleted: a new one of its name begins without a checker.
    pub(crate) fn forget_checker(&self, topic: &TopicName) {
        match self.delete_checker(topic.as_str()) {
            Ok(_) | Err(Error::CheckerMissing(_)) => {}
            Err(error) => {
                tracing::warn!(%error, %topic, "the checker of a topic that is gone was not deleted");
            }
        }
    }
}

fn row(checker: &Checker) -> Vec<u8> {
    let mut text = String::new();
    append(&mut text, "group", checker.group.as_str());
    append(&mut text, "url", &checker.url);
    append(&mut text, "secret", &checker.secret);
    append(&mut text, "created", &checker.created_at.to_string());
    text.into_bytes()
}

fn read(key: &[u8], value: &[u8]) -> Option<Checker> {
    let text = std::str::from_utf8(value).ok()?;
    Some(Checker {
        topic: TopicName::parse(std::str::from_utf8(key).ok()?).ok()?,
        group: GroupName::parse(property(text, "group")?).ok()?,
        url: property(text, "url")?.to_owned(),
        secret: property(text, "secret")?.to_owned(),
        created_at: property(text, "created")?.parse().ok()?,
    })
}
