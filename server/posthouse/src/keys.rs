//! Which configuration keys exist, and what each does here.
//!
//! Three sorts: keys with an effect (one table, [`EFFECTIVE`], with kind, default and meaning);
//! keys that Apache's brokers and name servers know but that have none here (`testdata/apache-keys.tsv`,
//! read from Apache's classes by reflection, and a few spellings of tutorials); and keys that ask for
//! something whose absence would be dangerous to hide, which are refused ([`refusal`]).

use std::sync::OnceLock;

/// What values a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`, in any case.
    Bool,
    /// A whole number between the two, both allowed.
    Int(i64, i64),
    /// A number with an optional fraction.
    Float,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A name that may stand in a topic's name: cluster and broker names do.
    Name,
    /// An IP address, or nothing.
    Ip,
    /// `host:port`, several separated by `;`, or nothing.
    Addresses,
    /// Hours of the day, several separated by `;`: `04` or `04;16`.
    Hours,
    /// Numbers with a unit `s`, `m`, `h` or `d`, separated by blanks: `1s 5s 1m`.
    Levels,
    /// Anything.
    Text,
}

/// A key with an effect.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name in the file.
    pub name: &'static str,
    /// The values it takes.
    pub kind: Kind,
    /// What holds when the file is silent.
    pub default: &'static str,
    /// What it does, in one line.
    pub meaning: &'static str,
    /// Who reads it.
    pub side: Side,
}

/// Which part of a process reads a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The broker.
    Broker,
    /// The name server.
    Namesrv,
    /// Whoever runs.
    Both,
    /// Who serves HTTP: a standalone and a gateway.
    Http,
    /// A gateway.
    Gateway,
}

impl Side {
    const fn key(
        self,
        name: &'static str,
        kind: Kind,
        default: &'static str,
        meaning: &'static str,
    ) -> Key {
        Key {
            name,
            kind,
            default,
            meaning,
            side: self,
        }
    }
}

use Kind::{Addresses, Bool, Hours, Int, Ip, Levels, Name, OneOf, Text};
use Side::{Both, Broker, Gateway, Http, Namesrv};

/// Milliseconds up to one day.
const MILLIS: Kind = Int(1, 86_400_000);
const COUNT: Kind = Int(1, 1_000_000);

