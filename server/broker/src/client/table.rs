//! The clients in memory. Pure: a heartbeat and a time go in, who must be told comes out.
//!
//! A member of a group is a connection, because a subscription belongs to the client that asks, and
//! two clients of one process may share a client id. A client id that comes back on a new connection
//! replaces its old one.

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use model::group::GroupConfig;
use model::subscription::Subscription;
use model::{GroupName, TopicName};

use super::{
    Beat, Connection, ConsumeFrom, ConsumeType, ConsumerData, Heartbeat, MessageModel, ProducerData,
};
use crate::filter::{Filter, Filters};
use crate::{Caller, ConnectionId, Error, limits};
use kept::Kept;

mod ask;
mod kept;

/// Who beats.
pub(crate) struct Who<'a> {
    pub caller: &'a Caller,
    pub client: &'a str,
    /// On the monotonic clock.
    pub now: Duration,
    /// Milliseconds since the Unix epoch.
    pub wall: i64,
    pub filters: &'a Filters,
}

/// What a member wants of a topic, and what was made of it: once, as long as it stays the same.
#[derive(Debug)]
pub(crate) struct Wish {
    pub subscription: Subscription,
    /// An expression that was refused is refused again with each pull.
    pub filter: Result<Filter, Error>,
}

impl Deref for Wish {
    type Target = Subscription;

    fn deref(&self) -> &Subscription {
        &self.subscription
    }
}

impl PartialEq for Wish {
    fn eq(&self, other: &Wish) -> bool {
        self.subscription == other.subscription
    }
}

/// What others must hear of.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// Groups that changed, with the connections of their members.
    pub changed: Vec<(GroupName, Vec<ConnectionId>)>,
    /// Groups whose members began to disagree, or agree again.
    pub divergence: Vec<(GroupName, Option<String>)>,
}

/// What the subscription of a pull is.
#[derive(Clone, Debug)]
pub(crate) enum Subscribed {
    /// The group has no live member.
    NoGroup,
    /// Whoever was asked does not subscribe to the topic.
    NoTopic(MessageModel),
    /// This one.
    To(Arc<Wish>, MessageModel),
}

#[derive(Debug)]
struct Member {
    who: Connection,
    seen: Duration,
    /// When its subscriptions changed last, counted.
    changed: u64,
    fingerprint: i32,
    /// It came with a fingerprint alone, of subscriptions that nobody here knows.
    bare: bool,
    subscriptions: Subscriptions,
}

type Subscriptions = BTreeMap<TopicName, Arc<Wish>>;

#[derive(Debug)]
struct Group {
    name: GroupName,
    kind: ConsumeType,
    model: MessageModel,
    from: ConsumeFrom,
    members: HashMap<ConnectionId, Member>,
    divergence: Option<String>,
}

/// The groups and the client ids of a connection.
#[derive(Debug, Default)]
struct Known {
    groups: Vec<GroupName>,
    clients: Vec<String>,
}

/// A live producer of a group.
#[derive(Debug)]
struct Producer {
    who: Connection,
    /// When it was last heard of.
    seen: Duration,
    stands_in: bool,
}

/// All live clients.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    consumers: HashMap<GroupName, Group>,
    producers: HashMap<GroupName, HashMap<ConnectionId, Producer>>,
    /// What a connection is or was, so that its end does not search everything.
    connections: HashMap<ConnectionId, Known>,
    /// The newest connection of each client id.
    by_id: HashMap<String, ConnectionId>,
    kept: Kept,
    registrations: usize,
    changes: u64,
}

impl Clients {
    /// Takes in a heartbeat. `joins` are its consumer groups that exist. The second part is why an
    /// expression of theirs was refused.
    pub fn beat(
        &mut self,
        who: &Who<'_>,
        beat: &Heartbeat,
        joins: &[(Arc<GroupConfig>, &ConsumerData)],
        news: &mut News,
    ) -> Result<(Beat, Option<Error>), Error> {
        if self.registrations + joins.len() + beat.producers.len() > limits::REGISTRATIONS {
            return Err(Error::Busy("too many clients are registered"));
        }
        self.name(who);
        for ProducerData { group, stands_in } in &beat.producers {
            if let Ok(group) = GroupName::parse(group) {
                self.remember(who.caller.connection, &group);
                let members = self.producers.entry(group).or_default();
                let new = Producer {
                    who: who.connection(),
                    seen: who.now,
                    stands_in: *stands_in,
                };
                let before = members.insert(who.caller.connection, new);
                self.registrations += usize::from(before.is_none());
            }
        }
        let mut answer = Beat {
            subscriptions_changed: beat.fingerprint == 0,
            divergence: None,
            changed: Vec::new(),
        };
        let mut refused = None;
        for (config, data) in joins {
            self.remember(who.caller.connection, &config.name);
            let broken = self.join(who, beat, config, data, &mut answer, news);
            refused = refused.or(broken);
        }
        Ok((answer, refused))
    }

