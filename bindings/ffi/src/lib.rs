//! What the Python and the Node package share: one runtime a process, wake-ups, slabs, addresses, errors,
//! and the server in the process.
//!
//! The rules of the boundary, which both packages follow:
//!
//! 1. Ids cross, never objects of the language: its futures and promises live in a map on its side.
//! 2. The language's thread takes; Rust only wakes, once each time an empty [`Inbox`] gets something.
//! 3. Many messages cross at once: one slab a crossing ([`slab`]), or objects that the binding makes.
//! 4. No future of the language's is made a message by the binding's framework.
//! 5. Credit before queues: [`Producer::submit`] takes no more than it has credit for; the rest stays with the
//!    language.
//! 6. Nothing is called that belongs to the parent of a forked process ([`Parents`]).

mod client;
mod consumer;
mod error;
mod inbox;
mod journal;
mod producer;
mod runtime;
mod server;
pub mod slab;
mod target;

pub use client::{Access, Client, ClientOptions, Trust};
pub use consumer::{Checks, Delivered, Deliveries, PushConsumer, Settles};
pub use error::{Code, Error, Result};
pub use inbox::{Inbox, Wake};
pub use journal::{AREAS, Journal, Level, Line};
pub use producer::{Credit, Done, Outgoing, Producer, Sink};
pub use runtime::{Parents, Runtime, after_fork_in_child};
pub use server::{EmbeddedOptions, Server};
pub use target::{Target, Transport};

/// The version of this package and of everything in it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
