//! What clients subscribed to whose connection ended a moment ago.
//!
//! A client with the second version of the heartbeat that connects again sends only the fingerprint of
//! its subscriptions, and all of them with its next heartbeat, 30 s later. Until then it would get no
//! message, although nothing about it changed.

use std::collections::HashMap;
use std::time::Duration;

use model::GroupName;

use super::Subscriptions;
use crate::limits;

#[derive(Debug)]
struct Entry {
    fingerprint: i32,
    seen: Duration,
    subscriptions: Subscriptions,
    bytes: usize,
}

/// Subscriptions by group and client id.
#[derive(Debug, Default)]
pub(super) struct Kept {
    entries: HashMap<(GroupName, String), Entry>,
    bytes: usize,
}

impl Kept {
    /// Keeps them, unless there is too much already.
    pub fn put(
        &mut self,
        group: GroupName,
        client: String,
        fingerprint: i32,
        seen: Duration,
        subscriptions: Subscriptions,
    ) {
        let texts: usize = (subscriptions.values())
            .map(|one| one.expression.len() + one.tags.iter().map(String::len).sum::<usize>() + 512)
            .sum();
        let bytes = texts + client.len() + 512;
        if self.bytes + bytes > limits::KEPT_SUBSCRIPTION_BYTES {
            return;
        }
        let entry = Entry {
            fingerprint,
            seen,
            subscriptions,
            bytes,
        };
        self.bytes += bytes;
        if let Some(before) = self.entries.insert((group, client), entry) {
            self.bytes -= before.bytes;
        }
    }

    /// Gives a client's back. A fingerprint that is not theirs finds nothing.
    pub fn take(
        &mut self,
        group: &GroupName,
        client: &str,
        fingerprint: i32,
    ) -> Option<Subscriptions> {
        let found = self.entries.remove(&(group.clone(), client.to_owned()))?;
        self.bytes -= found.bytes;
        (found.fingerprint == fingerprint).then_some(found.subscriptions)
    }

    /// Forgets clients last seen before `limit`.
    pub fn expire(&mut self, limit: Duration) {
        let bytes = &mut self.bytes;
        self.entries.retain(|_, entry| {
            let stays = entry.seen >= limit;
            *bytes -= if stays { 0 } else { entry.bytes };
            stays
        });
    }
}