    fn remember(&mut self, connection: ConnectionId, group: &GroupName) {
        let known = self.connections.entry(connection).or_default();
        if !known.groups.contains(group) {
            known.groups.push(group.clone());
        }
    }

    /// Notes that a client is reached by this connection now.
    fn name(&mut self, who: &Who<'_>) {
        let connection = who.caller.connection;
        if self.by_id.get(who.client) == Some(&connection) {
            return;
        }
        let known = self.connections.entry(connection).or_default();
        if known.clients.len() < limits::CLIENTS_PER_CONNECTION {
            if !known.clients.iter().any(|id| id == who.client) {
                known.clients.push(who.client.to_owned());
            }
            self.by_id.insert(who.client.to_owned(), connection);
        }
    }

    /// Notes that a client that asks for a reply, and of whom no heartbeat has come yet, is reached by the
    /// connection that its question came on. A connection that belongs to somebody speaks for nobody
    /// else: whoever passes a question on is not who asked.
    pub fn name_requester(&mut self, connection: ConnectionId, client: &str) {
        let belongs = |known: &Known| !known.clients.is_empty();
        if self.by_id.contains_key(client)
            || client.len() > limits::CLIENT_ID
            || self.connections.get(&connection).is_some_and(belongs)
            || self.connections.len() >= limits::REGISTRATIONS
        {
            return;
        }
        let known = self.connections.entry(connection).or_default();
        known.clients.push(client.to_owned());
        self.by_id.insert(client.to_owned(), connection);
    }

    /// The newest connection that a client was heard on.
    pub fn connection_of(&self, client: &str) -> Option<ConnectionId> {
        self.by_id.get(client).copied()
    }

    fn join(
        &mut self,
        who: &Who<'_>,
        beat: &Heartbeat,
        config: &GroupConfig,
        data: &ConsumerData,
        answer: &mut Beat,
        news: &mut News,
    ) -> Option<Error> {
        let group = (self.consumers.entry(config.name.clone())).or_insert_with(|| Group {
            name: config.name.clone(),
            kind: data.kind,
            model: data.model,
            from: data.from,
            members: HashMap::new(),
            divergence: None,
        });
        let connection = who.caller.connection;
        let known = group.member(who);
        if beat.without_subscriptions && known.is_some() {
            // Only the fingerprint came: it must be of what is known here.
            let member = group.members.get_mut(&connection);
            let known = member.is_some_and(|member| member.beats(who, beat.fingerprint));
            answer.subscriptions_changed |= !known;
            return None;
        }
        // A client that comes back on a new connection brings only its fingerprint too. What it had
        // is still its own; if that is forgotten it is a member all the same, and sends it next time.
        let (subscriptions, bare) = if beat.without_subscriptions {
            let own = group.of_client(who.client, beat.fingerprint);
            let own = own.or_else(|| self.kept.take(&config.name, who.client, beat.fingerprint));
            let bare = own.is_none();
            (own.unwrap_or_default(), bare)
        } else {
            (shared(who.filters, known, &data.subscriptions), false)
        };
        answer.subscriptions_changed |= bare;
        let same_topics = known.is_some_and(|m| m.subscriptions.keys().eq(subscriptions.keys()));
        let same = known.is_some_and(|member| member.subscriptions == subscriptions);
        let mut refused = (subscriptions.values()).filter_map(|wish| wish.filter.as_ref().err());
        let refused = refused.next().cloned();
        self.changes += u64::from(!same);
        let member = Member {
            who: who.connection(),
            seen: who.now,
            changed: known
                .filter(|_| same)
                .map_or(self.changes, |member| member.changed),
            fingerprint: if bare { 0 } else { beat.fingerprint },
            bare,
            subscriptions,
        };
        (group.kind, group.model, group.from) = (data.kind, data.model, data.from);
        // The newest connection of a client id wins.
        let before = group.members.len();
        group
            .members
            .retain(|&at, member| at == connection || member.who.client != who.client);
        let replaced = before - group.members.len();
        let new = group.members.insert(connection, member).is_none();
        self.registrations = self.registrations + usize::from(new) - replaced;
        if !same {
            group.judge(news);
        }
        if new || replaced > 0 || !same_topics {
            group.tell(news);
        }
        if let Some(text) = &group.divergence {
            answer.disagree(&group.name, text);
        }
        refused
    }

