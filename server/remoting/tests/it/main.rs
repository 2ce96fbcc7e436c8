//! The codec against recorded frames, against serde_json, and against nonsense; the serving end over
//! real sockets, with a toy for a service.
#![allow(clippy::unwrap_used)]

mod call;
mod close;
mod differential;
mod fuzz;
mod golden;
mod limits;
mod many;
mod park;
mod serve;
mod speed;
mod toy;
