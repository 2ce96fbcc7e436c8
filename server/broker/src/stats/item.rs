//! Statistics by Apache's names (`VIEW_BROKER_STATS_DATA`): which there are, and what each is told
//! from. `mqadmin statsAll` and exporters read these.
//!
//! What is not kept is not there, and tools take that: latencies, figures of single queues, reads from
//! the disk, and those of accounts.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::{GroupName, TopicName};

use super::history::{Count, History, Window, Windows};
use crate::{Broker, Error};

/// A statistics item over three windows (Apache `BrokerStatsData`).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StatsItem {
    /// Over the last minute.
    pub minute: StatsWindow,
    /// Over the last hour.
    pub hour: StatsWindow,
    /// Over the last day.
    pub day: StatsWindow,
}

/// One window of a [`StatsItem`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StatsWindow {
    /// What was counted.
    pub sum: u64,
    /// Of that a second.
    pub tps: f64,
    /// Of that a request.
    pub average: f64,
}

/// What happens seldom enough to be counted under a lock: by topic and group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rare {
    /// Messages sent back by a consumer (`SNDBCK_PUT_NUMS`), by the topic they came from.
    SentBack,
    /// Messages that became dead letters (`DLQ_PUT_NUMS`).
    Dead,
    /// Acks of popped messages (`GROUP_ACK_NUMS`).
    Acked,
    /// Handed out with a receipt handle (`GROUP_CK_NUMS`).
    CheckedOut,
}

type ByGroup = HashMap<GroupName, (Count, History)>;

/// The counts of [`Rare`].
#[derive(Debug, Default)]
pub(crate) struct Rares {
    counts: Mutex<HashMap<Rare, HashMap<TopicName, ByGroup>>>,
}

impl Rares {
    /// Counts messages of one request.
    pub fn add(&self, rare: Rare, topic: &TopicName, group: &GroupName, messages: u64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let topics = counts.entry(rare).or_default();
        if !topics.contains_key(topic) {
            topics.insert(topic.clone(), HashMap::new());
        }
        let groups = topics.get_mut(topic).expect("was just put there");
        if !groups.contains_key(group) {
            groups.insert(group.clone(), Default::default());
        }
        let (count, _) = groups.get_mut(group).expect("was just put there");
        count.add(Count::once(messages, 0));
    }

    fn windows(&self, rare: Rare, topic: &str, group: &str, now: Duration) -> Option<Windows> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, history) = counts.get(&rare)?.get(topic)?.get(group)?;
        Some(history.windows(now, *count))
    }

    /// All of a kind.
    pub fn total(&self, rare: Rare) -> Count {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut total = Count::default();
        let groups = counts.get(&rare).into_iter().flat_map(HashMap::values);
        groups
            .flat_map(HashMap::values)
            .for_each(|(count, _)| total.add(*count));
        total
    }

    /// Samples the counts.
    pub fn sample(&self, now: Duration) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let topics = counts.values_mut().flat_map(HashMap::values_mut);
        for (count, history) in topics.flat_map(HashMap::values_mut) {
            history.note(now, *count);
        }
    }

    /// Forgets a topic.
    pub fn remove_topic(&self, topic: &TopicName) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for topics in counts.values_mut() {
            topics.remove(topic);
        }
    }

    /// Forgets a group.
    pub fn remove_group(&self, group: &str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for groups in counts.values_mut().flat_map(HashMap::values_mut) {
            groups.remove(group);
        }
    }
}

/// Which figure of a count an item is about.
type Figure = fn(&Count) -> u64;

impl Broker {
    /// A statistics item by Apache's name, and its key: a topic, `topic@group`, or the cluster.
    ///
    /// # Errors
    /// [`Error::StatsMissing`] if nothing was counted under that name, or nobody counts it.
    pub fn stats_item(&self, name: &str, key: &str) -> Result<StatsItem, Error> {
        let missing = || Error::StatsMissing {
            name: name.to_owned(),
            key: key.to_owned(),
        };
        let (windows, value) = self.windows(name, key).ok_or_else(missing)?;
        let told = |window: Window| {
            let sum = value(&window.count);
            StatsWindow {
                sum,
                tps: sum as f64 / window.seconds,
                average: match window.count.times {
                    0 => 0.0,
                    times => sum as f64 / times as f64,
                },
            }
        };
        Ok(StatsItem {
            minute: told(windows.minute),
            hour: told(windows.hour),
            day: told(windows.day),
        })
    }

    fn windows(&self, name: &str, key: &str) -> Option<(Windows, Figure)> {
        let messages: Figure = |count| count.messages;
        let bytes: Figure = |count| count.bytes;
        let now = self.clock.mono();
        let put = || self.topics.find(key)?.put.windows(now);
        let got = || {
            let (topic, group) = key.split_once('@')?;
            let got = |progress: &crate::offset::Progress| progress.got_windows(now);
            self.offsets.look(group, topic, got)
        };
        let rare = |rare| {
            let (topic, group) = key.split_once('@')?;
            self.stats.rare.windows(rare, topic, group, now)
        };
        let whole = |kind| {
            let windows = || self.stats.whole(kind, now);
            (key == self.options.cluster).then(windows)
        };
        let found = match name {
            "TOPIC_PUT_NUMS" => (put()?, messages),
            "TOPIC_PUT_SIZE" => (put()?, bytes),
            "GROUP_GET_NUMS" => (got()?, messages),
            "GROUP_GET_SIZE" => (got()?, bytes),
            "SNDBCK_PUT_NUMS" => (rare(Rare::SentBack)?, messages),
            "DLQ_PUT_NUMS" => (rare(Rare::Dead)?, messages),
            "GROUP_ACK_NUMS" => (rare(Rare::Acked)?, messages),
            "GROUP_CK_NUMS" => (rare(Rare::CheckedOut)?, messages),
            "BROKER_PUT_NUMS" => (whole(Whole::Put)?, messages),
            "BROKER_GET_NUMS" => (whole(Whole::Got)?, messages),
            "BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC" => (whole(Whole::PutByUsers)?, messages),
            "BROKER_GET_NUMS_WITHOUT_SYSTEM_TOPIC" => (whole(Whole::GotByUsers)?, messages),
            "BROKER_ACK_NUMS" => (whole(Whole::Acked)?, messages),
            "BROKER_CK_NUMS" => (whole(Whole::CheckedOut)?, messages),
            _ => return None,
        };
        Some(found)
    }
}

/// What is counted for the broker as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whole {
    Put,
    Got,
    PutByUsers,
    GotByUsers,
    Acked,
    CheckedOut,
}

/// All of [`Whole`], in the order of their histories.
pub(crate) const WHOLES: [Whole; 6] = [
    Whole::Put,
    Whole::Got,
    Whole::PutByUsers,
    Whole::GotByUsers,
    Whole::Acked,
    Whole::CheckedOut,
];