    /// A client leaves groups of its own accord.
    pub fn leave(
        &mut self,
        who: &Who<'_>,
        producer_group: Option<&str>,
        consumer_group: Option<&str>,
        news: &mut News,
    ) {
        let connection = who.caller.connection;
        if let Some(name) = producer_group {
            self.retain_producers(name, |at, _| at != connection);
        }
        if let Some(name) = consumer_group {
            self.retain_consumers(name, news, |at, _| at != connection);
        }
    }

    /// A connection is gone.
    pub fn closed(&mut self, connection: ConnectionId, news: &mut News) {
        let known = self.connections.remove(&connection).unwrap_or_default();
        for client in known.clients {
            if self.by_id.get(&client) == Some(&connection) {
                self.by_id.remove(&client);
            }
        }
        for group in known.groups {
            self.retain_producers(group.as_str(), |at, _| at != connection);
            self.keep(&group, connection);
            self.retain_consumers(group.as_str(), news, |at, _| at != connection);
        }
    }

    /// Keeps what a client whose connection ends subscribes to, for when it comes back.
    fn keep(&mut self, group: &GroupName, connection: ConnectionId) {
        let member = (self.consumers.get_mut(group.as_str()))
            .and_then(|group| group.members.get_mut(&connection));
        if let Some(member) = member.filter(|member| member.fingerprint != 0) {
            let subscriptions = std::mem::take(&mut member.subscriptions);
            let client = member.who.client.clone();
            let (fingerprint, seen) = (member.fingerprint, member.seen);
            self.kept
                .put(group.clone(), client, fingerprint, seen, subscriptions);
        }
    }

    /// Drops who was last seen before `limit`.
    pub fn expire(&mut self, limit: Duration, news: &mut News) {
        self.kept.expire(limit);
        let groups: Vec<GroupName> = self.producers.keys().cloned().collect();
        for group in groups {
            self.retain_producers(group.as_str(), |_, seen| seen >= limit);
        }
        let groups: Vec<GroupName> = self.consumers.keys().cloned().collect();
        for group in groups {
            self.retain_consumers(group.as_str(), news, |_, seen| seen >= limit);
        }
    }

    fn retain_producers(&mut self, group: &str, keep: impl Fn(ConnectionId, Duration) -> bool) {
        let Some(members) = self.producers.get_mut(group) else {
            return;
        };
        let before = members.len();
        members.retain(|&at, producer| keep(at, producer.seen));
        self.registrations -= before - members.len();
        if members.is_empty() {
            self.producers.remove(group);
        }
    }

    fn retain_consumers(
        &mut self,
        group: &str,
        news: &mut News,
        keep: impl Fn(ConnectionId, Duration) -> bool,
    ) {
        let Some(found) = self.consumers.get_mut(group) else {
            return;
        };
        self.registrations -= found.retain(news, keep);
        if found.members.is_empty() {
            self.consumers.remove(group);
        }
    }
}

impl Beat {
    fn disagree(&mut self, group: &GroupName, text: &str) {
        let all = self.divergence.get_or_insert_default();
        if !all.is_empty() {
            all.push_str("; ");
        }
        all.push_str(group.as_str());
        all.push_str(": ");
        all.push_str(text);
    }
}

impl Member {
    /// Notes a heartbeat without subscriptions; whether they are still those known here.
    fn beats(&mut self, who: &Who<'_>, fingerprint: i32) -> bool {
        (self.seen, self.who.seen_at) = (who.now, who.wall);
        self.fingerprint == fingerprint
    }
}

impl Who<'_> {
    fn connection(&self) -> Connection {
        Connection {
            client: self.client.to_owned(),
            remote: self.caller.remote,
            language: self.caller.language,
            version: self.caller.version,
            seen_at: self.wall,
        }
    }
}

