//! The hash of maps that are asked for every message: a multiplication for eight bytes, begun at a
//! number that nobody outside can know, so that nobody can choose names that collide.

use std::hash::{BuildHasher, Hasher, RandomState};

const FACTOR: u64 = 0x9E6C_63D0_876A_68DB;

/// Begins hashes, each map's its own way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seeded(u64);

impl Default for Seeded {
    fn default() -> Seeded {
        Seeded(RandomState::new().hash_one(()))
    }
}

impl BuildHasher for Seeded {
    type Hasher = State;

    fn build_hasher(&self) -> State {
        State {
            seed: self.0,
            state: self.0,
        }
    }
}

/// A hash on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    seed: u64,
    state: u64,
}

impl State {
    #[inline]
    fn add(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(FACTOR ^ self.seed | 1);
        self.state = product as u64 ^ (product >> 64) as u64;
    }
}

impl Hasher for State {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        let mut last = (bytes.len() as u64) << 56;
        for &byte in rest {
            last = last << 8 | u64::from(byte);
        }
        self.add(last);
    }

    #[inline]
    fn write_u8(&mut self, byte: u8) {
        self.add(u64::from(byte));
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.add(word);
    }

    fn finish(&self) -> u64 {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_that_differ_little_spread_over_a_table() {
        let seeded = Seeded::default();
        let hash = |n: u32| seeded.hash_one(format!("topic-{n}").as_str());
        let hashes: HashSet<u64> = (0..50_000).map(hash).collect();
        assert_eq!(hashes.len(), 50_000);
        // A table looks at the lowest bits, and at the highest seven.
        let low: HashSet<u64> = hashes.iter().map(|hash| hash & 0xFFFF).collect();
        let high: HashSet<u64> = hashes.iter().map(|hash| hash >> 57).collect();
        assert!(low.len() > 30_000, "{} of 65,536 places", low.len());
        assert_eq!(high.len(), 128);
    }

    #[test]
    fn every_map_hashes_its_own_way() {
        let (one, other) = (Seeded::default(), Seeded::default());
        assert_ne!(one.hash_one("a"), other.hash_one("a"));
        assert_eq!(one.hash_one("a"), one.hash_one(String::from("a")));
    }
}
