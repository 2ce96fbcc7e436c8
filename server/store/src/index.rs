//! The key index: which records may have a key.
pub(crate) mod hash;