/// The keys that change something here.
#[rustfmt::skip]
pub const EFFECTIVE: &[Key] = &[
    Broker.key("brokerClusterName", Name, "DefaultCluster", "the cluster this broker belongs to"),
    Broker.key("brokerName", Name, "broker-a", "the broker's name; never the host name, whose dots are illegal in topics"),
    Broker.key("brokerId", Int(0, i64::MAX), "0", "0 is a master; slaves come with replication"),
    Broker.key("brokerRole", OneOf(&["ASYNC_MASTER", "SYNC_MASTER", "SLAVE"]), "ASYNC_MASTER", "whether a send waits for replicas"),
    Broker.key("brokerIP1", Ip, "", "the address told to clients; unset: the one listened on"),
    Broker.key("brokerIP2", Ip, "", "the address told to replicas; unset: brokerIP1"),
    Broker.key("haListenPort", Int(0, 65_535), "", "the port told to replicas; unset: listenPort + 1"),
    Both.key("bindAddress", Ip, "", "the address listened on; unset: 127.0.0.1"),
    Both.key("listenPort", Int(0, 65_535), "", "the port listened on; unset: 10911, a name server 9876"),
    Broker.key("namesrvAddr", Addresses, "", "the name servers to register with"),
    Broker.key("brokerPermission", OneOf(&["2", "4", "6"]), "6", "2 write, 4 read, 6 both"),
    Broker.key("defaultTopicQueueNums", Int(1, 1_024), "8", "the most queues an auto-created topic gets"),
    Broker.key("autoCreateTopicEnable", Bool, "true", "whether a send may create a topic"),
    Broker.key("autoCreateSubscriptionGroup", Bool, "true", "whether a consumer may create its group"),
    Broker.key("clusterTopicEnable", Bool, "true", "whether a topic named like the cluster exists"),
    Broker.key("brokerTopicEnable", Bool, "true", "whether a topic named like the broker exists"),
    Broker.key("traceTopicEnable", Bool, "false", "whether the trace topic exists from the start"),
    Broker.key("rejectTransactionMessage", Bool, "false", "whether half messages are refused"),
    Broker.key("transactionTimeOut", MILLIS, "6000", "milliseconds after which a producer is asked about its half message, unless the message says another time"),
    Broker.key("transactionCheckInterval", MILLIS, "30000", "milliseconds between two questions about one half message"),
    Broker.key("transactionCheckMax", Int(1, 10_000), "15", "questions about one half message before it is put into TRANS_CHECK_MAX_TIME_TOPIC"),
    Broker.key("messageDelayLevel", Levels, ::broker::delay::LEVELS, "how long a message with each delay level waits, level 1 first; messages that wait already keep their time"),
    Broker.key("timerWheelEnable", Bool, "true", "whether messages may wait for any time (TIMER_DELAY_SEC, TIMER_DELAY_MS, TIMER_DELIVER_MS)"),
    Broker.key("timerMaxDelaySec", Int(1, 315_619_200), "259200", "seconds ahead that such a message may be due, up to ten years"),
    Broker.key("recallMessageEnable", Bool, "true", "whether such a message may be called back (Apache: false)"),
    Broker.key("regionId", Text, "DefaultRegion", "the region stamped on messages"),
    Broker.key("traceOn", Bool, "true", "whether clients are told to trace"),
    Broker.key("longPollingEnable", Bool, "true", "whether a pull may wait for messages"),
    Broker.key("shortPollingTimeMills", MILLIS, "1000", "how long a pull waits when long polling is off"),
    Broker.key("storeReplyMessageEnable", Bool, "true", "whether a reply is stored once its requester has it"),
    Broker.key("useServerSideResetOffset", Bool, "true", "whether a reset of offsets is kept by the broker (true) or told to the consumers that are online"),
    Broker.key("litePullMessageEnable", Bool, "true", "whether LITE_PULL_MESSAGE is served"),
    Broker.key("defaultMessageRequestMode", OneOf(&["PULL", "POP"]), "PULL", "how groups without a mode of their own (setConsumeMode) are told to consume"),
    Broker.key("defaultPopShareQueueNum", Int(-1, 1_024), "-1", "with how many others a popping member shares queues; -1: all pop all"),
    Broker.key("enableRetryTopicV2", Bool, "false", "whether what was popped and not acked goes to %RETRY%group+topic, which is never ambiguous"),
    Broker.key("enablePropertyFilter", Bool, "true", "whether consumers may filter by SQL92 expressions (Apache: false)"),
    Broker.key("sql92Compat", OneOf(&["strict", "lenient"]), "strict", "whether a whole SQL92 expression must be understood, or, as with Apache, only its beginning"),
    Broker.key("validateSystemTopicWhenUpdateTopic", Bool, "true", "whether system topics are protected from changes"),
    Broker.key("enableMixedMessageType", Bool, "false", "whether a topic may have message.type MIXED"),
    Broker.key("startAcceptSendRequestTimeStamp", Int(0, i64::MAX), "0", "milliseconds since 1970 before which sends are refused"),
    Broker.key("accessMessageInMemoryMaxRatio", Int(0, 95), "40", "per cent of the memory within which a new group may start at a queue's first message; 0: never"),
    Broker.key("notifyConsumerIdsChangedEnable", Bool, "true", "whether members hear of a change of their group at once"),
    Broker.key("registerNameServerPeriod", Int(10_000, 60_000), "30000", "milliseconds between two registrations"),
    Broker.key("registerBrokerTimeoutMills", MILLIS, "6000", "milliseconds one registration may take"),
    Broker.key("maxMessageSize", Int(1_024, 16_777_216), "4194304", "the longest body, in bytes"),
    Broker.key("flushDiskType", OneOf(&["SYNC_FLUSH", "ASYNC_FLUSH"]), "SYNC_FLUSH", "whether a send is answered once it is on the disk (SYNC_FLUSH, and the default here) or once the system has it"),
    Broker.key("syncFlushTimeout", MILLIS, "5000", "milliseconds after which a waiting send is answered FLUSH_DISK_TIMEOUT"),
    Broker.key("mappedFileSizeCommitLog", Int(1_048_576, 2_147_483_647), "1073741824", "bytes of one segment of the commit log"),
    Broker.key("fileReservedTime", Int(1, 876_000), "72", "hours that messages are kept"),
    Broker.key("deleteWhen", Hours, "04", "hours of the day at which expired segments are deleted"),
    Broker.key("diskMaxUsedSpaceRatio", Int(10, 95), "75", "per cent of the disk from which expired segments are deleted at any hour"),
    Broker.key("diskSpaceCleanForciblyRatio", Int(30, 95), "85", "per cent of the disk from which the oldest segments are deleted even if young"),
    Broker.key("diskSpaceWarningLevelRatio", Int(35, 98), "90", "per cent of the disk from which sends are refused"),
    Broker.key("cleanFileForciblyEnable", Bool, "false", "whether messages younger than fileReservedTime may be deleted when the disk is full (Apache: true)"),
    Broker.key("maxTransferCountOnMessageInMemory", Int(1, 4_096), "1024", "the most messages one pull gets (Apache: 32, so that a consumer that asks for more does not get them)"),
    Broker.key("maxTransferBytesOnMessageInMemory", Int(1_024, 16_777_216), "262144", "bytes one pull gets, from memory"),
    Both.key("storePathRootDir", Text, "", "the data folder; --data wins over it"),
    Both.key("serverChannelMaxIdleTimeSeconds", Int(1, 86_400), "120", "seconds after which a silent connection is closed"),
    Namesrv.key("kvConfigPath", Text, "", "the name server's key-value file; unset: namesrv/kvConfig.json in the data folder"),
    Both.key("ioThreads", Int(0, 256), "0", "threads that serve connections; 0: one less than there are cores (not one of Apache's keys)"),
    Namesrv.key("configStorePath", Text, "", "where changed settings are kept; unset: namesrv/namesrv.properties in the data folder"),
    Namesrv.key("configBlackList", Text, "", "further keys that may not be changed while running, separated by ;"),
    Namesrv.key("orderMessageEnable", Bool, "false", "whether routes carry the order of queues"),
    Namesrv.key("returnOrderTopicConfigToBroker", Bool, "true", "whether a registering broker is told which topics are ordered"),
    Namesrv.key("enableAllTopicList", Bool, "true", "whether the list of all topics is answered"),
    Namesrv.key("enableTopicList", Bool, "true", "whether the lists of a cluster's and of unit topics are answered"),
    Namesrv.key("supportActingMaster", Bool, "false", "whether a slave that acts as master is shown as one"),
    Namesrv.key("deleteTopicWithBrokerRegistration", Bool, "false", "whether topics that a registration does not bring are dropped"),
    Namesrv.key("needWaitForService", Bool, "false", "whether routes are answered only some time after the start"),
    Namesrv.key("waitSecondsForService", Int(0, 86_400), "45", "that time, in seconds"),
    Namesrv.key("scanNotActiveBrokerInterval", Int(10, 86_400_000), "5000", "milliseconds between two searches for silent brokers"),
    Http.key("http.hosts", Text, "", "names besides IP literals and localhost that a request's Host may have, separated by `;`"),
    Http.key("http.cors.origins", Text, "", "origins whose web pages may call, like `https://shop.example`, separated by `;`; `*` is every one"),
    Http.key("http.drainDelay", Int(0, 60_000), "", "milliseconds that the port stays open after the end was asked for; unset: 0 on loopback, else 5000"),
    Http.key("http.sse.retry", Int(1, 3_600_000), "3000", "milliseconds after which a browser opens a broken stream again"),
    Http.key("http.sse.heartbeat", MILLIS, "15000", "milliseconds between two signs of life of a stream"),
    Http.key("http.sse.maxAge", MILLIS, "1800000", "milliseconds, give or take a fifth, after which a stream ends and is opened again by its reader"),
    Http.key("http.limit.bodyBytes", Int(1, 4_194_304), "4194304", "bytes of one message's body, as far as brokers take it"),
    Http.key("http.limit.requestBytes", Int(1, 1_073_741_824), "6291456", "bytes of a request with one message in JSON"),
    Http.key("http.limit.batchBytes", Int(1, 1_073_741_824), "8388608", "bytes of a request with many"),
    Http.key("http.limit.targetBytes", Int(64, 65_534), "8192", "bytes of a request's path and query"),
    Http.key("http.limit.headerBytes", Int(1_024, 65_536), "16384", "bytes of a request's headers"),
    Http.key("http.limit.headers", Int(16, 1_024), "64", "headers of a request"),
    Http.key("http.limit.headerTime", MILLIS, "10000", "milliseconds for a request's headers to come, and that a connection may be idle"),
    Http.key("http.limit.bodyPause", MILLIS, "15000", "milliseconds that a request's body may pause"),
    Http.key("http.limit.bodyFloor", Int(1, 1_073_741_824), "1024", "bytes a second that a body must have after five seconds"),
    Http.key("http.limit.writeStall", MILLIS, "30000", "milliseconds that a peer may read nothing of an answer"),
    Http.key("http.limit.pageTime", MILLIS, "3600000", "milliseconds that the token of a list's next page is good"),
    Http.key("http.limit.inFlightBytes", Int(1, 1_099_511_627_776), "268435456", "bytes of bodies that requests hold together"),
    Http.key("http.limit.publishes", COUNT, "4096", "publishes under way together"),
    Http.key("http.limit.longPolls", COUNT, "20000", "requests that wait for messages or replies together"),
    Http.key("http.limit.streams", COUNT, "20000", "streams open together"),
    Http.key("http.limit.streamsPerAddress", COUNT, "512", "streams of one address that is not loopback"),
    Http.key("http.limit.sqlStreams", COUNT, "256", "streams with an SQL92 filter among them, each of which asks brokers for itself"),
    Http.key("http.limit.connections", COUNT, "32768", "connections open together"),
    Http.key("http.limit.connectionsPerAddress", COUNT, "1024", "connections of one address that is not loopback"),
    Http.key("http.webhook.trustedHosts", Text, "", "hosts that webhooks may call wherever they are and over http too, separated by `;`, each at every port unless it names one; all else is https to public addresses"),
    Http.key("http.webhook.authorities", Text, "", "a PEM file of the authorities that vouch for https receivers of webhooks; unset: those of the system (`SSL_CERT_FILE`, else where distributions keep them)"),
    Gateway.key("accessKey", Text, "", "whose rights the gateway has at the brokers: the name of a user of theirs; POSTHOUSE_ACCESS_KEY goes before it"),
    Gateway.key("secretKey", Text, "", "that user's secret; the file must be its owner's alone (mode 0600), and it is printed nowhere; POSTHOUSE_SECRET_KEY goes before it"),
];

