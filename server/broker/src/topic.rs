//! Topics: which there are, how they are made and changed, and what a name server is told of them.

use model::TopicName;
use model::flag::Perm;
use model::topic::{DataVersion, FilterType, TopicConfig};

use crate::{Answer, Broker, Caller, Error};

/// A topic to create or to change (Apache `UPDATE_AND_CREATE_TOPIC`).
#[derive(Clone, Debug)]
pub struct TopicChange {
    /// The name, unchecked.
    pub name: String,
    /// Queues to read.
    pub read_queues: i32,
    /// Queues to write.
    pub write_queues: i32,
    /// Permissions.
    pub perm: Perm,
    /// One tag or several.
    pub filter: FilterType,
    /// Unit bits.
    pub sys_flag: i32,
    /// Whether the topic is ordered.
    pub order: bool,
    /// Attributes to set (`+key`, value) and to remove (`-key`, empty): see [`attributes`].
    pub attributes: Vec<(String, String)>,
}

/// All a name server is told of a broker (Apache `REGISTER_BROKER`).
#[derive(Clone, Debug)]
pub struct Registration {
    /// The topics as they are registered: with the broker's own permission applied.
    pub topics: Vec<TopicConfig>,
    /// The version of the table.
    pub version: DataVersion,
}

/// Parses `+key=value,-key` (the attributes of a request).
///
/// # Errors
/// [`Error::Attributes`].
#[allow(clippy::todo)]
pub fn attributes(text: &str) -> Result<Vec<(String, String)>, Error> {
    let _ = text;
    todo!()
}

#[allow(clippy::todo)]
impl Broker {
    /// Creates or changes topics.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::SystemTopic`], [`Error::Attributes`], [`Error::Invalid`].
    pub fn update_topics(
        &self,
        caller: &Caller,
        topics: &[TopicChange],
    ) -> Result<Answer<()>, Error> {
        let _ = (caller, topics);
        todo!()
    }

    /// Deletes a topic with its queues and its offsets. Fine if there is none.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::SystemTopic`].
    pub fn delete_topic(&self, caller: &Caller, topic: &str) -> Result<Answer<()>, Error> {
        let _ = (caller, topic);
        todo!()
    }

    /// One topic's configuration.
    ///
    /// # Errors
    /// [`Error::TopicMissing`].
    pub fn topic(&self, topic: &str) -> Result<TopicConfig, Error> {
        let _ = topic;
        todo!()
    }

    /// All topics and the version of the table.
    pub fn topics(&self) -> (Vec<TopicConfig>, DataVersion) {
        todo!()
    }

    /// The names that belong to the broker (Apache `GET_SYSTEM_TOPIC_LIST_FROM_BROKER`).
    pub fn system_topics(&self) -> Vec<TopicName> {
        todo!()
    }

    /// What a name server is told.
    pub fn registration(&self) -> Registration {
        todo!()
    }

    /// A name server's list of ordered topics: these get the order flag, all others lose it.
    pub fn set_order_topics(&self, topics: &[String]) {
        let _ = topics;
        todo!()
    }
}
