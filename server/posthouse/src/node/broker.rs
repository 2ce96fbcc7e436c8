//! A running broker: store, meaning, door, and the loops that drive them.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use model::topic::{DataVersion, TopicConfig};
use remoting::limits::Limits;
use remoting::server::{Hub, Running, Server, Service};
use store::disk::real::Real;
use store::{Clock, Disk, Flush, Next, Recovery, Store};

use crate::clock::Moved;
use crate::config::{BrokerRole, Config, RECORD_OVERHEAD};
use crate::loops::{End, Loops};
use crate::node::Namesrv;
use crate::ports::{self, Bound};
use crate::register::{Identity, Register, Source, Timing};
use crate::server::StartError;
use crate::{machine, seeded};

/// A loop that waits for the disk looks this often whether it is to end.
const LOOK: Duration = Duration::from_millis(200);

/// The system's page cache keeps at least so much of the log's end.
const CACHED_MIN: u64 = 128 << 20;

/// The address of a broker that does not listen: one that nobody can dial.
pub(crate) const UNREACHABLE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Store, broker, listener, loops.
pub struct Broker {
    store: Arc<Store>,
    broker: Arc<::broker::Broker>,
    service: Arc<dyn Service>,
    register: Arc<Register>,
    registering: Option<crate::register::Running>,
    hub: Arc<Hub>,
    recovery: Recovery,
    address: SocketAddr,
    bound: Option<[Bound; 2]>,
    running: Option<Running>,
    loops: Loops,
    limits: Limits,
    register_limit: Duration,
    /// Held by whoever does what is due.
    deadlines: Arc<Mutex<()>>,
}

/// What a broker stands on.
pub struct Ground {
    /// Where the store keeps its files.
    pub disk: Arc<dyn Disk>,
    /// Whether it takes ports. If not, only callers inside the process reach it.
    pub listens: bool,
    /// Free bytes below which producers are refused; `None`: as on a real disk.
    pub spare: Option<u64>,
    /// Free bytes below which the oldest segments go, whatever their age; 0: they go by age alone.
    pub room: u64,
}

impl Ground {
    /// A disk, and ports.
    pub fn on(disk: Arc<dyn Disk>) -> Ground {
        Ground {
            disk,
            listens: true,
            spare: None,
            room: 0,
        }
    }
}

impl Broker {
    /// Takes the ports and opens the store; nobody is served before [`Broker::open`].
    pub fn prepare(
        config: &Config,
        clock: Arc<dyn Clock>,
        namesrv: Option<&Namesrv>,
    ) -> Result<Broker, StartError> {
        let disk = Real::new(&config.data)?;
        Broker::prepare_on(config, clock, namesrv, Ground::on(Arc::new(disk)))
    }

    /// Like [`Broker::prepare`], on another ground: a disk in memory, or one that fails.
    pub fn prepare_on(
        config: &Config,
        clock: Arc<dyn Clock>,
        namesrv: Option<&Namesrv>,
        ground: Ground,
    ) -> Result<Broker, StartError> {
        let bound = match ground.listens {
            true => Some(ports::take_broker(config.broker.listen)?),
            false => None,
        };
        let address = match &bound {
            Some([main, _]) => main.address()?,
            None => UNREACHABLE,
        };
        let options = options(config, address.port());
        let mut kept = store_options(config, &options);
        kept.disk_spare = ground.spare.unwrap_or(kept.disk_spare);
        kept.disk_room = ground.room;
        let (store, recovery) = Store::open(kept, ground.disk, clock.clone())?;
        let store = Arc::new(store);
        let hub = Hub::new(config.io_threads);
        let register = Arc::new(register(config, &options, namesrv));
        let outlet = Arc::new(endpoint::Clients::new(hub.clone()));
        let broker = Arc::new(::broker::Broker::open(
            options,
            store.clone(),
            clock.clone(),
            outlet,
            register.clone(),
        ));
        let endpoint = endpoint::Endpoint::new(broker.clone());
        let endpoint = endpoint.with_mark_timeout(config.broker.flush_timeout);
        let service = seeded::service(Arc::new(endpoint));
        Ok(Broker {
            store,
            broker,
            service,
            register,
            registering: None,
            hub,
            recovery,
            address,
            bound,
            running: None,
            loops: Loops::default(),
            limits: Limits {
                idle: config.max_idle,
                ..Limits::default()
            },
            register_limit: config.broker.register_timeout,
            deadlines: Arc::default(),
        })
    }

