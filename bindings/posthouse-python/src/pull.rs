//! Messages for who asks for them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ffi::{Client as Shared, Parents};
use posthouse_client::{Filter, PullOptions, Queue};
use pyo3::prelude::*;

use crate::call::{call, nothing};
use crate::client::Client;
use crate::error::raised;
use crate::message::MessageQueue;
use crate::pump::Pump;
use crate::received::ReceivedMessage;
use crate::{admin, convert};

/// A consumer that is asked.
#[pyclass(frozen, module = "posthouse._native")]
pub struct PullConsumer {
    client: Arc<Shared>,
    consumer: Parents<posthouse_client::PullConsumer>,
}

#[pymethods]
impl PullConsumer {
    #[new]
    #[pyo3(signature = (client, group, *, auto_commit, broadcast, offsets_file, start_from, batch))]
    #[allow(clippy::too_many_arguments)] // Python's keywords
    fn new(
        py: Python<'_>,
        client: &Bound<'_, Client>,
        group: &str,
        auto_commit: Option<f64>,
        broadcast: bool,
        offsets_file: Option<PathBuf>,
        start_from: &Bound<'_, PyAny>,
        batch: usize,
    ) -> PyResult<PullConsumer> {
        let client = client.get().client.clone();
        let inner = client.get().map_err(|error| raised(py, &error))?;
        let defaults = PullOptions::default();
        let every = auto_commit.and_then(|every| Duration::try_from_secs_f64(every).ok());
        let options = PullOptions {
            model: convert::model(broadcast),
            offsets_file,
            from: convert::start(start_from)?,
            auto_commit: auto_commit.is_some(),
            persist_period: every.unwrap_or(defaults.persist_period),
            batch,
            ..defaults
        };
        let consumer = (client.runtime()).enter(|| inner.pull_consumer(group, options));
        let consumer = consumer.map_err(|error| raised(py, &error.into()))?;
        Ok(PullConsumer {
            consumer: Parents::new(consumer),
            client,
        })
    }

    #[pyo3(signature = (topic, filter, pump=None, id=0))]
    fn subscribe(
        &self,
        py: Python<'_>,
        topic: String,
        filter: &Bound<'_, PyAny>,
        pump: Option<&Bound<'_, Pump>>,
        id: u64,
    ) -> PyResult<Py<PyAny>> {
        let filter: Filter = convert::filter(filter)?;
        let consumer = self.get(py)?;
        let subscribing = async move { Ok(consumer.subscribe(&topic, &filter).await?) };
        call(py, self.client.runtime(), (pump, id), subscribing, nothing)
    }

    #[pyo3(signature = (queues, pump=None, id=0))]
    fn assign(
        &self,
        py: Python<'_>,
        queues: &Bound<'_, PyAny>,
        pump: Option<&Bound<'_, Pump>>,
        id: u64,
    ) -> PyResult<Py<PyAny>> {
        let (queues, consumer) = (convert::queues(queues)?, self.get(py)?);
        let assigning = async move { Ok(consumer.assign(&queues).await?) };
        call(py, self.client.runtime(), (pump, id), assigning, nothing)
    }

    #[pyo3(signature = (limit, max, pump=None, id=0))]
    fn poll(
        &self,
        py: Python<'_>,
        limit: f64,
        max: usize,
        pump: Option<&Bound<'_, Pump>>,
        id: u64,
    ) -> PyResult<Py<PyAny>> {
        let limit = Duration::try_from_secs_f64(limit).unwrap_or_default();
        let consumer = self.get(py)?;
        let polling = async move { Ok(consumer.poll_up_to(max, limit).await?) };
        let runtime = self.client.runtime();
        call(py, runtime, (pump, id), polling, admin::received)
    }

    /// One message, if one is here.
    fn poll_one(&self, py: Python<'_>) -> PyResult<Option<ReceivedMessage>> {
        self.inner(py)?;
        match self.consumer.get().poll_one() {
            Ok(message) => Ok(message.map(ReceivedMessage::new)),
            Err(error) => Err(raised(py, &error.into())),
        }
    }

    /// The offset of the next message that it gets; nothing if the queue is not its own.
    fn position(&self, py: Python<'_>, queue: &Bound<'_, MessageQueue>) -> PyResult<Option<u64>> {
        self.inner(py)?;
        Ok(self.consumer.get().position(&queue.get().queue))
    }

    /// Goes on at an offset, a time, or `"first"` or `"last"`.
    #[pyo3(signature = (queue, to, pump=None, id=0))]
    fn seek(
        &self,
        py: Python<'_>,
        queue: &Bound<'_, MessageQueue>,
        to: &Bound<'_, PyAny>,
        pump: Option<&Bound<'_, Pump>>,
        id: u64,
    ) -> PyResult<Py<PyAny>> {
        let (to, queue) = (place(to)?, queue.get().queue.clone());
        let consumer = self.get(py)?;
        let seeking = async move {
            match to {
                Place::Offset(offset) => consumer.seek(&queue, offset)?,
                Place::First => consumer.seek_to_begin(&queue).await?,
                Place::Last => consumer.seek_to_end(&queue).await?,
                Place::Time(time) => consumer.seek_to_time(&queue, time).await?,
            }
            Ok(())
        };
        call(py, self.client.runtime(), (pump, id), seeking, nothing)
    }

