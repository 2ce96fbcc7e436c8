//! The way from the broker back to its clients: held requests run again, and what the broker says
//! unasked becomes a command on the client's own connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use broker::{ConnectionId, Notice, Outlet};
use remoting::Command;
use remoting::code::request;
use remoting::server::Hub;

use crate::transaction;

/// Reaches the clients of one hub.
pub struct Clients {
    hub: Arc<Hub>,
    /// Our own requests are numbered apart from the clients'.
    opaque: AtomicI32,
}

impl Clients {
    /// The clients of this hub.
    pub fn new(hub: Arc<Hub>) -> Clients {
        Clients {
            hub,
            opaque: AtomicI32::new(0),
        }
    }

    /// A notice as its client is told it, but for the number.
    pub fn command(notice: &Notice) -> Command {
        match notice {
            Notice::IdsChanged { group } => Command::request(request::NOTIFY_CONSUMER_IDS_CHANGED)
                .oneway()
                .with("consumerGroup", group),
            Notice::RunningInfo {
                group,
                client,
                jstack,
                ..
            } => Command::request(request::GET_CONSUMER_RUNNING_INFO)
                .with("consumerGroup", group)
                .with("clientId", client)
                .with("jstackEnable", jstack),
            Notice::ConsumeDirectly {
                group,
                client,
                message,
                topic,
                broker,
                topic_sys_flag,
                group_sys_flag,
                record,
                ..
            } => Command::request(request::CONSUME_MESSAGE_DIRECTLY)
                .with("consumerGroup", group)
                .with("clientId", client)
                .with("msgId", message)
                .with("topic", topic)
                .with("brokerName", broker)
                .with("topicSysFlag", topic_sys_flag)
                .with("groupSysFlag", group_sys_flag)
                .body(record.clone()),
            Notice::ConsumerStatus { group, topic, .. } => {
                Command::request(request::GET_CONSUMER_STATUS_FROM_CLIENT)
                    .with("topic", topic)
                    .with("group", group)
            }
            Notice::ResetOffsets {
                group,
                topic,
                time,
                offsets,
                as_list,
            } => crate::reset::command(group, topic, *time, offsets, *as_list),
            Notice::Reply { reply, .. } => crate::reply::command(reply),
            Notice::CheckTransaction(check) => transaction::check(check),
        }
    }
}

impl Outlet for Clients {
    fn runnable(&self, requests: &[(ConnectionId, u64)]) {
        let held: Vec<(u64, u64)> = (requests.iter())
            .map(|&(connection, ticket)| (connection.0, ticket))
            .collect();
        self.hub.wake(&held);
    }

    fn notice(&self, connection: ConnectionId, notice: Notice) -> bool {
        let mut command = Clients::command(&notice);
        command.opaque = match notice.question() {
            Some(question) => question.cast_signed(),
            None => self.opaque.fetch_add(1, Ordering::Relaxed),
        };
        self.hub.push(connection.0, command.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use model::GroupName;

    use super::*;

    #[test]
    fn a_change_of_members_is_a_oneway_40() {
        let group = GroupName::parse("g").unwrap();
        let command = Clients::command(&Notice::IdsChanged { group });
        assert_eq!((command.code, command.flag), (40, 2));
        assert_eq!(command.field("consumerGroup"), Some("g"));
    }

    /// How 220 looks to Java and Go, and to C++.
    #[test]
    fn cpp_6_and_go_6_a_reset_comes_in_a_map_or_in_a_list() {
        let queue = broker::MessageQueue {
            topic: "T".to_owned(),
            broker: "b".to_owned(),
            queue: 1,
        };
        let notice = |as_list| Notice::ResetOffsets {
            group: "g".to_owned(),
            topic: "T".to_owned(),
            time: 7,
            offsets: vec![(queue.clone(), 5)],
            as_list,
        };
        let text = |as_list| {
            let command = Clients::command(&notice(as_list));
            assert_eq!((command.code, command.flag), (220, 2));
            assert_eq!(command.field("timestamp"), Some("7"));
            String::from_utf8(command.body).unwrap()
        };
        let map = r#"{"offsetTable":{{"brokerName":"b","queueId":1,"topic":"T"}:5}}"#;
        assert_eq!(text(false), map);
        let list = r#"{"offsetTable":[{"brokerName":"b","offset":5,"queueId":1,"topic":"T"}]}"#;
        assert_eq!(text(true), list);
    }
}
