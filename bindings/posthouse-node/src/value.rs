//! What calls return, and what they are told, on the way between the two languages.

use std::time::{Duration, SystemTime};

use ffi::{Code, Error};
use napi_derive::napi;
use posthouse_client::{ConsumeFrom, Filter, Model, Queue};
use serde_json::{Value as Json, json};

/// What a call returns.
pub enum Value {
    /// That it is done.
    Nothing,
    /// Something small.
    Json(Json),
    /// Messages.
    Messages(ffi::slab::Frame),
}

/// A queue.
#[napi(object)]
pub struct QueueName {
    /// Its topic.
    pub topic: String,
    /// Its broker's name.
    pub broker: String,
    /// Its number there.
    pub queue_id: u32,
}

impl From<QueueName> for Queue {
    fn from(name: QueueName) -> Queue {
        Queue::new(name.topic, name.broker, name.queue_id)
    }
}

/// A queue, as JSON.
pub fn queue_json(queue: &Queue) -> Json {
    json!({ "topic": &*queue.topic, "broker": &*queue.broker, "queueId": queue.id })
}

/// A topic and what is wanted of it.
#[napi(object)]
pub struct Wanted {
    /// The topic.
    pub topic: String,
    /// Tags, separated by `||`; nothing: everything.
    pub tags: Option<String>,
    /// An SQL92 expression.
    pub sql: Option<String>,
}

impl Wanted {
    /// The topic, and the filter.
    pub fn parts(self) -> (String, Filter) {
        let filter = match (self.sql, self.tags) {
            (Some(sql), _) => Filter::sql(sql),
            (None, Some(tags)) if tags != "*" => Filter::tags(tags),
            _ => Filter::All,
        };
        (self.topic, filter)
    }
}

/// Where to begin: -1 the end, -2 the start, else milliseconds since the Unix epoch.
pub fn from_of(from: f64) -> ConsumeFrom {
    match from as i64 {
        -1 => ConsumeFrom::Last,
        -2 => ConsumeFrom::First,
        time => ConsumeFrom::Time(time),
    }
}

/// Whether each member of a group gets all.
pub fn model_of(broadcast: bool) -> Model {
    match broadcast {
        true => Model::Broadcasting,
        false => Model::Clustering,
    }
}

/// A point in time.
pub fn time_of(ms: f64) -> SystemTime {
    SystemTime::UNIX_EPOCH + millis(ms)
}

/// A time in milliseconds.
pub fn millis(ms: f64) -> Duration {
    // JavaScript's numbers: what is negative or none at all counts as zero, what is endless as a long time.
    Duration::try_from_secs_f64(ms / 1000.0).unwrap_or(match ms > 0.0 {
        true => Duration::from_secs(u64::from(u32::MAX)),
        false => Duration::ZERO,
    })
}

/// An error of the caller's.
pub fn wrong(text: impl Into<String>) -> Error {
    Error::new(Code::Config, text)
}
