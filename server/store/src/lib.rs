//! The log on disk, and everything derived from it.
//!
//! One append-only commit log holds every record, in RocketMQ's own layout; queues, key index and
//! tables are a fold over it. [`Store`] is the door: stage, write out, dispatch, read. It owns no
//! thread and no loop: the steps do a piece of work and say when to call again. Disk and clock are
//! handed in, so that a simulator runs the very same code.

mod bytes;
pub mod check;
mod checkpoint;
pub mod clock;
mod derive;
pub mod disk;
mod error;
mod index;
mod log;
mod marks;
mod open;
mod options;
pub mod pending;
mod queue;
mod recover;
mod retain;
mod sealed;
mod snapshot;
mod store;
mod table;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use clock::Clock;
pub use disk::{Disk, File, Reads, Space, Wait};
pub use error::{Error, ReadError, StageError, WriteError};
pub use index::Keys;
pub use log::properties::Properties;
pub use log::stage::{Draft, Staged};
pub use marks::MarksView;
pub use options::{Flush, Options};
pub use pending::{Alarm, Kind, Open, Pending};
pub use queue::{Entry, Queue};
pub use retain::{Keep, Moved, Retention};
pub use store::{Boundary, Next, Recovery, Store};
pub use table::{Change, Table};

/// Locks what no panic can leave half done.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
