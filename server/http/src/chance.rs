//! Random bytes that nobody can guess: keys and secrets are made of them.

use std::fs::File;
use std::io::{self, Read};

/// So many of the system's.
///
/// # Errors
/// If it gives none.
pub(crate) fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