/// Spellings that mean another key: earlier releases' and tutorials' own.
const ALIASES: &[(&str, &str)] = &[
    ("mapedFileSizeCommitLog", "mappedFileSizeCommitLog"),
    ("mapedFileSizeConsumeQueue", "mappedFileSizeConsumeQueue"),
    (
        "mapedFileSizeConsumeQueueExt",
        "mappedFileSizeConsumeQueueExt",
    ),
    (
        "destroyMappedFileIntervalForcibly",
        "destroyMapedFileIntervalForcibly",
    ),
    ("redelateHangedFileInterval", "redeleteHangedFileInterval"),
    ("warmMappedFileEnable", "warmMapedFileEnable"),
    (
        "flushLeastPagesWhenWarmMappedFile",
        "flushLeastPagesWhenWarmMapedFile",
    ),
    ("transactionMsgTimeout", "transactionTimeOut"),
    ("transactionTimeout", "transactionTimeOut"),
];

/// Keys that tutorials carry and that no class of Apache has: ignored there without a word.
const TUTORIAL: &[&str] = &[
    "storePathConsumeQueue",
    "storePathIndex",
    "storeCheckpoint",
    "abortFile",
    "checkTransactionMessageEnable",
];

/// A key of Apache's, whether or not it has an effect here.
#[derive(Clone, Copy, Debug)]
pub struct ApacheKey {
    /// The class whose setter takes it.
    pub class: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The Java type.
    pub java: &'static str,
}

