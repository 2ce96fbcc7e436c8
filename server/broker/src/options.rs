//! What an operator may set. Each field names the RocketMQ property it comes from; the defaults are
//! Apache's except where a comment says otherwise.

use std::net::SocketAddr;
use std::time::Duration;

use model::flag::Perm;

use crate::Compat;

/// Settings of a [`crate::Broker`].
#[derive(Clone, Debug)]
pub struct Options {
    /// `brokerClusterName`
    pub cluster: String,
    /// `brokerName`
    pub name: String,
    /// `brokerId`; 0 is the master.
    pub id: u64,
    /// The advertised address (`brokerIP1:listenPort`): it is registered, and is the store host of
    /// every record. Clients connect to it.
    pub address: SocketAddr,
    /// The advertised address of replication (`brokerIP2:haListenPort`).
    pub ha_address: SocketAddr,
    /// `brokerRole`
    pub role: Role,
    /// `brokerPermission`
    pub permission: Perm,
    /// `autoCreateTopicEnable`
    pub auto_create_topics: bool,
    /// `autoCreateSubscriptionGroup`
    pub auto_create_groups: bool,
    /// `defaultTopicQueueNums`
    pub default_topic_queues: u32,
    /// `clusterTopicEnable`: whether the cluster's own topic may be written.
    pub cluster_topic: bool,
    /// `brokerTopicEnable`: whether the broker's own topic may be written.
    pub broker_topic: bool,
    /// `traceTopicEnable`: whether `RMQ_SYS_TRACE_TOPIC` exists from the start.
    pub trace_topic: bool,
    /// `storeReplyMessageEnable`: whether a reply is stored once it was handed over.
    pub store_replies: bool,
    /// `useServerSideResetOffset`: whether a reset of offsets is kept here, rather than told to the
    /// consumers that are online.
    pub server_side_reset: bool,
    /// `longPollingEnable`
    pub long_polling: bool,
    /// `shortPollingTimeMills`: how long a pull is held when long polling is off.
    pub short_polling: Duration,
    /// `litePullMessageEnable`
    pub lite_pull: bool,
    /// `enablePropertyFilter`: whether SQL92 expressions are served. Apache's default is off.
    pub property_filter: bool,
    /// `sql92Compat`
    pub sql92: Compat,
    /// `notifyConsumerIdsChangedEnable`
    pub notify_ids_changed: bool,
    /// `validateSystemTopicWhenUpdateTopic`
    pub protect_system_topics: bool,
    /// `enableMixedMessageType`
    pub mixed_message_type: bool,
    /// `maxMessageSize`: the longest body, in bytes.
    pub body_max: usize,
    /// `rejectTransactionMessage`
    pub reject_transactions: bool,
    /// `transactionTimeOut`: a half message younger than this is not asked about.
    pub transaction_timeout: Duration,
    /// `transactionCheckInterval`: between two questions about one half message.
    pub transaction_check_interval: Duration,
    /// `transactionCheckMax`: questions about one half message before it is given up.
    pub transaction_check_max: u32,
    /// `fileReservedTime`: a half message older than this about which nobody can be asked is given up.
    pub half_life: Duration,
    /// `regionId`
    pub region: String,
    /// `traceOn`: whether clients may trace.
    pub trace_on: bool,
    /// `startAcceptSendRequestTimeStamp`: sends before this time are refused, ms since the Unix epoch.
    pub accept_sends_from: i64,
    /// `maxTransferCountOnMessageInMemory`: most messages a pull returns.
    pub pull_count_max: usize,
    /// `maxTransferBytesOnMessageInMemory`: a pull stops behind this many bytes.
    pub pull_bytes_max: usize,
    /// How far back a queue's first record may lie for a new group to start at 0, in bytes of the
    /// log (`accessMessageInMemoryMaxRatio` of the machine's memory).
    pub in_memory: u64,
    /// `rocketmq.broker.rebalance.lockMaxLiveTime`
    pub lock_life: Duration,
    /// How long a client may be silent (`CHANNEL_EXPIRED_TIMEOUT`).
    pub client_life: Duration,
    /// `messageDelayLevel`: what each level waits, milliseconds, the first one first.
    pub delay_levels: Vec<i64>,
    /// `timerWheelEnable`: whether messages may wait for any time.
    pub timers: bool,
    /// `timerMaxDelaySec`, in milliseconds: as far ahead as a message may wait.
    pub timer_max: i64,
    /// `recallMessageEnable`; on, unlike Apache's.
    pub recall: bool,
    /// Nothing, outside of tests.
    pub planted: Planted,
    /// The effective configuration by RocketMQ's names, for administration tools. The broker shows
    /// it and reads nothing from it.
    pub shown: Vec<(String, String)>,
    /// `enableRetryTopicV2`: what was popped and not acked goes to `%RETRY%group+topic`.
    pub pop_retry_v2: bool,
    /// `defaultMessageRequestMode` is `POP`.
    pub pop_by_default: bool,
    /// `defaultPopShareQueueNum`
    pub pop_share_queues: i32,
    /// Seeds what is random here: the queue of a send that leaves the choice to the broker, and the
    /// ids of messages that came without one.
    pub seed: u64,
}

