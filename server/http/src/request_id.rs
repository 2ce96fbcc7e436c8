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

/// The id of a request.
#[derive(Debug, Clone)]
pub(crate) enum RequestId {
    /// The client's.
    Given(HeaderValue),
    /// Ours.
    Made(Made),
}

impl RequestId {
    /// The client's, if it is 1 to 128 visible ASCII characters; else a new one.
    pub(crate) fn of(headers: &HeaderMap) -> RequestId {
        let given = headers.get(&X_REQUEST_ID).filter(|id| is_plain(id));
        match given {
            Some(id) => RequestId::Given(id.clone()),
            None => RequestId::Made(Made::new()),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            RequestId::Given(id) => id.to_str().unwrap_or_default(),
            RequestId::Made(id) => std::str::from_utf8(id.as_bytes()).unwrap_or_default(),
        }
    }
}

impl From<RequestId> for HeaderValue {
    fn from(id: RequestId) -> HeaderValue {
        match id {
            RequestId::Given(id) => id,
            RequestId::Made(id) => HeaderValue::from_bytes(id.as_bytes())
                .unwrap_or(HeaderValue::from_static("unknown")),
        }
    }
}

fn is_plain(id: &HeaderValue) -> bool {
    let id = id.as_bytes();
    (1..=LONGEST).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

/// Sixteen digits of this process, a dash, and a number: unique among all processes, and dense within one.
/// Every request needs one, so it is written by hand and where it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Made {
    text: [u8; Made::NUMBER + 16],
    length: usize,
}

impl Made {
    /// Where the number begins.
    const NUMBER: usize = 17;

    fn new() -> Made {
        static PROCESS: OnceLock<u64> = OnceLock::new();
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let process = PROCESS.get_or_init(|| RandomState::new().build_hasher().finish());
        Made::of(*process, COUNT.fetch_add(1, Ordering::Relaxed))
    }

    fn of(process: u64, number: u64) -> Made {
        let mut text = [b'-'; Made::NUMBER + 16];
        let digits = (16 - number.leading_zeros() as usize / 4).max(1);
        let length = Made::NUMBER + digits;
        write_hex(&mut text[..16], process);
        write_hex(&mut text[Made::NUMBER..length], number);
        Made { text, length }
    }

    fn as_bytes(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or_default()
    }
}

/// Writes the last digits of a number, lower-case hexadecimal, as many as there is room for.
fn write_hex(out: &mut [u8], number: u64) {
    for (place, digit) in out.iter_mut().rev().enumerate() {
        *digit = b"0123456789abcdef"[(number >> (4 * place) & 15) as usize];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_they_are_formatted() {
        for number in [0, 1, 0xf, 0x10, 0xab_cdef, u64::MAX >> 4, u64::MAX] {
            let made = RequestId::Made(Made::of(number >> 3, number));
            assert_eq!(made.as_str(), format!("{:016x}-{number:x}", number >> 3));
            let text = made.as_str().to_owned();
            assert_eq!(HeaderValue::from(made), text);
        }
        assert_ne!(Made::new().as_bytes(), Made::new().as_bytes());
    }
}
