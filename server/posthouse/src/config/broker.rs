//! The broker's part: its addresses and every key that is its own.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::addresses::{advertised, broker_listen, namesrvs};
use super::{Error, Given, Role};
use crate::raw_config::{self, RawConfig};

/// What a record may have beside its body: properties, names, the rest of the header; in bytes.
pub const RECORD_OVERHEAD: u32 = 128 << 10;

/// The broker's part. Field by field the keys of the same meaning in [`keys::EFFECTIVE`].
#[derive(Clone, Debug)]
#[allow(missing_docs)] // the table of keys says what each is
pub struct Broker {
    pub listen: SocketAddr,
    /// The address told to clients; the port is the one listened on.
    pub advertised: IpAddr,
    /// The address told to replicas, and its port if it is not the one behind the broker's.
    pub ha_address: (IpAddr, Option<u16>),
    pub namesrvs: Vec<String>,
    pub cluster: String,
    pub name: String,
    pub id: i64,
    pub role: BrokerRole,
    pub permission: u32,
    pub default_queues: u32,
    pub auto_create_topic: bool,
    pub auto_create_group: bool,
    pub cluster_topic: bool,
    pub broker_topic: bool,
    pub trace_topic: bool,
    pub reject_transactions: bool,
    pub transaction_timeout: Duration,
    pub transaction_check_interval: Duration,
    pub transaction_check_max: u32,
    pub delay_levels: Vec<i64>,
    pub timers: bool,
    pub timer_max_ms: i64,
    pub recall: bool,
    pub region: String,
    pub trace_on: bool,
    pub store_replies: bool,
    pub server_side_reset: bool,
    pub long_polling: bool,
    pub short_polling: Duration,
    pub notify_ids_changed: bool,
    pub lite_pull: bool,
    pub pop_by_default: bool,
    pub pop_share_queues: i32,
    pub pop_retry_v2: bool,
    pub property_filter: bool,
    pub sql92_lenient: bool,
    pub protect_system_topics: bool,
    pub mixed_message_type: bool,
    pub accept_sends_from: i64,
    pub in_memory_per_cent: u8,
    pub register_period: Duration,
    pub register_timeout: Duration,
    pub max_message_size: u32,
    pub sync_flush: bool,
    pub flush_timeout: Duration,
    pub segment_size: u32,
    pub reserved: Duration,
    pub delete_hours: Vec<u8>,
    pub disk_max_used: u8,
    pub disk_clean_forcibly: u8,
    pub disk_warning: u8,
    pub clean_forcibly: bool,
    pub pull_count: u32,
    pub pull_bytes: u32,
}

/// Whether a send waits for replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerRole {
    /// It does not.
    AsyncMaster,
    /// It does.
    SyncMaster,
    /// This one is a replica.
    Slave,
}