    /// What opening the store found.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What clients are told.
    pub fn advertised(&self) -> SocketAddr {
        self.broker.options().address
    }

    /// The meaning, for whoever embeds the server.
    pub fn broker(&self) -> &Arc<::broker::Broker> {
        &self.broker
    }

    /// How a caller of this process reaches it: see [`remoting::local::Local`].
    pub fn inside(&self) -> (Arc<Hub>, Arc<dyn Service>) {
        (self.hub.clone(), self.service.clone())
    }

    /// Registers for the first time. Returns how many name servers took us; a name server that does
    /// not answer in time is tried again and again, but not waited for.
    pub fn register(&mut self) -> std::io::Result<usize> {
        let registering = self
            .register
            .start(Arc::new(Topics(Arc::downgrade(&self.broker))))?;
        let taken = registering.first(self.register_limit);
        self.registering = Some(registering);
        Ok(taken)
    }

    /// Opens the ports and starts the loops.
    pub fn open(&mut self) -> Result<(), StartError> {
        self.flush_loop()?;
        if let Some([main, vip]) = self.bound.take() {
            let options = remoting::server::Options {
                name: "broker-io".to_owned(),
                limits: self.limits.clone(),
            };
            let listeners = vec![main.listen()?, vip.listen()?];
            let running =
                Server::start(listeners, options, self.hub.clone(), self.service.clone())?;
            self.running = Some(running);
        }
        self.upkeep_loops()
    }

    fn flush_loop(&mut self) -> std::io::Result<()> {
        let (store, broker, hub) = (self.store.clone(), self.broker.clone(), self.hub.clone());
        self.loops.spawn("flush", move |end: &End| {
            let mut pause = Duration::ZERO;
            while !end.wait(Duration::ZERO) {
                store.wait_flush(pause.min(LOOK));
                let flushed = store.flush_step();
                broker.flushed();
                hub.marks_moved();
                match flushed {
                    Ok(next) => pause = pause_of(next).unwrap_or(LOOK),
                    Err(error) => {
                        tracing::error!(%error, "no send is answered any more; restart the broker to verify what is on the disk");
                        return;
                    }
                }
            }
        })
    }

    fn upkeep_loops(&mut self) -> Result<(), StartError> {
        let store = self.store.clone();
        self.loops
            .every("ahead", move || pause_of(store.ahead_step()))?;
        let store = self.store.clone();
        self.loops
            .every("derive", move || pause_of(store.derive_step()))?;
        let store = self.store.clone();
        self.loops
            .every("checkpoint", move || pause_of(store.checkpoint_step()))?;
        let (store, broker) = (self.store.clone(), self.broker.clone());
        self.loops.spawn("retain", move |end: &End| {
            while let Some(mut pause) = pause_of(broker.retain_step()) {
                while !store.wait_room(pause.min(LOOK)) && pause > LOOK {
                    if end.wait(Duration::ZERO) {
                        return;
                    }
                    pause -= LOOK;
                }
                if end.wait(Duration::ZERO) {
                    return;
                }
            }
        })?;
        let (broker, alone) = (self.broker.clone(), self.deadlines.clone());
        self.loops.spawn("deadlines", move |end: &End| {
            while !end.wait(Duration::ZERO) {
                let stepped = {
                    let _alone = alone.lock().unwrap_or_else(PoisonError::into_inner);
                    broker.deadlines_step()
                };
                let pause = stepped.unwrap_or_else(|error| {
                    tracing::warn!(%error, "what is due could not be stored");
                    LOOK
                });
                broker.wait_deadline(pause.min(LOOK));
            }
        })?;
        let broker = self.broker.clone();
        self.loops.every("tick", move || match broker.tick() {
            Ok(pause) => Some(pause),
            Err(error) => {
                tracing::warn!(%error, "what is due by time could not be stored");
                Some(Duration::from_secs(1))
            }
        })?;
        Ok(())
    }

