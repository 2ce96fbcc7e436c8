//! What a half message says of itself: one walk over its properties for all that a decision asks.

use model::message::{key, properties};
use model::tag::tags_code;
use store::Keys;

use super::half::immunity_of;

/// What its properties say; of duplicates the last one, as everywhere.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said<'a> {
    /// The producer group.
    pub group: &'a str,
    /// Where it goes when it is committed.
    pub topic: &'a str,
    pub queue: Option<&'a str>,
    /// Until when it waits.
    pub expires_at: Option<&'a str>,
    immunity: Option<&'a str>,
    tags: Option<&'a str>,
    unique: &'a str,
    keys: &'a str,
    once: &'a str,
}

impl<'a> Said<'a> {
    /// Reads a property string.
    pub fn of(text: &'a str) -> Said<'a> {
        let mut said = Said::default();
        for (name, value) in properties(text) {
            match name {
                key::PGROUP => said.group = value,
                key::REAL_TOPIC => said.topic = value,
                key::REAL_QID => said.queue = Some(value),
                key::EXPIRES_AT => said.expires_at = Some(value),
                key::CHECK_IMMUNITY => said.immunity = Some(value),
                key::TAGS => said.tags = Some(value),
                key::UNIQ_KEY => said.unique = value,
                key::KEYS => said.keys = value,
                key::IDEMPOTENCY_KEY => said.once = value,
                _ => {}
            }
        }
        said
    }

    /// `CHECK_IMMUNITY_TIME_IN_SECONDS`, in milliseconds.
    pub fn immunity(&self) -> Option<i64> {
        self.immunity.and_then(immunity_of)
    }

    /// The hash of its tag.
    pub fn tags_code(&self) -> i64 {
        tags_code(self.tags)
    }

    /// The keys by which it is found.
    pub fn keys(&self) -> Keys<'a> {
        Keys::Read {
            unique: self.unique,
            keys: self.keys,
            once: self.once,
        }
    }
}
