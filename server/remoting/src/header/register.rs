//! Brokers at a name server: 103, 104, 322, 901, 904.

use super::header;

header! {
    /// Header of 103.
    RegisterHeader<'a> {
        /// The broker set's name.
        broker_name: &'a str = b"brokerName",
        /// Where clients reach it, `ip:port`.
        broker_addr: &'a str = b"brokerAddr",
        /// Its cluster.
        cluster_name: &'a str = b"clusterName",
        /// Where slaves reach it, `ip:port`.
        ha_server_addr: &'a str = b"haServerAddr",
        /// 0 is the master.
        broker_id: i64 = b"brokerId",
        /// Silence after which it counts as gone; absent is two minutes.
        heartbeat_timeout_ms: Option<i64> = b"heartbeatTimeoutMillis",
        /// Whether a slave may stand in; absent marks an old broker.
        enable_acting_master: Option<bool> = b"enableActingMaster",
        /// The body is compressed, or so it says.
        compressed: bool = b"compressed",
        /// CRC-32 of the body without its top bit; 0 is unchecked.
        body_crc32: Option<i64> = b"bodyCrc32",
        /// Its zone.
        zone_name: Option<&'a str> = b"__ZONE_NAME",
    }
}

header! {
    /// Answer to 103. Both are given to slaves only.
    RegisterAnswer<'a> {
        /// Where the master ships its log.
        ha_server_addr: Option<&'a str> = b"haServerAddr",
        /// Where clients reach the master.
        master_addr: Option<&'a str> = b"masterAddr",
    }
}

header! {
    /// Header of 104 and 322.
    UnregisterBrokerHeader<'a> {
        /// The broker set's name.
        broker_name: &'a str = b"brokerName",
        /// Where clients reach it.
        broker_addr: &'a str = b"brokerAddr",
        /// Its cluster.
        cluster_name: &'a str = b"clusterName",
        /// 0 is the master.
        broker_id: i64 = b"brokerId",
    }
}

header! {
    /// Answer to 322.
    ChangedAnswer {
        /// The name server's table has another version.
        changed: bool = b"changed",
    }
}

header! {
    /// Header of 901.
    MemberGroupHeader<'a> {
        /// The cluster.
        cluster_name: &'a str = b"clusterName",
        /// The broker set's name.
        broker_name: &'a str = b"brokerName",
    }
}

header! {
    /// Header of 904.
    BrokerHeartbeatHeader<'a> {
        /// Its cluster.
        cluster_name: &'a str = b"clusterName",
        /// Where clients reach it.
        broker_addr: &'a str = b"brokerAddr",
        /// The broker set's name.
        broker_name: &'a str = b"brokerName",
        /// 0 is the master.
        broker_id: Option<i64> = b"brokerId",
        /// Silence after which it counts as gone (Apache's spelling).
        heartbeat_timeout_ms: Option<i64> = b"heartbeatTimeoutMills",
    }
}
