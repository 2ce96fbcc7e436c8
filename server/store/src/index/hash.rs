//! A 64-bit hash that is on the disk, so it never changes: multiply, fold, eight bytes at a time.

use std::hash::{BuildHasher, Hasher};

const A: u64 = 0x9E6C_63D0_876A_68DB;
const B: u64 = 0xD1B5_4A32_D192_ED03;

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// Goes on hashing with one more text.
pub(crate) fn add(state: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut state = words.iter().fold(state, |state, word| {
        fold(state ^ u64::from_le_bytes(*word), A)
    });
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        state = fold(state ^ u64::from_le_bytes(last), A);
    }
    // The length keeps "a", "" and "", "a" apart, and text from text with zeros behind it.
    fold(state ^ bytes.len() as u64, B)
}

/// The hash of texts in this order.
pub(crate) fn of(parts: &[&str]) -> u64 {
    parts
        .iter()
        .fold(B, |state, part| add(state, part.as_bytes()))
}

/// The same hash for maps in memory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Build;

/// State of [`Build`].
#[derive(Debug)]
pub(crate) struct State(u64);

impl BuildHasher for Build {
    type Hasher = State;
    fn build_hasher(&self) -> State {
        State(B)
    }
}

impl Hasher for State {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = add(self.0, bytes);
    }

    fn write_u8(&mut self, byte: u8) {
        self.0 = fold(self.0 ^ u64::from(byte), A);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
