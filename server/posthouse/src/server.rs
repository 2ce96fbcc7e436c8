//! The embeddable server: what the binary runs, and what tests start in their own process.
//!
//! The order of a start is the order of trust: take the locks and ports, open the store, then the
//! broker, register it, and only then let the ports open.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use store::Clock;

use crate::clock::{Moved, RealClock};
use crate::config::{self, Config, Refusal, Role};
use crate::lock::{self, Lock};
use crate::node::{Broker, Ground, Http, Namesrv, Reach};
use crate::{ports, seeded};

/// A running name server, broker, or both.
pub struct Server {
    config: Config,
    namesrv: Option<Namesrv>,
    broker: Option<Broker>,
    http: Http,
    unheard: bool,
    pub(crate) moved: Option<Arc<Moved>>,
    _locks: Vec<Lock>,
}

/// On what a server stands, if not on what its configuration says.
pub(crate) struct Footing {
    pub clock: Arc<dyn Clock>,
    /// The broker's; `None`: as configured.
    pub ground: Option<Ground>,
    pub reach: Reach,
    pub http: Http,
    pub locks: Vec<Lock>,
}

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The configuration says something that is refused.
    #[error("{}", .0.iter().map(Refusal::to_string).collect::<Vec<_>>().join("\n"))]
    Refused(Vec<Refusal>),
    /// Another process has the folder.
    #[error(transparent)]
    Lock(#[from] lock::Error),
    /// A port cannot be had.
    #[error(transparent)]
    Port(#[from] ports::Error),
    /// A port of HTTP cannot be had.
    #[error("{option}")]
    HttpPort {
        /// The option that gives another one.
        option: &'static str,
        /// What the system says.
        source: ports::Error,
    },
    /// The keys for tokens cannot be had.
    #[cfg(feature = "binary")]
    #[error(transparent)]
    Secret(#[from] http_door::SecretError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The system refused something.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Server {
    /// Starts what the configuration says, and returns when clients may connect.
    ///
    /// # Errors
    /// [`StartError`]: then nothing listens, and everything taken is free again.
    pub fn start(config: &Config) -> Result<Server, StartError> {
        Server::start_with(config, Arc::new(RealClock::new()))
    }

    /// Like [`Server::start`], with another clock.
    pub fn start_with(config: &Config, clock: Arc<dyn Clock>) -> Result<Server, StartError> {
        refuse(config)?;
        let http = Http::prepare(config)?;
        let locks = match config.role.has_namesrv() {
            true => vec![take(config, Role::Namesrv)?],
            false => Vec::new(),
        };
        let reach = Reach {
            listens: true,
            keeps: true,
        };
        Server::start_on(
            config,
            Footing {
                clock,
                ground: None,
                reach,
                http,
                locks,
            },
        )
    }

    pub(crate) fn start_on(config: &Config, footing: Footing) -> Result<Server, StartError> {
        let Footing {
            clock,
            ground,
            reach,
            mut http,
            locks,
        } = footing;
        let mut namesrv = match config.role.has_namesrv() {
            true => Some(Namesrv::prepare_for(config, clock.clone(), reach)?),
            false => None,
        };
        let known = namesrv.as_ref();
        let mut broker = match (config.role.has_broker(), ground) {
            (false, _) => None,
            (true, None) => Some(Broker::prepare(config, clock, known)?),
            (true, Some(ground)) => Some(Broker::prepare_on(config, clock, known, ground)?),
        };
        let unheard = match &mut broker {
            Some(broker) => broker.register()? == 0,
            None => false,
        };
        if let Some(namesrv) = &mut namesrv {
            namesrv.open()?;
        }
        if let Some(broker) = &mut broker {
            broker.open()?;
        }
        http.open(config, namesrv.as_ref(), broker.as_ref())?;
        Ok(Server {
            config: config.clone(),
            namesrv,
            broker,
            http,
            unheard,
            moved: None,
            _locks: locks,
        })
    }

    /// What it was started with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where the name server listens, if there is one.
    pub fn namesrv_address(&self) -> Option<SocketAddr> {
        self.namesrv.as_ref().map(Namesrv::address)
    }

    /// The name server, if there is one.
    pub fn namesrv(&self) -> Option<&Namesrv> {
        self.namesrv.as_ref()
    }

    /// The broker, if there is one.
    pub fn broker(&self) -> Option<&Broker> {
        self.broker.as_ref()
    }

    /// The HTTP door: its addresses, if it is open.
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// Whether there is a broker that no name server has taken yet.
    pub fn is_unheard(&self) -> bool {
        self.unheard
    }

    /// Stops accepting, answers what is in flight (for at most `grace` each), flushes, unregisters. HTTP
    /// goes first: what it still answers needs the broker.
    pub fn stop(self, grace: Duration) {
        seeded::end();
        self.http.stop(grace);
        if let Some(broker) = self.broker {
            broker.stop(grace);
        }
        if let Some(namesrv) = self.namesrv {
            namesrv.stop(grace);
        }
    }
}

/// What is refused is not started.
pub(crate) fn refuse(config: &Config) -> Result<(), StartError> {
    let refusals = config.refusals();
    match refusals.is_empty() {
        true => Ok(()),
        false => Err(StartError::Refused(refusals)),
    }
}

/// Takes a role's lock of the data folder.
pub(crate) fn take(config: &Config, role: Role) -> Result<Lock, StartError> {
    Ok(Lock::take(&config.data, &lock::path(&config.data, role))?)
}
