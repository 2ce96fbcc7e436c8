//! The id of a request: the client's `X-Request-Id`, or one that we make.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

/// The header.
pub(crate) static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken from a client.
const LONGEST: usize = 128;

/// The id of a request, in its extensions.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub HeaderValue);

impl RequestId {
    /// The client's, if it is 1 to 128 visible ASCII characters; else a new one.
    pub(crate) fn of(headers: &HeaderMap) -> RequestId {
        let given = headers.get(&X_REQUEST_ID).filter(|id| is_plain(id));
        RequestId(given.cloned().unwrap_or_else(new))
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

fn is_plain(id: &HeaderValue) -> bool {
    let id = id.as_bytes();
    (1..=LONGEST).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

/// Unique among all processes, and dense within one.
fn new() -> HeaderValue {
    static PROCESS: OnceLock<u64> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let process = PROCESS.get_or_init(|| RandomState::new().build_hasher().finish());
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    // By hand: every request needs one, and `format!` takes 1,600 instructions.
    let mut text = String::with_capacity(33);
    push_hex(&mut text, *process, 16);
    text.push('-');
    push_hex(&mut text, count, 1);
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("unknown"))
}

/// Appends a number in lower-case hexadecimal digits, so many at least.
fn push_hex(out: &mut String, number: u64, least: u32) {
    let digits = (16 - number.leading_zeros() / 4).max(least);
    let digit = |place| char::from_digit((number >> (4 * place) & 15) as u32, 16);
    out.extend((0..digits).rev().filter_map(digit));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_they_are_formatted() {
        for number in [0, 1, 0xf, 0x10, 0xab_cdef, u64::MAX >> 4, u64::MAX] {
            let (mut long, mut short) = (String::new(), String::new());
            push_hex(&mut long, number, 16);
            push_hex(&mut short, number, 1);
            assert_eq!(long, format!("{number:016x}"));
            assert_eq!(short, format!("{number:x}"));
        }
        assert_ne!(new(), new());
    }
}
