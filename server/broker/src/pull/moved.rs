//! Consumers that were sent to another offset, written down in `OFFSET_MOVED_EVENT` (Apache
//! `PullMessageProcessor.generateOffsetMovedEvent`): at most one a second for a group and queue.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::Duration;

use model::message::{append, key};
use model::tag::tags_code;
use model::{GroupName, TopicName};
use store::{Draft, Keys};

use crate::Broker;
use crate::topic::system;

const INTERVAL: Duration = Duration::from_secs(1);

/// One consumer that was sent elsewhere.
pub(crate) struct OffsetMoved<'a> {
    pub group: &'a GroupName,
    pub topic: &'a TopicName,
    pub queue: u32,
    /// Where it wanted to read.
    pub asked: i64,
    /// Where it is to read.
    pub new: i64,
}

/// When which of them was written down last.
#[derive(Debug, Default)]
pub(crate) struct MovedEvents {
    last: HashMap<(GroupName, TopicName, u32), Duration>,
}

impl MovedEvents {
    fn due(&mut self, event: &OffsetMoved<'_>, now: Duration) -> bool {
        self.last.retain(|_, at| now < *at + INTERVAL);
        let key = (event.group.clone(), event.topic.clone(), event.queue);
        match self.last.contains_key(&key) {
            true => false,
            false => self.last.insert(key, now).is_none(),
        }
    }
}

impl Broker {
    /// Stages the event, unless there was one a moment ago. Returns whether something was staged.
    pub(super) fn report_moved(&self, event: &OffsetMoved<'_>) -> bool {
        let due = {
            let mut events = self
                .moved_events
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            events.due(event, self.clock.mono())
        };
        let topic = self.topics.find(system::OFFSET_MOVED).filter(|_| due);
        let Some(queue) = topic.as_ref().and_then(|topic| topic.queue(&self.store, 0)) else {
            return false;
        };
        let group = event.group.as_str();
        // Names of topics and groups have no character that JSON would escape.
        let body = format!(
            r#"{{"consumerGroup":"{group}","messageQueue":{{"brokerName":"{}","queueId":{},"topic":"{}"}},"offsetNew":{},"offsetRequest":{}}}"#,
            self.options.name.replace(['"', '\\'], "_"),
            event.queue,
            event.topic,
            event.new,
            event.asked
        );
        let mut properties = String::new();
        append(&mut properties, key::TAGS, group);
        append(&mut properties, key::KEYS, group);
        append(&mut properties, key::UNIQ_KEY, &self.new_unique_key());
        let draft = Draft {
            queue,
            flag: 0,
            sys_flag: 0,
            born_at: self.clock.wall(),
            born_host: self.options.address,
            reconsume_times: 0,
            prepared_offset: 0,
            body: body.as_bytes(),
            properties: &properties,
            tags_code: tags_code(Some(group)),
            keys: Keys::Unread,
        };
        self.store.stage(&draft).is_ok()
    }
}
