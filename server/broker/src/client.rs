//! Who is connected: heartbeats, members of groups, what each of them subscribes to, and who must be
//! told when that changes.

pub(crate) mod table;

use std::net::SocketAddr;
use std::sync::{PoisonError, RwLockReadGuard};

use model::group::GroupConfig;
use model::subscription::Subscription;
use model::{GroupName, Mark, TopicName};

use table::{Clients, News, Who};

use crate::filter;
use crate::settings::Setting;
use crate::{Answer, AskedFor, Broker, Caller, ConnectionId, Error, Notice, limits};

/// A heartbeat (Apache `HeartbeatData`).
#[derive(Clone, Debug, Default)]
pub struct Heartbeat {
    /// The client's id.
    pub client: String,
    /// Producer groups of the client.
    pub producers: Vec<ProducerData>,
    /// Consumer groups of the client.
    pub consumers: Vec<ConsumerData>,
    /// The fingerprint of the subscriptions (second version of the heartbeat), or 0.
    pub fingerprint: i32,
    /// The subscriptions were left out because the fingerprint did not change.
    pub without_subscriptions: bool,
}

/// One producer group in a heartbeat (Apache `ProducerData`).
#[derive(Clone, Debug)]
pub struct ProducerData {
    /// The group, unchecked.
    pub group: String,
    /// It answers for producers that are away: others are asked about half messages before it.
    pub stands_in: bool,
}

/// One consumer group in a heartbeat (Apache `ConsumerData`).
#[derive(Clone, Debug)]
pub struct ConsumerData {
    /// The group, unchecked.
    pub group: String,
    /// How it consumes.
    pub kind: ConsumeType,
    /// Sharing or broadcasting.
    pub model: MessageModel,
    /// Where a new group starts.
    pub from: ConsumeFrom,
    /// What it wants.
    pub subscriptions: Vec<Subscription>,
    /// Whether it is a unit consumer.
    pub unit_mode: bool,
}

/// How a group consumes (Apache `ConsumeType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumeType {
    /// `CONSUME_ACTIVELY`: pull consumers.
    Actively,
    /// `CONSUME_PASSIVELY`: push consumers.
    Passively,
    /// `CONSUME_POP`
    Pop,
}

/// How a group shares (Apache `MessageModel`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageModel {
    /// `BROADCASTING`: every member gets everything.
    Broadcasting,
    /// `CLUSTERING`: the members share the queues.
    Clustering,
}

/// Where a new group starts (Apache `ConsumeFromWhere`; the number is the wire's ordinal).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumeFrom {
    /// `CONSUME_FROM_LAST_OFFSET`
    LastOffset,
    /// `CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST`
    LastOffsetAndFromMinWhenBootFirst,
    /// `CONSUME_FROM_MIN_OFFSET`
    MinOffset,
    /// `CONSUME_FROM_MAX_OFFSET`
    MaxOffset,
    /// `CONSUME_FROM_FIRST_OFFSET`
    FirstOffset,
    /// `CONSUME_FROM_TIMESTAMP`
    Timestamp,
}

/// The answer to a heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// The client must send its subscriptions again (Apache `IS_SUB_CHANGE`).
    pub subscriptions_changed: bool,
    /// Groups whose members disagree about what to consume, in words: each queue has one reader, so
    /// the others' messages are lost for them.
    pub divergence: Option<String>,
    /// The caller's own groups that changed by this heartbeat. The caller is told behind the answer:
    /// a Java 5 client that hears of it before gets its queues while its heartbeat is under way,
    /// cannot send the one that its new queues call for, and is answered "not latest" for 30 s.
    pub changed: Vec<GroupName>,
}

/// A live connection of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The client's id.
    pub client: String,
    /// Its address.
    pub remote: SocketAddr,
    /// RocketMQ's language number.
    pub language: u8,
    /// RocketMQ's version number.
    pub version: i32,
    /// When it was last heard, ms since the Unix epoch.
    pub seen_at: i64,
}

