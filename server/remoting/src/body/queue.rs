//! A message queue, and maps keyed by one.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use super::lenient;

/// One queue of a topic on one broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MessageQueue {
    /// The broker that holds it.
    #[serde(deserialize_with = "lenient::or_default")]
    pub broker_name: String,
    /// Its number in the topic.
    #[serde(deserialize_with = "lenient::number")]
    pub queue_id: i32,
    /// The topic.
    #[serde(deserialize_with = "lenient::or_default")]
    pub topic: String,
}

/// A map keyed by message queues, in the order it was made. Its written form is fastjson's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueMap<V>(pub Vec<(MessageQueue, V)>);

impl<V> Default for QueueMap<V> {
    fn default() -> Self {
        QueueMap(Vec::new())
    }
}

impl<V> QueueMap<V> {
    /// Whether there is no queue in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a queue.
    pub fn get(&self, queue: &MessageQueue) -> Option<&V> {
        let found = self.0.iter().find(|(key, _)| key == queue);
        found.map(|(_, value)| value)
    }
}

impl<V> FromIterator<(MessageQueue, V)> for QueueMap<V> {
    fn from_iter<I: IntoIterator<Item = (MessageQueue, V)>>(entries: I) -> Self {
        QueueMap(entries.into_iter().collect())
    }
}

impl<V: Serialize> Serialize for QueueMap<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (queue, value) in &self.0 {
            // The writer of bodies takes the quotes off again.
            let key = serde_json::to_string(queue).map_err(serde::ser::Error::custom)?;
            map.serialize_entry(&key, value)?;
        }
        map.end()
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for QueueMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<V>(std::marker::PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
            type Value = QueueMap<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map keyed by message queues")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<QueueMap<V>, A::Error> {
                let mut entries = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, V>()? {
                    let queue = serde_json::from_str(&key).map_err(serde::de::Error::custom)?;
                    entries.push((queue, value));
                }
                Ok(QueueMap(entries))
            }
        }
        deserializer.deserialize_map(Entries(std::marker::PhantomData))
    }
}
