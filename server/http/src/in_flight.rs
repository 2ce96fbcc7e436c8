//! What a group stream has out on leases: it sends no more than its reader wants to have at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use posthouse_client::Lease;
use tokio::sync::Notify;

use crate::clock;

/// The leases of all streams of this node: whoever settles one here gives its stream room.
#[derive(Default)]
pub(crate) struct InFlight {
    streams: Mutex<HashMap<Lease, Weak<Window>>>,
}

/// The leases of one stream.
#[derive(Default)]
pub(crate) struct Window {
    out: Mutex<HashMap<Lease, i64>>,
    room: Notify,
}

impl InFlight {
    /// A stream has these out.
    pub(crate) fn add(&self, window: &Arc<Window>, leases: impl Iterator<Item = Lease>) {
        let (mut streams, mut out) = (self.lock(), window.lock());
        for lease in leases {
            streams.insert(lease.clone(), Arc::downgrade(window));
            out.insert(lease.clone(), lease.ends_at());
        }
    }

    /// A lease is no more.
    pub(crate) fn settled(&self, lease: &Lease) {
        let mut streams = self.lock();
        // Without streams there is nothing to look for.
        if streams.is_empty() {
            return;
        }
        let own = streams.remove(lease);
        drop(streams);
        if let Some(window) = own.and_then(|own| own.upgrade()) {
            window.lock().remove(lease);
            window.room.notify_one();
        }
    }

    /// Another lease stands in the place of one.
    pub(crate) fn extended(&self, lease: &Lease, by: &Lease) {
        let mut streams = self.lock();
        let Some(own) = streams.remove(lease) else {
            return;
        };
        if let Some(window) = own.upgrade() {
            let mut out = window.lock();
            out.remove(lease);
            out.insert(by.clone(), by.ends_at());
            streams.insert(by.clone(), own);
        }
    }

    /// What a stream that ends had out is nobody's here any more.
    pub(crate) fn forget(&self, window: &Window) {
        let mut streams = self.lock();
        for lease in window.lock().keys() {
            streams.remove(lease);
        }
    }

    /// How many a stream has out; leases that ended are none.
    pub(crate) fn count(&self, window: &Window) -> usize {
        let now = clock::wall_ms();
        let mut ended = Vec::new();
        let count = {
            let mut out = window.lock();
            out.retain(|lease, ends_at| {
                let lives = now < *ends_at;
                if !lives {
                    ended.push(lease.clone());
                }
                lives
            });
            out.len()
        };
        if !ended.is_empty() {
            let mut streams = self.lock();
            for lease in &ended {
                streams.remove(lease);
            }
        }
        count
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Lease, Weak<Window>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    /// Returns when there may be room again.
    pub(crate) async fn room(&self) {
        let next = self.lock().values().min().copied();
        let left = next.map_or(0, |next| next.saturating_sub(clock::wall_ms()));
        let left = Duration::from_millis(u64::try_from(left).unwrap_or(0).max(1));
        tokio::select! {
            () = self.room.notified() => {}
            () = tokio::time::sleep(left) => {}
        }
    }

    /// Everything that is out.
    pub(crate) fn leases(&self) -> Vec<Lease> {
        self.lock().keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Lease, i64>> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
