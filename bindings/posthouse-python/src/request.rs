//! Requests, replies, and messages that are called back.

use std::time::Duration;

use posthouse_client::{Recalled, Received};
use pyo3::prelude::*;

use crate::call::{call, nothing};
use crate::convert;
use crate::error::raised;
use crate::message::{Message, sending_one};
use crate::producer::Producer;
use crate::pump::Pump;
use crate::received::ReceivedMessage;

/// Sends a request and waits for its reply.
#[pyfunction]
#[pyo3(signature = (producer, message, limit, pump=None, id=0))]
pub fn request(
    py: Python<'_>,
    producer: &Bound<'_, Producer>,
    message: &Bound<'_, Message>,
    limit: f64,
    pump: Option<&Bound<'_, Pump>>,
    id: u64,
) -> PyResult<Py<PyAny>> {
    let own = producer.get();
    let producer = own.producer.get().map_err(|error| raised(py, &error))?;
    let (producer, message) = (producer.clone(), sending_one(py, message));
    let limit = Duration::try_from_secs_f64(limit).unwrap_or_default();
    let asking = async move { Ok(producer.request(message, limit).await?) };
    let runtime = own.producer.runtime();
    call(py, runtime, (pump, id), asking, |py, reply: Received| {
        Ok(Py::new(py, ReceivedMessage::new(reply))?.into_any())
    })
}

/// Answers a request.
#[pyfunction]
#[pyo3(signature = (producer, request, body, properties=None, pump=None, id=0))]
pub fn reply(
    py: Python<'_>,
    producer: &Bound<'_, Producer>,
    request: &Bound<'_, ReceivedMessage>,
    body: &Bound<'_, PyAny>,
    properties: Option<&Bound<'_, PyAny>>,
    pump: Option<&Bound<'_, Pump>>,
    id: u64,
) -> PyResult<Py<PyAny>> {
    let own = producer.get();
    let producer = own.producer.get().map_err(|error| raised(py, &error))?;
    let (producer, request) = (producer.clone(), request.get().message().clone());
    let body = convert::body(body)?.as_bytes(py).to_vec();
    let properties = convert::pairs(properties)?;
    let replying = async move { Ok(producer.reply_with(&request, body, &properties).await?) };
    call(py, own.producer.runtime(), (pump, id), replying, nothing)
}

/// Calls a delayed message back: its id, and whether it was in time if the broker says.
#[pyfunction]
#[pyo3(signature = (producer, handle, pump=None, id=0))]
pub fn recall(
    py: Python<'_>,
    producer: &Bound<'_, Producer>,
    handle: String,
    pump: Option<&Bound<'_, Pump>>,
    id: u64,
) -> PyResult<Py<PyAny>> {
    let own = producer.get();
    let producer = own.producer.get().map_err(|error| raised(py, &error))?;
    let producer = producer.clone();
    let recalling = async move { Ok(producer.recall(&handle).await?) };
    let runtime = own.producer.runtime();
    call(py, runtime, (pump, id), recalling, |py, told: Recalled| {
        Ok((told.id, told.recalled)
            .into_pyobject(py)?
            .into_any()
            .unbind())
    })
}
