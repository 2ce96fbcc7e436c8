//! The server inside another program: in memory or in a folder, with or without a socket, and with a
//! clock that can be moved by hand.
//!
//! Callers of the same process need no socket: they call the services behind [`Server::doors`]. There is no
//! command line, no signal and no log output here, and nothing that speaks HTTP.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use remoting::server::{Hub, Service};
use store::Clock;
use store::disk::memory::Memory;
use store::disk::real::Real;

use crate::clock::{Moved, RealClock};
use crate::config::{self, Config, Given, Role};
use crate::node::{Ground, Http, Reach};
use crate::raw_config::RawConfig;
use crate::server::{self, Footing, Server, StartError};

/// What an embedded server keeps, and who may join it.
#[derive(Clone, Debug)]
pub struct Embedded {
    /// The data folder; `None`: everything is in memory and gone at the end.
    pub path: Option<PathBuf>,
    /// How much a server in memory keeps. When it is full the oldest messages go; what must be kept, as messages that
    /// come later, refuses producers with code 14 instead.
    pub memory_bytes: u64,
    /// Where the name server listens, the broker beside it on a picked port; `None`: only this process
    /// reaches them. Port 0 picks one.
    pub listen: Option<SocketAddr>,
    /// Whether time, as messages see it, stands still until [`Server::advance`].
    pub manual_clock: bool,
    /// Settings, by RocketMQ's names.
    pub settings: Vec<(String, String)>,
}

impl Default for Embedded {
    fn default() -> Embedded {
        Embedded {
            path: None,
            memory_bytes: MEMORY,
            listen: None,
            manual_clock: false,
            settings: Vec::new(),
        }
    }
}

/// What a server in memory keeps unless told otherwise.
const MEMORY: u64 = 256 << 20;
/// The least it can work with: two segments that each hold the longest record.
const MEMORY_MIN: u64 = 64 << 20;
/// Segments of a server in memory: small, because the oldest goes as a whole.
const SEGMENT: u64 = 16 << 20;

/// A way into a server of this process: the address that routes call it by, and what is called.
pub type Door = (String, Arc<Hub>, Arc<dyn Service>);

impl Server {
    /// Starts a name server and a broker inside this process, and returns when clients may use them.
    ///
    /// # Errors
    /// [`StartError`]: then nothing listens, and everything taken is free again.
    pub fn embedded(embedded: &Embedded) -> Result<Server, StartError> {
        let config = config_of(embedded)?;
        server::refuse(&config)?;
        let moved = embedded.manual_clock.then(|| Arc::new(Moved::new()));
        let clock: Arc<dyn Clock> = match &moved {
            Some(moved) => moved.clone(),
            None => Arc::new(RealClock::new()),
        };
        let listens = embedded.listen.is_some();
        let (ground, locks) = match embedded.path {
            None => {
                let bytes = embedded.memory_bytes.max(MEMORY_MIN);
                let ground = Ground {
                    disk: Arc::new(Memory::with_capacity(bytes)),
                    listens,
                    // What is staged, and the segment that is made ahead.
                    spare: Some(SEGMENT / 2),
                    // Another segment, however fast it comes.
                    room: SEGMENT + SEGMENT / 2,
                };
                (ground, Vec::new())
            }
            Some(_) => {
                let roles = [Role::Namesrv, Role::Broker];
                let locks = roles.map(|role| server::take(&config, role));
                let [namesrv, store] = locks;
                let ground = Ground {
                    listens,
                    ..Ground::on(Arc::new(Real::held(&config.data)?))
                };
                (ground, vec![namesrv?, store?])
            }
        };
        let reach = Reach {
            listens,
            keeps: embedded.path.is_some(),
        };
        let footing = Footing {
            clock,
            ground: Some(ground),
            reach,
            http: Http::prepare(&config)?,
            locks,
        };
        let mut server = Server::start_on(&config, footing)?;
        server.moved = moved;
        Ok(server)
    }

    /// The ways in for callers of this process: the name server's, then the broker's.
    pub fn doors(&self) -> Vec<Door> {
        let named = |address: SocketAddr, role: &str| match address.port() {
            // It does not listen, so nobody else can know it.
            0 => format!("embedded-{role}"),
            _ => address.to_string(),
        };
        let mut doors = Vec::new();
        if let Some(namesrv) = self.namesrv() {
            let (hub, service) = namesrv.inside();
            doors.push((named(namesrv.address(), "namesrv"), hub, service));
        }
        if let Some(broker) = self.broker() {
            let (hub, service) = broker.inside();
            doors.push((broker.advertised().to_string(), hub, service));
        }
        doors
    }

    /// Moves the clock of a server that has one to move; what becomes due on the way (delayed messages,
    /// leases, questions about half messages) is done, in order, before this returns. `None` if its
    /// clock is the system's; else how many messages that waited were delivered or given up.
    ///
    /// # Errors
    /// If something could not be stored.
    pub fn advance(&self, by: Duration) -> Option<Result<usize, broker::Error>> {
        let moved = self.moved.as_ref()?;
        Some(self.broker()?.advance(moved, by))
    }
}

fn config_of(embedded: &Embedded) -> Result<Config, config::Error> {
    let mut file = String::new();
    let mut set = |name: &str, value: &str| {
        file.push_str(&remoting::body::properties::write(name, value));
        file.push('\n');
    };
    let own: &[(&str, &str)] = match embedded.path {
        // There is nothing to be flushed to, and what is full makes room at any hour.
        None => &[
            ("flushDiskType", "ASYNC_FLUSH"),
            ("mappedFileSizeCommitLog", SEGMENT_TEXT),
        ],
        Some(_) => &[("flushDiskType", "SYNC_FLUSH")],
    };
    let given = |name: &str| embedded.settings.iter().any(|(own, _)| own == name);
    for (name, value) in own.iter().filter(|(name, _)| !given(name)) {
        set(name, value);
    }
    for (name, value) in &embedded.settings {
        set(name, value);
    }
    let raw = RawConfig::parse(file.as_bytes(), "config", false)?;
    let listen = embedded.listen.unwrap_or(LOOPBACK);
    let given = Given {
        data: Some(embedded.path.clone().unwrap_or_else(|| "memory".into())),
        namesrv_addr: Some(listen.to_string()),
        broker_addr: Some(SocketAddr::new(listen.ip(), 0).to_string()),
        http_addr: Some("off".to_owned()),
        metrics_addr: Some("off".to_owned()),
        ..Given::default()
    };
    let mut config = Config::resolve(Role::Standalone, &given, raw)?;
    // One thread serves whoever joins over a socket; this process' own callers need none.
    config.io_threads = 1;
    Ok(config)
}

/// [`SEGMENT`], as it is written in a configuration.
const SEGMENT_TEXT: &str = "16777216";
const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_segment_is_the_one_that_is_written() {
        assert_eq!(SEGMENT_TEXT.parse(), Ok(SEGMENT));
    }
}
