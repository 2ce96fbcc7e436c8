//! Who is at the other end of a connection, and how to reach it from any thread.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use crate::limits::PUSHED;
use crate::server::hub::{Hub, Mail};

/// Names a connection in this process; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

impl ConnectionId {
    /// The I/O thread that owns the connection stands in the low byte.
    pub(crate) fn thread(self) -> usize {
        (self.0 & 0xFF) as usize
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which listener a connection came through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Door {
    /// The broker's or name server's port.
    #[default]
    Main,
    /// The "fast" port, main − 2, on which Apache does not serve pulls.
    Vip,
}

/// The other end of a connection.
pub struct Peer {
    /// Names the connection.
    pub id: ConnectionId,
    /// Where it comes from; what a PROXY header said, if there was one.
    pub remote: SocketAddr,
    /// Which listener it came through.
    pub door: Door,
    hub: Weak<Hub>,
    closed: AtomicBool,
    /// Bytes that were pushed and are not in the connection's out-buffer yet.
    waiting: AtomicUsize,
}

impl Peer {
    pub(crate) fn new(id: ConnectionId, remote: SocketAddr, door: Door, hub: &Arc<Hub>) -> Peer {
        Peer {
            id,
            remote,
            door,
            hub: Arc::downgrade(hub),
            closed: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
        }
    }

    /// A peer without a connection, for tests of services: pushes to it are refused.
    pub fn detached(id: u64, remote: SocketAddr, door: Door) -> Peer {
        Peer {
            id: ConnectionId(id),
            remote,
            door,
            hub: Weak::new(),
            closed: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Sends whole frames to the peer. `false` if the connection is gone or takes nothing any more.
    pub fn push(&self, frames: Vec<u8>) -> bool {
        let Some(hub) = self.hub.upgrade() else {
            return false;
        };
        if self.is_closed() {
            return false;
        }
        let waiting = self.waiting.fetch_add(frames.len(), Ordering::Relaxed);
        if waiting > PUSHED {
            self.waiting.fetch_sub(frames.len(), Ordering::Relaxed);
            return false;
        }
        hub.post(self.id.thread(), Mail::Push(self.id, frames))
    }

    /// Closes the connection soon.
    pub fn close(&self) {
        if let Some(hub) = self.hub.upgrade() {
            hub.post(self.id.thread(), Mail::Close(self.id));
        }
    }

    /// Whether the connection is gone.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn arrived(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn gone(&self) {
        self.closed.store(true, Ordering::Release);
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {} ({:?})", self.id, self.remote, self.door)
    }
}
