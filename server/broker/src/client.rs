//! Who is connected: heartbeats, members of groups, what each of them subscribes to, and who must be
//! told when that changes.

use std::net::SocketAddr;

use model::GroupName;
use model::subscription::{ExpressionKind, Subscription};

use crate::{Answer, Broker, Caller, ConnectionId, Error};

/// A heartbeat (Apache `HeartbeatData`).
#[derive(Clone, Debug, Default)]
pub struct Heartbeat {
    /// The client's id.
    pub client: String,
    /// Producer groups of the client, unchecked.
    pub producers: Vec<String>,
    /// Consumer groups of the client.
    pub consumers: Vec<ConsumerData>,
    /// The fingerprint of the subscriptions (second version of the heartbeat), or 0.
    pub fingerprint: i32,
    /// The subscriptions were left out because the fingerprint did not change.
    pub without_subscriptions: bool,
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

#[allow(clippy::todo)]
impl Broker {
    /// Notes that a client lives and what it wants. Creates its groups and their retry topics.
    ///
    /// # Errors
    /// [`Error::Busy`] when the client table is full, [`Error::Invalid`].
    pub fn heartbeat(&self, caller: &Caller, beat: &Heartbeat) -> Result<Answer<Beat>, Error> {
        let _ = (caller, beat);
        todo!()
    }

    /// Takes a client out of its groups (Apache `UNREGISTER_CLIENT`).
    pub fn leave(
        &self,
        caller: &Caller,
        client: &str,
        producer_group: Option<&str>,
        consumer_group: Option<&str>,
    ) {
        let _ = (caller, client, producer_group, consumer_group);
        todo!()
    }

    /// Forgets all that a closed connection had here.
    pub fn closed(&self, connection: ConnectionId) {
        let _ = connection;
        todo!()
    }

    /// The client ids of a group, each once.
    ///
    /// # Errors
    /// [`Error::NoMembers`].
    pub fn members(&self, group: &str) -> Result<Vec<String>, Error> {
        let _ = group;
        todo!()
    }

    /// Whether a consumer may start with this kind of expression (Apache `CHECK_CLIENT_CONFIG`).
    ///
    /// # Errors
    /// [`Error::SqlNotSupported`].
    pub fn check_expression(&self, kind: &ExpressionKind) -> Result<(), Error> {
        let _ = kind;
        todo!()
    }

    /// The live members of a consumer group.
    ///
    /// # Errors
    /// [`Error::ConsumersOffline`].
    pub fn consumer_connections(&self, group: &str) -> Result<ConsumerConnections, Error> {
        let _ = group;
        todo!()
    }

    /// The live producers of a group.
    ///
    /// # Errors
    /// [`Error::ProducersOffline`].
    pub fn producer_connections(&self, group: &str) -> Result<Vec<Connection>, Error> {
        let _ = group;
        todo!()
    }

    /// All live producers, by group.
    pub fn producers(&self) -> Vec<(GroupName, Vec<Connection>)> {
        todo!()
    }
}
