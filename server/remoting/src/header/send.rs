//! Sending: 10 with long names, 310 and 320 with letters.

use super::{HeaderError, Value, header};
use crate::command::Command;
use crate::frame::Frame;

header! {
    /// Header of 10, 310 and 320 (Apache `SendMessageRequestHeader` and `…V2`). Both spellings are
    /// read, whatever the code.
    SendHeader<'a> {
        /// Who sends.
        producer_group: &'a str = b"producerGroup" | b"a",
        /// Where to.
        topic: &'a str = b"topic" | b"b",
        /// The topic that a new one is made from: `TBW102`.
        default_topic: &'a str = b"defaultTopic" | b"c",
        /// Queues wanted of a new topic.
        default_topic_queues: i32 = b"defaultTopicQueueNums" | b"d",
        /// Below 0 the broker chooses.
        queue_id: i32 = b"queueId" | b"e",
        /// See [`model::flag::sys`].
        sys_flag: i32 = b"sysFlag" | b"f",
        /// Milliseconds since the Unix epoch.
        born_at: i64 = b"bornTimestamp" | b"g",
        /// The user's flag.
        flag: i32 = b"flag" | b"h",
        /// See [`model::message`].
        properties: Option<&'a str> = b"properties" | b"i",
        /// How often it was delivered before.
        reconsume_times: Option<i32> = b"reconsumeTimes" | b"j",
        /// Unit mode.
        unit_mode: bool = b"unitMode" | b"k",
        /// Deliveries before it is dead-lettered; sent for retry topics only.
        max_reconsume_times: Option<i32> = b"maxReconsumeTimes" | b"l",
        /// The body is a batch.
        batch: bool = b"batch" | b"m",
        /// The broker that is meant.
        broker_name: Option<&'a str> = b"brokerName" | b"n",
        /// The answer shall say how safe the message is. Ours; Apache's clients do not ask.
        durability: Option<bool> = b"durability" | b"o",
    }
}

const LETTERS: [&str; 15] = [
    "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o",
];

impl<'a> SendHeader<'a> {
    /// Reads the one-letter spelling, that of nearly every message, without comparing names. What it
    /// finds no letters in is read as [`SendHeader::read`] does.
    ///
    /// # Errors
    /// Names the field that is missing or makes no sense.
    pub fn read_letters(frame: &Frame<'a>) -> Result<Self, HeaderError> {
        let mut values: [Option<&'a [u8]>; 15] = [None; 15];
        for (letter, value) in frame.ext.letters() {
            if let Some(slot) = values.get_mut(usize::from(letter.wrapping_sub(b'a'))) {
                *slot = Some(value);
            }
        }
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o] = values;
        if b.is_none() {
            return SendHeader::read(frame);
        }
        Ok(SendHeader {
            producer_group: Value::read("producerGroup", a)?,
            topic: Value::read("topic", b)?,
            default_topic: Value::read("defaultTopic", c)?,
            default_topic_queues: Value::read("defaultTopicQueueNums", d)?,
            queue_id: Value::read("queueId", e)?,
            sys_flag: Value::read("sysFlag", f)?,
            born_at: Value::read("bornTimestamp", g)?,
            flag: Value::read("flag", h)?,
            properties: Value::read("properties", i)?,
            reconsume_times: Value::read("reconsumeTimes", j)?,
            unit_mode: Value::read("unitMode", k)?,
            max_reconsume_times: Value::read("maxReconsumeTimes", l)?,
            batch: Value::read("batch", m)?,
            broker_name: Value::read("brokerName", n)?,
            durability: Value::read("durability", o)?,
        })
    }

    /// Adds its fields to a command under their one-letter names.
    pub fn fill_letters(&self, command: Command) -> Command {
        let mut command = self.fill(command);
        for (name, _) in command.ext.iter_mut().flatten() {
            let long = Self::FIELDS.iter().position(|field| field == name);
            if let Some(letter) = long.and_then(|at| LETTERS.get(at)) {
                *name = (*letter).to_owned();
            }
        }
        command
    }
}

header! {
    /// Header of 36 (Apache `ConsumerSendMsgBackRequestHeader`).
    SendBackHeader<'a> {
        /// Where the message lies in the log.
        offset: i64 = b"offset",
        /// Whose consumer could not take it.
        group: &'a str = b"group",
        /// Below 0 no retry, 0 as the broker decides, above 0 this delay level.
        delay_level: i32 = b"delayLevel",
        /// Ours: milliseconds until the retry, instead of the level.
        delay_ms: Option<i64> = b"delayMs",
        /// The message's own id.
        origin_msg_id: Option<&'a str> = b"originMsgId",
        /// The topic it came from.
        origin_topic: Option<&'a str> = b"originTopic",
        /// Unit mode.
        unit_mode: bool = b"unitMode",
        /// Deliveries before it is dead-lettered.
        max_reconsume_times: Option<i32> = b"maxReconsumeTimes",
    }
}

header! {
    /// Answer to a send (Apache `SendMessageResponseHeader`).
    SendAnswer<'a> {
        /// The offset message id; of a batch all of them, with commas between.
        msg_id: &'a str = b"msgId",
        /// The queue it went to.
        queue_id: i32 = b"queueId",
        /// Its offset there; of a batch the first one's.
        queue_offset: i64 = b"queueOffset",
        /// The message's `UNIQ_KEY`.
        transaction_id: Option<&'a str> = b"transactionId",
        /// The broker's region.
        region: Option<&'a str> = b"MSG_REGION",
        /// Whether clients trace; anything but `false` is yes.
        trace_on: Option<&'a str> = b"TRACE_ON",
        /// How safe the message is: `fsynced` or `page-cache`. Only for those who asked, and only of
        /// Posthouse. In an answer with code 10 it is what was wished for.
        durability: Option<&'a str> = b"durability",
        /// When it was stored, milliseconds since the Unix epoch. Told with the durability.
        stored_at: Option<i64> = b"storedAt",
        /// What a delayed message can be called back with.
        recall_handle: Option<&'a str> = b"recallHandle",
        /// It was stored before, by a send of the same name. Ours.
        replayed: bool = b"replayed",
    }
}
