//! What the present state of a resource is called, so that a change can name what it changes (`If-Match`, RFC 9110).

use std::hash::{DefaultHasher, Hash, Hasher};

use hyper::header::HeaderValue;

/// The ETag of this state: another one for any other state.
pub(crate) fn of(state: impl Hash) -> HeaderValue {
    let mut hash = DefaultHasher::new();
    state.hash(&mut hash);
    let text = format!("\"{:016x}\"", hash.finish());
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("\"0\""))
}
