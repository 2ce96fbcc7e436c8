//! Receipt handles of popped messages: what a client sends back to ack one (Apache `ExtraInfoUtil`).
//!
//! Eight fields with blanks between: start offset, pop time, invisible time, revive queue, retry flag,
//! broker, queue, offset. Apache's clients take them apart and put them together, so the form is fixed.

use std::fmt;

/// Which topic of a group and topic a popped message lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PopTopic {
    /// The topic itself.
    Normal = 0,
    /// The group's retry topic of the topic, `%RETRY%group_topic`.
    RetryV1 = 1,
    /// The same without ambiguity, `%RETRY%group+topic`.
    RetryV2 = 2,
}

impl PopTopic {
    /// All of them.
    pub const ALL: [PopTopic; 3] = [PopTopic::Normal, PopTopic::RetryV1, PopTopic::RetryV2];

    /// The one of this number.
    pub fn of(number: u8) -> Option<PopTopic> {
        PopTopic::ALL
            .into_iter()
            .find(|&which| which as u8 == number)
    }
}

/// A receipt handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt<'a> {
    /// The lowest offset the pop took from the queue.
    pub start: u64,
    /// When it was popped, ms since the Unix epoch.
    pub popped_at: i64,
    /// How long the message is invisible, ms.
    pub invisible: i64,
    /// Apache's revive queue; 999 for ordered pops.
    pub revive_queue: i32,
    /// Which topic it lies in.
    pub topic: PopTopic,
    /// The broker.
    pub broker: &'a str,
    /// The queue.
    pub queue: i32,
    /// The message's offset in the queue.
    pub offset: u64,
}

/// The revive queue of ordered pops.
pub const ORDERED: i32 = 999;

/// Why a text is no receipt handle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the receipt handle cannot be read: {0}")]
pub struct ReceiptError(&'static str);

impl<'a> Receipt<'a> {
    /// Reads a handle. Handles of a check point, which lack the message's own offset, are not taken.
    pub fn parse(text: &'a str) -> Result<Receipt<'a>, ReceiptError> {
        let mut fields = [""; 8];
        let mut count = 0;
        for field in text.split(' ') {
            if let Some(place) = fields.get_mut(count) {
                *place = field;
            }
            count += 1;
        }
        if count != 8 {
            return Err(ReceiptError("it has not eight fields"));
        }
        let [
            start,
            popped_at,
            invisible,
            revive,
            topic,
            broker,
            queue,
            offset,
        ] = fields;
        let bad = |_| ReceiptError("one of its numbers is none");
        Ok(Receipt {
            start: start.parse().map_err(bad)?,
            popped_at: popped_at.parse().map_err(bad)?,
            invisible: invisible.parse().map_err(bad)?,
            revive_queue: revive.parse().map_err(bad)?,
            topic: match topic {
                "1" => PopTopic::RetryV1,
                "2" => PopTopic::RetryV2,
                _ => PopTopic::Normal,
            },
            broker,
            queue: queue.parse().map_err(bad)?,
            offset: offset.parse().map_err(bad)?,
        })
    }
}

impl fmt::Display for Receipt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {} {} {} {} {} {}",
            self.start,
            self.popped_at,
            self.invisible,
            self.revive_queue,
            self.topic as u8,
            self.broker,
            self.queue,
            self.offset
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handle_that_apache_was_recorded_to_give_is_read_and_written() {
        let text = "0 1795527975995 10000 7 1 broker-a 0 1";
        let receipt = Receipt::parse(text).unwrap();
        assert_eq!((receipt.topic, receipt.offset), (PopTopic::RetryV1, 1));
        assert_eq!(receipt.to_string(), text);
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "bad",
            "0 1 2 3 0 b 0",
            "0 1 2 3 0 b 0 1 2",
            "x 1 2 3 0 b 0 1",
            "-1 1 2 3 0 b 0 1",
        ] {
            assert!(Receipt::parse(text).is_err(), "{text}");
        }
    }
}
