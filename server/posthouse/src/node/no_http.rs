//! The HTTP door of a server that was built without one: there is none.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::Config;
use crate::node::{Broker, Namesrv};
use crate::server::StartError;

/// No door.
pub struct Http;

#[allow(missing_docs, clippy::unnecessary_wraps)] // as in `http`
impl Http {
    pub fn prepare(_: &Config) -> Result<Http, StartError> {
        Ok(Http)
    }

    pub fn open(
        &mut self,
        _: &Config,
        _: Option<&Namesrv>,
        _: Option<&Broker>,
    ) -> Result<(), StartError> {
        Ok(())
    }

    pub fn address(&self) -> Option<SocketAddr> {
        None
    }

    pub fn management_address(&self) -> Option<SocketAddr> {
        None
    }

    pub fn stop(self, _: Duration) {}
}
