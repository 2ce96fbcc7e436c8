//! Loads that send, and the proof that what was acknowledged is there: counts, order, checksums.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::admin::Admin;
use crate::load::Load;
use crate::template::{Stamp, Template};
use crate::wire::{Answer, records};

/// Sends one template over all queues in turn.
pub struct Sending {
    template: Template,
    queues: u32,
    run: u64,
    /// The next queue of each connection.
    turn: Vec<u32>,
    /// The next number of each connection and queue.
    seqs: Vec<u64>,
    /// What was acknowledged.
    pub acked: u64,
    /// Code 2: the broker was busy.
    pub refused: u64,
    /// Any other code that is not 0, and how often.
    pub errors: BTreeMap<i32, u64>,
}

impl Sending {
    /// A load for this many connections; `run` is in every body.
    pub fn new(template: Template, queues: u32, connections: usize, run: u64) -> Sending {
        Sending {
            template,
            queues,
            run,
            turn: (0..connections as u32).collect(),
            seqs: vec![0; connections * queues as usize],
            acked: 0,
            refused: 0,
            errors: BTreeMap::new(),
        }
    }

    /// Writes this number into the property of the messages to come.
    pub fn number(&mut self, number: u64) {
        self.template.number(number);
    }

    /// The number of a queue's next message from this connection.
    pub fn next_seq(&self, connection: usize) -> u64 {
        let queue = self.turn[connection] % self.queues;
        self.seqs[connection * self.queues as usize + queue as usize] + 1
    }

    /// Appends one request, stamped with this time.
    pub fn write(&mut self, connection: usize, opaque: i32, ns: u64, out: &mut Vec<u8>) {
        let queue = self.turn[connection] % self.queues;
        self.turn[connection] = queue + 1;
        let seq = &mut self.seqs[connection * self.queues as usize + queue as usize];
        let run = self.run;
        self.template.write(out, opaque, queue, || {
            *seq += 1;
            Stamp {
                run,
                ns,
                from: connection as u32,
                queue,
                seq: *seq,
            }
        });
    }

    /// Takes an answer.
    pub fn count(&mut self, code: i32) -> usize {
        match code {
            0 => {
                self.acked += self.template.messages() as u64;
                self.template.messages()
            }
            2 => {
                self.refused += 1;
                0
            }
            code => {
                *self.errors.entry(code).or_default() += 1;
                0
            }
        }
    }
}

impl Load for Sending {
    fn request(&mut self, connection: usize, opaque: i32, ns: u64, out: &mut Vec<u8>) -> bool {
        self.write(connection, opaque, ns, out);
        true
    }

    fn answer(&mut self, _: usize, answer: Answer, _: &[u8]) -> usize {
        self.count(answer.code)
    }
}

/// Why a run has no numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong(pub String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<std::io::Error> for Wrong {
    fn from(error: std::io::Error) -> Wrong {
        Wrong(error.to_string())
    }
}

/// Looks at what arrived in one queue, in the order of the queue.
#[derive(Default)]
pub struct Checker {
    run: u64,
    ordered: bool,
    last: HashMap<(u32, u32), u64>,
    next_offset: HashMap<u32, u64>,
    /// What is wrong first of all.
    pub wrong: Option<Wrong>,
}

impl Checker {
    /// Expects bodies of this run; `ordered`: each connection's in the order they were sent.
    pub fn new(run: u64, ordered: bool) -> Checker {
        Checker {
            run,
            ordered,
            ..Checker::default()
        }
    }

    /// Takes a pull's body; how many messages it had, and the stamps go to `each`.
    pub fn take(&mut self, body: &[u8], mut each: impl FnMut(Stamp)) -> usize {
        let count = records(body, |record| {
            let next = self
                .next_offset
                .entry(record.queue)
                .or_insert(record.queue_offset);
            let (expected, offset) = (*next, record.queue_offset);
            *next = offset + 1;
            if offset != expected {
                self.note(format!("offset {offset} came where {expected} was due"));
            }
            match Stamp::read(record.body) {
                None => self.note(format!("the body at offset {offset} is not as it was sent")),
                Some(stamp) if stamp.run != self.run || stamp.queue != record.queue => {
                    self.note(format!(
                        "offset {offset} has another run's or queue's message"
                    ));
                }
                Some(stamp) => {
                    let last = self.last.entry((stamp.from, stamp.queue)).or_default();
                    let before = std::mem::replace(last, stamp.seq);
                    if self.ordered && before != 0 && stamp.seq != before + 1 {
                        let (from, seq) = (stamp.from, stamp.seq);
                        self.note(format!("message {seq} of {from} came after {before}"));
                    }
                    each(stamp);
                }
            }
        });
        count.unwrap_or_else(|| {
            self.note("an answer is not made of whole records".to_owned());
            0
        })
    }

    /// Begins again somewhere else in this queue.
    pub fn forget(&mut self, queue: u32) {
        self.next_offset.remove(&queue);
        self.last.retain(|&(_, of), _| of != queue);
    }

    fn note(&mut self, text: String) {
        self.wrong.get_or_insert(Wrong(text));
    }
}

/// Compares the queues with what was acknowledged, and reads the end of each back. `ordered` holds
/// for a broker that takes a connection's requests in their order; no message may be missing then.
pub fn verify(
    admin: &mut Admin,
    topic: &str,
    sent: &Sending,
    ordered: bool,
    at_most: u64,
) -> Result<(), Wrong> {
    if let Some((code, times)) = sent.errors.iter().next() {
        return Err(Wrong(format!("{times} answers had code {code}")));
    }
    let mut stored = 0;
    let mut checker = Checker::new(sent.run, ordered && sent.refused == 0);
    for queue in 0..sent.queues {
        let end = admin.end(topic, queue)?;
        stored += end;
        let mut offset = end.saturating_sub(at_most / u64::from(sent.queues));
        while offset < end {
            let body = admin.pull(topic, queue, offset)?;
            let count = checker.take(&body, |_| {}) as u64;
            if count == 0 {
                return Err(Wrong(format!("nothing at offset {offset} of {end}")));
            }
            offset += count;
        }
    }
    if stored != sent.acked {
        return Err(Wrong(format!(
            "{} acknowledged, {stored} stored",
            sent.acked
        )));
    }
    checker.wrong.map_or(Ok(()), Err)
}