    /// Moves a clock to the end of a span, stopping at everything that is due on the way, in order, and
    /// returns when consumers can see all of it: how many messages that waited no longer do.
    ///
    /// # Errors
    /// If something could not be stored; then the clock stands where that was due.
    pub fn advance(&self, clock: &Moved, by: Duration) -> Result<usize, ::broker::Error> {
        let _alone = self
            .deadlines
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let waiting = || {
            let kinds = [store::Kind::Timer, store::Kind::Half];
            kinds
                .map(|kind| self.store.pending().len(kind))
                .iter()
                .sum()
        };
        let before: usize = waiting();
        let end = clock.wall().saturating_add(ms(by));
        loop {
            while self.broker.deadlines_step()?.is_zero() {}
            let now = clock.wall();
            if now >= end {
                break;
            }
            // What stays due although its step was done is looked at again a moment later.
            let next = self
                .broker
                .next_deadline()
                .map_or(end, |due| due.max(now + 1));
            clock.advance(Duration::from_millis((next.min(end) - now).unsigned_abs()));
        }
        self.settle()?;
        Ok(before.saturating_sub(waiting()))
    }

    /// Returns when consumers see everything that was stored until now.
    fn settle(&self) -> Result<(), ::broker::Error> {
        self.broker.commit()?;
        let marks = self.store.marks();
        if marks.dispatched < marks.appended {
            // It waits for the disk; the flush loop would come to it too, a little later.
            let flushed = self.store.flush_step();
            flushed.map_err(|error| ::broker::Error::Unavailable(error.to_string()))?;
            self.broker.flushed();
            self.hub.marks_moved();
        }
        Ok(())
    }

    /// Stops accepting, answers what is in flight, flushes, unregisters.
    pub fn stop(self, grace: Duration) {
        if let Some(running) = self.running {
            running.shutdown(grace);
        }
        self.loops.end();
        if let Err(error) = self.store.settle() {
            tracing::error!(%error, "the store could not be flushed at the end");
        }
        if let Some(registering) = self.registering {
            registering.stop();
        }
    }
}

fn register(config: &Config, options: &::broker::Options, namesrv: Option<&Namesrv>) -> Register {
    let broker = &config.broker;
    let identity = Identity {
        cluster: options.cluster.clone(),
        broker: options.name.clone(),
        id: broker.id,
        address: options.address.to_string(),
        ha_address: options.ha_address.to_string(),
    };
    let timing = Timing {
        limit: broker.register_timeout,
        ..Timing::with_period(broker.register_period)
    };
    // A list that names the name server of this process means that one, not a connection to it.
    let own = namesrv.map(Namesrv::address);
    let is_own = |server: &String| {
        let found = server.to_socket_addrs().ok().into_iter().flatten().next();
        found.is_some_and(|found| {
            own.is_some_and(|own| found.ip().is_loopback() && found.port() == own.port())
        })
    };
    let servers: Vec<String> = broker
        .namesrvs
        .iter()
        .filter(|server| !is_own(server))
        .cloned()
        .collect();
    Register::new(
        identity,
        timing,
        namesrv.map(|namesrv| namesrv.server().clone()),
        &servers,
    )
}

/// The broker's topics, for the registration that the broker itself owns: neither keeps the other.
struct Topics(Weak<::broker::Broker>);

impl Source for Topics {
    fn registration(&self) -> (Vec<TopicConfig>, DataVersion) {
        let broker = self.0.upgrade();
        broker.map_or_else(Default::default, |broker| {
            Source::registration(broker.as_ref())
        })
    }

