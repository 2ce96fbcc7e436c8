//! What of an answer is not decided by the requests, and what it looks like all the same.
//!
//! A value is the machine's (addresses, sizes of the store), the clock's, or chance's. Everything else
//! must be the same.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// How two values are compared.
#[derive(Clone, Copy)]
pub enum Form {
    /// They are the same.
    Same,
    /// Both are numbers.
    Number,
    /// Both are times in ms. That there is none (0 or below) is said alike.
    Time,
    /// The same text but for the numbers in it, and the units of sizes.
    Figures,
    /// Both are addresses of the same host.
    Address,
    /// Both are ids of as many messages in a store at the same address.
    OffsetId,
    /// The same, or both made by a broker on the same host.
    UniqId,
    /// The same but for the time of delivery.
    Handle,
    /// The same receipt handle of a pop but for when it was.
    Receipt,
    /// The same words, but for addresses; what Java says of an exception only has to be answered by
    /// words of our own.
    Remark,
}

use Form::*;

/// Which names are not compared by [`Form::Same`]. `[]` stands for any row of a list or a table.
const FORMS: &[(&str, Form)] = &[
    ("remark", Remark),
    // Of sends.
    ("msgId", OffsetId),
    ("transactionId", UniqId),
    ("recallHandle", Handle),
    // Of checks of transactions: what is asked about then is committed at the place that ours named.
    ("commitLogOffset", Number),
    ("offsetMsgId", OffsetId),
    // Of replies that are handed on.
    ("bornHost", Address),
    ("storeTimestamp", Time),
    ("properties.PUSH_REPLY_TIME", Time),
    // Of pops and of 32.
    ("popTime", Time),
    ("timestamp", Time),
    // The configuration's version.
    ("version", Figures),
    // Of 12.
    ("indexLastUpdatePhyoffset", Number),
    ("indexLastUpdateTimestamp", Number),
    // Of messages.
    ("[].bornHost", Address),
    ("[].storeTimestamp", Time),
    ("[].physicalOffset", Number),
    ("[].properties.UNIQ_KEY", UniqId),
    ("[].properties.ORIGIN_MESSAGE_ID", OffsetId),
    ("[].properties.TIMER_DEQUEUE_MS", Time),
    ("[].properties.1ST_POP_TIME", Time),
    ("[].properties.POP_CK", Receipt),
    // Of tables.
    (".dataVersion.counter", Number),
    (".dataVersion.timestamp", Time),
    (".mappingDataVersion.timestamp", Time),
    // Of clients.
    (".connectionSet[].clientAddr", Address),
    (".data[][].remoteIP", Address),
    (".data[][].lastUpdateTimestamp", Time),
    // Of queues: our records are 20 bytes longer, for their checksum.
    (".offsetTable[].lastUpdateTimestamp", Time),
    (".offsetTable[].lastTimestamp", Time),
    (".consumeStatsList[][].offsetTable[].lastTimestamp", Time),
    (".queueData[].physicOffset", Number),
    (".queueData[].physicSize", Number),
    (".consumeTimeSpanSet[].delayTime", Number),
    (".consumeTimeSpanSet[].minTimeStamp", Time),
    (".consumeTimeSpanSet[].minTimeStampStr", Figures),
    (".consumeTimeSpanSet[].maxTimeStamp", Time),
    (".consumeTimeSpanSet[].maxTimeStampStr", Figures),
    (".consumeTimeSpanSet[].consumeTimeStamp", Time),
    (".consumeTimeSpanSet[].consumeTimeStampStr", Figures),
    // A rate depends on how long ago the last sample was.
    (".consumeTps", Number),
    (".topicPutTps", Number),
    (".statsMinute.tps", Number),
    (".statsHour.tps", Number),
    // Of the broker's runtime table: what it did since its start, how fast, and with which disk.
    (".table[bootTimestamp]", Time),
    (".table[runtime]", Figures),
    (".table[commitLogDirCapacity]", Figures),
    (".table[commitLogDiskRatio]", Number),
    (".table[commitLogDiskRatio_PATH]", Number),
    (".table[consumeQueueDiskRatio]", Number),
    (".table[commitLogMaxOffset]", Number),
    (".table[earliestMessageTimeStamp]", Time),
    (".table[remainHowManyDataToFlush]", Figures),
    (".table[getFoundTps]", Figures),
    (".table[getMissTps]", Figures),
    (".table[getTotalTps]", Figures),
    (".table[getTransferredTps]", Figures),
    (".table[putTps]", Figures),
    (".table[timerReadBehind]", Number),
    (".table[getMessageEntireTimeMax]", Number),
    (".table[putMessageEntireTimeMax]", Number),
    (".table[putMessageDistributeTime]", Figures),
    (".table[putLatency99]", Number),
    (".table[putLatency999]", Number),
    (".table[msgGetTotalTodayNow]", Number),
    (".table[msgPutTotalTodayNow]", Number),
    (".table[putMessageAverageSize]", Number),
    (".table[putMessageFailedTimes]", Number),
    (".table[putMessageSizeTotal]", Number),
    (".table[putMessageTimesTotal]", Number),
];

