//! The serving end: sockets in, answers out, for any [`Service`].
//!
//! One read from a socket is a batch. Its frames are handled one after the other by a plain function
//! that writes into the connection's out-buffer, what was staged is committed once a tick for all
//! connections of the thread, and the answers leave in one write. Nothing on this path is a task, a
//! channel, a future or an allocation per message. What must wait is set aside: an answer whose mark
//! is not reached is *parked*, a request that waits for something to happen is *held*, a request that
//! needs slow work goes through the *cold* pool and then runs again.

mod accept;
mod buffers;
mod cold;
mod connection;
mod held;
pub(crate) mod hub;
pub(crate) mod parked;
mod peer;
mod run;
mod service;
mod thread;

pub use accept::{Listener, Options, Running, Server};
pub use hub::Hub;
pub use peer::{ConnectionId, Door, Peer};
pub use service::{Again, Outcome, Refusal, Run, Service};