/// Every key of Apache's broker and name server, 4.9.7 and 5.3.3.
pub fn apache() -> &'static [ApacheKey] {
    static KEYS: OnceLock<Vec<ApacheKey>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let table = include_str!("../testdata/apache-keys.tsv");
        let rows = table.lines().filter(|line| !line.starts_with('#'));
        rows.filter_map(|line| {
            let mut cells = line.split('\t');
            Some(ApacheKey {
                class: cells.next()?,
                name: cells.next()?,
                java: cells.next()?,
            })
        })
        .collect()
    })
}

/// What a name in a file is.
#[derive(Clone, Copy, Debug)]
pub enum Known {
    /// A key with an effect.
    Effective(&'static Key),
    /// A key without: its proper name, its kind, and why.
    Quiet(&'static str, Kind, &'static str),
}

/// Looks a name up, through the aliases. The kind of a quiet key comes from its Java type.
pub fn find(name: &str) -> Option<Known> {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
    let name = alias.map_or(name, |(_, meant)| meant);
    if let Some(key) = effective(name) {
        return Some(Known::Effective(key));
    }
    if let Some(name) = TUTORIAL.iter().find(|known| **known == name) {
        return Some(Known::Quiet(name, Text, why_quiet(name)));
    }
    let key = apache().iter().find(|key| key.name == name)?;
    let kind = match key.java {
        "boolean" => Bool,
        "int" => Int(i32::MIN.into(), i32::MAX.into()),
        "long" => Int(i64::MIN, i64::MAX),
        "double" => Kind::Float,
        _ => Text,
    };
    Some(Known::Quiet(key.name, kind, why_quiet(key.name)))
}

/// The key with an effect of that name.
pub fn effective(name: &str) -> Option<&'static Key> {
    EFFECTIVE.iter().find(|key| key.name == name)
}