/// How the value of that name is compared.
pub fn form(name: &str) -> Form {
    let any = any_row(name);
    let row = FORMS
        .iter()
        .find(|(pattern, _)| *pattern == name || *pattern == any);
    row.map_or(Same, |(_, form)| *form)
}

/// The name without what stands in its outermost brackets (a queue's key has braces, a list's none).
fn any_row(name: &str) -> String {
    let mut depth = 0;
    let mut out = String::new();
    for c in name.chars() {
        depth -= i32::from(c == ']');
        if depth == 0 {
            out.push(c);
        }
        depth += i32::from(c == '[');
    }
    out
}

impl Form {
    pub fn same(self, theirs: &str, ours: &str) -> bool {
        if theirs == ours {
            return true;
        }
        let both = |holds: fn(&str) -> bool| holds(theirs) && holds(ours);
        match self {
            Same => false,
            Number => both(|text| text.parse::<f64>().is_ok()),
            Time => match (time(theirs), time(ours)) {
                (Some(theirs), Some(ours)) => theirs > 0 && ours > 0,
                _ => false,
            },
            Figures => figures(theirs) == figures(ours),
            Address => match (address(theirs), address(ours)) {
                (Some(theirs), Some(ours)) => theirs.ip() == ours.ip(),
                _ => false,
            },
            OffsetId => stores(theirs) == stores(ours) && stores(ours).iter().all(Option::is_some),
            // Eight digits are the host's. A client's own would be the same.
            UniqId => both(is_id) && theirs[..8] == ours[..8] && theirs[8..20] == *RECORDED_BROKER,
            Receipt => receipt(theirs).is_some() && receipt(theirs) == receipt(ours),
            Handle => handle(theirs) == handle(ours),
            Remark => by_java(theirs) || without_addresses(theirs) == without_addresses(ours),
        }
    }
}

/// The process and the class loader in the ids that the recorded broker made.
const RECORDED_BROKER: &str = "3E974E0E2F2A";

/// A remark that means nothing: an initial value that Apache forgot in a successful answer, or no text.
pub fn says_nothing(remark: &str) -> bool {
    remark.is_empty() || remark == "not set any response code"
}

fn by_java(remark: &str) -> bool {
    let class = remark.split([':', ',']).next().unwrap_or_default();
    let packages = ["java.", "com.alibaba.", "org.apache."];
    packages.iter().any(|package| class.starts_with(package)) && class.ends_with("Exception")
}

fn time(text: &str) -> Option<i64> {
    let time = text.parse().ok()?;
    (time <= 0 || text.len() == 13).then_some(time)
}

fn address(text: &str) -> Option<SocketAddr> {
    text.trim_start_matches('/').parse().ok()
}

