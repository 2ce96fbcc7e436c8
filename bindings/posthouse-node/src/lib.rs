//! What `require('posthouse')` loads. The package's own JavaScript is the only caller: it holds promises
//! and messages, checks arguments, and has the names that users see.
//!
//! Nothing here makes a promise or calls a user's function. A call that takes time is given a number and its
//! [`Outcome`](port::Outcome) is taken later; whatever is ready to be taken rings a bell of the environment's
//! one [`Port`](port::Port). One call waits on the caller's thread: a client of `embedded:` starts its server,
//! or finds it, before it is there.

mod admin;
mod client;
mod error;
mod frames;
mod port;
mod producer;
mod pull;
mod push;
mod server;
mod simple;
mod value;

use napi_derive::napi;

/// The version of everything in here.
#[napi]
pub fn version() -> &'static str {
    ffi::VERSION
}
