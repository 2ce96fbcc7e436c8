//! Values that Python makes: a message to send, a queue, an SQL filter.
#![allow(unused_qualifications)] // what the macro writes for `hash`

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use posthouse_client::{Deliver, Idempotency, Message as Sending, Queue};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};

use crate::{convert, error};

/// A message to send.
#[pyclass(frozen, module = "posthouse._native")]
pub struct Message {
    topic: Arc<str>,
    /// The caller's own, if it gave `bytes`: copied once, into the slab of its crossing.
    body: Py<PyBytes>,
    tag: Option<Arc<str>>,
    keys: Vec<String>,
    properties: Vec<(String, String)>,
    sharding_key: Option<String>,
    when: Deliver,
    flag: i32,
    idempotency_key: Option<String>,
}

#[pymethods]
impl Message {
    #[classattr]
    #[allow(non_upper_case_globals)]
    const __match_args__: (&'static str, &'static str, &'static str) = ("topic", "body", "tag");

    #[new]
    #[pyo3(signature = (topic, body, *, tag=None, keys=None, properties=None, sharding_key=None,
        deliver_after=None, deliver_at=None, delay_level=None, flag=0, idempotency_key=None))]
    #[allow(clippy::too_many_arguments)] // Python's keywords
    fn new(
        py: Python<'_>,
        topic: &str,
        body: &Bound<'_, PyAny>,
        tag: Option<&str>,
        keys: Option<&Bound<'_, PyAny>>,
        properties: Option<&Bound<'_, PyAny>>,
        sharding_key: Option<String>,
        deliver_after: Option<&Bound<'_, PyAny>>,
        deliver_at: Option<&Bound<'_, PyAny>>,
        delay_level: Option<u8>,
        flag: i32,
        idempotency_key: Option<String>,
    ) -> PyResult<Message> {
        let when = match (deliver_after, deliver_at, delay_level) {
            (None, None, None) => Deliver::Now,
            (Some(after), None, None) => Deliver::After(convert::seconds(after)?),
            (None, Some(at), None) => Deliver::At(convert::moment(at)?),
            (None, None, Some(level)) => Deliver::Level(level),
            _ => {
                return Err(error::config(
                    py,
                    "give one of deliver_after, deliver_at and delay_level",
                ));
            }
        };
        Ok(Message {
            topic: topic.into(),
            body: convert::body(body)?,
            tag: tag.map(Arc::from),
            keys: convert::keys(keys)?,
            properties: convert::pairs(properties)?,
            sharding_key,
            when,
            flag,
            idempotency_key,
        })
    }

    #[getter]
    fn topic(&self) -> &str {
        &self.topic
    }

    #[getter]
    fn body(&self, py: Python<'_>) -> Py<PyBytes> {
        self.body.clone_ref(py)
    }

    #[getter]
    fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    #[getter]
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.keys)
    }

    #[getter]
    fn properties<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let properties = PyDict::new(py);
        for (name, value) in &self.properties {
            properties.set_item(name, value)?;
        }
        Ok(properties)
    }

    #[getter]
    fn sharding_key(&self) -> Option<&str> {
        self.sharding_key.as_deref()
    }

    #[getter]
    fn flag(&self) -> i32 {
        self.flag
    }

    #[getter]
    fn idempotency_key(&self) -> Option<&str> {
        self.idempotency_key.as_deref()
    }

    /// The same message with some arguments changed.
    #[pyo3(signature = (**changes))]
    fn replace<'py>(
        &self,
        py: Python<'py>,
        changes: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let all = self.arguments(py)?;
        if let Some(changes) = changes {
            if changes.keys().iter().any(|name| is_delivery(&name)) {
                for name in DELIVERY {
                    all.set_item(name, py.None())?;
                }
            }
            all.update(changes.as_mapping())?;
        }
        py.get_type::<Message>().call((), Some(&all))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let make = py.import("posthouse._native")?.getattr("_message_of")?;
        let arguments = PyTuple::new(py, [self.arguments(py)?])?;
        PyTuple::new(py, [make, arguments.into_any()])
    }

    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> bool {
        let Ok(other) = other.cast::<Message>() else {
            return false;
        };
        let other = other.get();
        self.body.as_bytes(py) == other.body.as_bytes(py) && self.rest() == other.rest()
    }

    fn __hash__(&self, py: Python<'_>) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.topic, &self.tag, self.body.as_bytes(py)).hash(&mut hasher);
        hasher.finish()
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let length = self.body.as_bytes(py).len();
        let tag = self.tag().map(|tag| format!(", tag={tag:?}"));
        let tag = tag.unwrap_or_default();
        format!("Message({:?}, <{length} bytes>{tag})", &*self.topic)
    }
}

/// What makes a message, but its body.
type Rest<'m> = (
    &'m str,
    Option<&'m str>,
    &'m [String],
    &'m [(String, String)],
    Option<&'m str>,
    Deliver,
    i32,
    Option<&'m str>,
);

/// The arguments that say when a message is delivered.
const DELIVERY: [&str; 3] = ["deliver_after", "deliver_at", "delay_level"];

