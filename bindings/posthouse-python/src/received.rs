//! Values that Python gets: a message that came, and what became of one that was sent. Their fields are made
//! when they are looked at.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use posthouse_client::{Content, Lease, Queue, Received, SendStatus, Sent};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyMemoryView, PyTuple};

use crate::message::MessageQueue;
use crate::view::Body;

/// A message that came.
#[pyclass(frozen, module = "posthouse._native")]
pub struct ReceivedMessage {
    message: Received,
    body: PyOnceLock<Py<PyBytes>>,
    /// By which a push consumer settles it.
    delivery: u64,
    /// With which a simple consumer acks it.
    lease: Mutex<Option<Lease>>,
}

impl ReceivedMessage {
    pub fn new(message: Received) -> ReceivedMessage {
        ReceivedMessage::delivered(message, 0)
    }

    pub fn delivered(message: Received, delivery: u64) -> ReceivedMessage {
        ReceivedMessage {
            message,
            body: PyOnceLock::new(),
            delivery,
            lease: Mutex::new(None),
        }
    }

    pub fn leased(message: Received, lease: Lease) -> ReceivedMessage {
        ReceivedMessage {
            lease: Mutex::new(Some(lease)),
            ..ReceivedMessage::new(message)
        }
    }

    pub fn message(&self) -> &Received {
        &self.message
    }

    /// By which a push consumer settles it.
    pub fn delivery(&self) -> u64 {
        self.delivery
    }

    pub fn lease(&self) -> MutexGuard<'_, Option<Lease>> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl ReceivedMessage {
    #[classattr]
    #[allow(non_upper_case_globals)]
    const __match_args__: (&'static str, &'static str, &'static str) = ("topic", "body", "tag");

    #[getter]
    fn topic(&self) -> &str {
        &self.message.topic
    }

    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> &Bound<'py, PyBytes> {
        let made = || PyBytes::new(py, &self.message.body).unbind();
        self.body.get_or_init(py, made).bind(py)
    }

    #[getter]
    fn tag(&self) -> Option<&str> {
        self.message.tag()
    }

    #[getter]
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.message.keys().collect::<Vec<_>>())
    }

    #[getter]
    fn properties<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let properties = PyDict::new(py);
        for (name, value) in self.message.own_properties() {
            properties.set_item(name, value)?;
        }
        Ok(properties)
    }

    #[getter]
    fn message_id(&self) -> String {
        self.message.id()
    }

    #[getter]
    fn offset_message_id(&self) -> String {
        self.message.offset_id()
    }

    #[getter]
    fn queue(&self) -> MessageQueue {
        MessageQueue {
            queue: self.message.queue.clone(),
        }
    }

    #[getter]
    fn queue_offset(&self) -> u64 {
        self.message.queue_offset
    }

    #[getter]
    fn store_size(&self) -> u32 {
        self.message.store_size
    }

    #[getter]
    fn flag(&self) -> i32 {
        self.message.flag
    }

    #[getter]
    fn born_at<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        utc(py, self.message.born_at)
    }

    #[getter]
    fn stored_at<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        utc(py, self.message.stored_at)
    }

    #[getter]
    fn born_host(&self) -> String {
        self.message.born_host.to_string()
    }

    #[getter]
    fn attempt(&self) -> i32 {
        self.message.reconsume_times.saturating_add(1)
    }

    #[getter]
    fn sharding_key(&self) -> Option<&str> {
        self.message.property("__SHARDINGKEY")
    }

    #[getter]
    fn transaction_id(&self) -> Option<Cow<'_, str>> {
        let half = || self.message.property("TRAN_MSG") == Some("true");
        match self.message.property("__transactionId__") {
            Some(id) => Some(id.into()),
            None => half().then(|| self.message.id().into()),
        }
    }

    #[getter]
    fn _delivery(&self) -> u64 {
        self.delivery
    }

    fn memory<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyMemoryView>> {
        let bytes = self.message.body.clone();
        PyMemoryView::from(Bound::new(py, Body { bytes })?.as_any())
    }

    #[pyo3(signature = (encoding="utf-8"))]
    fn text<'py>(&self, py: Python<'py>, encoding: &str) -> PyResult<Bound<'py, PyAny>> {
        self.body(py).call_method1("decode", (encoding,))
    }

    fn json<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import("json")?.call_method1("loads", (self.body(py),))
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        let Ok(other) = other.cast::<ReceivedMessage>() else {
            return false;
        };
        self.place() == other.get().place()
    }

    fn __hash__(&self) -> u64 {
        self.message.log_offset
    }

    /// A value never changes, so it is its own copy.
    fn __copy__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf
    }

    /// For pickle: all that was said of it. Elsewhere it is nothing to settle or ack.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let make = py.import("posthouse._native")?.getattr("_received_of")?;
        let Content {
            topic, queue, body, ..
        } = &*self.message;
        let numbers = numbers(&self.message);
        let hosts = (
            self.message.born_host.to_string(),
            self.message.store_host.to_string(),
        );
        let queue = (&*queue.topic, &*queue.broker, queue.id);
        let text = self.message.property_text();
        let all = (
            &**topic,
            queue,
            numbers,
            hosts,
            text,
            PyBytes::new(py, body),
        );
        (make, all).into_pyobject(py)
    }

    fn __repr__(&self) -> String {
        let Content {
            topic,
            queue,
            queue_offset,
            body,
            ..
        } = &*self.message;
        let tag = self.tag().map(|tag| format!(" tag={tag:?}"));
        let tag = tag.unwrap_or_default();
        format!(
            "<ReceivedMessage {topic:?} {}/{}@{queue_offset}{tag} {} bytes>",
            queue.broker,
            queue.id,
            body.len()
        )
    }
}

