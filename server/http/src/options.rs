//! How the door is opened, and what its limits are.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How the door is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Names besides IP literals and `localhost` that a request may give as its `Host`.
    pub hosts: Vec<String>,
    /// Origins besides our own that may call from a browser, as `scheme://host[:port]`; `*` is every one.
    pub origins: Vec<String>,
    /// Whether the cluster has to be reachable before `/readyz` says yes: where operations are served.
    pub needs_cluster: bool,
    /// What has to hold besides.
    pub ready: Ready,
    /// What this process is called in answers: `standalone`, `gateway`, ….
    pub role: &'static str,
    /// Whether topics and groups that are sent to or consumed from are made if they do not exist: a typo makes one.
    pub makes_missing: bool,
    /// How long a browser waits before it opens a broken stream again.
    pub sse_retry: Duration,
    /// How often a stream gives a sign of life, so that proxies and browsers see that it lives.
    pub sse_heartbeat: Duration,
    /// How long the port stays open after the end was asked for, so that balancers notice.
    pub drain_delay: Duration,
    /// Hosts that webhooks may call wherever they are, over http too; with a port, only there.
    pub webhook_hosts: Vec<String>,
    /// Who vouches for https receivers (PEM); `None`: whom the system trusts.
    pub webhook_authorities: Option<PathBuf>,
    /// What may be taken.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            hosts: Vec::new(),
            origins: Vec::new(),
            needs_cluster: true,
            ready: Ready::default(),
            role: "standalone",
            makes_missing: false,
            sse_retry: Duration::from_secs(3),
            sse_heartbeat: Duration::from_secs(15),
            drain_delay: Duration::ZERO,
            webhook_hosts: Vec::new(),
            webhook_authorities: None,
            limits: Limits::default(),
        }
    }
}

/// Something that has to hold before `/readyz` says yes: of a broker in this process, that it takes messages.
#[derive(Clone, Default)]
pub struct Ready(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl Ready {
    /// What is asked by each probe: it is to be answered at once.
    pub fn when(holds: impl Fn() -> bool + Send + Sync + 'static) -> Ready {
        Ready(Some(Arc::new(holds)))
    }

    pub(crate) fn holds(&self) -> bool {
        self.0.as_ref().is_none_or(|holds| holds())
    }
}

impl std::fmt::Debug for Ready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Ready").field(&self.0.is_some()).finish()
    }
}

/// Every limit of the door. What they mean to a client stands in the contract.
#[derive(Debug, Clone)]
pub struct Limits {
    /// A message's body, in bytes.
    pub body: usize,
    /// A JSON request, in bytes.
    pub request: usize,
    /// A batch request, in bytes.
    pub batch: usize,
    /// A request that settles leases, in bytes.
    pub leases: usize,
    /// A JSON request without messages, in bytes.
    pub small: usize,
    /// The request target, in bytes.
    pub target: usize,
    /// All headers together, in bytes.
    pub header_bytes: usize,
    /// Headers of one request.
    pub headers: usize,
    /// How long a peer may take for its header; also how long a connection may be idle.
    pub header_time: Duration,
    /// How long a body may pause.
    pub body_pause: Duration,
    /// How slow a body may be, in bytes a second, after [`Limits::body_grace`].
    pub body_floor: u64,
    /// How long a body may be as slow as it likes.
    pub body_grace: Duration,
    /// How long a peer may read nothing of an answer.
    pub write_stall: Duration,
    /// How long the token of a list's next page is good.
    pub page_time: Duration,
    /// How long a stream lives, give or take a fifth, before its reader has to open it again.
    pub stream_age: Duration,
    /// Bytes of bodies that requests may hold together.
    pub in_flight_bytes: usize,
    /// Publishes under way together.
    pub publishes: usize,
    /// Streams open together.
    pub streams: usize,
    /// Streams of one address that is not loopback.
    pub streams_of_one: usize,
    /// Streams with an SQL filter open together: each pulls for itself.
    pub sql_streams: usize,
    /// Requests that wait for messages together.
    pub long_polls: usize,
    /// Connections open together.
    pub connections: usize,
    /// Connections of one address that is not loopback.
    pub connections_of_one: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            body: 4 << 20,
            request: 6 << 20,
            batch: 8 << 20,
            leases: 2 << 20,
            small: 64 << 10,
            target: 8 << 10,
            header_bytes: 16 << 10,
            headers: 64,
            header_time: Duration::from_secs(10),
            body_pause: Duration::from_secs(15),
            body_floor: 1 << 10,
            body_grace: Duration::from_secs(5),
            write_stall: Duration::from_secs(30),
            page_time: Duration::from_secs(3_600),
            stream_age: Duration::from_secs(30 * 60),
            in_flight_bytes: 256 << 20,
            publishes: 4_096,
            streams: 20_000,
            streams_of_one: 512,
            sql_streams: 256,
            long_polls: 20_000,
            connections: 32_768,
            connections_of_one: 1_024,
        }
    }
}
