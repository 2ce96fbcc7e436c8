//! What operators do.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ffi::Client as Shared;
use posthouse_client::code::response;
use posthouse_client::{
    GroupConfig, GroupName, Names, Queue, Received, ResetTo, TopicConfig, TopicName,
};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::call::{call, nothing};
use crate::client::Client;
use crate::convert;
use crate::error::raised;
use crate::message::MessageQueue;
use crate::pump::Pump;
use crate::received::ReceivedMessage;

/// What operators do.
#[pyclass(frozen, module = "posthouse._native")]
pub struct Admin {
    client: Arc<Shared>,
}

#[pymethods]
impl Admin {
    #[new]
    fn new(client: &Bound<'_, Client>) -> Admin {
        Admin {
            client: client.get().client.clone(),
        }
    }

    #[pyo3(signature = (topic, queues, kind, exist_ok, pump=None, id=0))]
    #[allow(clippy::too_many_arguments)] // Python's keywords
    fn create_topic(
        &self,
        py: Python<'_>,
        topic: &str,
        queues: u32,
        kind: &str,
        exist_ok: bool,
        pump: Option<&Bound<'_, Pump>>,
        id: u64,
    ) -> PyResult<Py<PyAny>> {
        let admin = self.get(py)?;
        let shown = topic.to_owned();
        let name = TopicName::parse(&self.full(py, topic)?);
        let name = name.map_err(|error| raised(py, &named(error)))?;
        let mut config = TopicConfig::new(name, queues);
        // Without the attribute it takes every kind; with that, brokers refuse it unless they are configured to.
        if kind != "mixed" {
            let kind = kind.to_uppercase();
            config.attributes.insert("message.type".to_owned(), kind);
        }
        let making = async move {
            let known = match exist_ok {
                true => Ok(Vec::new()),
                false => admin.topics().await,
            };
            if known?.iter().any(|known| known == config.name.as_str()) {
                let text = format!("topic {shown} is there already");
                return Err(ffi::Error::new(ffi::Code::Config, text));
            }
            Ok(admin.put_topic(&config).await?)
        };
        call(py, self.client.runtime(), (pump, id), making, nothing)
    }

    #[pyo3(signature = (topic, missing_ok, pump=None, id=0))]
    fn delete_topic(
        &self,
        py: Python<'_>,
        topic: String,
        missing_ok: bool,
        pump: Option<&Bound<'_, Pump>>,
        id: u64,
    ) -> PyResult<Py<PyAny>> {
        let (admin, full) = (self.get(py)?, self.full(py, &topic)?);
        let deleting = async move {
            if !missing_ok && !admin.topics().await?.contains(&full) {
                let text = format!("there is no topic {topic}");
                return Err(ffi::Error {
                    topic: Some(topic),
                    ..ffi::Error::new(ffi::Code::TopicNotFound, text)
                });
            }
            Ok(admin.delete_topic(&full).await?)
        };
        call(py, self.client.runtime(), (pump, id), deleting, nothing)
    }

    #[pyo3(signature = (pump=None, id=0))]
    fn topics(
        &self,
        py: Python<'_>,
        pump: Option<&Bound<'_, Pump>>,
        id: u64,
    ) -> PyResult<Py<PyAny>> {
        let (admin, names) = (self.get(py)?, self.names(py)?);
        let asking = async move {
            let topics = admin.topics().await?;
            Ok(topics.iter().filter_map(|topic| names.own(topic)).collect())
        };
        call(py, self.client.runtime(), (pump, id), asking, texts)
    }

    /// Each queue's first and next offset.
    #[pyo3(signature = (topic, pump=None, id=0))]
    fn offsets(
        &self,
        py: Python<'_>,
        topic: String,
        pump: Option<&Bound<'_, Pump>>,
        id: u64,
    ) -> PyResult<Py<PyAny>> {
        let (admin, names, topic) = (self.get(py)?, self.names(py)?, self.full(py, &topic)?);
        let asking = async move {
            let stats = admin.topic_stats(&topic).await?.into_iter();
            let offsets = stats.map(|one| (names.short_queue(one.queue), (one.start, one.end)));
            Ok(offsets.collect())
        };
        call(py, self.client.runtime(), (pump, id), asking, by_queue)
    }

