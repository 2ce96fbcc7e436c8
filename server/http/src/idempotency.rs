//! `Idempotency-Key`: the name of a request that may be repeated.

use hyper::HeaderMap;

use crate::problem::{self, Fault, Problem};

const HEADER: &str = "idempotency-key";
const LONGEST: usize = 64;

/// The key of a request, if it has one.
///
/// # Errors
/// `invalid-idempotency-key`.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut given = headers.get_all(HEADER).iter();
    let Some(first) = given.next() else {
        return Ok(None);
    };
    let text = first.to_str().unwrap_or_default();
    let text = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text);
    let plain =
        (1..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    match plain && given.next().is_none() {
        true => Ok(Some(text)),
        false => {
            let fault = Fault::header(
                "Idempotency-Key",
                "one key of 1 to 64 visible ASCII characters expected",
            );
            Err(Problem::new(&problem::INVALID_IDEMPOTENCY_KEY).faults(vec![fault]))
        }
    }
}

/// Refuses a key where nothing keeps it: it is never ignored in silence.
///
/// # Errors
/// `unsupported-by-broker`, `invalid-idempotency-key`.
pub(crate) fn none(headers: &HeaderMap) -> Result<(), Problem> {
    match key(headers)? {
        None => Ok(()),
        Some(_) => Err(unsupported()),
    }
}

pub(crate) fn unsupported() -> Problem {
    let fault = Fault::header(
        "Idempotency-Key",
        "the broker keeps no keys: nothing was done; send without one",
    );
    Problem::new(&problem::UNSUPPORTED_BY_BROKER).faults(vec![fault])
}
