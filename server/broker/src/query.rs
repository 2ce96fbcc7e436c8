//! Messages by where they lie and by their keys.

use std::sync::Arc;

use model::LogOffset;
use model::message::key;
use model::record::View;
use store::{ReadError, Reads, Store, Wait};

use crate::offset::read_failed;
use crate::{Answer, Broker, Caller, Error, limits};

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

/// What a query by key found. The records were appended to the output buffer, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queried {
    /// How many records there are.
    pub count: usize,
    /// When the newest indexed message was stored, ms since the Unix epoch.
    pub indexed_at: i64,
    /// Where it lies.
    pub indexed_to: LogOffset,
}

/// What a read where blocking is allowed brought.
struct ColdQuery {
    queried: Queried,
    records: Vec<u8>,
}

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
        let none = Error::NoRecord(offset);
        let at = LogOffset(u64::try_from(offset).map_err(|_| none.clone())?);
        // What consumers may not see yet, nobody may see.
        if at >= self.store.marks().dispatched {
            return Err(none);
        }
        let start = out.len();
        match self.cold.take::<Vec<u8>>(caller) {
            Some(record) => out.extend_from_slice(&record?),
            None => match self.store.record(at, Wait::No, out) {
                Ok(Reads::Done) => {}
                Ok(Reads::WouldBlock) => {
                    let store = Arc::clone(&self.store);
                    let answer = self.cold.defer(caller, move || {
                        let mut record = Vec::new();
                        let read = store.record(at, Wait::Yes, &mut record);
                        read.map(|_| record).map_err(|_| none)
                    })?;
                    return Ok(answer.map(|_| ()));
                }
                Err(ReadError::Missing(_) | ReadError::Damaged(_)) => return Err(none),
                Err(error) => return Err(read_failed(error)),
            },
        }
        let view = View::parse(out.get(start..).unwrap_or_default());
        let known = view.is_ok_and(|view| self.topics.find(view.topic()).is_some());
        if known {
            return Ok(Answer::Ready(()));
        }
        out.truncate(start);
        Err(Error::NoRecord(offset))
    }

    /// Appends the newest messages with a key to `out`, oldest first.
    ///
    /// # Errors
    /// [`Error::NoMessageWithKey`].
    pub fn query(
        &self,
        caller: &Caller,
        query: &Query<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Answer<Queried>, Error> {
        if let Some(found) = self.cold.take::<ColdQuery>(caller) {
            let ColdQuery { queried, records } = found?;
            out.extend_from_slice(&records);
            return Ok(Answer::Ready(queried));
        }
        if self.topics.find(query.topic).is_none() {
            return Err(Error::NoMessageWithKey);
        }
        let max = match query.unique {
            true => limits::UNIQUE_QUERY_MESSAGES,
            false => (query.max.max(0) as usize).min(limits::QUERY_MESSAGES),
        };
        let wanted = Wanted {
            topic: query.topic.to_owned(),
            key: query.key.to_owned(),
            unique: query.unique,
            max,
            begin: query.begin,
            end: query.end,
        };
        let store = Arc::clone(&self.store);
        let answer = self.cold.defer(caller, move || wanted.read(&store))?;
        Ok(answer.map(|found| found.queried))
    }
}

/// A query that outlives its request.
struct Wanted {
    topic: String,
    key: String,
    unique: bool,
    max: usize,
    begin: i64,
    end: i64,
}

impl Wanted {
    fn read(&self, store: &Store) -> Result<ColdQuery, Error> {
        // Keys that only share a hash are among the candidates; a few more make up for them.
        let candidates = self.max.saturating_mul(2).max(1);
        store.index_what_is_visible();
        let found = store.find(&self.topic, &self.key, self.begin, self.end, candidates);
        let visible = store.marks().dispatched;
        let mut result = ColdQuery {
            queried: Queried {
                count: 0,
                indexed_at: 0,
                indexed_to: LogOffset(0),
            },
            records: Vec::new(),
        };
        let mut starts = Vec::new();
        for at in found.map_err(read_failed)? {
            let start = result.records.len();
            let full = result.queried.count == self.max || start >= limits::QUERY_BYTES;
            if full || at >= visible {
                continue;
            }
            if store.record(at, Wait::Yes, &mut result.records).is_err() {
                continue; // deleted or damaged meanwhile
            }
            match View::parse(&result.records[start..]) {
                Ok(record) if self.wants(&record) => {
                    if result.queried.count == 0 {
                        result.queried.indexed_at = record.stored_at();
                        result.queried.indexed_to = at;
                    }
                    result.queried.count += 1;
                    starts.push(start);
                }
                _ => result.records.truncate(start),
            }
        }
        if starts.is_empty() {
            return Err(Error::NoMessageWithKey);
        }
        // Found newest first, and told oldest first: some clients take the first one.
        let mut records = Vec::with_capacity(result.records.len());
        let mut end = result.records.len();
        for start in starts.into_iter().rev() {
            records.extend_from_slice(&result.records[start..end]);
            end = start;
        }
        Ok(ColdQuery { records, ..result })
    }

    /// Compares the real key: the index only knows hashes.
    fn wants(&self, record: &View<'_>) -> bool {
        let unique = || record.property(key::UNIQ_KEY) == Some(&self.key);
        let keys = || {
            let keys = record.property(key::KEYS).unwrap_or_default();
            keys.split(' ')
                .any(|key| !key.is_empty() && key == self.key)
        };
        record.topic() == self.topic
            && (self.begin..=self.end).contains(&record.stored_at())
            && if self.unique {
                unique()
            } else {
                keys() || unique()
            }
    }
}
