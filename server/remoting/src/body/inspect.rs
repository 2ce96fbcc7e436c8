//! What tools look up about groups and queues one by one: answers to 303, 308, 321, 328, 345, 353.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{MessageQueue, SubscriptionData};

/// Answer to 303.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TimeSpans {
    /// One for each queue.
    pub consume_time_span_set: Vec<TimeSpan>,
}

/// The ages of a queue's messages. Times are milliseconds since the Unix epoch, each with its twin for
/// people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TimeSpan {
    /// Of the last message that the group consumed.
    pub consume_time_stamp: i64,
    /// The same in words.
    pub consume_time_stamp_str: String,
    /// How long the next one waits, in milliseconds.
    pub delay_time: i64,
    /// Of the last message.
    pub max_time_stamp: i64,
    /// The same in words.
    pub max_time_stamp_str: String,
    /// The queue.
    pub message_queue: MessageQueue,
    /// Of the first message.
    pub min_time_stamp: i64,
    /// The same in words.
    pub min_time_stamp_str: String,
}

/// A time in UTC as Java's `UtilAll.formatDate` writes it here: `2026-11-24#13:47:55:623`.
pub fn human(ms: i64) -> String {
    let (days, of_day) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    // Days since 0000-03-01, split into 400-year eras: the month falls out of the day of the year that
    // begins in March.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
    let (second, milli) = (of_day / 1000 % 60, of_day % 1000);
    format!("{year:04}-{month:02}-{day:02}#{hour:02}:{minute:02}:{second:02}:{milli:03}")
}

/// Answer to 308.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CorrectionOffsets {
    /// By queue.
    pub correction_offsets: BTreeMap<u32, i64>,
}

/// Answer to 353.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupForbidden {
    /// The group.
    pub group: String,
    /// Whether the group may read the topic.
    pub readable: bool,
    /// The topic.
    pub topic: String,
}

/// Answer to 321: a part of a queue's index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueIndex {
    /// Why there is no subscription to judge by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter_data: Option<String>,
    /// The position behind the queue's last message.
    pub max_queue_index: i64,
    /// Its first kept position.
    pub min_queue_index: i64,
    /// The entries.
    pub queue_data: Vec<QueueEntry>,
    /// What the group subscribes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_data: Option<SubscriptionData>,
}

/// One entry of a [`QueueIndex`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueEntry {
    /// Whether it passes the subscription.
    pub eval: bool,
    /// Where its record lies in the log.
    pub physic_offset: i64,
    /// How long it is.
    pub physic_size: i32,
    /// The hash of its tag.
    pub tags_code: i64,
}

/// Answer to 328: the producers by group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Producers {
    /// By group.
    pub data: BTreeMap<String, Vec<ProducerInfo>>,
}

/// One producer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerInfo {
    /// Its id.
    pub client_id: String,
    /// Its language.
    pub language: String,
    /// When it was last heard, milliseconds since the Unix epoch.
    pub last_update_timestamp: i64,
    /// Its address, behind a slash.
    #[serde(rename = "remoteIP")]
    pub remote_ip: String,
    /// Its version number.
    pub version: i32,
}

/// Answer to 345.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupSubscription {
    /// The group.
    pub group: String,
    /// What it subscribes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_data: Option<SubscriptionData>,
    /// The topic.
    pub topic: String,
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn a_time_is_written_as_java_writes_it() {
        assert_eq!(human(1_795_528_075_623), "2026-11-24#13:47:55:623");
        assert_eq!(human(0), "1970-01-01#00:00:00:000");
        assert_eq!(human(1_709_164_800_000), "2024-02-29#00:00:00:000");
        assert_eq!(human(-1), "1969-12-31#23:59:59:999");
    }
}