    #[pyo3(signature = (queue, pump=None, id=0))]
    fn committed(
        &self,
        py: Python<'_>,
        queue: &Bound<'_, MessageQueue>,
        pump: Option<&Bound<'_, Pump>>,
        id: u64,
    ) -> PyResult<Py<PyAny>> {
        let (queue, consumer) = (queue.get().queue.clone(), self.get(py)?);
        let asking = async move { Ok(consumer.committed(&queue).await?) };
        call(
            py,
            self.client.runtime(),
            (pump, id),
            asking,
            |py, offset: Option<u64>| Ok(offset.into_pyobject(py)?.into_any().unbind()),
        )
    }

    /// Tells brokers what was handed out, or these offsets.
    #[pyo3(signature = (offsets=None, pump=None, id=0))]
    fn commit(
        &self,
        py: Python<'_>,
        offsets: Option<Vec<(Bound<'_, MessageQueue>, u64)>>,
        pump: Option<&Bound<'_, Pump>>,
        id: u64,
    ) -> PyResult<Py<PyAny>> {
        let consumer = self.get(py)?;
        let offsets = offsets.map(|offsets| {
            let pair = |(queue, offset): (Bound<'_, MessageQueue>, u64)| {
                (queue.get().queue.clone(), offset)
            };
            offsets.into_iter().map(pair).collect::<Vec<_>>()
        });
        let committing = async move {
            let Some(offsets) = offsets else {
                return Ok(consumer.commit().await?);
            };
            for (queue, offset) in offsets {
                consumer.commit_at(&queue, offset).await?;
            }
            Ok(())
        };
        call(py, self.client.runtime(), (pump, id), committing, nothing)
    }

    #[pyo3(signature = (queue, when, pump=None, id=0))]
    fn offset_at(
        &self,
        py: Python<'_>,
        queue: &Bound<'_, MessageQueue>,
        when: &Bound<'_, PyAny>,
        pump: Option<&Bound<'_, Pump>>,
        id: u64,
    ) -> PyResult<Py<PyAny>> {
        let (when, client) = (convert::moment(when)?, self.inner(py)?);
        let (admin, queue) = (
            client.admin(),
            client.names().full_queue(&queue.get().queue),
        );
        let asking = async move { Ok(admin.offset_at(&queue, when).await?) };
        call(
            py,
            self.client.runtime(),
            (pump, id),
            asking,
            |py, offset: u64| Ok(offset.into_pyobject(py)?.into_any().unbind()),
        )
    }

    #[pyo3(signature = (topic, pump=None, id=0))]
    fn queues(
        &self,
        py: Python<'_>,
        topic: String,
        pump: Option<&Bound<'_, Pump>>,
        id: u64,
    ) -> PyResult<Py<PyAny>> {
        let client = self.inner(py)?;
        let (admin, names) = (client.admin(), client.names().clone());
        let asking = async move {
            let queues = admin.queues(&names.full(&topic)).await?.into_iter();
            Ok(queues.map(|queue| names.short_queue(queue)).collect())
        };
        call(py, self.client.runtime(), (pump, id), asking, admin::queues)
    }

    /// The queues that are its own just now.
    fn assignment(&self, py: Python<'_>) -> PyResult<Vec<MessageQueue>> {
        let queues = self.get(py)?.queues().into_iter();
        Ok(queues.map(|queue| MessageQueue { queue }).collect())
    }

    fn pause(&self, py: Python<'_>, queues: &Bound<'_, PyAny>) -> PyResult<()> {
        let queues: Vec<Queue> = convert::queues(queues)?;
        self.get(py)?.pause(&queues);
        Ok(())
    }

    fn resume(&self, py: Python<'_>, queues: &Bound<'_, PyAny>) -> PyResult<()> {
        let queues: Vec<Queue> = convert::queues(queues)?;
        self.get(py)?.resume(&queues);
        Ok(())
    }

    /// Ends all polls; each still has its outcome.
    fn end_polls(&self) {
        self.consumer.get().end_polls();
    }

    /// Tells offsets if it does so by itself, and gives its queues up.
    #[pyo3(signature = (limit, pump=None, id=0))]
    fn close(
        &self,
        py: Python<'_>,
        limit: f64,
        pump: Option<&Bound<'_, Pump>>,
        id: u64,
    ) -> PyResult<Py<PyAny>> {
        let limit = Duration::try_from_secs_f64(limit).unwrap_or_default();
        if self.client.runtime().is_parents() || self.client.is_closed() {
            return Ok(py.None());
        }
        let consumer = self.consumer.get().clone();
        let closing = async move {
            // Who does not answer in time learns of it when the client leaves.
            let _ = tokio::time::timeout(limit, consumer.shutdown()).await;
            Ok(())
        };
        call(py, self.client.runtime(), (pump, id), closing, nothing)
    }
}

impl PullConsumer {
    fn inner(&self, py: Python<'_>) -> PyResult<&posthouse_client::Client> {
        self.client.get().map_err(|error| raised(py, &error))
    }

    fn get(&self, py: Python<'_>) -> PyResult<posthouse_client::PullConsumer> {
        self.inner(py)?;
        Ok(self.consumer.get().clone())
    }
}

/// Where a seek goes.
enum Place {
    Offset(u64),
    First,
    Last,
    Time(SystemTime),
}

fn place(value: &Bound<'_, PyAny>) -> PyResult<Place> {
    if let Ok(offset) = value.extract() {
        return Ok(Place::Offset(offset));
    }
    match value.extract::<&str>() {
        Ok("first") => Ok(Place::First),
        Ok("last") => Ok(Place::Last),
        _ => Ok(Place::Time(convert::moment(value)?)),
    }
}