    #[pyo3(signature = (group, orderly, max_attempts, pump=None, id=0))]
    fn create_group(
        &self,
        py: Python<'_>,
        group: &str,
        orderly: bool,
        max_attempts: i32,
        pump: Option<&Bound<'_, Pump>>,
        id: u64,
    ) -> PyResult<Py<PyAny>> {
        let admin = self.get(py)?;
        let name = GroupName::parse(&self.full(py, group)?);
        let name = name.map_err(|error| raised(py, &named(error)))?;
        let mut config = GroupConfig::new(name);
        config.consume_message_orderly = orderly;
        config.retry_max_times = max_attempts;
        let making = async move { Ok(admin.put_group(&config).await?) };
        call(py, self.client.runtime(), (pump, id), making, nothing)
    }

    #[pyo3(signature = (group, pump=None, id=0))]
    fn delete_group(
        &self,
        py: Python<'_>,
        group: String,
        pump: Option<&Bound<'_, Pump>>,
        id: u64,
    ) -> PyResult<Py<PyAny>> {
        let (admin, group) = (self.get(py)?, self.full(py, &group)?);
        let deleting = async move { Ok(admin.delete_group(&group, true).await?) };
        call(py, self.client.runtime(), (pump, id), deleting, nothing)
    }

    #[pyo3(signature = (pump=None, id=0))]
    fn groups(
        &self,
        py: Python<'_>,
        pump: Option<&Bound<'_, Pump>>,
        id: u64,
    ) -> PyResult<Py<PyAny>> {
        let (admin, names) = (self.get(py)?, self.names(py)?);
        let asking = async move {
            let groups = admin.groups().await?;
            let names = groups
                .iter()
                .filter_map(|group| names.own(group.name.as_str()));
            Ok(names.collect())
        };
        call(py, self.client.runtime(), (pump, id), asking, texts)
    }

    /// How far a group is behind in each queue of a topic, or of all that it has offsets in.
    #[pyo3(signature = (group, topic=None, pump=None, id=0))]
    fn lag(
        &self,
        py: Python<'_>,
        group: String,
        topic: Option<String>,
        pump: Option<&Bound<'_, Pump>>,
        id: u64,
    ) -> PyResult<Py<PyAny>> {
        let (admin, names) = (self.get(py)?, self.names(py)?);
        let group = self.full(py, &group)?;
        let topic = topic.map(|topic| self.full(py, &topic)).transpose()?;
        // Not by the broker's own figures: they leave out a topic that the group's members do not subscribe
        // to, and count what is deleted already for a group without offsets.
        let asking = async move {
            let mut all = Vec::new();
            let Some(topic) = topic else {
                let progress = match admin.progress(&group, None).await {
                    // It never committed anything.
                    Err(error) if error.code() == Some(response::QUERY_NOT_FOUND) => Vec::new(),
                    progress => progress?,
                };
                for one in progress {
                    let lag = one.lag();
                    all.push((names.short_queue(one.queue), lag));
                }
                return Ok(all);
            };
            for queue in admin.queues(&topic).await? {
                let end = admin.max_offset(&queue).await?;
                let done = match admin.group_offset(&group, &queue).await? {
                    Some(done) => done,
                    None => admin.min_offset(&queue).await?,
                };
                all.push((names.short_queue(queue), end.saturating_sub(done)));
            }
            Ok(all)
        };
        call(py, self.client.runtime(), (pump, id), asking, by_queue)
    }

