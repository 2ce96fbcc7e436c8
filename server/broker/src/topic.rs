//! Topics: which there are, how they are made and changed, and what a name server is told of them.

mod attributes;
pub(crate) mod system;
pub(crate) mod table;

use std::sync::Arc;

use model::flag::Perm;
use model::topic::{DataVersion, FilterType, TopicConfig};
use model::{Mark, TopicName};

pub(crate) use attributes::alter;
pub use attributes::attributes;
pub(crate) use table::{Topic, Topics};

use crate::settings::Setting;
use crate::{Answer, AskedFor, Broker, Caller, Error, limits};

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

impl Broker {
    /// Creates or changes topics. Nothing is registered anew if nothing differs.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::SystemTopic`], [`Error::Attributes`], [`Error::Invalid`].
    pub fn update_topics(
        &self,
        _caller: &Caller,
        topics: &[TopicChange],
    ) -> Result<Answer<()>, Error> {
        let change = self.topics.change(&self.store, self.clock.wall());
        let mut differ = Vec::new();
        for wanted in topics {
            let config = self.changed_topic(wanted)?;
            if self
                .topics
                .find(&wanted.name)
                .is_none_or(|topic| topic.config != config)
            {
                differ.push(config);
            }
        }
        if differ.is_empty() {
            return Ok(Answer::Ready(()));
        }
        for config in &differ {
            tracing::info!(topic = %config.name, read = config.read_queues, write = config.write_queues,
                perm = config.perm.0, order = config.order, "topic created or changed");
        }
        Ok(Answer::After(change.put(differ)?, ()))
    }

    /// What a topic would be after a change.
    fn changed_topic(&self, wanted: &TopicChange) -> Result<TopicConfig, Error> {
        let name = TopicName::parse(&wanted.name)?;
        self.refuse_system_topic(&name)?;
        let mixed = |(key, value): &(String, String)| key == "+message.type" && value == "MIXED";
        if !self.settings.is(Setting::MixedMessageType) && wanted.attributes.iter().any(mixed) {
            return Err(Error::Invalid(
                "MIXED message type is not supported.".to_owned(),
            ));
        }
        let queues = |count: i32| match u32::try_from(count) {
            Ok(count) if count <= limits::QUEUES_PER_TOPIC => Ok(count),
            _ => Err(Error::Invalid(format!(
                "a topic has from 0 to {} queues, not {count}",
                limits::QUEUES_PER_TOPIC
            ))),
        };
        let before = self.topics.find(&wanted.name);
        let attributes = before.as_ref().map(|topic| &topic.config.attributes);
        Ok(TopicConfig {
            name,
            read_queues: queues(wanted.read_queues)?,
            write_queues: queues(wanted.write_queues)?,
            perm: wanted.perm,
            filter: wanted.filter,
            sys_flag: wanted.sys_flag,
            order: wanted.order,
            attributes: alter(attributes, &wanted.attributes)?,
        })
    }

    fn refuse_system_topic(&self, name: &TopicName) -> Result<(), Error> {
        let protected =
            self.settings.is(Setting::ProtectSystemTopics) && self.topics.is_system(name.as_str());
        match protected || !system::consumable(name.as_str()) {
            true => Err(Error::SystemTopic(name.clone())),
            false => Ok(()),
        }
    }

    /// Deletes a topic with its queues and its offsets. Fine if there is none.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::SystemTopic`].
    pub fn delete_topic(&self, _caller: &Caller, topic: &str) -> Result<Answer<()>, Error> {
        let name = TopicName::parse(topic)?;
        self.refuse_system_topic(&name)?;
        let change = self.topics.change(&self.store, self.clock.wall());
        if self.topics.find(topic).is_none() {
            return Ok(Answer::Ready(()));
        }
        // Before, so that no kill lets it outlive the topic; and behind, for one that is put meanwhile.
        self.forget_checker(&name);
        let (mark, gone) = change.remove(&name)?;
        self.forget_checker(&name);
        self.offsets.remove_topic(&name);
        self.stats.rare.remove_topic(&name);
        self.forget_popped_topic(&name);
        self.forget_modes(|of, _| *of == name);
        self.forget_dead_letters(&name);
        let mut woken = Vec::new();
        if let Some(gone) = gone {
            for queue in (0..gone.queue_count()).filter_map(|id| gone.known_queue(id)) {
                self.hold.wake_all(queue, &mut woken);
            }
        }
        if !woken.is_empty() {
            self.outlet.runnable(&woken);
        }
        tracing::info!(topic = %name, "topic deleted");
        Ok(Answer::After(mark, ()))
    }

