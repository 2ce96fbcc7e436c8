//! Python's values into ours.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use posthouse_client::{ConsumeFrom, Filter, Model, Queue};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView, PyString};

use crate::error;
use crate::message::{MessageQueue, Sql};

/// Float seconds, or a `timedelta`.
pub fn seconds(value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    let py = value.py();
    let number: f64 = match value.extract() {
        Ok(number) => number,
        Err(_) => {
            let total = value.call_method0("total_seconds");
            let total = total.map_err(|_| {
                PyTypeError::new_err(format!(
                    "expected seconds or a timedelta, not {}",
                    kind(value)
                ))
            })?;
            total.extract()?
        }
    };
    Duration::try_from_secs_f64(number)
        .map_err(|_| error::config(py, format!("{number} seconds is no span of time")))
}

/// An aware `datetime`. A naive one would be off by a time zone, silently.
pub fn moment(value: &Bound<'_, PyAny>) -> PyResult<SystemTime> {
    let py = value.py();
    let zone = value
        .getattr("tzinfo")
        .map_err(|_| PyTypeError::new_err(format!("expected a datetime, not {}", kind(value))))?;
    if zone.is_none() {
        return Err(error::config(
            py,
            "a datetime without a time zone could mean any; give it one, such as timezone.utc",
        ));
    }
    let since: f64 = value.call_method0("timestamp")?.extract()?;
    let since = Duration::try_from_secs_f64(since)
        .map_err(|_| error::config(py, "a time before 1970 is not representable"))?;
    Ok(UNIX_EPOCH + Duration::from_millis(millis_of(since)))
}

fn millis_of(span: Duration) -> u64 {
    // `as_millis` cuts off; a float just below a whole millisecond means that one.
    let half = Duration::from_micros(500);
    u64::try_from((span + half).as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds since the Unix epoch.
pub fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// `bytes`, kept by reference; anything else that is a body, copied into one.
pub fn body(value: &Bound<'_, PyAny>) -> PyResult<Py<PyBytes>> {
    let py = value.py();
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(bytes.clone().unbind());
    }
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(PyBytes::new(py, text.to_str()?.as_bytes()).unbind());
    }
    if value.is_instance_of::<PyByteArray>() || value.is_instance_of::<PyMemoryView>() {
        let copied = py.get_type::<PyBytes>().call1((value,))?;
        return Ok(copied.cast_into::<PyBytes>()?.unbind());
    }
    Err(PyTypeError::new_err(format!(
        "a body is bytes, bytearray, memoryview or str, not {}",
        kind(value)
    )))
}

/// One key, or several.
pub fn keys(value: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<String>> {
    let Some(value) = value else {
        return Ok(Vec::new());
    };
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(vec![text.to_str()?.to_owned()]);
    }
    value.try_iter()?.map(|key| key?.extract()).collect()
}

/// A mapping of texts, or pairs of them.
pub fn pairs(value: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<(String, String)>> {
    let Some(value) = value else {
        return Ok(Vec::new());
    };
    let items = match value.hasattr("items")? {
        true => value.call_method0("items")?,
        false => value.clone(),
    };
    items.try_iter()?.map(|pair| pair?.extract()).collect()
}

/// A filter: tags, or `Sql`.
pub fn filter(value: &Bound<'_, PyAny>) -> PyResult<Filter> {
    if let Ok(sql) = value.cast::<Sql>() {
        return Ok(Filter::sql(sql.get().expression.clone()));
    }
    let tags: String = value.extract().map_err(|_| {
        PyTypeError::new_err(format!("a filter is a str or Sql, not {}", kind(value)))
    })?;
    Ok(match tags.as_str() {
        "*" | "" => Filter::All,
        _ => Filter::tags(tags),
    })
}

/// Topics and their filters, as a list of pairs.
pub fn wanted(value: Vec<(String, Bound<'_, PyAny>)>) -> PyResult<Vec<(String, Filter)>> {
    let pair = |(topic, wanted): (String, Bound<'_, PyAny>)| Ok((topic, filter(&wanted)?));
    value.into_iter().map(pair).collect()
}

/// Where a group without an offset begins: `"first"`, `"last"`, or a time.
pub fn start(value: &Bound<'_, PyAny>) -> PyResult<ConsumeFrom> {
    match value.extract::<&str>() {
        Ok("first") => Ok(ConsumeFrom::First),
        Ok("last") => Ok(ConsumeFrom::Last),
        Ok(other) => Err(error::config(
            value.py(),
            format!("{other:?} is no start; give StartFrom.FIRST, StartFrom.LAST or a datetime"),
        )),
        Err(_) => Ok(ConsumeFrom::Time(millis(moment(value)?))),
    }
}

/// Whether each member of a group gets all.
pub fn model(broadcast: bool) -> Model {
    match broadcast {
        true => Model::Broadcasting,
        false => Model::Clustering,
    }
}

/// Queues.
pub fn queues(value: &Bound<'_, PyAny>) -> PyResult<Vec<Queue>> {
    let queue =
        |item: PyResult<Bound<'_, PyAny>>| Ok(item?.cast::<MessageQueue>()?.get().queue.clone());
    value.try_iter()?.map(queue).collect()
}

fn kind(value: &Bound<'_, PyAny>) -> String {
    let name = value.get_type().name();
    name.map_or_else(|_| "that".to_owned(), |name| name.to_string())
}
