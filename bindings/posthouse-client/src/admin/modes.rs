//! Whether groups pull or pop.

use remoting::Command;
use remoting::body::{ConsumerConnection, LeasesOut, RequestModes};
use remoting::code::{own, request, response};
use remoting::header::LeasesHeader;

use super::Admin;
use crate::client::Inner;
use crate::error::Result;
use crate::route::Broker;

/// How a broker calls popping (Apache `MessageRequestMode`).
const POP: &str = "POP";

impl Admin {
    /// The ids of members that pull a topic as classic consumers do: a group that pulls and pops at once would
    /// get messages twice. None if brokers were told that the group pops the topic.
    ///
    /// # Errors
    /// The first broker that refuses or gives no answer.
    pub async fn pullers(&self, group: &str, topic: &str) -> Result<Vec<String>> {
        let members: ConsumerConnection = self.consumers(group).await?;
        let subscribed = members.subscription_table.contains_key(topic);
        if !subscribed || self.pops(group, topic).await? {
            return Ok(Vec::new());
        }
        let members = members.connection_set.into_iter();
        Ok(members.map(|member| member.client_id).collect())
    }

    /// How many messages of a topic a group has out on leases, whoever popped them.
    ///
    /// # Errors
    /// If the topic has no route, or the first broker that refuses (Apache's do, with code 3) or gives no
    /// answer.
    pub async fn leases_out(&self, group: &str, topic: &str) -> Result<u64> {
        let route = self.client.route(topic).await?;
        let mut all = 0;
        for master in route.brokers.iter().filter_map(Broker::master) {
            let channel = self.client.channels.to(master).await?;
            let header = LeasesHeader {
                consumer_group: group,
                topic,
            };
            let command = header.fill(Command::request(own::GET_LEASES));
            let answer = channel.call(command, self.client.config.timeout).await?;
            let told: LeasesOut = Inner::body(&channel, &answer)?;
            all += told.in_flight;
        }
        Ok(all)
    }

    async fn pops(&self, group: &str, topic: &str) -> Result<bool> {
        for master in self.masters().await? {
            let channel = self.client.channels.to(&master).await?;
            let command = Command::request(request::GET_ALL_MESSAGE_REQUEST_MODE);
            let answer = match channel.call(command, self.client.config.timeout).await {
                Ok(answer) => answer,
                Err(error) if error.code() == Some(response::REQUEST_CODE_NOT_SUPPORTED) => {
                    continue;
                }
                Err(error) => return Err(error),
            };
            let modes: RequestModes = Inner::body(&channel, &answer)?;
            let of_topic = modes.message_request_mode_map.get(topic);
            if of_topic
                .and_then(|groups| groups.get(group))
                .is_some_and(|set| set.mode == POP)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
