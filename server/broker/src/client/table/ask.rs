//! What is asked of the table: who is in a group, what it subscribes to, where it can be reached.

use std::sync::Arc;

use model::{GroupName, TopicName};

use super::{Clients, Subscribed, Wish};
use crate::ConnectionId;
use crate::client::{Connection, ConsumerConnections};

impl Clients {
    /// The subscription a pull is filtered by: that of the connection that asks; if it is no member, or
    /// has not said what it wants, the one that changed last in the group.
    pub fn subscribed(&self, group: &str, connection: ConnectionId, topic: &str) -> Subscribed {
        let Some(group) = self.consumers.get(group) else {
            return Subscribed::NoGroup;
        };
        let found = match group.members.get(&connection) {
            Some(member) if !member.bare => member.subscriptions.get(topic),
            _ => group.newest(topic),
        };
        match found {
            Some(subscription) => Subscribed::To(Arc::clone(subscription), group.model),
            None => Subscribed::NoTopic(group.model),
        }
    }

    /// What the members of a group subscribe to in a topic.
    pub fn subscriptions(&self, group: &str, topic: &str) -> Vec<Arc<Wish>> {
        let members = self.consumers.get(group).into_iter();
        let members = members.flat_map(|group| group.members.values());
        (members.filter_map(|member| member.subscriptions.get(topic)))
            .cloned()
            .collect()
    }

    /// Whether a live group subscribes to a topic; `None` if the group is not live.
    pub fn subscribes(&self, group: &str, topic: &str) -> Option<bool> {
        let group = self.consumers.get(group)?;
        Some(group.newest(topic).is_some())
    }

    /// The live groups that subscribe to a topic.
    pub fn groups_of(&self, topic: &str) -> Vec<GroupName> {
        let groups = self
            .consumers
            .values()
            .filter(|group| group.newest(topic).is_some());
        groups.map(|group| group.name.clone()).collect()
    }

    /// The client ids of a group, each once, sorted.
    pub fn members(&self, group: &str) -> Vec<String> {
        let members = self
            .consumers
            .get(group)
            .map(|group| group.members.values());
        let mut ids: Vec<String> = members
            .into_iter()
            .flatten()
            .map(|member| member.who.client.clone())
            .collect();
        ids.sort();
        ids.dedup();
        ids
    }

    /// The connection and the version of one member of a group.
    pub fn member(&self, group: &str, client: &str) -> Option<(ConnectionId, i32)> {
        let mut members = self.consumers.get(group)?.members.iter();
        let found = members.find(|(_, member)| member.who.client == client);
        found.map(|(&at, member)| (at, member.who.version))
    }

    /// The connections of a group's members with their ids and versions, by id.
    pub fn reach(&self, group: &str) -> Vec<(ConnectionId, String, i32)> {
        let members = self.consumers.get(group).map(|group| &group.members);
        let mut all: Vec<_> = (members.into_iter().flatten())
            .map(|(&at, member)| (at, member.who.client.clone(), member.who.version))
            .collect();
        all.sort_by(|a, b| (&a.1, a.0).cmp(&(&b.1, b.0)));
        all
    }

    pub fn consumer_connections(&self, group: &str) -> Option<ConsumerConnections> {
        let group = self.consumers.get(group)?;
        let mut connections: Vec<Connection> = group
            .members
            .values()
            .map(|member| member.who.clone())
            .collect();
        connections.sort_by(|a, b| (&a.client, a.remote).cmp(&(&b.client, b.remote)));
        let topics: std::collections::BTreeSet<&TopicName> = group
            .members
            .values()
            .flat_map(|member| member.subscriptions.keys())
            .collect();
        let newest = topics
            .iter()
            .filter_map(|topic| group.newest(topic.as_str()));
        Some(ConsumerConnections {
            connections,
            subscriptions: newest.map(|wish| wish.subscription.clone()).collect(),
            kind: group.kind,
            model: group.model,
            from: group.from,
            divergence: group.divergence.clone(),
        })
    }

    pub fn producer_connections(&self, group: &str) -> Option<Vec<Connection>> {
        let members = self.producers.get(group)?;
        let mut connections: Vec<Connection> = members
            .values()
            .map(|producer| producer.who.clone())
            .collect();
        connections.sort_by(|a, b| (&a.client, a.remote).cmp(&(&b.client, b.remote)));
        Some(connections)
    }

    /// The connections of a group's live producers, and of those who stand in for producers.
    pub fn producers_of(&self, group: &str) -> (Vec<ConnectionId>, Vec<ConnectionId>) {
        let (mut own, mut stand_ins) = (Vec::new(), Vec::new());
        for (&at, producer) in self.producers.get(group).into_iter().flatten() {
            match producer.stands_in {
                true => stand_ins.push(at),
                false => own.push(at),
            }
        }
        (own, stand_ins)
    }

    pub fn producers(&self) -> Vec<(GroupName, Vec<Connection>)> {
        let names = self.producers.keys();
        let mut all: Vec<_> = names
            .filter_map(|name| Some((name.clone(), self.producer_connections(name.as_str())?)))
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// How many groups have members that disagree, and how many registrations there are.
    pub fn counts(&self) -> (usize, usize) {
        let divergent = self
            .consumers
            .values()
            .filter(|group| group.divergence.is_some());
        (divergent.count(), self.registrations)
    }
}