pub(super) fn resolve(
    role: Role,
    given: &Given,
    raw: &RawConfig,
    notes: &mut Vec<String>,
) -> Result<Broker, Error> {
    let listen = broker_listen(given, raw)?;
    let advertised = advertised(listen.ip(), raw)?;
    if role.has_broker() && listen.ip().is_loopback() && !advertised.is_loopback() {
        notes.push(format!(
            "clients are told {advertised}, but the broker listens on {} only",
            listen.ip()
        ));
    }
    let namesrvs = namesrvs(role, given, raw, notes);
    let wrong = |namesrv: &&String| !raw_config::is_address(namesrv);
    if let Some(namesrv) = namesrvs.iter().find(wrong) {
        return Err(Error::Address {
            option: "-n",
            text: namesrv.clone(),
            what: "is not HOST:PORT; several are separated by ;".to_owned(),
        });
    }
    // Every range is that of the table of keys, so no conversion below can lose anything.
    let number = |name| u32::try_from(raw.number(name)).unwrap_or(u32::MAX);
    let per_cent = |name| u8::try_from(raw.number(name)).unwrap_or(100);
    let millis = |name| Duration::from_millis(number(name).into());
    let (body, segment) = (number("maxMessageSize"), number("mappedFileSizeCommitLog"));
    let least = 2 * (body + RECORD_OVERHEAD);
    if role.has_broker() && segment < least {
        return Err(Error::Segment {
            segment,
            least,
            body,
        });
    }
    Ok(Broker {
        listen,
        advertised,
        ha_address: (
            raw.written("brokerIP2")
                .and_then(|ip| ip.parse().ok())
                .unwrap_or(advertised),
            raw.written("haListenPort")
                .and_then(|port| port.parse().ok()),
        ),
        namesrvs,
        cluster: raw.text("brokerClusterName").to_owned(),
        name: raw.text("brokerName").to_owned(),
        id: raw.number("brokerId"),
        role: match raw.text("brokerRole") {
            "SYNC_MASTER" => BrokerRole::SyncMaster,
            "SLAVE" => BrokerRole::Slave,
            _ => BrokerRole::AsyncMaster,
        },
        permission: number("brokerPermission"),
        default_queues: number("defaultTopicQueueNums"),
        auto_create_topic: raw.flag("autoCreateTopicEnable"),
        auto_create_group: raw.flag("autoCreateSubscriptionGroup"),
        cluster_topic: raw.flag("clusterTopicEnable"),
        broker_topic: raw.flag("brokerTopicEnable"),
        trace_topic: raw.flag("traceTopicEnable"),
        reject_transactions: raw.flag("rejectTransactionMessage"),
        transaction_timeout: millis("transactionTimeOut"),
        transaction_check_interval: millis("transactionCheckInterval"),
        transaction_check_max: number("transactionCheckMax"),
        delay_levels: ::broker::delay::parse_levels(raw.text("messageDelayLevel"))
            .unwrap_or_default(),
        timers: raw.flag("timerWheelEnable"),
        timer_max_ms: raw.number("timerMaxDelaySec") * 1_000,
        recall: raw.flag("recallMessageEnable"),
        region: raw.text("regionId").to_owned(),
        trace_on: raw.flag("traceOn"),
        store_replies: raw.flag("storeReplyMessageEnable"),
        server_side_reset: raw.flag("useServerSideResetOffset"),
        long_polling: raw.flag("longPollingEnable"),
        short_polling: millis("shortPollingTimeMills"),
        notify_ids_changed: raw.flag("notifyConsumerIdsChangedEnable"),
        lite_pull: raw.flag("litePullMessageEnable"),
        pop_by_default: raw.text("defaultMessageRequestMode") == "POP",
        pop_share_queues: i32::try_from(raw.number("defaultPopShareQueueNum")).unwrap_or(-1),
        pop_retry_v2: raw.flag("enableRetryTopicV2"),
        property_filter: raw.flag("enablePropertyFilter"),
        sql92_lenient: raw.text("sql92Compat") == "lenient",
        protect_system_topics: raw.flag("validateSystemTopicWhenUpdateTopic"),
        mixed_message_type: raw.flag("enableMixedMessageType"),
        accept_sends_from: raw.number("startAcceptSendRequestTimeStamp"),
        in_memory_per_cent: per_cent("accessMessageInMemoryMaxRatio"),
        register_period: millis("registerNameServerPeriod"),
        register_timeout: millis("registerBrokerTimeoutMills"),
        max_message_size: body,
        sync_flush: raw.text("flushDiskType") == "SYNC_FLUSH",
        flush_timeout: millis("syncFlushTimeout"),
        segment_size: segment,
        reserved: Duration::from_secs(u64::from(number("fileReservedTime")) * 3_600),
        delete_hours: hours(raw.text("deleteWhen")),
        disk_max_used: per_cent("diskMaxUsedSpaceRatio"),
        disk_clean_forcibly: per_cent("diskSpaceCleanForciblyRatio"),
        disk_warning: per_cent("diskSpaceWarningLevelRatio"),
        clean_forcibly: raw.flag("cleanFileForciblyEnable"),
        pull_count: number("maxTransferCountOnMessageInMemory"),
        pull_bytes: number("maxTransferBytesOnMessageInMemory"),
    })
}

fn hours(text: &str) -> Vec<u8> {
    text.split(';')
        .filter_map(|hour| hour.trim().parse().ok())
        .collect()
}
