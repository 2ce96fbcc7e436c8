//! Topics, groups and offsets.

use std::time::{Duration, UNIX_EPOCH};

use ffi::slab::write_received;
use napi_derive::napi;
use posthouse_client::{
    Admin as Inner, ConsumeFrom, GroupConfig, GroupName, Names, ResetTo, TopicConfig, TopicName,
};
use serde_json::json;

use crate::client::Client;
use crate::error::{Result, thrown};
use crate::port::Calls;
use crate::value::{Value, from_of, queue_json, time_of, wrong};

/// What operators do.
#[napi]
pub struct Admin {
    calls: Calls,
    inner: Inner,
    names: Names,
}

#[napi]
impl Admin {
    /// Of this client's cluster.
    #[napi(constructor)]
    pub fn new(client: &Client) -> Result<Admin> {
        let inner = client.inner().get().map_err(thrown)?;
        Ok(Admin {
            calls: client.calls().clone(),
            inner: inner.admin(),
            names: inner.names().clone(),
        })
    }

    /// Makes a topic, or changes it.
    #[napi]
    pub fn create_topic(&self, call: u32, topic: String, queues: u32, kind: String) {
        self.run(call, async move |admin, names| {
            let name =
                TopicName::parse(&names.full(&topic)).map_err(|error| wrong(error.to_string()))?;
            let mut config = TopicConfig::new(name, queues);
            if kind != "mixed" {
                let attribute = ("message.type".to_owned(), kind.to_uppercase());
                config.attributes.extend([attribute]);
            }
            admin.put_topic(&config).await?;
            Ok(Value::Nothing)
        });
    }

    /// Deletes a topic with all its messages.
    #[napi]
    pub fn delete_topic(&self, call: u32, topic: String) {
        self.run(call, async move |admin, names| {
            admin.delete_topic(&names.full(&topic)).await?;
            Ok(Value::Nothing)
        });
    }

    /// The topics.
    #[napi]
    pub fn topics(&self, call: u32) {
        self.run(call, async |admin, names| {
            let topics = admin.topics().await?;
            let topics = topics.iter().filter_map(|topic| names.own(topic));
            Ok(Value::Json(json!(topics.collect::<Vec<_>>())))
        });
    }

    /// Of each queue of a topic: itself, its first and its next offset.
    #[napi]
    pub fn offsets(&self, call: u32, topic: String) {
        self.run(call, async move |admin, names| {
            let stats = admin.topic_stats(&names.full(&topic)).await?.into_iter();
            let all = stats.map(|one| {
                let queue = queue_json(&names.short_queue(one.queue));
                json!([queue, one.start, one.end])
            });
            Ok(Value::Json(all.collect()))
        });
    }

    /// Makes a group, or changes it.
    #[napi]
    pub fn create_group(&self, call: u32, group: String, orderly: bool, max_attempts: u32) {
        self.run(call, async move |admin, names| {
            let name =
                GroupName::parse(&names.full(&group)).map_err(|error| wrong(error.to_string()))?;
            let mut config = GroupConfig::new(name);
            config.consume_message_orderly = orderly;
            config.retry_max_times = max_attempts.cast_signed();
            admin.put_group(&config).await?;
            Ok(Value::Nothing)
        });
    }

    /// Deletes a group and its offsets.
    #[napi]
    pub fn delete_group(&self, call: u32, group: String) {
        self.run(call, async move |admin, names| {
            admin.delete_group(&names.full(&group), true).await?;
            Ok(Value::Nothing)
        });
    }

    /// The groups.
    #[napi]
    pub fn groups(&self, call: u32) {
        self.run(call, async |admin, names| {
            let groups = admin.groups().await?;
            let groups = groups
                .iter()
                .filter_map(|group| names.own(group.name.as_str()));
            Ok(Value::Json(json!(groups.collect::<Vec<_>>())))
        });
    }

    /// Of each queue, how many messages a group has not done.
    #[napi]
    pub fn lag(&self, call: u32, group: String, topic: Option<String>) {
        self.run(call, async move |admin, names| {
            let topic = topic.as_deref().map(|topic| names.full(topic));
            let group = names.full(&group);
            let progress = admin.progress(&group, topic.as_deref()).await?;
            let all = progress.into_iter().map(|one| {
                let lag = one.lag();
                json!([queue_json(&names.short_queue(one.queue)), lag])
            });
            Ok(Value::Json(all.collect()))
        });
    }

    /// Lets a group go on elsewhere; returns where, of each queue.
    #[napi]
    pub fn reset_offset(&self, call: u32, group: String, topic: String, from: f64) {
        self.run(call, async move |admin, names| {
            let to = match from_of(from) {
                ConsumeFrom::First => ResetTo::Time(UNIX_EPOCH),
                ConsumeFrom::Last => ResetTo::End,
                ConsumeFrom::Time(_) => ResetTo::Time(time_of(from)),
            };
            let (group, topic) = (names.full(&group), names.full(&topic));
            let all = admin.reset(&group, &topic, &to).await?.into_iter();
            let all =
                all.map(|(queue, offset)| json!([queue_json(&names.short_queue(queue)), offset]));
            Ok(Value::Json(all.collect()))
        });
    }

    /// The message with this id, if there is one.
    #[napi]
    pub fn message(&self, call: u32, topic: String, id: String) {
        self.run(call, async move |admin, names| {
            let found = admin.message(&names.full(&topic), &id).await?;
            let found = found.map(|message| names.received(message));
            let found = found.iter().map(|message| (0, message));
            Ok(Value::Messages(write_received(found)))
        });
    }

    /// Messages with this key, newest first.
    #[napi]
    pub fn messages_by_key(&self, call: u32, topic: String, key: String, limit: u32) {
        // As far as a clock that was moved by hand may have gone.
        let between = (UNIX_EPOCH, UNIX_EPOCH + Duration::from_secs(1 << 40));
        self.run(call, async move |admin, names| {
            let topic = names.full(&topic);
            let found = (admin.messages_by_key(&topic, &key, limit, between)).await?;
            let found = found.into_iter().map(|message| names.received(message));
            let found: Vec<_> = found.collect();
            let found = found.iter().map(|message| (0, message));
            Ok(Value::Messages(write_received(found)))
        });
    }
}

impl Admin {
    fn run<F>(&self, call: u32, work: impl FnOnce(Inner, Names) -> F)
    where
        F: Future<Output = ffi::Result<Value>> + Send + 'static,
    {
        self.calls
            .start(call, work(self.inner.clone(), self.names.clone()));
    }
}