    fn set_order_topics(&self, topics: &[String]) {
        if let Some(broker) = self.0.upgrade() {
            broker.set_order_topics(topics);
        }
    }
}

fn ms(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// After what time a step wants to be called again; `None`: never.
fn pause_of(next: Next) -> Option<Duration> {
    match next {
        Next::Now => Some(Duration::ZERO),
        Next::After(pause) => Some(pause),
        Next::Never => None,
    }
}

fn options(config: &Config, port: u16) -> ::broker::Options {
    let broker = &config.broker;
    let address = SocketAddr::new(broker.advertised, port);
    let (ha_ip, ha_port) = broker.ha_address;
    let ha_address = SocketAddr::new(ha_ip, ha_port.unwrap_or(port.saturating_add(1)));
    ::broker::Options {
        id: broker.id.unsigned_abs(),
        ha_address,
        role: match broker.role {
            BrokerRole::SyncMaster => ::broker::Role::SyncMaster,
            BrokerRole::AsyncMaster | BrokerRole::Slave => ::broker::Role::AsyncMaster,
        },
        permission: model::flag::Perm(broker.permission),
        auto_create_topics: broker.auto_create_topic,
        auto_create_groups: broker.auto_create_group,
        default_topic_queues: broker.default_queues,
        cluster_topic: broker.cluster_topic,
        broker_topic: broker.broker_topic,
        trace_topic: broker.trace_topic,
        store_replies: broker.store_replies,
        server_side_reset: broker.server_side_reset,
        long_polling: broker.long_polling,
        short_polling: broker.short_polling,
        lite_pull: broker.lite_pull,
        pop_by_default: broker.pop_by_default,
        pop_share_queues: broker.pop_share_queues,
        pop_retry_v2: broker.pop_retry_v2,
        property_filter: broker.property_filter,
        sql92: match broker.sql92_lenient {
            true => ::broker::Compat::Lenient,
            false => ::broker::Compat::Strict,
        },
        notify_ids_changed: broker.notify_ids_changed,
        protect_system_topics: broker.protect_system_topics,
        mixed_message_type: broker.mixed_message_type,
        body_max: broker.max_message_size as usize,
        reject_transactions: broker.reject_transactions,
        transaction_timeout: broker.transaction_timeout,
        transaction_check_interval: broker.transaction_check_interval,
        transaction_check_max: broker.transaction_check_max,
        half_life: broker.reserved,
        delay_levels: broker.delay_levels.clone(),
        timers: broker.timers,
        timer_max: broker.timer_max_ms,
        recall: broker.recall,
        planted: seeded::broker(),
        region: broker.region.clone(),
        trace_on: broker.trace_on,
        accept_sends_from: broker.accept_sends_from,
        pull_count_max: broker.pull_count as usize,
        pull_bytes_max: broker.pull_bytes as usize,
        in_memory: machine::memory() / 100 * u64::from(broker.in_memory_per_cent),
        shown: config.properties(),
        seed: RandomState::new().build_hasher().finish(),
        ..::broker::Options::new(&broker.cluster, &broker.name, address)
    }
}

fn store_options(config: &Config, options: &::broker::Options) -> store::Options {
    let broker = &config.broker;
    store::Options {
        flush: match broker.sync_flush {
            true => Flush::Sync,
            false => Flush::Async,
        },
        segment_size: broker.segment_size.into(),
        record_max: (broker.max_message_size + RECORD_OVERHEAD) as usize,
        cached: (machine::memory() / 64).max(CACHED_MIN),
        store_host: options.address,
        reserved_time: broker.reserved,
        delete_hours: broker.delete_hours.clone(),
        utc_offset_ms: machine::utc_offset_ms(),
        disk_used_max: broker.disk_max_used,
        disk_refuse: broker.disk_warning,
        disk_force: broker.disk_clean_forcibly,
        clean_forcibly: broker.clean_forcibly,
        ..store::Options::default()
    }
}