fn is_delivery(name: &Bound<'_, PyAny>) -> bool {
    name.extract::<&str>()
        .is_ok_and(|name| DELIVERY.contains(&name))
}

impl Message {
    /// The arguments that make it again, by name.
    fn arguments<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let all = PyDict::new(py);
        all.set_item("topic", self.topic())?;
        all.set_item("body", self.body(py))?;
        all.set_item("tag", self.tag())?;
        all.set_item("keys", self.keys(py)?)?;
        all.set_item("properties", &self.properties)?;
        all.set_item("sharding_key", self.sharding_key())?;
        all.set_item("flag", self.flag)?;
        all.set_item("idempotency_key", self.idempotency_key())?;
        match self.when {
            Deliver::Now => {}
            Deliver::After(after) => all.set_item("deliver_after", after.as_secs_f64())?,
            Deliver::Level(level) => all.set_item("delay_level", level)?,
            Deliver::At(at) => {
                let datetime = py.import("datetime")?;
                let utc = datetime.getattr("timezone")?.getattr("utc")?;
                let seconds = convert::millis(at) as f64 / 1e3;
                let class = datetime.getattr("datetime")?;
                let at = class.call_method1("fromtimestamp", (seconds, utc))?;
                all.set_item("deliver_at", at)?;
            }
        }
        Ok(all)
    }

    fn rest(&self) -> Rest<'_> {
        (
            &self.topic,
            self.tag(),
            &self.keys,
            &self.properties,
            self.sharding_key(),
            self.when,
            self.flag,
            self.idempotency_key(),
        )
    }
}

/// The messages of one crossing: their bodies are copied once, side by side.
pub fn sending(py: Python<'_>, messages: &[Bound<'_, Message>]) -> Vec<Sending> {
    let body = |message: &Bound<'_, Message>| message.get().body.as_bytes(py).len();
    let mut slab = Vec::with_capacity(messages.iter().map(body).sum());
    let place = |message: &Bound<'_, Message>| -> Range<usize> {
        let start = slab.len();
        slab.extend_from_slice(message.get().body.as_bytes(py));
        start..slab.len()
    };
    let places: Vec<Range<usize>> = messages.iter().map(place).collect();
    let slab = Bytes::from(slab);
    let sending = |(message, place): (&Bound<'_, Message>, Range<usize>)| {
        let message = message.get();
        Sending {
            tag: message.tag.clone(),
            keys: message.keys.clone(),
            properties: message.properties.clone(),
            sharding_key: message.sharding_key.clone(),
            when: message.when,
            flag: message.flag,
            idempotency: message
                .idempotency_key
                .clone()
                .map(|key| Idempotency { key, digest: None }),
            ..Sending::new(message.topic.clone(), slab.slice(place))
        }
    };
    messages.iter().zip(places).map(sending).collect()
}

/// One message.
pub fn sending_one(py: Python<'_>, message: &Bound<'_, Message>) -> Sending {
    let mut one = sending(py, std::slice::from_ref(message));
    one.pop().expect("one message in, one out")
}

/// One queue of a topic on one broker.
#[pyclass(frozen, eq, hash, ord, module = "posthouse._native")]
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageQueue {
    pub queue: Queue,
}

#[pymethods]
impl MessageQueue {
    #[classattr]
    #[allow(non_upper_case_globals)]
    const __match_args__: (&'static str, &'static str, &'static str) =
        ("topic", "broker", "queue_id");

    #[new]
    fn new(topic: &str, broker: &str, queue_id: u32) -> MessageQueue {
        MessageQueue {
            queue: Queue::new(topic, broker, queue_id),
        }
    }

    #[getter]
    fn topic(&self) -> &str {
        &self.queue.topic
    }

    #[getter]
    fn broker(&self) -> &str {
        &self.queue.broker
    }

    #[getter]
    fn queue_id(&self) -> u32 {
        self.queue.id
    }

    fn __reduce__<'py>(
        &self,
        py: Python<'py>,
    ) -> (Bound<'py, pyo3::types::PyType>, (&str, &str, u32)) {
        let class = py.get_type::<MessageQueue>();
        (class, (self.topic(), self.broker(), self.queue_id()))
    }

    fn __repr__(&self) -> String {
        let Queue { topic, broker, id } = &self.queue;
        format!("MessageQueue({topic:?}, {broker:?}, {id})")
    }
}

/// An SQL92 expression over properties, as a filter.
#[pyclass(frozen, eq, hash, module = "posthouse._native")]
#[derive(PartialEq, Eq, Hash)]
pub struct Sql {
    pub expression: String,
}

#[pymethods]
impl Sql {
    #[classattr]
    #[allow(non_upper_case_globals)]
    const __match_args__: (&'static str,) = ("expression",);

    #[new]
    fn new(expression: String) -> Sql {
        Sql { expression }
    }

    #[getter]
    fn expression(&self) -> &str {
        &self.expression
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> (Bound<'py, pyo3::types::PyType>, (&str,)) {
        (py.get_type::<Sql>(), (self.expression(),))
    }

    fn __repr__(&self) -> String {
        format!("Sql({:?})", self.expression)
    }
}