    /// Sends a group to another place in each queue of a topic.
    #[pyo3(signature = (group, topic, to, pump=None, id=0))]
    fn reset_offset(
        &self,
        py: Python<'_>,
        group: String,
        topic: String,
        to: &Bound<'_, PyAny>,
        pump: Option<&Bound<'_, Pump>>,
        id: u64,
    ) -> PyResult<Py<PyAny>> {
        let (admin, names) = (self.get(py)?, self.names(py)?);
        let (group, topic) = (self.full(py, &group)?, self.full(py, &topic)?);
        let to = match to.extract::<&str>() {
            Ok("first") => ResetTo::Time(UNIX_EPOCH),
            Ok(_) => ResetTo::End,
            Err(_) => ResetTo::Time(convert::moment(to)?),
        };
        let moving = async move {
            let moved = admin.reset(&group, &topic, &to).await?.into_iter();
            let short = |(queue, offset)| (names.short_queue(queue), offset);
            Ok(moved.map(short).collect())
        };
        call(py, self.client.runtime(), (pump, id), moving, by_queue)
    }

    #[pyo3(signature = (topic, message_id, pump=None, id=0))]
    fn message(
        &self,
        py: Python<'_>,
        topic: String,
        message_id: String,
        pump: Option<&Bound<'_, Pump>>,
        id: u64,
    ) -> PyResult<Py<PyAny>> {
        let (admin, names, topic) = (self.get(py)?, self.names(py)?, self.full(py, &topic)?);
        let asking = async move {
            let found = admin.message(&topic, &message_id).await?;
            Ok(found.map(|message| names.received(message)))
        };
        call(
            py,
            self.client.runtime(),
            (pump, id),
            asking,
            |py, found: Option<Received>| {
                let found = found.map(ReceivedMessage::new);
                Ok(found.into_pyobject(py)?.into_any().unbind())
            },
        )
    }

    #[pyo3(signature = (topic, key, limit, pump=None, id=0))]
    fn messages_by_key(
        &self,
        py: Python<'_>,
        topic: String,
        key: String,
        limit: u32,
        pump: Option<&Bound<'_, Pump>>,
        id: u64,
    ) -> PyResult<Py<PyAny>> {
        let (admin, names, topic) = (self.get(py)?, self.names(py)?, self.full(py, &topic)?);
        // As far as a clock that was moved by hand may have gone.
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
        let between = (SystemTime::UNIX_EPOCH, end);
        let asking = async move {
            let found = admin.messages_by_key(&topic, &key, limit, between).await?;
            let short = |message| names.received(message);
            Ok(found.into_iter().map(short).collect())
        };
        call(py, self.client.runtime(), (pump, id), asking, received)
    }
}

impl Admin {
    fn get(&self, py: Python<'_>) -> PyResult<posthouse_client::Admin> {
        let client = self.client.get().map_err(|error| raised(py, &error))?;
        Ok(client.admin())
    }

    fn names(&self, py: Python<'_>) -> PyResult<Names> {
        let client = self.client.get().map_err(|error| raised(py, &error))?;
        Ok(client.names().clone())
    }

    /// What brokers call it.
    fn full(&self, py: Python<'_>, name: &str) -> PyResult<String> {
        Ok(self.names(py)?.full(name).into_owned())
    }
}

fn named(error: posthouse_client::NameError) -> ffi::Error {
    posthouse_client::Error::from(error).into()
}

fn texts(py: Python<'_>, texts: Vec<String>) -> PyResult<Py<PyAny>> {
    Ok(PyList::new(py, texts)?.into_any().unbind())
}

/// Queues, as a list.
pub fn queues(py: Python<'_>, queues: Vec<Queue>) -> PyResult<Py<PyAny>> {
    let list = PyList::empty(py);
    for queue in queues {
        list.append(MessageQueue { queue })?;
    }
    Ok(list.into_any().unbind())
}

/// Messages, as a list.
pub fn received(py: Python<'_>, messages: Vec<Received>) -> PyResult<Py<PyAny>> {
    let list = PyList::empty(py);
    for message in messages {
        list.append(ReceivedMessage::new(message))?;
    }
    Ok(list.into_any().unbind())
}

/// Something for each queue, as a dict.
fn by_queue<T: for<'py> IntoPyObject<'py>>(
    py: Python<'_>,
    all: Vec<(Queue, T)>,
) -> PyResult<Py<PyAny>> {
    let dict = PyDict::new(py);
    for (queue, value) in all {
        dict.set_item(MessageQueue { queue }, value)?;
    }
    Ok(dict.into_any().unbind())
}
