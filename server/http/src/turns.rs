//! Changes of groups, one after the other. What a group wants is read, changed and put back whole, so of two
//! at once one would be lost. That holds within this node: brokers compare nothing.

use std::hash::{DefaultHasher, Hash, Hasher};

use tokio::sync::{Mutex, MutexGuard};

/// So many groups at most are changed at once; some share a turn, which does no harm.
const TURNS: usize = 64;

/// Whose turn it is, by group.
pub(crate) struct Turns([Mutex<()>; TURNS]);

impl Turns {
    pub(crate) fn new() -> Turns {
        Turns(std::array::from_fn(|_| Mutex::default()))
    }

    /// Waits until nobody else changes the group; the turn ends with what is returned.
    pub(crate) async fn of(&self, group: &str) -> MutexGuard<'_, ()> {
        let mut hash = DefaultHasher::new();
        group.hash(&mut hash);
        let place = (hash.finish() % TURNS as u64) as usize;
        // Within the array, since it is a rest of its length.
        self.0[place].lock().await
    }
}
