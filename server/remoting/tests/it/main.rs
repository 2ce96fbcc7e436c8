//! The codec against recorded frames, against serde_json, and against nonsense.

mod differential;
mod fuzz;
mod golden;
