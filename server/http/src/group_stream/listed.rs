//! The streams of groups that are open here, for whoever asks who consumes in a group.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock;
use crate::in_flight::Window;

/// Open streams, by a number of their own.
#[derive(Default)]
pub(crate) struct Listed {
    streams: Mutex<(u64, BTreeMap<u64, Arc<OpenStream>>)>,
}

/// One of them.
pub(crate) struct OpenStream {
    /// Its group.
    pub group: String,
    /// Who reads it.
    pub address: Option<SocketAddr>,
    /// When it was opened, milliseconds since the Unix epoch.
    pub since: i64,
    /// What it has out on leases.
    pub window: Arc<Window>,
}

/// A stream is listed for as long as this lives.
pub(super) struct Place {
    all: Arc<Listed>,
    number: u64,
}

impl Listed {
    pub(super) fn add(
        self: &Arc<Listed>,
        group: &str,
        address: Option<SocketAddr>,
        window: &Arc<Window>,
    ) -> Place {
        let stream = OpenStream {
            group: group.to_owned(),
            address,
            since: clock::wall_ms(),
            window: window.clone(),
        };
        let mut streams = self.lock();
        let number = streams.0;
        streams.0 += 1;
        streams.1.insert(number, Arc::new(stream));
        Place {
            all: self.clone(),
            number,
        }
    }

    /// Those of a group, by number.
    pub(crate) fn of(&self, group: &str) -> Vec<(u64, Arc<OpenStream>)> {
        let streams = self.lock();
        let own = streams.1.iter().filter(|(_, stream)| stream.group == group);
        own.map(|(&number, stream)| (number, stream.clone()))
            .collect()
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<OpenStream>> {
        self.lock().1.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, Arc<OpenStream>>)> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.lock().1.remove(&self.number);
    }
}
