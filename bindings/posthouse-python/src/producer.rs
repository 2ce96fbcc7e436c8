//! Sends.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ffi::{Credit, Done, Inbox, Outgoing};
use posthouse_client::{ProducerOptions, Sent};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::call::{SLICE, call, nothing, signals, slices};
use crate::client::Client;
use crate::error::{Stop, raised};
use crate::message::{Message, MessageQueue, sending, sending_one};
use crate::pump::{self, Pump};
use crate::received::SendResult;

/// Sends for one group.
#[pyclass(frozen, module = "posthouse._native")]
pub struct Producer {
    pub client: Arc<ffi::Client>,
    pub producer: Arc<ffi::Producer>,
    pub checks: Option<Arc<ffi::Checks>>,
    /// What `submit` was given and had no credit for, in order.
    waiting: Mutex<VecDeque<Outgoing>>,
}

#[pymethods]
impl Producer {
    #[new]
    #[pyo3(signature = (client, group, *, retries, send_timeout, compress_over, max_in_flight, max_in_flight_bytes, transactional=false))]
    #[allow(clippy::too_many_arguments)] // Python's keywords
    fn new(
        py: Python<'_>,
        client: &Bound<'_, Client>,
        group: &str,
        retries: u32,
        send_timeout: f64,
        compress_over: Option<usize>,
        max_in_flight: usize,
        max_in_flight_bytes: usize,
        transactional: bool,
    ) -> PyResult<Producer> {
        let defaults = ProducerOptions::default();
        let options = ProducerOptions {
            timeout: Duration::try_from_secs_f64(send_timeout).unwrap_or(defaults.timeout),
            retries,
            compress_from: compress_over.unwrap_or(usize::MAX),
            compression: compress_over.and(defaults.compression),
            ..defaults
        };
        let credit = Credit::new(max_in_flight, max_in_flight_bytes);
        let client = client.get().client.clone();
        let made = match transactional {
            false => ffi::Producer::open(&client, group, options, credit).map(|one| (one, None)),
            true => ffi::Producer::transactional(&client, group, options, credit)
                .map(|(one, checks)| (one, Some(checks))),
        };
        let (producer, checks) = made.map_err(|error| raised(py, &error))?;
        Ok(Producer {
            client,
            producer: Arc::new(producer),
            waiting: Mutex::default(),
            checks,
        })
    }

    /// Sends one message and waits for the answer.
    #[pyo3(signature = (message, queue=None, limit=None))]
    fn send(
        &self,
        py: Python<'_>,
        message: &Bound<'_, Message>,
        queue: Option<&Bound<'_, MessageQueue>>,
        limit: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let inbox = Arc::new(Inbox::<Done>::default());
        let mut one = VecDeque::from([Outgoing {
            id: 0,
            message: sending_one(py, message),
            queue: queue.map(|queue| queue.get().queue.clone()),
            limit: limit.and_then(|limit| Duration::try_from_secs_f64(limit).ok()),
        }]);
        self.submit_all(py, &mut one, &inbox)?;
        let done = slices(py, None, |slice| inbox.wait(1, slice).pop())?;
        let (_, result) = done.expect("a wait without a limit ends with a result");
        match result {
            Ok(sent) => Ok(Py::new(py, SendResult::from(sent))?.into_any()),
            Err(error) => Err(raised(py, &error)),
        }
    }