/// The live members of a consumer group (Apache `ConsumerConnection`).
#[derive(Clone, Debug)]
pub struct ConsumerConnections {
    /// Its members.
    pub connections: Vec<Connection>,
    /// What it subscribes to: for each topic the newest member's subscription.
    pub subscriptions: Vec<Subscription>,
    /// How it consumes.
    pub kind: ConsumeType,
    /// How it shares.
    pub model: MessageModel,
    /// Where it starts.
    pub from: ConsumeFrom,
    /// How its members disagree, if they do: client ids and expressions, in words.
    pub divergence: Option<String>,
}

/// What a member subscribes to stays in memory, so it is bounded.
fn check_subscriptions(subscriptions: &[Subscription]) -> Result<(), Error> {
    if subscriptions.len() > limits::SUBSCRIPTIONS {
        return Err(Error::Invalid(format!(
            "a member may subscribe to {} topics, not {}",
            limits::SUBSCRIPTIONS,
            subscriptions.len()
        )));
    }
    let mut bytes = 0;
    for subscription in subscriptions {
        filter::check_size(subscription)?;
        bytes += subscription.expression.len();
    }
    if bytes > limits::MEMBER_EXPRESSIONS {
        return Err(Error::SubscriptionUnparsable(format!(
            "a member's expressions have up to {} bytes, not {bytes}",
            limits::MEMBER_EXPRESSIONS
        )));
    }
    Ok(())
}

impl Broker {
    /// Notes that a client lives and what it wants. Creates its groups and their retry topics; groups
    /// that may not be created are passed over in silence, as with Apache.
    ///
    /// An expression that cannot be compiled is refused, but the client is not: what else it wants it
    /// gets, and only pulls with the broken expression are refused as well.
    ///
    /// # Errors
    /// [`Error::Busy`] when the client table is full, [`Error::Invalid`],
    /// [`Error::SubscriptionUnparsable`], [`Error::SqlNotSupported`].
    pub fn heartbeat(&self, caller: &Caller, beat: &Heartbeat) -> Result<Answer<Beat>, Error> {
        if beat.client.len() > limits::CLIENT_ID {
            return Err(Error::Invalid(format!(
                "a client id has up to {} bytes, not {}",
                limits::CLIENT_ID,
                beat.client.len()
            )));
        }
        let mut mark = None;
        let mut joins = Vec::new();
        for data in &beat.consumers {
            check_subscriptions(&data.subscriptions)?;
            let (config, made) = match self.find_group(&data.group, AskedFor::Config) {
                Ok(found) => found,
                Err(Error::GroupMissing { .. } | Error::Name(_)) => continue,
                Err(error) => return Err(error),
            };
            let retried = self.ensure_retry_topic_of(&config, data)?;
            mark = retried.or(made).or(mark);
            joins.push((config, data));
        }
        let mut news = News::default();
        let answer = {
            let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
            let who = self.who(caller, &beat.client);
            clients.beat(&who, beat, &joins, &mut news)
        };
        let mut answer = match answer {
            Ok((answer, None)) => answer,
            Ok((_, Some(refused))) | Err(refused) => {
                self.tell(news, None);
                return Err(refused);
            }
        };
        answer.changed = self.tell(news, Some(caller.connection));
        Ok(match mark {
            Some(mark) => Answer::After(mark, answer),
            None => Answer::Ready(answer),
        })
    }

    fn ensure_retry_topic_of(
        &self,
        config: &GroupConfig,
        data: &ConsumerData,
    ) -> Result<Option<Mark>, Error> {
        let name = TopicName::retry_of(&config.name);
        if self.topics.find(name.as_str()).is_some() {
            return Ok(None);
        }
        let ordered = |subscription: &Subscription| {
            let topic = self.topics.find(subscription.topic.as_str());
            topic.is_some_and(|topic| topic.config.order)
        };
        let order = data.subscriptions.iter().any(ordered);
        self.ensure_retry_topic(name, config.retry_queues, order, data.unit_mode)
    }

