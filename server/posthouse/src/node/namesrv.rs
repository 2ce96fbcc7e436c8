//! A running name server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::namesrv::{NameServer, Options};
use remoting::limits::Limits;
use remoting::server::{Door, Hub, Running, Server, Service};
use store::Clock;

use crate::config::Config;
use crate::loops::Loops;
use crate::node::broker::UNREACHABLE;
use crate::ports::Bound;
use crate::raw_config::RawConfig;
use crate::server::StartError;

/// Who reaches a name server, and whether it keeps anything.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// It takes a port. If not, only callers inside the process reach it.
    pub listens: bool,
    /// It keeps its tables in the data folder.
    pub keeps: bool,
}

/// Tables, listener, and the loop that looks for silent brokers.
pub struct Namesrv {
    server: Arc<NameServer>,
    hub: Arc<Hub>,
    address: SocketAddr,
    bound: Option<Bound>,
    running: Option<Running>,
    loops: Loops,
    limits: Limits,
}

impl Namesrv {
    /// Takes the port and reads the tables; nobody is served before [`Namesrv::open`].
    pub fn prepare(config: &Config, clock: Arc<dyn Clock>) -> Result<Namesrv, StartError> {
        Namesrv::prepare_for(
            config,
            clock,
            Reach {
                listens: true,
                keeps: true,
            },
        )
    }

    /// Like [`Namesrv::prepare`], for one that does not listen or keeps no files.
    pub fn prepare_for(
        config: &Config,
        clock: Arc<dyn Clock>,
        reach: Reach,
    ) -> Result<Namesrv, StartError> {
        let bound = match reach.listens {
            true => Some(Bound::take(config.namesrv.listen, Door::Main)?),
            false => None,
        };
        let address = match &bound {
            Some(bound) => bound.address()?,
            None => UNREACHABLE,
        };
        let mut settings = config.namesrv.settings.clone();
        if reach.keeps {
            std::fs::create_dir_all(config.data.join("namesrv"))?;
            kept(config, &mut settings);
        }
        let options = Options {
            home: std::env::var("ROCKETMQ_HOME").unwrap_or_default(),
            bind_address: address.ip().to_string(),
            listen_port: address.port(),
            kv_path: reach.keeps.then(|| config.namesrv.kv_path.clone()),
            config_path: reach.keeps.then(|| config.namesrv.config_path.clone()),
            black_list: config.namesrv.black_list.clone(),
            settings,
        };
        let server = NameServer::new(options, Arc::new(move || clock.mono()));
        Ok(Namesrv {
            server: Arc::new(server),
            hub: Hub::new(1),
            address,
            bound,
            running: None,
            loops: Loops::default(),
            limits: Limits {
                idle: config.max_idle,
                ..Limits::default()
            },
        })
    }

    /// The tables: a broker of this process registers here.
    pub fn server(&self) -> &Arc<NameServer> {
        &self.server
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How a caller of this process reaches it: see [`remoting::local::Local`].
    pub fn inside(&self) -> (Arc<Hub>, Arc<dyn Service>) {
        (self.hub.clone(), self.server.clone())
    }

    /// Opens the port.
    pub fn open(&mut self) -> Result<(), StartError> {
        if let Some(bound) = self.bound.take() {
            let options = remoting::server::Options {
                name: "namesrv-io".to_owned(),
                limits: self.limits.clone(),
            };
            let running = Server::start(
                vec![bound.listen()?],
                options,
                self.hub.clone(),
                self.server.clone(),
            )?;
            self.running = Some(running);
        }
        let (server, hub) = (self.server.clone(), self.hub.clone());
        self.loops.every("namesrv-scan", move || {
            Some(server.scan(|connection| hub.close(connection)))
        })?;
        Ok(())
    }

    /// Stops accepting, answers what is in flight, and ends the loops.
    pub fn stop(self, grace: Duration) {
        if let Some(running) = self.running {
            running.shutdown(grace);
        }
        self.loops.end();
    }
}

/// Settings that were changed at run time, in an earlier run: they win over the start's.
fn kept(config: &Config, settings: &mut ::namesrv::Settings) {
    let path = &config.namesrv.config_path;
    if !path.exists() {
        return;
    }
    let kept = match RawConfig::read(path, true) {
        Ok(kept) => kept,
        Err(error) => {
            tracing::warn!(%error, "the settings changed at run time are not used");
            return;
        }
    };
    for (name, value) in kept.all_written() {
        // Keys that are no settings stand in the file too, and are only read at the start.
        let _ = settings.set(name, value);
    }
}
