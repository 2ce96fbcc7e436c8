//! Half messages, what becomes of them, and questions about those that nobody decided about.

use std::time::Duration;

use ffi::{Delivered, Error};
use posthouse_client::{Begin, Check, Decision, Half as Sent, Transaction};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::call::{call, nothing, slices};
use crate::error::raised;
use crate::message::{Message, sending_one};
use crate::producer::Producer;
use crate::pump::Pump;
use crate::received::{ReceivedMessage, SendResult};

/// A half message that a broker keeps.
#[pyclass(frozen, module = "posthouse._native")]
pub struct Half {
    half: Sent,
}

#[pymethods]
impl Half {
    /// What the broker said.
    #[getter]
    fn result(&self) -> SendResult {
        let Sent {
            sent, transaction, ..
        } = &self.half;
        SendResult::of_half(sent.clone(), transaction.id())
    }

    /// The text by which any process may decide.
    #[getter]
    fn text(&self) -> String {
        self.half.transaction.to_string()
    }

    #[getter]
    fn transaction_id(&self) -> &str {
        self.half.transaction.id()
    }
}

fn decision(verdict: u8) -> Decision {
    match verdict {
        0 => Decision::Commit,
        1 => Decision::Rollback,
        _ => Decision::Unknown,
    }
}

/// Sends a half message.
#[pyfunction]
#[pyo3(signature = (producer, message, check_after=None, pump=None, id=0))]
pub fn begin(
    py: Python<'_>,
    producer: &Bound<'_, Producer>,
    message: &Bound<'_, Message>,
    check_after: Option<f64>,
    pump: Option<&Bound<'_, Pump>>,
    id: u64,
) -> PyResult<Py<PyAny>> {
    let own = producer.get();
    let producer = own.producer.get().map_err(|error| raised(py, &error))?;
    let (producer, message) = (producer.clone(), sending_one(py, message));
    let begin = Begin {
        check_after: check_after.and_then(|after| Duration::try_from_secs_f64(after).ok()),
        ..Begin::default()
    };
    let beginning = async move { Ok(producer.begin(message, &begin).await?) };
    let runtime = own.producer.runtime();
    call(py, runtime, (pump, id), beginning, |py, half: Sent| {
        Ok(Py::new(py, Half { half })?.into_any())
    })
}

/// Decides about a half message: 0 it is seen, 1 nobody sees it, 2 the broker asks.
#[pyfunction]
#[pyo3(signature = (producer, transaction, verdict, pump=None, id=0))]
pub fn resolve(
    py: Python<'_>,
    producer: &Bound<'_, Producer>,
    transaction: &str,
    verdict: u8,
    pump: Option<&Bound<'_, Pump>>,
    id: u64,
) -> PyResult<Py<PyAny>> {
    let own = producer.get();
    let wrong = |_| Error::new(ffi::Code::Transaction, "this is no transaction");
    let parsed = transaction.parse::<Transaction>().map_err(wrong);
    let transaction = parsed.map_err(|error| raised(py, &error))?;
    let client = own.client.get().map_err(|error| raised(py, &error))?;
    let client = client.clone();
    let resolving = async move { Ok(client.resolve(&transaction, decision(verdict)).await?) };
    call(py, own.producer.runtime(), (pump, id), resolving, nothing)
}

/// Questions about half messages that nobody decided about: waits for the first one.
#[pyfunction]
pub fn wait_checks<'py>(
    py: Python<'py>,
    producer: &Bound<'py, Producer>,
    limit: f64,
) -> PyResult<Bound<'py, PyList>> {
    let own = producer.get();
    own.producer.get().map_err(|error| raised(py, &error))?;
    let Some(checks) = &own.checks else {
        return Ok(PyList::empty(py));
    };
    let limit = Duration::try_from_secs_f64(limit).unwrap_or_default();
    let found = slices(py, Some(limit), |slice| {
        let found = checks.ready.wait(1, slice);
        (!found.is_empty() || checks.ready.is_closed()).then_some(found)
    })?;
    asked(py, found.unwrap_or_default())
}

/// The same, at once.
#[pyfunction]
pub fn take_checks<'py>(
    py: Python<'py>,
    producer: &Bound<'py, Producer>,
) -> PyResult<Bound<'py, PyList>> {
    let own = producer.get();
    let checks = own.checks.as_ref().map(|checks| checks.ready.take(64));
    asked(py, checks.unwrap_or_default())
}

/// Whom questions wake from now on.
#[pyfunction]
pub fn wake_checks(producer: &Bound<'_, Producer>, pump: &Bound<'_, Pump>) {
    let own = producer.get();
    if let Some(checks) = &own.checks {
        checks.ready.set_wake(Some(pump.get().waker()));
    }
}

/// Answers a question.
#[pyfunction]
pub fn answer_check(producer: &Bound<'_, Producer>, question: u64, verdict: u8) {
    let own = producer.get();
    if let Some(checks) = &own.checks {
        checks.settle([(question, decision(verdict))]);
    }
}

fn asked(py: Python<'_>, asked: Vec<Delivered<Check>>) -> PyResult<Bound<'_, PyList>> {
    let list = PyList::empty(py);
    for Delivered { id, message } in asked {
        list.append(ReceivedMessage::delivered(message.message, id))?;
    }
    Ok(list)
}
