//! The store on a real file system, as a process uses it.
#![allow(clippy::unwrap_used)]

mod kit;
mod real;
mod speed;
