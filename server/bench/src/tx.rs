//! The load of transactions: each place sends a half message, and its commit when the half is answered.
//! A message counts when its commit is.

use std::collections::{HashMap, VecDeque};

use remoting::{Command, Serialize};

use crate::load::Load;
use crate::send::Sending;
use crate::wire::{Answer, field};

/// A half that is stored and waits for its end.
struct Half {
    offset: u64,
    queue_offset: String,
    id: String,
}

/// Half messages and their commits.
pub struct Transactions {
    topic: String,
    halves: Sending,
    waiting: Vec<VecDeque<Half>>,
    /// The commits under way: by connection and opaque.
    ending: HashMap<(usize, i32), ()>,
    /// Commits that were answered with success.
    pub committed: u64,
    /// What was answered otherwise first: the code.
    pub wrong: Option<String>,
}

/// The properties of a half message, next to those of any.
pub const PROPERTIES: &str = "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}bench\u{2}";
/// A half message's system flag.
pub const PREPARED: i32 = 4;
const COMMIT: i32 = 8;

impl Transactions {
    /// Over this many connections; `halves` sends half messages.
    pub fn new(topic: &str, halves: Sending, connections: usize) -> Transactions {
        Transactions {
            topic: topic.to_owned(),
            halves,
            waiting: (0..connections).map(|_| VecDeque::new()).collect(),
            ending: HashMap::new(),
            committed: 0,
            wrong: None,
        }
    }

    /// Sends that were refused as busy.
    pub fn refused(&self) -> u64 {
        self.halves.refused
    }

    fn end(&self, half: &Half) -> Command {
        let command = Command {
            serialize: Serialize::Binary,
            ..Command::request(37)
        };
        command
            .with("topic", &self.topic)
            .with("producerGroup", "bench")
            .with("tranStateTableOffset", &half.queue_offset)
            .with("commitLogOffset", half.offset)
            .with("commitOrRollback", COMMIT)
            .with("fromTransactionCheck", false)
            .with("msgId", &half.id)
            .with("transactionId", &half.id)
    }
}

impl Load for Transactions {
    fn request(&mut self, connection: usize, opaque: i32, ns: u64, out: &mut Vec<u8>) -> bool {
        match self.waiting[connection].pop_front() {
            Some(half) => {
                let mut end = self.end(&half);
                end.opaque = opaque;
                end.encode(out);
                self.ending.insert((connection, opaque), ());
            }
            None => self.halves.write(connection, opaque, ns, out),
        }
        true
    }

    fn answer(&mut self, connection: usize, answer: Answer, frame: &[u8]) -> usize {
        let is_end = self.ending.remove(&(connection, answer.opaque)).is_some();
        if !is_end && answer.code == 2 {
            self.halves.refused += 1;
            return 0;
        }
        if answer.code != 0 {
            let what = if is_end { "a commit" } else { "a half" };
            let remark = field(frame, &answer, "remark").unwrap_or_default();
            let text = format!("{what} had code {} {remark}", answer.code);
            self.wrong.get_or_insert(text);
            return 0;
        }
        if is_end {
            self.committed += 1;
            return 1;
        }
        let text = |name| field(frame, &answer, name).map(str::to_owned);
        let id = text("msgId").filter(|id| id.len() >= 16);
        let offset = id.and_then(|id| u64::from_str_radix(&id[id.len() - 16..], 16).ok());
        match (offset, text("queueOffset"), text("transactionId")) {
            (Some(offset), Some(queue_offset), Some(id)) => {
                self.waiting[connection].push_back(Half {
                    offset,
                    queue_offset,
                    id,
                });
            }
            _ => {
                let text = "the answer to a half lacks its ids".to_owned();
                self.wrong.get_or_insert(text);
            }
        }
        0
    }
}
