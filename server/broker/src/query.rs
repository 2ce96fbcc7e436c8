//! Messages by where they lie and by their keys.

use model::LogOffset;

use crate::{Answer, Broker, Caller, Error};

/// A query by key (Apache `QUERY_MESSAGE`).
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The topic.
    pub topic: &'a str,
    /// One of the message's keys, or its `UNIQ_KEY`.
    pub key: &'a str,
    /// Whether the key is a `UNIQ_KEY`.
    pub unique: bool,
    /// How many messages at most.
    pub max: i32,
    /// Stored at or after, ms since the Unix epoch.
    pub begin: i64,
    /// Stored at or before, ms since the Unix epoch.
    pub end: i64,
}

/// What a query by key found. The records were appended to the output buffer, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queried {
    /// How many records there are.
    pub count: usize,
    /// When the newest indexed message was stored, ms since the Unix epoch.
    pub indexed_at: i64,
    /// Where it lies.
    pub indexed_to: LogOffset,
}

#[allow(clippy::todo)]
impl Broker {
    /// Appends the record at a log offset to `out` (Apache `VIEW_MESSAGE_BY_ID`).
    ///
    /// # Errors
    /// [`Error::NoRecord`].
    pub fn view(
        &self,
        caller: &Caller,
        offset: i64,
        out: &mut Vec<u8>,
    ) -> Result<Answer<()>, Error> {
        let _ = (caller, offset, out);
        todo!()
    }

    /// Appends the messages with a key to `out`, newest first.
    ///
    /// # Errors
    /// [`Error::NoMessageWithKey`].
    pub fn query(
        &self,
        caller: &Caller,
        query: &Query<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Answer<Queried>, Error> {
        let _ = (caller, query, out);
        todo!()
    }
}