/// The numbers of a message: queue offset, log offset, store size, flag, when it was born and stored, how often it was
/// delivered before, system flag, and the offset it was prepared at.
type Numbers = (u64, u64, u32, i32, i64, i64, i32, i32, u64);

fn numbers(message: &Received) -> Numbers {
    (
        message.queue_offset,
        message.log_offset,
        message.store_size,
        message.flag,
        message.born_at,
        message.stored_at,
        message.reconsume_times,
        message.sys_flag,
        message.prepared_offset,
    )
}

/// A message from what pickle kept of it.
#[pyfunction]
#[pyo3(name = "_received_of")]
pub fn received_of(
    topic: &str,
    queue: (String, String, u32),
    numbers: Numbers,
    hosts: (String, String),
    property_text: &str,
    body: Vec<u8>,
) -> PyResult<ReceivedMessage> {
    let host = |text: String| text.parse::<SocketAddr>().map_err(PyValueError::new_err);
    let (name, broker, id) = queue;
    let mut message = Received::bare(Queue::new(name, broker, id), body.into(), property_text);
    message.topic = topic.into();
    message.queue_offset = numbers.0;
    message.log_offset = numbers.1;
    message.store_size = numbers.2;
    message.flag = numbers.3;
    message.born_at = numbers.4;
    message.stored_at = numbers.5;
    message.reconsume_times = numbers.6;
    message.sys_flag = numbers.7;
    message.prepared_offset = numbers.8;
    message.born_host = host(hosts.0)?;
    message.store_host = host(hosts.1)?;
    Ok(ReceivedMessage::new(message))
}

impl ReceivedMessage {
    /// Where it lies: the same message is the same, however it came.
    fn place(&self) -> (SocketAddr, u64, u64) {
        let Content {
            store_host,
            log_offset,
            queue_offset,
            ..
        } = &*self.message;
        (*store_host, *log_offset, *queue_offset)
    }
}

