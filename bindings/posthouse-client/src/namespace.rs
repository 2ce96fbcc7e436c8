//! Names of a part of a cluster: a namespace stands before every topic and group, as Java's clients put it there.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use model::NameError;
use model::name::{DLQ_PREFIX, RETRY_PREFIX};

use crate::queue::Queue;
use crate::received::Received;

/// Between the namespace and a name.
const SEPARATOR: char = '%';
/// Groups of brokers begin with this.
const SYSTEM_GROUP: &str = "CID_RMQ_SYS_";
/// Topics of brokers begin with this, in capitals or not.
const SYSTEM_TOPIC: &str = "rmq_sys_";
/// Their other topics (Java's `TopicValidator`).
const SYSTEM_TOPICS: [&str; 7] = [
    "TBW102",
    "SCHEDULE_TOPIC_XXXX",
    "BenchmarkTest",
    "TRANS_CHECK_MAX_TIME_TOPIC",
    "SELF_TEST_TOPIC",
    "OFFSET_MOVED_EVENT",
    "CHECKPOINT_TOPIC",
];

/// A namespace: clients with one see only its topics and groups, by their short names.
///
/// ```
/// use posthouse_client::Namespace;
///
/// let eu = Namespace::parse("eu").unwrap();
/// assert_eq!(eu.full("orders"), "eu%orders");
/// assert_eq!(eu.full("%RETRY%billing"), "%RETRY%eu%billing");
/// assert_eq!(eu.full("eu%orders"), "eu%orders");
/// assert_eq!(eu.short("%DLQ%eu%billing"), Some("%DLQ%billing".into()));
/// assert_eq!(eu.short("us%orders"), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// `name%`
    prefix: Arc<str>,
}

impl Namespace {
    /// A namespace of this name: letters, digits, `_`, `-` and `|`.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(name: &str) -> Result<Namespace, NameError> {
        if name.is_empty() {
            return Err(NameError::Blank("namespace"));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_-|".contains(c);
        if !name.chars().all(allowed) {
            return Err(NameError::Illegal("namespace"));
        }
        Ok(Namespace {
            prefix: format!("{name}{SEPARATOR}").into(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.prefix.trim_end_matches(SEPARATOR)
    }

    /// What brokers call a topic or a group. A name that has the namespace already, and those of brokers' own
    /// topics and groups, stay as they are.
    pub fn full<'n>(&self, name: &'n str) -> Cow<'n, str> {
        let (kind, bare) = split(name);
        if bare.is_empty() || bare.starts_with(&*self.prefix) || is_system(bare) {
            return Cow::Borrowed(name);
        }
        Cow::Owned(format!("{kind}{}{bare}", self.prefix))
    }

    /// A topic's or group's name without the namespace; `None` if it lies in none or another one.
    pub fn short<'n>(&self, name: &'n str) -> Option<Cow<'n, str>> {
        let (kind, bare) = split(name);
        let bare = bare.strip_prefix(&*self.prefix)?;
        Some(match kind {
            "" => Cow::Borrowed(bare),
            kind => Cow::Owned(format!("{kind}{bare}")),
        })
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What stands before the group's name in a topic of its own, and the rest.
fn split(name: &str) -> (&str, &str) {
    let kinds = [RETRY_PREFIX, DLQ_PREFIX];
    let kind = kinds.into_iter().find(|kind| name.starts_with(kind));
    name.split_at(kind.map_or(0, str::len))
}

fn is_system(name: &str) -> bool {
    let starts_so = |prefix: &str| {
        let start = name.get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    SYSTEM_TOPICS.contains(&name) || starts_so(SYSTEM_TOPIC) || name.starts_with(SYSTEM_GROUP)
}

/// How a client's user names things, and how brokers do: the same, unless the client has a namespace.
#[derive(Clone, Debug, Default)]
pub struct Names(Option<Namespace>);

impl Names {
    pub(crate) fn of(namespace: Option<Namespace>) -> Names {
        Names(namespace)
    }

    /// The namespace.
    pub fn namespace(&self) -> Option<&Namespace> {
        self.0.as_ref()
    }

    /// What brokers call a topic or a group, see [`Namespace::full`].
    pub fn full<'n>(&self, name: &'n str) -> Cow<'n, str> {
        match &self.0 {
            Some(namespace) => namespace.full(name),
            None => Cow::Borrowed(name),
        }
    }

