//! The RocketMQ TCP protocol: frames, commands, and both ends of a connection.
//!
//! Bytes become a [`frame::Frame`] without allocation, and an answer is written by [`reply::Reply`]
//! straight into the connection's buffer. [`command::Command`] is the owned form for everything that
//! is not hot: clients, pushes to clients, tests. `header` has one file per conversation, `body` the
//! JSON bodies with fastjson's habits.

mod answer;
pub mod binary;
pub mod body;
pub mod client;
pub mod code;
pub mod command;
mod cursor;
pub mod frame;
pub mod header;
pub mod json;
pub mod language;
pub mod limits;
pub mod local;
mod proxy;
pub mod reply;
mod request;
pub mod server;
mod sign;
mod tls;
pub mod version;

pub use answer::Answer;
pub use command::Command;
pub use frame::{Decoder, Ext, Frame, FrameError, Serialize};
pub use language::Language;
pub use reply::{Head, Place, Prepared, Reply, Room};
pub use request::{Payload, Request};
pub use sign::Credentials;
pub use tls::{Identity, Tls, TlsError};