fn utc(py: Python<'_>, ms: i64) -> PyResult<Bound<'_, PyAny>> {
    let datetime = py.import("datetime")?;
    let utc = datetime.getattr("timezone")?.getattr("utc")?;
    let class = datetime.getattr("datetime")?;
    class.call_method1("fromtimestamp", (ms as f64 / 1e3, utc))
}

/// What became of a message that was sent.
#[pyclass(frozen, module = "posthouse._native")]
pub struct SendResult {
    sent: Sent,
    /// Of a half message.
    transaction_id: Option<String>,
}

impl From<Sent> for SendResult {
    fn from(sent: Sent) -> SendResult {
        SendResult {
            sent,
            transaction_id: None,
        }
    }
}

impl SendResult {
    pub fn of_half(sent: Sent, transaction_id: &str) -> SendResult {
        SendResult {
            sent,
            transaction_id: Some(transaction_id.to_owned()),
        }
    }
}

#[pymethods]
impl SendResult {
    #[classattr]
    #[allow(non_upper_case_globals)]
    const __match_args__: (&'static str, &'static str) = ("status", "message_id");

    #[getter]
    fn status(&self) -> &'static str {
        let known = STATUSES
            .iter()
            .find(|(status, _)| *status == self.sent.status);
        known.map_or("ok", |(_, name)| name)
    }

    #[getter]
    fn message_id(&self) -> &str {
        &self.sent.id
    }

    #[getter]
    fn offset_message_id(&self) -> &str {
        &self.sent.offset_id
    }

    #[getter]
    fn queue(&self) -> MessageQueue {
        MessageQueue {
            queue: self.sent.queue.clone(),
        }
    }

    #[getter]
    fn queue_offset(&self) -> u64 {
        self.sent.queue_offset
    }

    #[getter]
    fn transaction_id(&self) -> Option<&str> {
        self.transaction_id.as_deref()
    }

    #[getter]
    fn recall_handle(&self) -> Option<&str> {
        self.sent.recall_handle.as_deref()
    }

    #[getter]
    fn replayed(&self) -> bool {
        self.sent.replayed
    }

    #[getter]
    fn durability(&self) -> Option<&str> {
        self.sent.durability.as_deref()
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        let same = |other: &Bound<'_, SendResult>| {
            let other = &other.get().sent;
            (&self.sent.id, &self.sent.offset_id) == (&other.id, &other.offset_id)
        };
        other.cast::<SendResult>().is_ok_and(same)
    }

    fn __hash__(&self) -> u64 {
        self.sent.queue_offset
    }

    fn __copy__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let make = py.import("posthouse._native")?.getattr("_sent_of")?;
        let Sent {
            id,
            offset_id,
            queue,
            queue_offset,
            recall_handle,
            durability,
            stored_at,
            replayed,
            ..
        } = &self.sent;
        let ids = (id, offset_id, recall_handle, &self.transaction_id);
        let queue = (&*queue.topic, &*queue.broker, queue.id, queue_offset);
        let safety = (self.status(), durability, stored_at, replayed);
        (make, (ids, queue, safety)).into_pyobject(py)
    }

    fn __repr__(&self) -> String {
        let Sent {
            id,
            queue,
            queue_offset,
            ..
        } = &self.sent;
        format!(
            "<SendResult {} {id} {:?} {}/{}@{queue_offset}>",
            self.status(),
            &*queue.topic,
            queue.broker,
            queue.id
        )
    }
}

const STATUSES: [(SendStatus, &str); 4] = [
    (SendStatus::Stored, "ok"),
    (SendStatus::FlushDiskTimeout, "flush_disk_timeout"),
    (SendStatus::FlushSlaveTimeout, "flush_replica_timeout"),
    (SendStatus::SlaveNotAvailable, "replica_not_available"),
];

/// A result from what pickle kept of it.
#[pyfunction]
#[pyo3(name = "_sent_of")]
pub fn sent_of(
    ids: (String, String, Option<String>, Option<String>),
    queue: (String, String, u32, u64),
    safety: (String, Option<String>, Option<i64>, bool),
) -> PyResult<SendResult> {
    let (id, offset_id, recall_handle, transaction_id) = ids;
    let (topic, broker, number, queue_offset) = queue;
    let (status, durability, stored_at, replayed) = safety;
    let status = STATUSES.iter().find(|(_, name)| *name == status);
    let (status, _) = status.ok_or_else(|| PyValueError::new_err("an unknown status"))?;
    let sent = Sent {
        id,
        offset_id,
        queue: Queue::new(topic, broker, number),
        queue_offset,
        status: *status,
        recall_handle,
        durability: durability.map(Into::into),
        stored_at,
        replayed,
    };
    Ok(SendResult {
        sent,
        transaction_id,
    })
}
