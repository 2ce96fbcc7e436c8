//! A message's properties: `name 0x01 value 0x02 name 0x01 value 0x02 …`.
//!
//! The last separator is present from Java 5 and Go and absent from Java 4.9, so both are read, and
//! whoever appends to a received string calls [`append`].

/// Between a property's name and its value.
pub const NAME_END: u8 = 1;
/// Behind a property.
pub const VALUE_END: u8 = 2;
/// The longest property string a record can hold, our checksum not counted.
pub const PROPERTIES_MAX: usize = 32_767;

/// Names of the properties the server reads or writes (Apache `MessageConst`).
pub mod key {
    /// Index keys, separated by blanks.
    pub const KEYS: &str = "KEYS";
    /// The message's tag.
    pub const TAGS: &str = "TAGS";
    /// `false`: the producer does not wait for the flush or the replicas.
    pub const WAIT: &str = "WAIT";
    /// Delay level.
    pub const DELAY: &str = "DELAY";
    /// The topic a retried message came from.
    pub const RETRY_TOPIC: &str = "RETRY_TOPIC";
    /// The offset message id of the message a retry came from first.
    pub const ORIGIN_MESSAGE_ID: &str = "ORIGIN_MESSAGE_ID";
    /// How often a message that a consumer sends to its retry topic was delivered.
    pub const RECONSUME_TIME: &str = "RECONSUME_TIME";
    /// How often it may be delivered.
    pub const MAX_RECONSUME_TIMES: &str = "MAX_RECONSUME_TIMES";
    /// The topic a dead letter came from.
    pub const DLQ_ORIGIN_TOPIC: &str = "DLQ_ORIGIN_TOPIC";
    /// The offset message id of the message a dead letter came from.
    pub const DLQ_ORIGIN_MESSAGE_ID: &str = "DLQ_ORIGIN_MESSAGE_ID";
    /// The id of the client that waits for the reply to this message.
    pub const REPLY_TO_CLIENT: &str = "REPLY_TO_CLIENT";
    /// What kind of message it is: `reply`, or nothing.
    pub const MSG_TYPE: &str = "MSG_TYPE";
    /// When a reply was handed to the client that waits for it.
    pub const PUSH_REPLY_TIME: &str = "PUSH_REPLY_TIME";
    /// `true`: a half message.
    pub const TRAN_MSG: &str = "TRAN_MSG";
    /// The producer group of a transaction.
    pub const PGROUP: &str = "PGROUP";
    /// A half message's `UNIQ_KEY`, once more.
    pub const TRANSACTION_ID: &str = "__transactionId__";
    /// How often a half message was asked about.
    pub const TRANSACTION_CHECK_TIMES: &str = "TRANSACTION_CHECK_TIMES";
    /// So many seconds a half message is not asked about.
    pub const CHECK_IMMUNITY: &str = "CHECK_IMMUNITY_TIME_IN_SECONDS";
    /// Until when a half message waits for a decision, ms since the Unix epoch; then it is rolled back.
    /// Ours: no Apache broker knows it.
    pub const EXPIRES_AT: &str = "EXPIRES_AT";
    /// Names a send: the same one again is answered as the first and stores nothing. Ours.
    pub const IDEMPOTENCY_KEY: &str = "IDEMPOTENCY_KEY";
    /// What the send with that key said, so that another one is told apart. Ours.
    pub const IDEMPOTENCY_DIGEST: &str = "IDEMPOTENCY_DIGEST";
    /// Why a consumer made a message a dead letter. Ours.
    pub const DLQ_REASON: &str = "DLQ_REASON";
    /// The client's message id.
    pub const UNIQ_KEY: &str = "UNIQ_KEY";
    /// The broker's region.
    pub const MSG_REGION: &str = "MSG_REGION";
    /// Whether clients trace.
    pub const TRACE_ON: &str = "TRACE_ON";
    /// The broker's cluster.
    pub const CLUSTER: &str = "CLUSTER";
    /// A POP receipt handle; removed when a client sends one.
    pub const POP_CK: &str = "POP_CK";
    /// When a message that was popped again and again was popped first.
    pub const FIRST_POP_TIME: &str = "1ST_POP_TIME";
    /// The message group: messages with the same one are consumed one after the other.
    pub const SHARDING_KEY: &str = "__SHARDINGKEY";
    /// Deliver after so many seconds.
    pub const TIMER_DELAY_SEC: &str = "TIMER_DELAY_SEC";
    /// Deliver after so many milliseconds.
    pub const TIMER_DELAY_MS: &str = "TIMER_DELAY_MS";
    /// Deliver at this time, milliseconds since the Unix epoch.
    pub const TIMER_DELIVER_MS: &str = "TIMER_DELIVER_MS";
    /// The topic a waiting message (delayed, half) goes to.
    pub const REAL_TOPIC: &str = "REAL_TOPIC";
    /// The queue a waiting message goes to.
    pub const REAL_QID: &str = "REAL_QID";
    /// When a delayed message is due, milliseconds since the Unix epoch.
    pub const TIMER_OUT_MS: &str = "TIMER_OUT_MS";
    /// When a delayed message was stored, to the second.
    pub const TIMER_ENQUEUE_MS: &str = "TIMER_ENQUEUE_MS";
    /// In the marker of a recall: the topic, `+`, the `UNIQ_KEY`.
    pub const TIMER_DEL_UNIQKEY: &str = "TIMER_DEL_UNIQKEY";
    /// When a delayed message was delivered.
    pub const TIMER_DEQUEUE_MS: &str = "TIMER_DEQUEUE_MS";
    /// The checksum over the whole record; always last.
    pub const CRC32: &str = "__CRC32#";
}

