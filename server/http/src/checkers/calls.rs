//! How this door's last call of each checker ended. Other doors know their own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::{clock, time};

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Commit,
    Rollback,
    /// The receiver does not know yet.
    Unknown,
    /// It decided, and the broker did not take that.
    Refused,
    /// What it said is no answer.
    Invalid,
    /// It was asked, and said nothing in time.
    NoAnswer,
    /// It was not asked: nobody was there, or nobody who may be called.
    Unreachable,
}

impl Outcome {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Outcome::Commit => "commit",
            Outcome::Rollback => "rollback",
            Outcome::Unknown => "unknown",
            Outcome::Refused => "refused",
            Outcome::Invalid => "invalid_answer",
            Outcome::NoAnswer => "no_answer",
            Outcome::Unreachable => "unreachable",
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Last {
    /// Milliseconds since the Unix epoch.
    at: i64,
    outcome: Outcome,
    status: Option<StatusCode>,
}

/// The last call of each checker, by topic.
#[derive(Debug, Default)]
pub(crate) struct Calls(Mutex<HashMap<Arc<str>, Last>>);

impl Calls {
    pub(super) fn ended(&self, topic: &Arc<str>, outcome: Outcome, status: Option<StatusCode>) {
        let last = Last {
            at: clock::wall_ms(),
            outcome,
            status,
        };
        self.lock().insert(topic.clone(), last);
    }

    /// The checker is gone, or is another one now.
    pub(super) fn forget(&self, topic: &str) {
        self.lock().remove(topic);
    }

    /// As `last_call` shows it.
    pub(super) fn shown(&self, topic: &str) -> Value {
        self.lock().get(topic).map_or(Value::Null, |last| {
            json!({
                "at": time::format(last.at),
                "outcome": last.outcome.as_str(),
                "status": last.status.map(|status| status.as_u16()),
            })
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Last>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
