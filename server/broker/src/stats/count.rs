//! The places where messages are counted: whoever stores one, or hands one out, calls one of these.

use model::GroupName;
use store::Staged;

use super::history::Count;
use super::item::Rare;
use crate::Broker;
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

    /// Counts what happens by topic and group, and seldom.
    pub(crate) fn count_rare(&self, rare: Rare, topic: &str, group: &GroupName, n: u64) {
        // The topic may be what a property says: only of topics that are here there is a count.
        if let Some(topic) = self.topics.find(topic) {
            self.stats.rare.add(rare, &topic.config.name, group, n);
        }
    }
}
