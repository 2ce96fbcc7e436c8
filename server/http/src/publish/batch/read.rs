//! Reads the document of a batch: entry by entry, while it is proved to be JSON.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use super::{ENTRIES_MAX, Entry, ID_MAX, invalid};
use crate::draft::{Draft, FIELDS};
use crate::idempotency;
use crate::json::{self, At, Effort, Faults, Kind, Walk, Wrong};
use crate::problem::{self, Problem};

/// What a message takes of a document, braces included, at the least that many have.
const SHORT: usize = 256;

/// What is known of a batch before it is read.
pub(super) struct Reading {
    pub topic: Arc<str>,
    /// The request's key.
    pub key: Option<String>,
    pub now: i64,
    /// The longest body.
    pub limit: usize,
}

/// What was read of a batch so far.
struct Found {
    entries: Vec<Entry>,
    ids: HashSet<String>,
    /// What is wrong with the document itself.
    faults: Faults,
    /// What is wrong with its list of messages: behind that, nothing is read.
    refused: Option<Problem>,
    has_messages: bool,
}

impl Reading {
    /// The entries of a document; what is wrong with one is noted there. `None`: that is worth more effort.
    ///
    /// # Errors
    /// What is wrong with the whole.
    pub(super) fn read(&self, body: &Bytes, effort: Effort) -> Result<Option<Vec<Entry>>, Problem> {
        let mut found = Found {
            // No more than was received.
            entries: Vec::with_capacity((body.len() / SHORT + 1).min(ENTRIES_MAX)),
            ids: HashSet::new(),
            faults: Faults::default(),
            refused: None,
            has_messages: false,
        };
        let read = json::walk(body, effort, |walk| self.document(walk, body, &mut found))?;
        if read.is_none() {
            return Ok(None);
        }
        if !found.has_messages && found.faults.is_empty() {
            found.faults.missing(At::Root, "messages");
        }
        found.faults.check()?;
        match found.refused {
            Some(problem) => Err(problem),
            None if found.entries.is_empty() => {
                let at = At::Root;
                Err(invalid(at.member("messages"), "at least one message"))
            }
            None => Ok(Some(found.entries)),
        }
    }

    fn document<'a>(
        &self,
        walk: &mut Walk<'a>,
        body: &'a Bytes,
        found: &mut Found,
    ) -> Result<(), Wrong> {
        let at = At::Root;
        if walk.kind() != Kind::Object {
            found.faults.object(at, walk.value()?);
            return Ok(());
        }
        walk.members(|walk, name| {
            match name {
                "messages" => {
                    found.has_messages = true;
                    let at = at.member(name);
                    if walk.kind() == Kind::Array {
                        return walk.items(|walk, place| self.item(walk, body, at, place, found));
                    }
                    found.faults.array(at, walk.value()?);
                }
                _ => {
                    walk.value()?;
                    found.faults.unknown(at, name, &["messages"]);
                }
            }
            Ok(())
        })
    }

    fn item<'a>(
        &self,
        walk: &mut Walk<'a>,
        body: &'a Bytes,
        at: At<'_>,
        place: usize,
        found: &mut Found,
    ) -> Result<(), Wrong> {
        if found.refused.is_none() && place == ENTRIES_MAX {
            let detail = format!("at most {ENTRIES_MAX} messages");
            found.refused = Some(invalid(at, detail));
        }
        if found.refused.is_some() {
            return walk.value().map(drop);
        }
        let at = at.item(place);
        self.entry(walk, body, (at, place), &mut found.entries)?;
        if let Some(Entry { id: Some(id), .. }) = found.entries.last()
            && !found.ids.insert(id.clone())
        {
            found.refused = Some(invalid(at.member("id"), "another message has this id"));
        }
        Ok(())
    }

    /// Reads the next entry, and puts it behind those before, the last of which may share its tag.
    fn entry<'a>(
        &self,
        walk: &mut Walk<'a>,
        body: &'a Bytes,
        (at, place): (At<'_>, usize),
        entries: &mut Vec<Entry>,
    ) -> Result<(), Wrong> {
        let mut faults = Faults::default();
        let (mut id, mut own) = (None, None);
        let before = entries.last().and_then(|last| last.message.as_ref());
        let tag = before.and_then(|before| before.tag.as_ref());
        let mut draft = Draft::new(&self.topic, self.now).within(body).behind(tag);
        let is_object = draft.fields(walk, at, &mut faults, |name, value, faults| {
            let here = at.member(name);
            match name {
                "id" => id = faults.text(here, value, ID_MAX).map(|id| id.into_owned()),
                "idempotency_key" => match faults.string(here, value) {
                    Some(text) if idempotency::is_key(&text) => own = Some(text.into_owned()),
                    Some(_) => {
                        let kind = &problem::INVALID_IDEMPOTENCY_KEY;
                        faults.refuse(kind, here, idempotency::EXPECTED);
                    }
                    None => {}
                },
                _ => {
                    let known = [&FIELDS[..], &["id", "idempotency_key"]].concat();
                    faults.unknown(at, name, &known);
                }
            }
        })?;
        // A body that is missing in what is no object was told already.
        let whole = is_object && draft.finish(at, self.limit, &mut faults);
        let Draft {
            message,
            deliver_at,
            said,
            ..
        } = draft;
        let mut entry = Entry {
            id,
            ..Entry::new(message, deliver_at)
        };
        if let Some(problem) = faults.problem() {
            entry.fail(problem);
        } else if whole {
            self.name(walk, &mut entry, own, place, &said)?;
        }
        entries.push(entry);
        Ok(())
    }

    /// Names the message by its own key, or by the request's.
    fn name(
        &self,
        walk: &mut Walk<'_>,
        entry: &mut Entry,
        own: Option<String>,
        place: usize,
        said: &str,
    ) -> Result<(), Wrong> {
        let of_all = || Some(idempotency::of_entry(self.key.as_deref()?, place));
        if let (Some(key), Some(message)) = (own.or_else(of_all), &mut entry.message) {
            // A digest takes some nanoseconds a byte.
            walk.charge(message.body.len())?;
            idempotency::name(message, key, said);
        }
        Ok(())
    }
}
