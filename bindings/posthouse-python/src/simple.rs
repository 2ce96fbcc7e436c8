//! Messages on loan, acked one by one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ffi::{Client as Shared, Code, Error};
use posthouse_client::{Filter, Lease, Leased, Receive};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyList};

use crate::call::call;
use crate::client::Client;
use crate::convert;
use crate::error::raised;
use crate::pump::Pump;
use crate::received::ReceivedMessage;

/// How long one of several topics is waited for before the next one's turn.
const TURN: Duration = Duration::from_millis(200);

/// A consumer of messages on loan.
#[pyclass(frozen, module = "posthouse._native")]
pub struct SimpleConsumer {
    client: Arc<Shared>,
    consumer: posthouse_client::SimpleConsumer,
    wanted: Vec<(String, Filter)>,
}

#[pymethods]
impl SimpleConsumer {
    #[new]
    fn new(
        py: Python<'_>,
        client: &Bound<'_, Client>,
        group: &str,
        wanted: Vec<(String, Bound<'_, PyAny>)>,
    ) -> PyResult<SimpleConsumer> {
        let client = client.get().client.clone();
        let inner = client.get().map_err(|error| raised(py, &error))?;
        let consumer = inner.simple_consumer(group);
        let consumer = consumer.map_err(|error| raised(py, &error.into()))?;
        Ok(SimpleConsumer {
            consumer,
            client,
            wanted: convert::wanted(wanted)?,
        })
    }

    #[pyo3(signature = (max_messages, wait, invisible, pump=None, id=0))]
    fn receive(
        &self,
        py: Python<'_>,
        max_messages: u32,
        wait: f64,
        invisible: f64,
        pump: Option<&Bound<'_, Pump>>,
        id: u64,
    ) -> PyResult<Py<PyAny>> {
        self.client.get().map_err(|error| raised(py, &error))?;
        let span = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let asked = Receive {
            max: max_messages,
            wait: span(wait),
            invisible: span(invisible),
            ..Receive::default()
        };
        let receiving = receive(self.consumer.clone(), self.wanted.clone(), asked);
        call(
            py,
            self.client.runtime(),
            (pump, id),
            receiving,
            |py, all| {
                let list = PyList::empty(py);
                for Leased { message, lease } in all {
                    list.append(ReceivedMessage::leased(message, lease))?;
                }
                Ok(list.into_any().unbind())
            },
        )
    }

    /// Whether all of them are done now: `false` if one comes again, since it is not out on this lease any more.
    #[pyo3(signature = (messages, pump=None, id=0))]
    fn ack(
        &self,
        py: Python<'_>,
        messages: Vec<Bound<'_, ReceivedMessage>>,
        pump: Option<&Bound<'_, Pump>>,
        id: u64,
    ) -> PyResult<Py<PyAny>> {
        self.client.get().map_err(|error| raised(py, &error))?;
        let leases: PyResult<Vec<Lease>> = messages.iter().map(|one| lease(py, one)).collect();
        let (leases, consumer) = (leases?, self.consumer.clone());
        // All are told, whatever becomes of one.
        let acking = async move {
            let outcomes: Result<Vec<bool>, _> =
                consumer.ack_all(&leases).await.into_iter().collect();
            Ok(outcomes?.into_iter().all(|done| done))
        };
        let runtime = self.client.runtime();
        call(py, runtime, (pump, id), acking, |py, done| {
            Ok(PyBool::new(py, done).to_owned().into_any().unbind())
        })
    }

    /// Lends a message for longer; it keeps the new lease.
    #[pyo3(signature = (message, invisible, pump=None, id=0))]
    fn extend(
        &self,
        py: Python<'_>,
        message: &Bound<'_, ReceivedMessage>,
        invisible: f64,
        pump: Option<&Bound<'_, Pump>>,
        id: u64,
    ) -> PyResult<Py<PyAny>> {
        self.client.get().map_err(|error| raised(py, &error))?;
        let held = lease(py, message)?;
        let invisible = Duration::try_from_secs_f64(invisible).unwrap_or_default();
        let (consumer, message) = (self.consumer.clone(), message.clone().unbind());
        let extending = async move {
            let lease = consumer.extend(&held, invisible).await?;
            *message.get().lease() = Some(lease);
            Ok(message)
        };
        // The message goes back with the result: it is let go by a thread of Python's.
        call(py, self.client.runtime(), (pump, id), extending, |py, _| {
            Ok(py.None())
        })
    }
}

fn lease(py: Python<'_>, message: &Bound<'_, ReceivedMessage>) -> PyResult<Lease> {
    let lease = message.get().lease().clone();
    lease.ok_or_else(|| {
        let text = "this message did not come from a simple consumer";
        raised(py, &Error::new(Code::Config, text))
    })
}

/// The next messages of any of the topics.
async fn receive(
    consumer: posthouse_client::SimpleConsumer,
    wanted: Vec<(String, Filter)>,
    asked: Receive,
) -> ffi::Result<Vec<Leased>> {
    let of = |filter: &Filter, wait: Duration| Receive {
        filter: filter.clone(),
        wait,
        ..asked.clone()
    };
    if let [(topic, filter)] = wanted.as_slice() {
        return Ok(consumer.receive(topic, &of(filter, asked.wait)).await?);
    }
    let end = Instant::now() + asked.wait;
    let mut turn = Duration::ZERO;
    loop {
        for (topic, filter) in &wanted {
            let left = end.saturating_duration_since(Instant::now());
            let found = consumer.receive(topic, &of(filter, turn.min(left))).await?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        if wanted.is_empty() || Instant::now() >= end {
            return Ok(Vec::new());
        }
        turn = TURN;
    }
}