    fn who<'a>(&'a self, caller: &'a Caller, client: &'a str) -> Who<'a> {
        Who {
            caller,
            client,
            now: self.clock.mono(),
            wall: self.clock.wall(),
            filters: &self.filters,
        }
    }

    /// Takes a client out of its groups (Apache `UNREGISTER_CLIENT`).
    pub fn leave(
        &self,
        caller: &Caller,
        client: &str,
        producer_group: Option<&str>,
        consumer_group: Option<&str>,
    ) {
        let mut news = News::default();
        {
            let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
            let who = self.who(caller, client);
            clients.leave(&who, producer_group, consumer_group, &mut news);
        }
        self.tell(news, None);
    }

    /// Forgets all that a closed connection had here.
    pub fn closed(&self, connection: ConnectionId) {
        let mut news = News::default();
        {
            let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
            clients.closed(connection, &mut news);
        }
        self.ask_no_more(connection);
        self.tell(news, None);
        let mut woken = Vec::new();
        self.pops.closed(connection, &mut woken);
        if !woken.is_empty() {
            self.outlet.runnable(&woken);
        }
    }

    /// Drops clients that were silent for too long.
    pub(crate) fn expire_clients(&self) {
        let Some(limit) = self.clock.mono().checked_sub(self.options.client_life) else {
            return;
        };
        let mut news = News::default();
        {
            let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
            clients.expire(limit, &mut news);
        }
        self.tell(news, None);
    }

    /// Tells members that their groups changed, and the log that members disagree. Returns the groups
    /// that `except` would be told of.
    fn tell(&self, news: News, except: Option<ConnectionId>) -> Vec<GroupName> {
        let mut own = Vec::new();
        for (group, members) in news.changed {
            let wanted = self.groups.find(group.as_str());
            let wanted = wanted.is_none_or(|config| config.notify_ids_changed_enable);
            if !wanted || !self.settings.is(Setting::NotifyIdsChanged) {
                continue;
            }
            for connection in members {
                let group = group.clone();
                if Some(connection) == except {
                    own.push(group);
                    continue;
                }
                // Who is gone, or takes nothing, will ask by itself when it is back.
                self.outlet.notice(connection, Notice::IdsChanged { group });
            }
        }
        for (group, divergence) in news.divergence {
            match divergence {
                Some(text) => {
                    tracing::warn!(%group, "members of a group subscribe differently: {text}")
                }
                None => tracing::info!(%group, "the members of the group agree again"),
            }
        }
        own
    }

    /// The client ids of a group, each once.
    ///
    /// # Errors
    /// [`Error::NoMembers`].
    pub fn members(&self, group: &str) -> Result<Vec<String>, Error> {
        let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        let members = clients.members(group);
        if members.is_empty() {
            return Err(Error::NoMembers(group.to_owned()));
        }
        Ok(members)
    }

    /// Whether a consumer may start with this expression (Apache `CHECK_CLIENT_CONFIG`).
    ///
    /// # Errors
    /// [`Error::SubscriptionUnparsable`], [`Error::SqlNotSupported`].
    pub fn check_expression(&self, kind: Option<&str>, expression: &str) -> Result<(), Error> {
        self.filters.compile(kind, expression).map(|_| ())
    }

    /// The live members of a consumer group.
    ///
    /// # Errors
    /// [`Error::ConsumersOffline`].
    pub fn consumer_connections(&self, group: &str) -> Result<ConsumerConnections, Error> {
        let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        let found = clients.consumer_connections(group);
        found.ok_or_else(|| Error::ConsumersOffline(group.to_owned()))
    }

    /// The live producers of a group.
    ///
    /// # Errors
    /// [`Error::ProducersOffline`].
    pub fn producer_connections(&self, group: &str) -> Result<Vec<Connection>, Error> {
        let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        let found = clients.producer_connections(group);
        found.ok_or_else(|| Error::ProducersOffline(group.to_owned()))
    }

    /// Who is connected, to read.
    pub(crate) fn clients(&self) -> RwLockReadGuard<'_, Clients> {
        self.clients.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// All live producers, by group.
    pub fn producers(&self) -> Vec<(GroupName, Vec<Connection>)> {
        let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        clients.producers()
    }
}