    /// What brokers call a queue.
    pub fn full_queue(&self, queue: &Queue) -> Queue {
        Queue {
            topic: self.full_shared(queue.topic.clone()),
            ..queue.clone()
        }
    }

    /// What the user calls a topic or a group; `None` of one in another namespace, or in none.
    pub fn own(&self, name: &str) -> Option<String> {
        match &self.0 {
            Some(namespace) => namespace.short(name).map(Cow::into_owned),
            None => Some(name.to_owned()),
        }
    }

    /// What the user calls a queue; one that lies elsewhere stays as it is.
    pub fn short_queue(&self, queue: Queue) -> Queue {
        match self.0 {
            Some(_) => Queue {
                topic: self.short(&queue.topic),
                ..queue
            },
            None => queue,
        }
    }

    /// A message as the user gets it.
    pub fn received(&self, mut message: Received) -> Received {
        if self.0.is_some() {
            message.topic = self.short(&message.topic);
            message.queue = self.short_queue(message.queue.clone());
        }
        message
    }

    /// What brokers call a topic. The same object if nothing changes.
    pub(crate) fn full_shared(&self, name: Arc<str>) -> Arc<str> {
        match self.full(&name) {
            Cow::Owned(full) => full.into(),
            Cow::Borrowed(_) => name,
        }
    }

    pub(crate) fn full_queues(&self, queues: &[Queue]) -> Vec<Queue> {
        queues.iter().map(|queue| self.full_queue(queue)).collect()
    }

    /// What the user calls a topic; as it is, if it lies elsewhere.
    pub(crate) fn short(&self, name: &Arc<str>) -> Arc<str> {
        let short = self.0.as_ref().and_then(|namespace| namespace.short(name));
        short.map_or_else(|| name.clone(), Into::into)
    }

    /// The same, only if there is a namespace.
    pub(crate) fn shown(&self, name: &Arc<str>) -> Option<Arc<str>> {
        self.0.is_some().then(|| self.short(name))
    }

    /// What the user calls a group.
    pub(crate) fn short_group<'n>(&self, group: &'n str) -> &'n str {
        let prefix = self.0.as_ref().map(|namespace| &*namespace.prefix);
        let short = prefix.and_then(|prefix| group.strip_prefix(prefix));
        short.unwrap_or(group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_brokers_own_stays_as_it_is() {
        let eu = Namespace::parse("eu").unwrap();
        for name in [
            "TBW102",
            "RMQ_SYS_TRACE_TOPIC",
            "rmq_sys_x",
            "CID_RMQ_SYS_TRANS",
            "",
        ] {
            assert_eq!(eu.full(name), name);
        }
        assert_eq!(eu.full("rmq"), "eu%rmq");
    }

    #[test]
    fn what_could_be_misread_is_no_namespace() {
        for name in ["", "a%b", "a b", "ü"] {
            assert!(Namespace::parse(name).is_err(), "{name}");
        }
        assert_eq!(Namespace::parse("a-b_1").unwrap().name(), "a-b_1");
    }

    #[test]
    fn without_a_namespace_all_names_are_as_they_are() {
        let names = Names::default();
        let topic: Arc<str> = "a%b".into();
        assert!(Arc::ptr_eq(&names.full_shared(topic.clone()), &topic));
        assert!(Arc::ptr_eq(&names.short(&topic), &topic));
        assert_eq!(names.short_group("a%b"), "a%b");
    }
}
