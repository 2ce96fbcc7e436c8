//! Gives a message back that could not be handled.

use std::time::Duration;

use model::message::{append, key};
use model::name::RETRY_PREFIX;
use remoting::Command;
use remoting::code::request;
use remoting::header::send::SendHeader;

use crate::clock;
use crate::error::Result;
use crate::reader::Reader;
use crate::received::Received;
use crate::route::{TEMPLATE, TEMPLATE_QUEUES};

/// Java's default: so many more deliveries after the first one.
const RETRIES: i32 = 16;
/// The group under which clients send what consumers give back.
const INNER_GROUP: &str = "CLIENT_INNER_PRODUCER";

/// Brokers count the deliveries after the first one.
fn retries(max_attempts: Option<u32>) -> i32 {
    max_attempts.map_or(RETRIES, |max| {
        // One more, and three behind that, are still numbers.
        max.saturating_sub(1).min(i32::MAX as u32 - 4) as i32
    })
}

/// When a message comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Back {
    /// When the group's policy says.
    Again,
    /// After this delay level.
    Level(u8),
    /// After this time.
    After(Duration),
    /// Never: it is a dead letter.
    Dead,
}

impl Back {
    /// As Apache's request has it: below 0 never, 0 as the broker likes, else a delay level.
    fn level(self) -> i32 {
        match self {
            Back::Again => 0,
            Back::Level(level) => level.into(),
            Back::After(after) => {
                let long_enough = LEVELS.iter().position(|level| after <= *level);
                long_enough.unwrap_or(LEVELS.len() - 1) as i32 + 1
            }
            Back::Dead => -1,
        }
    }
}

/// How long Apache's delay levels are, unless a broker is configured otherwise (`messageDelayLevel`).
const LEVELS: [Duration; 18] = {
    const fn minutes(n: u64) -> Duration {
        Duration::from_secs(n * 60)
    }
    [
        Duration::from_secs(1),
        Duration::from_secs(5),
        Duration::from_secs(10),
        Duration::from_secs(30),
        minutes(1),
        minutes(2),
        minutes(3),
        minutes(4),
        minutes(5),
        minutes(6),
        minutes(7),
        minutes(8),
        minutes(9),
        minutes(10),
        minutes(20),
        minutes(30),
        minutes(60),
        minutes(120),
    ]
};

impl Reader {
    /// Sends a message back to the broker that keeps it. If that fails, sends it as a new message.
    pub(super) async fn send_back(
        &self,
        message: &Received,
        back: Back,
        max_attempts: Option<u32>,
    ) -> Result<()> {
        let queue = &message.queue;
        let id = message.id();
        let command = Command::request(request::CONSUMER_SEND_MSG_BACK)
            .with("offset", message.log_offset)
            .with("group", &self.group)
            .with("delayLevel", back.level())
            .with("originMsgId", id)
            .with("originTopic", &message.topic)
            .with("unitMode", false)
            .with("maxReconsumeTimes", retries(max_attempts));
        let command = match back {
            // Apache's brokers pass over it.
            Back::After(after) => command.with("delayMs", after.as_millis()),
            _ => command,
        };
        let channel = self.client.master_of(&queue.topic, &queue.broker).await?;
        let limit = self.client.config.timeout;
        match channel.call(command, limit).await {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::debug!(%error, "a message is not taken back; it is sent again");
                self.send_to_retry(message, max_attempts, back == Back::Dead)
                    .await
            }
        }
    }

    /// Sends a message as a new one to the group's retry topic, where the broker counts on.
    pub(super) async fn send_to_retry(
        &self,
        message: &Received,
        max_attempts: Option<u32>,
        dead: bool,
    ) -> Result<()> {
        let topic = format!("{RETRY_PREFIX}{}", self.group);
        let max = retries(max_attempts);
        // More than were allowed: the broker dead-letters it.
        let times = match dead {
            true => max + 1,
            false => message.reconsume_times + 1,
        };
        let mut properties = String::new();
        let left_out = [
            key::DELAY,
            key::WAIT,
            key::TRAN_MSG,
            key::RETRY_TOPIC,
            "RECONSUME_TIME",
            "MAX_RECONSUME_TIMES",
            key::CRC32,
        ];
        for (name, value) in message.properties() {
            if !left_out.contains(&name) {
                append(&mut properties, name, value);
            }
        }
        append(&mut properties, key::RETRY_TOPIC, &message.topic);
        append(&mut properties, "RECONSUME_TIME", &times.to_string());
        append(&mut properties, "MAX_RECONSUME_TIMES", &max.to_string());
        append(&mut properties, key::DELAY, &(3 + times).to_string());
        let header = SendHeader {
            producer_group: INNER_GROUP,
            topic: &topic,
            default_topic: TEMPLATE,
            default_topic_queues: TEMPLATE_QUEUES as i32,
            queue_id: 0,
            sys_flag: 0,
            born_at: clock::wall_ms(),
            flag: message.flag,
            properties: Some(&properties),
            reconsume_times: Some(times),
            unit_mode: false,
            max_reconsume_times: Some(max),
            batch: false,
            broker_name: None,
            durability: None,
        };
        let command = header.fill_letters(Command::request(request::SEND_MESSAGE_V2));
        let command = command.body(message.body.to_vec());
        let queue = &message.queue;
        let channel = self.client.master_of(&queue.topic, &queue.broker).await?;
        channel.call(command, self.client.config.timeout).await?;
        Ok(())
    }
}
