//! What lives as long as the server, for every request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use posthouse_client::Client;
use tokio::sync::watch;

use crate::checkers::Called;
use crate::checks::Desks;
use crate::gauge::{Gauge, Taken, Unit};
use crate::group_stream::Listed;
use crate::idempotency::UnderWay;
use crate::in_flight::InFlight;
use crate::line::Line;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::problem::{Problem, QUOTA_EXCEEDED};
use crate::publisher::Publisher;
use crate::pullers::Pullers;
use crate::shares::{Share, Shares};
use crate::tail::Readers;
use crate::token::{Secret, Tokens};
use crate::turns::Turns;
use crate::webhook::Webhooks;

/// What lives as long as the server, for every request.
pub(crate) struct Node {
    /// The way to the cluster.
    pub client: Client,
    /// How the door was opened.
    pub options: Options,
    /// Signs what is handed out, and reads it when it comes back.
    pub tokens: Tokens,
    /// Sends for everybody.
    pub publisher: Publisher,
    /// The readers of topics that are followed.
    pub readers: Readers,
    /// Requests with keys that are answered just now.
    pub under_way: UnderWay,
    /// Who changes a group just now.
    pub turns: Turns,
    /// Who answers brokers that ask about transactions.
    pub desks: Desks,
    /// Stored checkers, as far as brokers do not know them.
    pub checkers: Called,
    /// The way to their URLs.
    pub webhooks: Webhooks,
    /// What group streams have out on leases.
    pub in_flight: InFlight,
    /// The group streams that are open here.
    pub listed: Arc<Listed>,
    /// Who pulls beside them.
    pub pullers: Pullers,
    /// What happened so far.
    pub metrics: Metrics,
    /// Bytes of request bodies held just now.
    pub bodies: Gauge,
    /// Publishes under way.
    pub publishes: Gauge,
    /// Requests that wait for messages.
    pub long_polls: Gauge,
    /// Open streams.
    pub streams: Gauge,
    /// Of one address that is not loopback.
    pub streams_of_one: Shares,
    /// Those of them with an SQL filter.
    pub sql_streams: Gauge,
    /// Those that follow topics, that consume in groups, and that ask about transactions: only counted.
    pub tails: Gauge,
    pub group_streams: Gauge,
    pub check_streams: Gauge,
    draining: AtomicBool,
    ending: watch::Sender<bool>,
}

impl Node {
    pub(crate) fn new(client: Client, secret: &Secret, options: Options) -> Node {
        let limits = &options.limits;
        Node {
            client,
            tokens: Tokens::new(secret),
            publisher: Publisher::new(options.makes_missing),
            readers: Readers::default(),
            under_way: UnderWay::default(),
            turns: Turns::new(),
            desks: Desks::default(),
            checkers: Called::default(),
            webhooks: Webhooks::new(&options.webhook_hosts, options.webhook_authorities.clone()),
            in_flight: InFlight::default(),
            listed: Arc::default(),
            pullers: Pullers::default(),
            metrics: Metrics::default(),
            bodies: Gauge::new("in_flight_bytes", Unit::Bytes, limits.in_flight_bytes),
            publishes: Gauge::new("publishes", Unit::Requests, limits.publishes),
            long_polls: Gauge::new("long_polls", Unit::Requests, limits.long_polls),
            streams: Gauge::new("streams", Unit::Requests, limits.streams),
            streams_of_one: Shares::new(limits.streams_of_one),
            sql_streams: Gauge::new("sql_streams", Unit::Requests, limits.sql_streams),
            tails: Gauge::new("streams", Unit::Requests, usize::MAX),
            group_streams: Gauge::new("streams", Unit::Requests, usize::MAX),
            check_streams: Gauge::new("streams", Unit::Requests, usize::MAX),
            draining: AtomicBool::new(false),
            ending: watch::Sender::new(false),
            options,
        }
    }

    /// A place among those that wait for messages, questions or replies.
    ///
    /// # Errors
    /// `quota-exceeded`.
    pub(crate) fn to_wait(&self) -> Result<Taken, Problem> {
        let detail = "too many callers wait for messages or replies just now";
        let taken = self.long_polls.take(1);
        taken.ok_or_else(|| self.long_polls.over(&QUOTA_EXCEEDED, detail))
    }

    /// A place for a stream of this connection's peer, unless all are taken, or all that its address may have.
    pub(crate) fn a_stream(&self, line: &Line) -> Option<(Taken, Option<Share>)> {
        let all = self.streams.take(1)?;
        let own = match line.peer() {
            Some(peer) => Some(self.streams_of_one.take(peer.ip())?),
            // It is gone already, and soon its stream.
            None => None,
        };
        Some((all, own))
    }

    /// From now on nobody should send work here.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Everything that waits shall answer with what it has, and every stream end.
    pub(crate) fn end(&self) {
        self.ending.send_replace(true);
    }

    /// Returns once the server ends.
    pub(crate) async fn ended(&self) {
        // The sender lives in `self`, so it cannot be gone.
        let _ = self.ending.subscribe().wait_for(|ended| *ended).await;
    }
}
