//! A running broker.

/// To come.
pub struct Broker;
