//! The running HTTP door: of this process's own broker, or of a cluster elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_door::{Limits, Options, Ports, Ready, Secret, Server};
use posthouse_client::{Client, Config as ClientConfig, Credentials, Entrance, Transport};
use remoting::server::Door;

use crate::config::{self, Config, Role};
use crate::node::{Broker, Namesrv};
use crate::ports::Bound;
use crate::server::StartError;

/// Ports that were taken, and, once opened, the server on them.
pub struct Http {
    public: Option<Bound>,
    management: Option<Bound>,
    server: Option<Server>,
}

impl Http {
    /// Takes the ports; nobody is served before [`Http::open`].
    pub fn prepare(config: &Config) -> Result<Http, StartError> {
        let take = |address: Option<SocketAddr>, option: &'static str| {
            let bound = address.map(|address| Bound::take(address, Door::Main));
            let bound = bound.transpose();
            bound.map_err(|source| StartError::HttpPort { option, source })
        };
        Ok(Http {
            public: take(config.http.public, "--http-addr")?,
            management: take(config.http.management, "--metrics-addr")?,
            server: None,
        })
    }

    /// Opens the ports, if there are any.
    pub fn open(
        &mut self,
        config: &Config,
        namesrv: Option<&Namesrv>,
        broker: Option<&Broker>,
    ) -> Result<(), StartError> {
        let listen = |bound: Option<Bound>, option: &'static str| {
            let listener = bound.map(Bound::listen).transpose();
            let listener = listener.map_err(|source| StartError::HttpPort { option, source })?;
            Ok::<_, StartError>(listener.map(|listener| listener.socket))
        };
        let ports = Ports {
            public: listen(self.public.take(), "--http-addr")?,
            management: listen(self.management.take(), "--metrics-addr")?,
        };
        if ports.public.is_none() && ports.management.is_none() {
            return Ok(());
        }
        let settings = &config.http;
        let options = Options {
            hosts: settings.hosts.clone(),
            origins: settings.origins.clone(),
            needs_cluster: config.role != Role::Namesrv,
            ready: broker.map_or_else(Ready::default, |broker| {
                let broker = Arc::clone(broker.broker());
                Ready::when(move || broker.takes_messages())
            }),
            role: config.role.as_str(),
            makes_missing: settings.dev,
            sse_retry: settings.sse_retry,
            sse_heartbeat: settings.sse_heartbeat,
            limits: limits(settings),
            drain_delay: settings.drain_delay,
            webhook_hosts: settings.webhook_hosts.clone(),
            webhook_authorities: settings.webhook_authorities.clone(),
        };
        let secret = match (&settings.token_secret_file, config.role) {
            (Some(file), _) => Secret::load(file)?,
            (None, Role::Standalone) if ports.public.is_some() => {
                Secret::load_or_create(&config.data.join("token-secret"))?
            }
            // Where nothing is served that hands out tokens, and where nothing can be kept.
            (None, _) => Secret::fresh()?,
        };
        let client = Client::new(way(config, namesrv, broker));
        self.server = Some(Server::start(ports, options, &secret, client)?);
        Ok(())
    }

    /// Where everybody is served.
    pub fn address(&self) -> Option<SocketAddr> {
        self.server.as_ref().and_then(Server::address)
    }

    /// Where operators are served.
    pub fn management_address(&self) -> Option<SocketAddr> {
        self.server.as_ref().and_then(Server::management_address)
    }

    /// Says that it ends, ends streams, and answers what is under way.
    pub fn stop(self, grace: Duration) {
        if let Some(server) = self.server {
            server.stop(grace);
        }
    }
}

/// What the settings let be done at once, and for how long.
fn limits(settings: &config::Http) -> Limits {
    let count = |name| usize::try_from(settings.limit(name)).unwrap_or(usize::MAX);
    let time = |name| Duration::from_millis(settings.limit(name));
    Limits {
        body: count("bodyBytes"),
        request: count("requestBytes"),
        batch: count("batchBytes"),
        target: count("targetBytes"),
        header_bytes: count("headerBytes"),
        headers: count("headers"),
        header_time: time("headerTime"),
        body_pause: time("bodyPause"),
        body_floor: settings.limit("bodyFloor"),
        write_stall: time("writeStall"),
        page_time: time("pageTime"),
        stream_age: settings.sse_max_age,
        in_flight_bytes: count("inFlightBytes"),
        publishes: count("publishes"),
        long_polls: count("longPolls"),
        streams: count("streams"),
        sql_streams: count("sqlStreams"),
        connections: count("connections"),
        connections_of_one: count("connectionsPerAddress"),
        streams_of_one: count("streamsPerAddress"),
        ..Limits::default()
    }
}

/// The way to the cluster: plain calls to what runs in this process, TCP to everything else.
fn way(config: &Config, namesrv: Option<&Namesrv>, broker: Option<&Broker>) -> ClientConfig {
    let mut entrances = Vec::new();
    let mut name_servers = config.broker.namesrvs.join(";");
    if let Some(namesrv) = namesrv {
        name_servers = namesrv.address().to_string();
        let (hub, service) = namesrv.inside();
        entrances.push(Entrance {
            address: name_servers.clone(),
            hub,
            service,
        });
    }
    if let Some(broker) = broker {
        let (hub, service) = broker.inside();
        entrances.push(Entrance {
            address: broker.advertised().to_string(),
            hub,
            service,
        });
    }
    let way = ClientConfig::new(&name_servers).transport(Transport::Local(entrances));
    match &config.http.user {
        Some(user) => way.credentials(Credentials::new(&user.name, &user.secret.0)),
        None => way,
    }
}
