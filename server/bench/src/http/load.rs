//! Loads of requests with an answer each: publishing, and receiving with acks.

use crate::cell::SIZE;
use crate::load::Load;
use crate::send::Wrong;
use crate::wire::{Answer, Protocol};

use super::{BYTES, HTTP, JSON, request, text};

/// The same publish again and again.
pub(super) struct Publishing {
    request: Vec<u8>,
    /// The status of one that is stored whole.
    code: i32,
    /// What its answer ends with.
    end: &'static [u8],
    messages: usize,
    /// Messages that were answered as stored.
    pub stored: u64,
    /// The first answer that says something else.
    pub wrong: Option<Wrong>,
}

/// How an answer about many ends that all went well with.
const NONE_FAILED: &[u8] = b"\"failed\":0}";

impl Publishing {
    pub(super) fn json(topic: &str) -> Publishing {
        let body = message();
        Publishing::of(topic, "", JSON, body.as_bytes(), 1)
    }

    pub(super) fn raw(topic: &str) -> Publishing {
        Publishing::of(topic, ":raw", BYTES, &[b'x'; SIZE], 1)
    }

    pub(super) fn batch(topic: &str, messages: usize) -> Publishing {
        let all = vec![message(); messages].join(",");
        let body = format!("{{\"messages\":[{all}]}}");
        Publishing {
            code: 200,
            end: NONE_FAILED,
            ..Publishing::of(topic, ":batch", JSON, body.as_bytes(), messages)
        }
    }

    fn of(topic: &str, verb: &str, kind: &str, body: &[u8], messages: usize) -> Publishing {
        let path = format!("/v1/topics/{topic}/messages{verb}");
        Publishing {
            request: request("POST", &path, kind, body),
            code: 201,
            end: b"",
            messages,
            stored: 0,
            wrong: None,
        }
    }
}

/// A message of 1 KiB as JSON.
fn message() -> String {
    format!("{{\"body\":\"{}\",\"tag\":\"paid\"}}", "x".repeat(SIZE))
}

impl Load for Publishing {
    fn request(&mut self, _: usize, _: i32, _: u64, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(&self.request);
        true
    }

    fn answer(&mut self, _: usize, answer: Answer, frame: &[u8]) -> usize {
        if answer.code != self.code || !frame.ends_with(self.end) {
            self.wrong.get_or_insert_with(|| Wrong(text(frame)));
            return 0;
        }
        self.stored += self.messages as u64;
        self.messages
    }

    fn protocol(&self) -> Protocol {
        HTTP
    }
}

/// Receives, then acks what came. A message counts when it is acked.
pub(super) struct Receiving {
    receive: Vec<u8>,
    ack_path: String,
    /// The ack that each connection makes next, and for how many.
    acks: Vec<Option<(Vec<u8>, usize)>>,
    /// For how many messages the ack under way is.
    acking: Vec<usize>,
    left: u64,
    wrong: Option<Wrong>,
}

impl Receiving {
    pub(super) fn new(group: &str, topic: &str, connections: usize, stored: u64) -> Receiving {
        let path = format!("/v1/groups/{group}/messages:receive?topic={topic}&max=32&wait=1s");
        Receiving {
            receive: request("POST", &path, "", b""),
            ack_path: format!("/v1/groups/{group}/leases:ack"),
            acks: vec![None; connections],
            acking: vec![0; connections],
            left: stored,
            wrong: None,
        }
    }

    pub(super) fn wrong(self) -> Option<Wrong> {
        self.wrong
    }

    fn received(&mut self, connection: usize, body: &[u8]) {
        const ID: &[u8] = b"\"lease_id\":\"";
        let mut ack = b"{\"lease_ids\":[".to_vec();
        let mut count = 0;
        for at in memchr::memmem::find_iter(body, ID) {
            let id = &body[at + ID.len()..];
            let id = &id[..memchr::memchr(b'"', id).unwrap_or_default()];
            let before: &[u8] = if count == 0 { b"\"" } else { b",\"" };
            for part in [before, id, b"\""] {
                ack.extend_from_slice(part);
            }
            count += 1;
        }
        ack.extend_from_slice(b"]}");
        if count > 0 {
            let ack = request("POST", &self.ack_path, JSON, &ack);
            self.acks[connection] = Some((ack, count));
        }
    }
}

impl Load for Receiving {
    fn request(&mut self, connection: usize, _: i32, _: u64, out: &mut Vec<u8>) -> bool {
        match self.acks[connection].take() {
            Some((ack, count)) => {
                out.extend_from_slice(&ack);
                self.acking[connection] = count;
            }
            None if self.left == 0 => return false,
            None => out.extend_from_slice(&self.receive),
        }
        true
    }

    fn answer(&mut self, connection: usize, answer: Answer, frame: &[u8]) -> usize {
        let acked = std::mem::take(&mut self.acking[connection]);
        let is_right = answer.code == 200 && (acked == 0 || frame.ends_with(NONE_FAILED));
        if !is_right {
            self.wrong.get_or_insert_with(|| Wrong(text(frame)));
            return 0;
        }
        if acked == 0 {
            self.received(connection, &frame[answer.body_at..]);
            return 0;
        }
        match self.left.checked_sub(acked as u64) {
            Some(left) => self.left = left,
            None => {
                let text = "more messages came than were stored".to_owned();
                self.wrong.get_or_insert(Wrong(text));
            }
        }
        acked
    }

    fn done(&self) -> bool {
        self.left == 0
    }

    fn protocol(&self) -> Protocol {
        HTTP
    }
}
