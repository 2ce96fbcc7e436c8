//! fastjson's dialect of JSON: what it writes and no JSON parser reads.
//!
//! Maps keyed by a message queue are written as `{{"brokerName":…}:value}`, and `mqadmin` takes nothing
//! else; maps keyed by numbers are written as `{0:value}`. An object met twice is written as
//! `{"$ref":"$.path"}`; we read that, and never write it.

mod read;
mod write;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use write::Dialect;

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// There is none.
    #[error("the body is empty")]
    Empty,
    /// Not JSON, not even fastjson's.
    #[error("the body is broken at byte {0}")]
    Syntax(usize),
    /// Nested deeper than any body, or its references grow it beyond every limit.
    #[error("the body is too deep or too large")]
    TooLarge,
    /// JSON, but not this body.
    #[error("the body does not fit: {0}")]
    Shape(#[from] serde_json::Error),
}

/// Reads a body. What is plain JSON is read as such; references and fastjson's keys take the long way.
///
/// # Errors
/// If the body is empty, no JSON, or not the body that was expected.
pub fn from_slice<T: DeserializeOwned>(body: &[u8]) -> Result<T, BodyError> {
    if body.is_empty() {
        return Err(BodyError::Empty);
    }
    let has_references = memchr::memmem::find(body, b"\"$ref\"").is_some();
    if !has_references && let Ok(value) = serde_json::from_slice(body) {
        return Ok(value);
    }
    Ok(serde_json::from_value(read::parse(body)?)?)
}

/// A body's bytes, with keys of numbers in quotes as every parser reads them.
pub fn to_vec<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    write(value, Dialect::Standard, &mut out);
    out
}

/// Appends a body.
pub fn write<T: Serialize>(value: &T, dialect: Dialect, out: &mut Vec<u8>) {
    write::write(value, dialect, out);
}

#[cfg(test)]
mod tests;