    /// Sends messages to wherever each belongs, and returns what became of each, in their order.
    fn send_many<'py>(
        &self,
        py: Python<'py>,
        messages: Vec<Bound<'py, Message>>,
    ) -> PyResult<Bound<'py, PyList>> {
        let inbox = Arc::new(Inbox::<Done>::default());
        let mut results: Vec<Option<ffi::Result<Sent>>> = Vec::new();
        results.resize_with(messages.len(), || None);
        let outgoing = |(id, message)| Outgoing {
            id: id as u64,
            message,
            queue: None,
            limit: None,
        };
        let mut left: VecDeque<_> = sending(py, &messages)
            .into_iter()
            .enumerate()
            .map(outgoing)
            .collect();
        let mut open = left.len();
        while open > 0 {
            if !left.is_empty() {
                let submitted = py.detach(|| self.producer.submit_here(&mut left, inbox.clone()));
                submitted.map_err(|error| raised(py, &error))?;
            }
            let credit = self.producer.credit();
            let ended = slices(py, Some(SLICE), |slice| {
                let ended = inbox.wait(1024, slice.min(SLICE));
                // Others may hold all the credit.
                (!ended.is_empty() || credit.wait(Duration::ZERO)).then_some(ended)
            })?;
            for (id, result) in ended.unwrap_or_default() {
                if let Some(place) = results.get_mut(id as usize) {
                    *place = Some(result);
                    open -= 1;
                }
            }
            py.check_signals()?;
        }
        let list = PyList::empty(py);
        for result in results.into_iter().flatten() {
            list.append(pump::sent(py, result)?)?;
        }
        Ok(list)
    }

    /// Hands messages over; their results come through the pump, the first under `first` and so on. What
    /// there is no credit for waits here: call [`Producer::resume`] when results came. Returns how many wait.
    #[pyo3(signature = (messages, first, pump, queue=None, limit=None))]
    fn submit(
        &self,
        py: Python<'_>,
        messages: Vec<Bound<'_, Message>>,
        first: u64,
        pump: &Bound<'_, Pump>,
        queue: Option<&Bound<'_, MessageQueue>>,
        limit: Option<f64>,
    ) -> PyResult<usize> {
        self.producer.get().map_err(|error| raised(py, &error))?;
        let queue = queue.map(|queue| queue.get().queue.clone());
        let limit = limit.and_then(|limit| Duration::try_from_secs_f64(limit).ok());
        let outgoing = sending(py, &messages);
        let outgoing = outgoing
            .into_iter()
            .zip(first..)
            .map(|(message, id)| Outgoing {
                id,
                message,
                queue: queue.clone(),
                limit,
            });
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.extend(outgoing);
        let submitted = self.producer.submit(&mut waiting, pump.get().inbox());
        submitted.map_err(|error| raised(py, &error))?;
        Ok(waiting.len())
    }

    /// Hands over what waited for credit. Returns how many still wait.
    fn resume(&self, py: Python<'_>, pump: &Bound<'_, Pump>) -> PyResult<usize> {
        self.submit(py, Vec::new(), 0, pump, None, None)
    }

    /// Waits for credit, at most so long. Whether there is some.
    #[pyo3(signature = (limit=None))]
    fn wait_credit(&self, py: Python<'_>, limit: Option<f64>) -> PyResult<bool> {
        let limit = limit.map(|limit| Duration::try_from_secs_f64(limit).unwrap_or_default());
        let credit = self.producer.credit();
        let found = slices(py, limit, |slice| credit.wait(slice).then_some(()))?;
        Ok(found.is_some())
    }

    /// Waits until nothing is on its way, at most so long. Whether that is so.
    #[pyo3(signature = (limit=None))]
    fn flush(&self, py: Python<'_>, limit: Option<f64>) -> PyResult<bool> {
        let limit = limit.map(|limit| Duration::try_from_secs_f64(limit).unwrap_or_default());
        let credit = self.producer.credit();
        let found = slices(py, limit, |slice| credit.wait_idle(slice).then_some(()))?;
        Ok(found.is_some())
    }

    /// RocketMQ's batch: one request, one topic, one queue.
    #[pyo3(signature = (messages, pump=None, id=0))]
    fn send_batch(
        &self,
        py: Python<'_>,
        messages: Vec<Bound<'_, Message>>,
        pump: Option<&Bound<'_, Pump>>,
        id: u64,
    ) -> PyResult<Py<PyAny>> {
        let producer = self.producer.get().map_err(|error| raised(py, &error))?;
        let (producer, batch) = (producer.clone(), sending(py, &messages));
        let sending = async move { Ok(producer.send_batch(batch).await?) };
        call(
            py,
            self.producer.runtime(),
            (pump, id),
            sending,
            |py, sent: Vec<Sent>| {
                let list = PyList::empty(py);
                for sent in sent {
                    list.append(SendResult::from(sent))?;
                }
                Ok(list.into_any().unbind())
            },
        )
    }

    #[pyo3(signature = (message, pump=None, id=0))]
    fn send_oneway(
        &self,
        py: Python<'_>,
        message: &Bound<'_, Message>,
        pump: Option<&Bound<'_, Pump>>,
        id: u64,
    ) -> PyResult<Py<PyAny>> {
        let producer = self.producer.get().map_err(|error| raised(py, &error))?;
        let (producer, message) = (producer.clone(), sending_one(py, message));
        let sending = async move { Ok(producer.send_oneway(message).await?) };
        call(py, self.producer.runtime(), (pump, id), sending, nothing)
    }

    fn close(&self, py: Python<'_>, limit: f64) -> PyResult<()> {
        let limit = Duration::try_from_secs_f64(limit).unwrap_or_default();
        let closed = py.detach(|| self.producer.close_while(limit, signals));
        closed.map_err(|stop: Stop| stop.raised(py))
    }
}

impl Producer {
    /// Hands all of it over, waiting for credit where there is none.
    fn submit_all(
        &self,
        py: Python<'_>,
        outgoing: &mut VecDeque<Outgoing>,
        inbox: &Arc<Inbox<Done>>,
    ) -> PyResult<()> {
        let begun = Instant::now();
        loop {
            let submitted = py.detach(|| self.producer.submit_here(outgoing, inbox.clone()));
            submitted.map_err(|error| raised(py, &error))?;
            if outgoing.is_empty() {
                return Ok(());
            }
            let limit = outgoing.front().and_then(|first| first.limit);
            if limit.is_some_and(|limit| begun.elapsed() >= limit) {
                let late =
                    ffi::Error::new(ffi::Code::Timeout, "too many messages are on their way");
                return Err(raised(py, &late));
            }
            let credit = self.producer.credit();
            slices(py, Some(SLICE), |slice| credit.wait(slice).then_some(()))?;
            py.check_signals()?;
        }
    }
}
