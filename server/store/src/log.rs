//! The commit log: staging, writing, segments.

pub(crate) mod stage;
