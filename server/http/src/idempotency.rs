//! `Idempotency-Key`: the name of a request that may be repeated. The broker that stores a message keeps its
//! key with it, so the same request again, through any node, gets the first answer.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac_sha256::Hash;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue, RETRY_AFTER};
use posthouse_client::{Idempotency, Message};

use crate::problem::{self, Fault, Problem};

/// Requests with keys that this node is answering just now.
#[derive(Default)]
pub(crate) struct UnderWay(Arc<Mutex<HashSet<String>>>);

/// One of them; over when it is dropped.
pub(crate) struct Running {
    all: Arc<Mutex<HashSet<String>>>,
    name: String,
}

impl UnderWay {
    /// Begins to answer a request. `scope` is where its key counts.
    ///
    /// # Errors
    /// `idempotency-in-progress` while another one with its key is answered.
    pub(crate) fn begin(&self, scope: &str, key: Option<&str>) -> Result<Option<Running>, Problem> {
        let Some(key) = key else {
            return Ok(None);
        };
        let name = format!("{scope} {key}");
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.insert(name.clone()) {
            let detail =
                "the first request with this key is being answered; come back for its answer";
            return Err(Problem::new(&problem::IDEMPOTENCY_IN_PROGRESS)
                .detail(detail)
                .header(RETRY_AFTER, HeaderValue::from_static("1")));
        }
        let all = self.0.clone();
        Ok(Some(Running { all, name }))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&self.name);
    }
}

/// Says that an answer was given before.
pub(crate) fn replayed(headers: &mut HeaderMap) {
    let name = HeaderName::from_static("idempotency-replayed");
    headers.insert(name, HeaderValue::from_static("true"));
}

const HEADER: &str = "idempotency-key";
const LONGEST: usize = 64;
/// What is wrong with a key that is none.
pub(crate) const EXPECTED: &str = "one key of 1 to 64 visible ASCII characters expected";

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
    match is_key(text) && given.next().is_none() {
        true => Ok(Some(text)),
        false => {
            let fault = Fault::header("Idempotency-Key", EXPECTED);
            Err(Problem::new(&problem::INVALID_IDEMPOTENCY_KEY).faults(vec![fault]))
        }
    }
}

/// Whether a text may be a key.
pub(crate) fn is_key(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The key of the entry at this place in a request with a key. It has a space in it, as no caller's has.
pub(crate) fn of_entry(key: &str, place: usize) -> String {
    format!("{key} {place}")
}

/// Names a message. `said` is what the caller said beside the message, such as the time of its delivery: a
/// delay is another moment each time it is said, and yet the same request.
pub(crate) fn name(message: &mut Message, key: String, said: &str) {
    let mut digest = Hash::new();
    let mut part = |text: &[u8]| {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    };
    part(said.as_bytes());
    part(message.tag.as_deref().unwrap_or_default().as_bytes());
    part(message.keys.join(" ").as_bytes());
    part(
        message
            .sharding_key
            .as_deref()
            .unwrap_or_default()
            .as_bytes(),
    );
    for (name, value) in &message.properties {
        part(name.as_bytes());
        part(value.as_bytes());
    }
    part(&message.body);
    let digest = URL_SAFE_NO_PAD.encode(&digest.finalize()[..16]);
    message.idempotency = Some(Idempotency {
        key,
        digest: Some(digest),
    });
}
