//! The load that reads: each connection pulls its own queue from the front to the end, again and again.

use crate::load::Load;
use crate::send::{Checker, Wrong};
use crate::template::pull;
use crate::wire::Answer;

/// Pulls of warm messages.
pub struct Pulling {
    topic: String,
    ends: Vec<u64>,
    offsets: Vec<u64>,
    checker: Checker,
    /// Answers that had nothing.
    pub empty: u64,
}

impl Pulling {
    /// Reads queues that end at these offsets, one connection each.
    pub fn new(topic: &str, ends: Vec<u64>, run: u64, ordered: bool) -> Pulling {
        Pulling {
            topic: topic.to_owned(),
            offsets: vec![0; ends.len()],
            ends,
            checker: Checker::new(run, ordered),
            empty: 0,
        }
    }

    /// What was wrong with what came.
    pub fn wrong(&self) -> Option<Wrong> {
        let empty = (self.empty > 0).then(|| Wrong(format!("{} answers were empty", self.empty)));
        self.checker.wrong.clone().or(empty)
    }
}

impl Load for Pulling {
    fn request(&mut self, connection: usize, opaque: i32, _: u64, out: &mut Vec<u8>) -> bool {
        if self.offsets[connection] >= self.ends[connection] {
            self.offsets[connection] = 0;
            self.checker.forget(connection as u32);
        }
        let offset = self.offsets[connection];
        let mut request = pull(&self.topic, connection as u32, offset, 32, 0);
        request.opaque = opaque;
        request.encode(out);
        true
    }

    fn answer(&mut self, connection: usize, answer: Answer, frame: &[u8]) -> usize {
        if answer.code != 0 {
            self.empty += 1;
            return 0;
        }
        let count = self.checker.take(&frame[answer.body_at..], |_| {});
        self.offsets[connection] += count as u64;
        count
    }
}