/// What a member subscribes to now: the same objects while nothing changes, since held pulls share
/// them.
fn shared(
    filters: &Filters,
    known: Option<&Member>,
    subscriptions: &[Subscription],
) -> Subscriptions {
    let one = |subscription: &Subscription| {
        let topic = subscription.topic.clone();
        let before = known.and_then(|member| member.subscriptions.get(&topic));
        let same = before.filter(|before| before.subscription == *subscription);
        let new = || {
            Arc::new(Wish {
                subscription: subscription.clone(),
                filter: filters.of(subscription),
            })
        };
        (topic, same.cloned().unwrap_or_else(new))
    };
    subscriptions.iter().map(one).collect()
}

impl Group {
    /// The member that a client already is on its connection.
    fn member(&self, who: &Who<'_>) -> Option<&Member> {
        let member = self.members.get(&who.caller.connection)?;
        (member.who.client == who.client).then_some(member)
    }

    /// What a client subscribes to on a connection that is still open.
    fn of_client(&self, client: &str, fingerprint: i32) -> Option<Subscriptions> {
        let mut members = self.members.values();
        let is = |member: &&Member| {
            member.who.client == client && member.fingerprint == fingerprint && !member.bare
        };
        members.find(is).map(|member| member.subscriptions.clone())
    }

    fn newest(&self, topic: &str) -> Option<&Arc<Wish>> {
        let with_topic = self.members.values().filter_map(|member| {
            let subscription = member.subscriptions.get(topic)?;
            Some((member.changed, subscription))
        });
        with_topic
            .max_by_key(|&(changed, _)| changed)
            .map(|(_, subscription)| subscription)
    }

    /// Drops members; returns how many.
    fn retain(&mut self, news: &mut News, keep: impl Fn(ConnectionId, Duration) -> bool) -> usize {
        let before = self.members.len();
        self.members.retain(|&at, member| keep(at, member.seen));
        let gone = before - self.members.len();
        if gone > 0 {
            self.judge(news);
            self.tell(news);
        }
        gone
    }

    /// Members of a broadcasting group do not share, so nothing is told to them.
    fn tell(&self, news: &mut News) {
        if self.model == MessageModel::Clustering && !self.members.is_empty() {
            let mut members: Vec<ConnectionId> = self.members.keys().copied().collect();
            members.sort();
            news.changed.push((self.name.clone(), members));
        }
    }

    /// Looks whether the members agree. Each queue of a sharing group has one reader, so what the
    /// others want of it is lost to them without a word: the classic mistake of RocketMQ's users.
    fn judge(&mut self, news: &mut News) {
        let now = match self.model {
            MessageModel::Broadcasting => None,
            MessageModel::Clustering => self.disagreement(),
        };
        if now != self.divergence {
            news.divergence.push((self.name.clone(), now.clone()));
            self.divergence = now;
        }
    }

    fn disagreement(&self) -> Option<String> {
        let mut wishes: BTreeMap<String, &str> = BTreeMap::new();
        // Who subscribes to nothing pulls with expressions of its own.
        let subscribers = self
            .members
            .values()
            .filter(|member| !member.subscriptions.is_empty());
        for member in subscribers {
            let wish: Vec<String> = (member.subscriptions.values())
                .filter(|subscription| !subscription.topic.is_retry())
                .map(|subscription| {
                    let kind = subscription.kind.as_str();
                    let expression = &subscription.expression;
                    match kind {
                        "TAG" => format!("{}({expression})", subscription.topic),
                        _ => format!("{}({kind} {expression})", subscription.topic),
                    }
                })
                .collect();
            let id = wishes.entry(wish.join(" ")).or_insert(&member.who.client);
            *id = (*id).min(&member.who.client);
        }
        if wishes.len() < 2 {
            return None;
        }
        // Two are enough to see what is wrong, and keep the text short.
        let examples: Vec<String> = (wishes.iter().take(2))
            .map(|(wish, id)| {
                format!(
                    "{id} wants {}",
                    if wish.is_empty() { "nothing" } else { wish }
                )
            })
            .collect();
        Some(format!(
            "{} ({} different)",
            examples.join(", "),
            wishes.len()
        ))
    }
}

#[cfg(test)]
mod tests;