    /// One topic's configuration.
    ///
    /// # Errors
    /// [`Error::TopicMissing`].
    pub fn topic(&self, topic: &str) -> Result<TopicConfig, Error> {
        let found = self.topics.find(topic);
        let missing = || topic_missing(topic, AskedFor::Config);
        found.map(|topic| topic.config.clone()).ok_or_else(missing)
    }

    /// All topics and the version of the table.
    pub fn topics(&self) -> (Vec<TopicConfig>, DataVersion) {
        let (topics, version) = self.topics.all();
        let configs = topics.iter().map(|topic| topic.config.clone());
        (configs.collect(), version)
    }

    /// The names that belong to the broker (Apache `GET_SYSTEM_TOPIC_LIST_FROM_BROKER`).
    pub fn system_topics(&self) -> Vec<TopicName> {
        self.topics.system_names().to_vec()
    }

    /// What a name server is told.
    pub fn registration(&self) -> Registration {
        let (topics, version) = self.topics.all();
        let configs = topics
            .iter()
            .map(|topic| self.topics.registered(&topic.config));
        Registration {
            topics: configs.collect(),
            version,
        }
    }

    /// A name server's list of ordered topics: these get the order flag. Like Apache 5, others keep
    /// theirs: an empty list may only mean that the name server was never told.
    pub fn set_order_topics(&self, topics: &[String]) {
        let change = self.topics.change(&self.store, self.clock.wall());
        let ordered: Vec<TopicConfig> = (topics.iter())
            .filter_map(|name| self.topics.find(name))
            .filter(|topic| !topic.config.order)
            .map(|topic| TopicConfig {
                order: true,
                ..topic.config.clone()
            })
            .collect();
        if !ordered.is_empty()
            && let Err(error) = change.put(ordered)
        {
            tracing::warn!(%error, "the order flags of topics were not stored");
        }
    }

    /// A send to a topic that does not exist: makes it after its template, if that may be inherited
    /// (Apache `createTopicInSendMessageMethod`).
    pub(crate) fn create_topic_for_send(
        &self,
        topic: &str,
        template: &str,
        queues: i32,
        unit: bool,
    ) -> Result<Arc<Topic>, Error> {
        let missing = || topic_missing(topic, AskedFor::Send);
        let name = TopicName::parse(topic)?;
        let change = self.topics.change(&self.store, self.clock.wall());
        if let Some(there) = self.topics.find(topic) {
            return Ok(there);
        }
        let template = self.topics.find(template).ok_or_else(missing)?;
        let is_default = template.config.name.as_str() == system::TEMPLATE;
        let inherited = template.config.perm.inherited();
        if !inherited || (is_default && !self.options.auto_create_topics) {
            return Err(missing());
        }
        let wanted = u32::try_from(queues).unwrap_or(0);
        let mut config = TopicConfig::new(name, wanted.min(template.config.write_queues));
        if config.write_queues == 0 {
            return Err(missing());
        }
        config.perm = Perm(template.config.perm.0 & !Perm::INHERIT);
        config.filter = template.config.filter;
        config.sys_flag = i32::from(unit);
        tracing::info!(topic = %config.name, queues = config.write_queues, "topic created by its first send");
        change.put(vec![config])?;
        self.topics.find(topic).ok_or_else(missing)
    }

    /// One of the broker's own topics that need not exist, made with one queue if it does not.
    pub(crate) fn ensure_system_topic(&self, topic: &str) -> Result<Arc<Topic>, Error> {
        if let Some(there) = self.topics.find(topic) {
            return Ok(there);
        }
        let change = self.topics.change(&self.store, self.clock.wall());
        if self.topics.find(topic).is_none() {
            let config = TopicConfig::new(TopicName::parse(topic)?, 1);
            tracing::info!(topic, "one of the broker's own topics was made");
            change.put(vec![config])?;
        }
        let missing = || topic_missing(topic, AskedFor::Config);
        self.topics.find(topic).ok_or_else(missing)
    }

    /// The retry or dead-letter topic of a group, made if it is missing (Apache
    /// `createTopicInSendMessageBackMethod`). The mark is of the change, if there was one.
    pub(crate) fn ensure_retry_topic(
        &self,
        name: TopicName,
        queues: u32,
        order: bool,
        unit: bool,
    ) -> Result<Option<Mark>, Error> {
        if self.topics.find(name.as_str()).is_some() {
            return Ok(None);
        }
        let change = self.topics.change(&self.store, self.clock.wall());
        if self.topics.find(name.as_str()).is_some() {
            return Ok(None);
        }
        let mut config = TopicConfig::new(name, queues);
        config.order = order;
        config.sys_flag = i32::from(unit);
        change.put(vec![config]).map(Some)
    }
}

/// There is no such topic.
pub(crate) fn topic_missing(topic: &str, asked: AskedFor) -> Error {
    Error::TopicMissing {
        topic: topic.to_owned(),
        asked,
    }
}
