//! The load that reads through a SQL92 filter: each connection pulls its own queue from the front to the
//! end, again and again. What counts is what was looked at, matching or not.

use crate::load::Load;
use crate::send::{Sending, Wrong};
use crate::template::{Numbered, Stamp, pull};
use crate::wire::{Answer, field, records};

/// The property that the filter asks for: 100 plus the last two digits of the message's number.
pub const SELECTED: Numbered = Numbered {
    name: "SELECTED",
    digits: 3,
};

/// Sends messages whose property follows from their number.
pub struct Numbering(pub Sending);

impl Load for Numbering {
    fn request(&mut self, connection: usize, opaque: i32, ns: u64, out: &mut Vec<u8>) -> bool {
        let seq = self.0.next_seq(connection);
        self.0.number(100 + seq % 100);
        self.0.request(connection, opaque, ns, out)
    }

    fn answer(&mut self, connection: usize, answer: Answer, frame: &[u8]) -> usize {
        self.0.answer(connection, answer, frame)
    }
}

/// Pulls through a filter that this share of the messages passes, in percent.
pub struct Filtered {
    topic: String,
    percent: u64,
    run: u64,
    ends: Vec<u64>,
    offsets: Vec<u64>,
    /// What matched since the front of each queue.
    matched: Vec<u64>,
    wrong: Option<Wrong>,
}

impl Filtered {
    /// Reads queues that end at these offsets, one connection each.
    pub fn new(topic: &str, percent: u64, ends: Vec<u64>, run: u64) -> Filtered {
        Filtered {
            topic: topic.to_owned(),
            percent,
            run,
            offsets: vec![0; ends.len()],
            matched: vec![0; ends.len()],
            ends,
            wrong: None,
        }
    }

    /// What was wrong with what came.
    pub fn wrong(&self) -> Option<Wrong> {
        self.wrong.clone()
    }

    fn note(&mut self, text: String) {
        self.wrong.get_or_insert(Wrong(text));
    }

    /// A queue was read to its end: as many must have matched as were sent to match.
    fn whole(&mut self, queue: usize) {
        // The queue's messages are numbered from 1 on.
        let expected = (1..=self.ends[queue])
            .filter(|seq| seq % 100 < self.percent)
            .count() as u64;
        let matched = std::mem::take(&mut self.matched[queue]);
        if matched != expected {
            self.note(format!("{matched} matched in a queue, not {expected}"));
        }
    }
}

impl Load for Filtered {
    fn request(&mut self, connection: usize, opaque: i32, _: u64, out: &mut Vec<u8>) -> bool {
        if self.offsets[connection] >= self.ends[connection] {
            self.whole(connection);
            self.offsets[connection] = 0;
        }
        let offset = self.offsets[connection];
        let mut request = pull(&self.topic, connection as u32, offset, 32, 0);
        let fields = request.ext.get_or_insert_default();
        for (name, value) in fields.iter_mut() {
            match name.as_str() {
                "subscription" => *value = format!("SELECTED < {}", 100 + self.percent),
                "expressionType" => *value = "SQL92".to_owned(),
                _ => {}
            }
        }
        request.opaque = opaque;
        request.encode(out);
        true
    }

    fn answer(&mut self, connection: usize, answer: Answer, frame: &[u8]) -> usize {
        let next = field(frame, &answer, "nextBeginOffset").and_then(|text| text.parse().ok());
        let next: u64 = next.unwrap_or_default();
        let from = self.offsets[connection];
        if !matches!(answer.code, 0 | 20) || next <= from {
            self.note(format!(
                "a filtered pull at {from} had code {}, next {next}",
                answer.code
            ));
            return 0;
        }
        if answer.code == 0 {
            let (mut count, mut stranger) = (0, false);
            let whole = records(&frame[answer.body_at..], |record| {
                count += 1;
                let stamp = Stamp::read(record.body);
                stranger |= stamp.is_none_or(|s| s.run != self.run || s.seq % 100 >= self.percent);
            });
            self.matched[connection] += count;
            if stranger || whole.is_none() {
                self.note("a filtered pull brought what does not match".to_owned());
            }
        }
        self.offsets[connection] = next;
        (next - from) as usize
    }
}