/// Every name a file may use.
pub fn names() -> impl Iterator<Item = &'static str> {
    let effective = EFFECTIVE.iter().map(|key| key.name);
    let aliases = ALIASES.iter().map(|(alias, _)| *alias);
    let quiet = apache().iter().map(|key| key.name);
    effective
        .chain(aliases)
        .chain(TUTORIAL.iter().copied())
        .chain(quiet)
}

/// The known name that is the fewest edits away from `name`, whatever its case.
pub fn nearest(name: &str) -> &'static str {
    let name: Vec<u8> = name
        .bytes()
        .take(64)
        .map(|b| b.to_ascii_lowercase())
        .collect();
    names()
        .min_by_key(|known| edits(&name, &known.to_ascii_lowercase().into_bytes()))
        .unwrap_or("brokerName")
}

/// Levenshtein's distance, with the swap of two neighbours as one edit.
fn edits(a: &[u8], b: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, &y) in b.iter().enumerate() {
            let mut best = (above[j] + usize::from(x != y))
                .min(above[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

/// Why a known key changes nothing here; the first fitting row speaks.
fn why_quiet(name: &str) -> &'static str {
    const WHY: &[(&[&str], &str)] = &[
        (
            &[
                "storePath",
                "storeCheckpoint",
                "abortFile",
                "readOnlyCommitLog",
            ],
            "everything lives in the data folder (--data)",
        ),
        (
            &[
                "ThreadPool",
                "Threads",
                "ThreadNum",
                "QueueCapacity",
                "Semaphore",
                "waitTimeMillsIn",
                "FastFailure",
                "WorkerGroup",
            ],
            "there are no thread pools here; see ioThreads",
        ),
        (
            &[
                "warm",
                "Warm",
                "transientStore",
                "Swap",
                "Swaped",
                "InStorePool",
                "MapedFile",
                "HangedFile",
                "ByHeap",
                "Lock",
                "commitC",
                "commitI",
                "Commit",
            ],
            "Java's mapped files and heap do not exist here",
        ),
        (
            &["ransactionOp", "ransactionMetric"],
            "one record ends a transaction, and its figures cost nothing",
        ),
        (
            &["timer", "Timer", "Delay", "Schedule", "schedule"],
            "delayed messages wait in the log itself, to the millisecond",
        ),
        (
            &["pop", "Pop", "revive", "Revive", "Ck", "Ack", "ack"],
            "leases are records of the log and have a clock of their own",
        ),
        (
            &[
                "PropertyFilter",
                "ilterBitMap",
                "Bloom",
                "UseFilter",
                "filterS",
                "filterD",
                "ConsumeQueueExt",
            ],
            "expressions are compiled once and read properties in place",
        ),
        (
            &[
                "ha",
                "brokerIP2",
                "eplica",
                "Slave",
                "slave",
                "aster",
                "DLeger",
                "dLeger",
                "controller",
                "Controller",
                "ActingMaster",
                "Election",
                "SyncState",
                "Escape",
            ],
            "there is no replication yet",
        ),
        (
            &["metric", "Metric", "Stat", "commercial", "account"],
            "statistics are kept without it",
        ),
        (
            &[
                "auth",
                "Auth",
                "acl",
                "user",
                "migrate",
                "initAuth",
                "innerClient",
            ],
            "there is no authentication yet",
        ),
        (
            &[
                "rocksdb",
                "Rocks",
                "rocks",
                "ompaction",
                "memTable",
                "olddata",
                "old",
            ],
            "the store here has nothing of the kind",
        ),
    ];
    let fits = |patterns: &[&str]| {
        patterns.iter().any(|pattern| match *pattern {
            "ha" => {
                name.starts_with("ha") && name.as_bytes().get(2).is_some_and(u8::is_ascii_uppercase)
            }
            pattern => name.contains(pattern),
        })
    };
    let row = WHY.iter().find(|(patterns, _)| fits(patterns));
    row.map_or("nothing here depends on it", |(_, why)| why)
}

/// Why this value of a key without effect must not be accepted in silence: it asks for a protection,
/// or for another way to store or replicate, that is not there.
pub fn refusal(name: &str, value: &str) -> Option<&'static str> {
    let on = value.trim().eq_ignore_ascii_case("true");
    match name {
        "aclEnable" | "authenticationEnabled" | "authorizationEnabled" if on => Some(
            "there is no access control yet: the broker would be open although the file asks for protection",
        ),
        "useTLS" if on => Some(
            "there is no TLS yet: connections would be in clear text although the file asks for TLS",
        ),
        "enableDLegerCommitLog" | "enableControllerMode" | "duplicationEnable" if on => Some(
            "there is no replication yet: messages would be on one machine although the file asks for more",
        ),
        "minInSyncReplicas" if value.trim().parse().is_ok_and(|n: i64| n > 1) => Some(
            "there is no replication yet: messages would be on one machine although the file asks for more",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use ::broker::settings::{CHANGEABLE, Values};

    use super::*;

    #[test]
    fn the_nearest_name_is_found_through_case_swaps_and_gaps() {
        assert_eq!(nearest("brokername"), "brokerName");
        assert_eq!(nearest("flushDiskTpye"), "flushDiskType");
        assert_eq!(nearest("autoCreateTopicEnabled"), "autoCreateTopicEnable");
        assert_eq!(nearest("fileReserveTime"), "fileReservedTime");
        assert_eq!(edits(b"ca", b"abc"), 3);
        assert_eq!(edits(b"", b"abc"), 3);
    }

    #[test]
    fn every_key_of_apaches_classes_is_known() {
        let counted = apache().len();
        assert_eq!(counted, 474);
        for key in apache() {
            assert!(find(key.name).is_some(), "{} {}", key.class, key.name);
        }
    }

    #[test]
    fn every_spelling_of_the_tutorial_is_known() {
        for name in names() {
            assert!(find(name).is_some(), "{name}");
        }
        for (alias, meant) in [
            ("transactionMsgTimeout", "transactionTimeOut"),
            ("mapedFileSizeCommitLog", "mappedFileSizeCommitLog"),
        ] {
            let proper = match find(alias) {
                Some(Known::Effective(key)) => key.name,
                Some(Known::Quiet(name, ..)) => name,
                None => "",
            };
            assert_eq!(proper, meant);
        }
    }

    #[test]
    fn what_a_running_broker_takes_is_what_its_file_may_say() {
        for (name, values) in CHANGEABLE {
            let key = effective(name).unwrap();
            let own = match key.kind {
                Bool => Values::Truth,
                Int(least, most) => Values::Number(least, most),
                _ => panic!("{name}"),
            };
            assert_eq!(own, *values, "{name}");
        }
    }

    /// `server/docs/configuration.md` is written by this test: UPDATE_EXPECT=1 rewrites it.
    #[test]
    fn the_page_of_keys_is_the_table_of_keys() {
        let mut page = include_str!("keys/page_head.md").to_owned();
        for (title, side) in [
            ("Both", Both),
            ("Broker", Broker),
            ("Name server", Namesrv),
            ("HTTP (a standalone, a gateway)", Http),
            ("Gateway", Gateway),
        ] {
            page += &format!(
                "\n### {title}\n\n| Key | Default | Allowed | What it does |\n|---|---|---|---|\n"
            );
            for key in EFFECTIVE.iter().filter(|key| key.side == side) {
                let default = match key.default {
                    "" => String::new(),
                    default => format!("`{default}`"),
                };
                let allowed = allowed(key.kind);
                page += &format!(
                    "| `{}` | {default} | {allowed} | {} |\n",
                    key.name, key.meaning
                );
            }
        }
        page += "\n## Changed while a broker runs\n\n";
        page += "By `mqadmin updateBrokerConfig` (25) or `PATCH /v1/brokers/{broker}/config`, and kept over a restart until the file \
                 says something else than it did then. What a name server takes (318) is what its keys above are, without the paths.\n\n";
        for (name, _) in CHANGEABLE {
            page += &format!("- `{name}`\n");
        }
        page += "\n## Other spellings\n\n| Written | Means |\n|---|---|\n";
        for (alias, meant) in ALIASES {
            page += &format!("| `{alias}` | `{meant}` |\n");
        }
        expect_test::expect_file!["../../docs/configuration.md"].assert_eq(&page);
    }

    fn allowed(kind: Kind) -> String {
        match kind {
            Bool => "true, false".to_owned(),
            Int(least, i64::MAX) => format!("from {least}"),
            Int(least, most) => format!("{least} – {most}"),
            Kind::Float => "a number".to_owned(),
            OneOf(words) => words.join(", "),
            Name => "a name that topics may contain".to_owned(),
            Ip => "an IP address".to_owned(),
            Addresses => "`host:port;…`".to_owned(),
            Hours => "`04` or `04;16`".to_owned(),
            Levels => "like `1s 5s 1m 2h 3d`".to_owned(),
            Text => String::new(),
        }
    }

    #[test]
    fn a_key_with_an_effect_stands_in_the_table_once() {
        let mut seen = std::collections::BTreeSet::new();
        for key in EFFECTIVE {
            assert!(seen.insert(key.name), "{}", key.name);
        }
    }
}
