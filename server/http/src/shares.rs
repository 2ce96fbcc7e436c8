//! How much of something each address has, so that one stranger does not take all of it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts by address.
type Table = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// What each address may have.
#[derive(Debug)]
pub(crate) struct Shares {
    most: usize,
    taken: Table,
}

/// One of them, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share(Option<(IpAddr, Table)>);

impl Shares {
    pub(crate) fn new(most: usize) -> Shares {
        let taken = Table::default();
        Shares { most, taken }
    }

    /// One for this address, unless it has all that it may have. Peers on this machine share one address, and are not
    /// counted by it.
    pub(crate) fn take(&self, address: IpAddr) -> Option<Share> {
        if address.is_loopback() {
            return Some(Share(None));
        }
        let mut table = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = table.entry(address).or_default();
        if *own >= self.most {
            return None;
        }
        *own += 1;
        Some(Share(Some((address, self.taken.clone()))))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some((address, table)) = self.0.take() else {
            return;
        };
        let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = table.get_mut(&address) {
            *own -= 1;
            if *own == 0 {
                table.remove(&address);
            }
        }
    }
}
