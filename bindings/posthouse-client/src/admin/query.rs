//! Finding messages: by key, by id.

use std::net::SocketAddr;
use std::time::SystemTime;

use model::id::parse_offset_id;
use remoting::Command;
use remoting::code::{request, response};
use remoting::header::query::{QueryHeader, ViewHeader};

use super::Admin;
use crate::channel::Channel;
use crate::clock;
use crate::error::{Error, Result};
use crate::queue::Queue;
use crate::received::{Received, records};

/// How many messages with one id a broker is asked for, as Java asks.
const SAME_ID: i32 = 32;

impl Admin {
    /// Messages of a topic with this key that were stored between two times, newest first, at most
    /// `max` of each broker.
    ///
    /// # Errors
    /// If the topic has no route, or a broker gives no answer.
    pub async fn messages_by_key(
        &self,
        topic: &str,
        key: &str,
        max: u32,
        between: (SystemTime, SystemTime),
    ) -> Result<Vec<Received>> {
        let header = QueryHeader {
            topic,
            key,
            max: max.min(i32::MAX as u32) as i32,
            begin: clock::ms(between.0),
            end: clock::ms(between.1),
            unique: false,
        };
        let found = self.query(&header).await?;
        // A broker's index compares hashes.
        let has_key = |message: &Received| message.keys().any(|own| own == key);
        Ok(found.into_iter().filter(has_key).collect())
    }

    /// The message with this id: the one its sender gave it, or the one that says where it lies. The latter leads to a
    /// broker of the cluster or nowhere: whoever makes one up does not choose whom this client calls.
    ///
    /// # Errors
    /// If the topic has no route, or a broker gives no answer.
    pub async fn message(&self, topic: &str, id: &str) -> Result<Option<Received>> {
        if let Some((address, offset)) = parse_offset_id(id)
            && let Some(broker) = self.broker_at(address).await?
        {
            let channel = self.client.channels.to(&broker).await?;
            let header = ViewHeader {
                topic: Some(topic),
                offset: offset.0.cast_signed(),
            };
            let command = header.fill(Command::request(request::VIEW_MESSAGE_BY_ID));
            return match channel.call(command, self.client.config.timeout).await {
                Ok(answer) => Ok(found(&channel, &answer, "")?.into_iter().next()),
                Err(error) if error.code() == Some(response::SYSTEM_ERROR) => Ok(None),
                Err(error) => Err(error),
            };
        }
        let header = QueryHeader {
            topic,
            key: id,
            max: SAME_ID,
            begin: 0,
            end: i64::MAX,
            unique: true,
        };
        let found = self.query(&header).await?;
        Ok(found.into_iter().find(|message| message.id() == id))
    }

    /// What name servers call the broker at this address; `None` if there is no such broker.
    async fn broker_at(&self, address: SocketAddr) -> Result<Option<String>> {
        let cluster = self.cluster().await?;
        let brokers = cluster.broker_addr_table.into_values();
        let mut named = Vec::new();
        for broker in brokers.flat_map(|broker| broker.broker_addrs.into_values()) {
            match broker.parse::<SocketAddr>() {
                Ok(own) if own == address => return Ok(Some(broker)),
                Ok(_) => {}
                Err(_) => named.push(broker),
            }
        }
        for broker in named {
            let found = tokio::net::lookup_host(&broker).await;
            if found.is_ok_and(|mut found| found.any(|own| own == address)) {
                return Ok(Some(broker));
            }
        }
        Ok(None)
    }

    /// Asks every broker of the topic.
    async fn query(&self, header: &QueryHeader<'_>) -> Result<Vec<Received>> {
        let route = self.client.route(header.topic).await?;
        let mut messages = Vec::new();
        for broker in &route.brokers {
            let Some(address) = broker.any() else {
                continue;
            };
            let channel = self.client.channels.to(address).await?;
            let command = header.fill(Command::request(request::QUERY_MESSAGE));
            match channel.call(command, self.client.config.timeout * 2).await {
                // A broker tells the oldest first.
                Ok(answer) => {
                    messages.extend(found(&channel, &answer, &broker.name)?.into_iter().rev())
                }
                Err(error) if error.code() == Some(response::QUERY_NOT_FOUND) => {}
                Err(error) => return Err(error),
            }
        }
        messages.sort_by_key(|message| std::cmp::Reverse(message.stored_at));
        Ok(messages)
    }
}

fn found(channel: &Channel, answer: &remoting::Answer, broker: &str) -> Result<Vec<Received>> {
    let body = answer.body();
    let body = body.map_err(|error| Error::malformed(channel.address(), error))?;
    let queue_of =
        |view: &model::record::View<'_>| Queue::new(view.topic(), broker, view.queue().0);
    let records = records(&body, queue_of);
    Ok(records.into_iter().map(|(message, _)| message).collect())
}