/// Walks a property string. Segments without a separator, and empty names or values, are skipped,
/// as Java's parser does. By hand over bytes: this runs several times for every message.
pub fn properties(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let bytes = rest.as_bytes();
            let name_end = separator(bytes, 0);
            let mut end = name_end;
            // Behind the name's end, another of its kind is part of the value.
            while bytes.get(end) == Some(&NAME_END) {
                end = separator(bytes, end + 1);
            }
            let segment = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or_default();
            if name_end > 0 && name_end + 1 < end {
                return Some((&segment[..name_end], &segment[name_end + 1..]));
            }
        }
    })
}

/// The first separator of either kind at or behind `at`; the end if there is none. Eight bytes a step.
#[inline]
fn separator(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let is_one = |&byte: &u8| byte == NAME_END || byte == VALUE_END;
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let word = u64::from_le_bytes(*word);
        // The first byte below three is marked; what is marked behind it may be wrong.
        let low = word.wrapping_sub(ONES * 3) & !word & (ONES * 0x80);
        if low == 0 {
            at += 8;
            continue;
        }
        at += (low.trailing_zeros() / 8) as usize;
        if bytes.get(at).is_some_and(is_one) {
            return at;
        }
        at += 1;
    }
    let tail = bytes.get(at..).unwrap_or_default();
    at + tail.iter().position(is_one).unwrap_or(tail.len())
}

/// The value of a property; of duplicates the last one wins.
pub fn property<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    properties(text)
        .filter(|&(key, _)| key == name)
        .last()
        .map(|(_, value)| value)
}

/// Appends a property, after a separator if `text` lacks its last one.
pub fn append(text: &mut String, name: &str, value: &str) {
    if text.as_bytes().last().is_some_and(|&b| b != VALUE_END) {
        text.push(char::from(VALUE_END));
    }
    text.push_str(name);
    text.push(char::from(NAME_END));
    text.push_str(value);
    text.push(char::from(VALUE_END));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn java_4_9_leaves_the_last_separator_out() {
        let mut text = String::from("KEYS\u{1}k1\u{2}TAGS\u{1}TagA");
        assert_eq!(property(&text, "TAGS"), Some("TagA"));
        append(&mut text, "CLUSTER", "c");
        assert_eq!(text, "KEYS\u{1}k1\u{2}TAGS\u{1}TagA\u{2}CLUSTER\u{1}c\u{2}");
    }

    #[test]
    fn the_walk_sees_what_a_plain_parser_sees() {
        let plain = |text: &str| -> Vec<(String, String)> {
            let segments = text.split(char::from(VALUE_END));
            let pairs = segments.filter_map(|segment| segment.split_once(char::from(NAME_END)));
            let pairs = pairs.filter(|(name, value)| !name.is_empty() && !value.is_empty());
            pairs
                .map(|(name, value)| (name.into(), value.into()))
                .collect()
        };
        let mut state = 3u64;
        let mut below = |limit: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % limit
        };
        let alphabet = ['a', 'W', 'é', '\u{1}', '\u{2}', '\u{0}', '\u{3}'];
        for _ in 0..20_000 {
            let text: String = (0..below(40))
                .map(|_| alphabet[below(7) as usize])
                .collect();
            let walked: Vec<_> = (properties(&text))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            assert_eq!(walked, plain(&text), "{text:?}");
        }
    }

    #[test]
    fn the_last_duplicate_wins_and_broken_segments_are_skipped() {
        let text = "a\u{1}1\u{2}junk\u{2}\u{1}x\u{2}b\u{1}\u{2}a\u{1}2\u{2}";
        assert_eq!(property(text, "a"), Some("2"));
        assert_eq!(properties(text).count(), 2);
    }
}