/// The store of each of some message ids.
fn stores(ids: &str) -> Vec<Option<SocketAddr>> {
    let ids = ids.split(',').map(model::id::parse_offset_id);
    ids.map(|id| id.map(|(store, _)| store)).collect()
}

fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// The text with one `#` for each number, sizes in bytes.
fn figures(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        let digit = c.is_ascii_digit() || (c == '.' && out.ends_with('#'));
        match digit {
            true if out.ends_with('#') => {}
            true => out.push('#'),
            false => out.push(c),
        }
    }
    let units = ["KiB", "MiB", "GiB", "TiB"];
    units
        .iter()
        .fold(out, |text, unit| text.replace(&format!("# {unit}"), "# B"))
}

/// The fields of a recall handle, without the time (the fourth).
fn handle(text: &str) -> Option<Vec<String>> {
    let text = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
    let mut fields: Vec<_> = text.split(' ').map(str::to_owned).collect();
    (fields.len() == 5 && time(&fields[3])? > 0).then(|| fields.remove(3))?;
    Some(fields)
}

/// The fields of a receipt handle, without the time of the pop (the second).
fn receipt(text: &str) -> Option<Vec<&str>> {
    let mut fields: Vec<_> = text.split(' ').collect();
    (fields.len() == 8 && time(fields[1])? > 0).then(|| fields.remove(1))?;
    Some(fields)
}

/// The text with `host:port` for each client's address.
fn without_addresses(text: &str) -> String {
    let words = text.split_inclusive([' ', '[', ']', '/']);
    let word = |word: &str| {
        let bare = word.trim_end_matches([' ', '[', ']', '/']);
        match address(bare) {
            Some(_) => word.replace(bare, "host:port"),
            None => word.to_owned(),
        }
    };
    words.map(word).collect()
}

#[test]
fn each_form_refuses_what_is_not_of_it() {
    let id = "7F0000013E974E0E2F2A796841670002";
    let rows = [
        (Same, "3", "3", "4"),
        (Number, "0.2", "17", "many"),
        (Time, "1795528075618", "1795528075700", "0"),
        (Time, "-1", "-1", "0"),
        (Figures, "2 days, 0.5 GiB", "0 days, 17 B", "0 hours, 17 B"),
        (
            Address,
            "127.0.0.1:34520",
            "127.0.0.1:40002",
            "10.0.0.1:34520",
        ),
        (
            OffsetId,
            "7F000001000051AF00000000008677FF",
            "7F000001000051AF0000000000000001",
            "7F000001000051B000000000008677FF",
        ),
        (UniqId, id, "7F00000100000000000679684162000D", "7F0000017"),
        // Made by a client: it has to come back as it is.
        (
            UniqId,
            "7F000001500B4E0E2F2A7965C6320020",
            "7F000001500B4E0E2F2A7965C6320020",
            "7F000001500B4E0E2F2A7965C6320021",
        ),
        (
            Handle,
            "djEgVCBiIDE3OTU1Mjc5MTgwMDEgN0Y=",
            "djEgVCBiIDE3OTU1MjgwNzg2MTkgN0Y=",
            "djEgVSBiIDE3OTU1MjgwNzg2MTkgN0Y=",
        ),
        (
            Receipt,
            "2 1795527931077 10000 0 0 broker-a 1 2",
            "2 1795527931078 10000 0 0 broker-a 1 2",
            "2 1795527931077 10000 0 0 broker-a 1 3",
        ),
        (
            Remark,
            "queueId[9] of [/127.0.0.1:34520]",
            "queueId[9] of [/127.0.0.1:40002]",
            "queueId[8] of [/127.0.0.1:40002]",
        ),
    ];
    for (form, theirs, ours, other) in rows {
        assert!(form.same(theirs, ours), "{theirs} and {ours}");
        assert!(!form.same(theirs, other), "{theirs} and {other}");
    }
}