/// A bug planted on purpose, so that the tests which must find it can be tested. Debug builds of the
/// binary set one if they are told to; nothing else does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Planted {
    /// None.
    #[default]
    Nothing,
    /// A delayed message is delivered by one record, and taken from what waits by another, later one.
    DeliveredInTwoSteps,
    /// A half message is committed by one record, and closed by another, later one.
    CommittedInTwoSteps,
    /// What was out on leases when the broker starts stays out for ever.
    LeasesWithoutEnd,
}

/// What the broker is to its replicas (`brokerRole`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Answers sends without waiting for a slave.
    AsyncMaster,
    /// Sends wait for a slave; while replication does not exist, none is ever there.
    SyncMaster,
}

impl Options {
    /// Apache's defaults for a broker `name` of `cluster` that is reached at `address`.
    pub fn new(cluster: &str, name: &str, address: SocketAddr) -> Options {
        let ha_address = SocketAddr::new(address.ip(), address.port().wrapping_add(1));
        Options {
            cluster: cluster.to_owned(),
            name: name.to_owned(),
            id: 0,
            address,
            ha_address,
            role: Role::AsyncMaster,
            permission: Perm::READ_WRITE,
            auto_create_topics: true,
            auto_create_groups: true,
            default_topic_queues: 8,
            cluster_topic: true,
            broker_topic: true,
            trace_topic: false,
            store_replies: true,
            server_side_reset: true,
            long_polling: true,
            short_polling: Duration::from_millis(1000),
            lite_pull: true,
            property_filter: true,
            sql92: Compat::Strict,
            notify_ids_changed: true,
            protect_system_topics: true,
            mixed_message_type: false,
            body_max: 4 * 1024 * 1024,
            reject_transactions: false,
            transaction_timeout: Duration::from_secs(6),
            transaction_check_interval: Duration::from_secs(30),
            transaction_check_max: 15,
            half_life: Duration::from_secs(72 * 3600),
            region: "DefaultRegion".to_owned(),
            trace_on: true,
            accept_sends_from: 0,
            pull_count_max: 1024,
            pull_bytes_max: 256 * 1024,
            in_memory: 4 << 30,
            lock_life: Duration::from_secs(60),
            client_life: Duration::from_secs(120),
            delay_levels: crate::delay::parse_levels(crate::delay::LEVELS).unwrap_or_default(),
            timers: true,
            timer_max: 3 * 86_400_000,
            recall: true,
            planted: Planted::Nothing,
            shown: Vec::new(),
            pop_retry_v2: false,
            pop_by_default: false,
            pop_share_queues: -1,
            seed: 0,
        }
    }
}
