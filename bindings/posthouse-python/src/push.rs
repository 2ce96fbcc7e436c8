//! Messages that are pushed: taken by Python's threads, and settled by them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use posthouse_client::{FlowLimits, PushOptions, Settle};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::call::{call, nothing, slices};
use crate::client::Client;
use crate::convert;
use crate::error::raised;
use crate::message::MessageQueue;
use crate::pump::Pump;
use crate::received::ReceivedMessage;

/// A push consumer.
#[pyclass(frozen, module = "posthouse._native")]
pub struct PushConsumer {
    consumer: Arc<ffi::PushConsumer>,
}

#[pymethods]
impl PushConsumer {
    /// Starts a consumer; gives a `PushConsumer`.
    #[staticmethod]
    #[pyo3(signature = (client, group, wanted, *, orderly, broadcast, concurrency, start_from, max_attempts,
        cache_messages, cache_bytes, offsets_file=None, pump=None, id=0))]
    #[allow(clippy::too_many_arguments)] // Python's keywords
    fn open(
        py: Python<'_>,
        client: &Bound<'_, Client>,
        group: String,
        wanted: Vec<(String, Bound<'_, PyAny>)>,
        orderly: bool,
        broadcast: bool,
        concurrency: usize,
        start_from: &Bound<'_, PyAny>,
        max_attempts: Option<u32>,
        cache_messages: usize,
        cache_bytes: usize,
        offsets_file: Option<PathBuf>,
        pump: Option<&Bound<'_, Pump>>,
        id: u64,
    ) -> PyResult<Py<PyAny>> {
        let options = PushOptions {
            model: convert::model(broadcast),
            offsets_file,
            from: convert::start(start_from)?,
            orderly,
            concurrency,
            max_attempts,
            limits: FlowLimits {
                messages: cache_messages.max(1),
                bytes: cache_bytes.max(1),
                ..FlowLimits::default()
            },
            ..PushOptions::default()
        };
        let client = client.get().client.clone();
        let runtime = client.runtime().clone();
        let opening = ffi::PushConsumer::open(client, group, convert::wanted(wanted)?, options);
        call(py, &runtime, (pump, id), opening, |py, consumer| {
            let consumer = Arc::new(consumer);
            Ok(Py::new(py, PushConsumer { consumer })?.into_any())
        })
    }

    /// Up to so many messages, at once.
    fn take<'py>(&self, py: Python<'py>, max: usize) -> PyResult<Bound<'py, PyList>> {
        self.consumer.get().map_err(|error| raised(py, &error))?;
        shown(py, self.consumer.deliveries().ready.take(max))
    }

    /// Up to so many messages; waits for the first one, at most so long.
    #[pyo3(signature = (max, limit=None))]
    fn wait<'py>(
        &self,
        py: Python<'py>,
        max: usize,
        limit: Option<f64>,
    ) -> PyResult<Bound<'py, PyList>> {
        self.consumer.get().map_err(|error| raised(py, &error))?;
        let limit = limit.map(|limit| Duration::try_from_secs_f64(limit).unwrap_or_default());
        let ready = &self.consumer.deliveries().ready;
        let found = slices(py, limit, |slice| {
            let found = ready.wait(max, slice);
            (!found.is_empty() || ready.is_closed()).then_some(found)
        })?;
        shown(py, found.unwrap_or_default())
    }

    /// Whom new messages wake from now on.
    fn wake(&self, pump: &Bound<'_, Pump>) {
        let waker = pump.get().waker();
        if let Some(deliveries) = self.consumer.own_deliveries() {
            deliveries.ready.set_wake(Some(waker));
        }
    }

    /// Says what became of a delivery: 0 it is done, 1 again, 2 to the dead letters. A repetition may name
    /// how long from now.
    #[pyo3(signature = (delivery, verdict, after=None))]
    fn settle(&self, delivery: u64, verdict: u8, after: Option<f64>) {
        let after = after.and_then(|after| Duration::try_from_secs_f64(after).ok());
        let settle = match verdict {
            0 => Settle::Ack,
            1 => after.map_or(Settle::Retry(None), Settle::RetryAfter),
            _ => Settle::Reject,
        };
        if let Some(deliveries) = self.consumer.own_deliveries() {
            deliveries.settle([(delivery, settle)]);
        }
    }

    /// Says of many messages that they are done.
    fn settle_all(&self, messages: Vec<Bound<'_, ReceivedMessage>>) {
        let done = messages.iter();
        let done = done.map(|message| (message.get().delivery(), Settle::Ack));
        if let Some(deliveries) = self.consumer.own_deliveries() {
            deliveries.settle(done);
        }
    }

    /// Hands nothing over any more; ends every wait. What is settled still counts.
    fn stop(&self) {
        if let Some(deliveries) = self.consumer.own_deliveries() {
            deliveries.ready.close();
            drop(deliveries.ready.drain());
        }
    }

    fn pause(&self, py: Python<'_>) -> PyResult<()> {
        let consumer = self.consumer.get().map_err(|error| raised(py, &error))?;
        consumer.pause();
        Ok(())
    }

    fn resume(&self, py: Python<'_>) -> PyResult<()> {
        let consumer = self.consumer.get().map_err(|error| raised(py, &error))?;
        consumer.resume();
        Ok(())
    }

    fn assignment(&self, py: Python<'_>) -> PyResult<Vec<MessageQueue>> {
        let consumer = self.consumer.get().map_err(|error| raised(py, &error))?;
        let queues = consumer.queues().into_iter();
        Ok(queues.map(|queue| MessageQueue { queue }).collect())
    }

    /// Leaves the group.
    #[pyo3(signature = (limit, pump=None, id=0))]
    fn close(
        &self,
        py: Python<'_>,
        limit: f64,
        pump: Option<&Bound<'_, Pump>>,
        id: u64,
    ) -> PyResult<Py<PyAny>> {
        let limit = Duration::try_from_secs_f64(limit).unwrap_or_default();
        let consumer = self.consumer.clone();
        if pump.is_none() {
            py.detach(|| consumer.close(limit));
            return Ok(py.None());
        }
        let runtime = consumer.runtime().clone();
        let closing = async move {
            // It waits for the runtime's thread, so it does not run on it.
            let closed = tokio::task::spawn_blocking(move || consumer.close(limit)).await;
            closed.map_err(|error| ffi::Error::new(ffi::Code::Internal, error.to_string()))
        };
        call(py, &runtime, (pump, id), closing, nothing)
    }
}

fn shown(py: Python<'_>, delivered: Vec<ffi::Delivered>) -> PyResult<Bound<'_, PyList>> {
    let list = PyList::empty(py);
    for ffi::Delivered { id, message } in delivered {
        list.append(ReceivedMessage::delivered(message, id))?;
    }
    Ok(list)
}
