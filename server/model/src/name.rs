//! Names of topics and groups, checked once at the edge.
//!
//! The rules and the texts are those of Apache 5.3.3's `TopicValidator`: a name is ASCII letters,
//! digits, `_`, `-`, `%` or `|`. A name that exists as a type is legal, and is never used as a path.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::receipt::PopTopic;

/// Prefix of a group's retry topic.
pub const RETRY_PREFIX: &str = "%RETRY%";
/// Prefix of a group's dead-letter topic.
pub const DLQ_PREFIX: &str = "%DLQ%";
/// The longest plain topic name, in bytes.
pub const TOPIC_MAX: usize = 127;
/// The longest retry or dead-letter topic name, in bytes.
pub const RETRY_TOPIC_MAX: usize = 255;
/// The longest group name, in bytes.
pub const GROUP_MAX: usize = 120;

/// A legal topic name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

/// A legal consumer or producer group name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(Arc<str>);

/// Why a name was refused. The texts are Apache 5.3.3's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty, or only white space.
    #[error("The specified {0} is blank.")]
    Blank(&'static str),
    /// A character outside the allowed set.
    #[error("The specified {0} contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$")]
    Illegal(&'static str),
    /// Longer than the limit for its kind.
    #[error("The specified {0} is longer than {0} max length.")]
    TooLong(&'static str),
}

impl TopicName {
    /// Checks a topic name as a broker does.
    pub fn parse(name: &str) -> Result<TopicName, NameError> {
        TopicName::check(name)?;
        Ok(TopicName(name.into()))
    }

    /// The same, for who keeps the name elsewhere.
    pub fn check(name: &str) -> Result<(), NameError> {
        let max = if is_retry(name) || is_dlq(name) {
            RETRY_TOPIC_MAX
        } else {
            TOPIC_MAX
        };
        match name.split_once('+') {
            // A retry topic of popped messages: `%RETRY%group+topic`.
            Some((group, topic)) if is_retry(group) => {
                check("topic", group, max)?;
                check("topic", topic, TOPIC_MAX)
            }
            _ => check("topic", name, max),
        }
    }

    /// The retry topic of a group: `%RETRY%g`.
    pub fn retry_of(group: &GroupName) -> TopicName {
        TopicName(format!("{RETRY_PREFIX}{group}").into())
    }

    /// The dead-letter topic of a group: `%DLQ%g`.
    pub fn dlq_of(group: &GroupName) -> TopicName {
        TopicName(format!("{DLQ_PREFIX}{group}").into())
    }

    /// The topic that holds what a group popped from `topic` and did not ack. Names with `_` make the
    /// first form ambiguous; `+` is legal nowhere else. Names of any length fit.
    pub fn pop_retry_of(group: &GroupName, topic: &TopicName, which: PopTopic) -> TopicName {
        match which {
            PopTopic::Normal => topic.clone(),
            PopTopic::RetryV1 => TopicName(format!("{RETRY_PREFIX}{group}_{topic}").into()),
            PopTopic::RetryV2 => TopicName(format!("{RETRY_PREFIX}{group}+{topic}").into()),
        }
    }

    /// Whether this is some group's retry topic.
    pub fn is_retry(&self) -> bool {
        is_retry(&self.0)
    }

    /// Whether this is some group's dead-letter topic.
    pub fn is_dlq(&self) -> bool {
        is_dlq(&self.0)
    }

    /// The group whose retry or dead-letter topic this is.
    pub fn group(&self) -> Option<GroupName> {
        let name =
            (self.0.strip_prefix(RETRY_PREFIX)).or_else(|| self.0.strip_prefix(DLQ_PREFIX))?;
        GroupName::parse(name).ok()
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl GroupName {
    /// Checks a group name as a broker does.
    pub fn parse(name: &str) -> Result<GroupName, NameError> {
        check("group", name, GROUP_MAX)?;
        Ok(GroupName(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_retry(name: &str) -> bool {
    name.starts_with(RETRY_PREFIX)
}

fn is_dlq(name: &str) -> bool {
    name.starts_with(DLQ_PREFIX)
}

fn check(what: &'static str, name: &str, max: usize) -> Result<(), NameError> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'%' | b'|');
    if name.trim().is_empty() {
        Err(NameError::Blank(what))
    } else if !name.bytes().all(legal) {
        Err(NameError::Illegal(what))
    } else if name.len() > max {
        Err(NameError::TooLong(what))
    } else {
        Ok(())
    }
}

macro_rules! text {
    ($($name:ty),*) => {$(
        impl From<$name> for Arc<str> {
            fn from(name: $name) -> Arc<str> {
                name.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        /// A map keyed by names can be asked with a `&str` from the wire, without allocating.
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )*};
}
text!(TopicName, GroupName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_may_not_climb_out_of_a_directory() {
        assert_eq!(
            TopicName::parse("../../x"),
            Err(NameError::Illegal("topic"))
        );
    }

    #[test]
    fn limits_count_bytes_and_depend_on_the_kind() {
        assert!(TopicName::parse(&"t".repeat(127)).is_ok());
        assert_eq!(
            TopicName::parse(&"t".repeat(128)),
            Err(NameError::TooLong("topic"))
        );
        assert!(TopicName::parse(&format!("%RETRY%{}", "t".repeat(248))).is_ok());
        assert!(GroupName::parse(&"g".repeat(120)).is_ok());
        assert_eq!(
            GroupName::parse(&"g".repeat(121)),
            Err(NameError::TooLong("group"))
        );
    }

    #[test]
    fn a_plus_is_legal_between_the_group_and_the_topic_of_popped_messages_only() {
        let group = GroupName::parse("g").unwrap();
        let topic = TopicName::parse("t").unwrap();
        let name = |which| TopicName::pop_retry_of(&group, &topic, which);
        assert_eq!(name(PopTopic::Normal).as_str(), "t");
        assert_eq!(name(PopTopic::RetryV1).as_str(), "%RETRY%g_t");
        let second = name(PopTopic::RetryV2);
        assert_eq!(TopicName::parse("%RETRY%g+t"), Ok(second.clone()));
        assert_eq!(second.group(), None);
        for name in ["g+t", "%RETRY%g+", "%RETRY%g+t+u", "%DLQ%g+t"] {
            assert!(TopicName::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn the_retry_topic_knows_its_group() {
        let group = GroupName::parse("g").unwrap();
        assert_eq!(TopicName::retry_of(&group).as_str(), "%RETRY%g");
        assert_eq!(TopicName::dlq_of(&group).group(), Some(group));
    }
}
