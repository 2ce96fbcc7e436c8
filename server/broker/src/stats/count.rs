//! The places where messages are counted: whoever stores one, or hands one out, calls one of these.

use std::sync::atomic::Ordering;

use model::GroupName;
use model::receipt::PopTopic;
use store::Staged;

use super::history::Count;
use super::item::Rare;
use crate::Broker;
use crate::pop::Line;
use crate::topic::Topic;

fn size(staged: &Staged) -> u64 {
    staged.end.0.saturating_sub(staged.log_offset.0)
}

impl Broker {
    /// Counts a message that was stored in `topic`: the topic it lies in, not the one it was sent to.
    pub(crate) fn stored(&self, topic: &Topic, staged: &Staged) {
        let bytes = size(staged);
        topic.put.one(bytes);
        self.stats.put.add(1);
        self.stats.put_bytes.add(bytes);
        if topic.system {
            self.stats.put_system.add(1);
        }
    }

    /// Counts the messages of one request.
    pub(crate) fn stored_batch(&self, topic: &Topic, staged: &[Staged]) {
        let (messages, bytes) = (staged.len() as u64, staged.iter().map(size).sum());
        topic.put.batch(messages, bytes);
        self.stats.put.add(messages);
        self.stats.put_bytes.add(bytes);
        if topic.system {
            self.stats.put_system.add(messages);
        }
    }

    /// Counts what a pull found, if anything.
    pub(crate) fn count_got(&self, topic: &Topic, messages: u64, bytes: usize) -> Count {
        if messages == 0 {
            self.stats.missed.add(1);
            return Count::default();
        }
        self.stats.found.add(1);
        self.stats.transferred.add(messages);
        if topic.system {
            self.stats.transferred_system.add(messages);
        }
        Count::once(messages, bytes as u64)
    }

    /// Counts what was handed out and acked of a popped line since the last time: once a batch.
    pub(crate) fn count_popped(&self, line: &Line) {
        let topic = line.topic(PopTopic::Normal).as_str();
        for (rare, count) in [
            (Rare::Acked, &line.acked),
            (Rare::CheckedOut, &line.handed_out),
        ] {
            match count.swap(0, Ordering::Relaxed) {
                0 => {}
                n => self.count_rare(rare, topic, &line.group, n),
            }
        }
    }

    /// Counts what happens by topic and group, and seldom.
    pub(crate) fn count_rare(&self, rare: Rare, topic: &str, group: &GroupName, n: u64) {
        // The topic may be what a property says: only of topics that are here there is a count.
        if let Some(topic) = self.topics.find(topic) {
            self.stats.rare.add(rare, &topic.config.name, group, n);
        }
    }
}
