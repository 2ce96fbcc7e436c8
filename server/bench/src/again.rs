//! Leases that end: messages are popped and not acknowledged, and each comes again when its invisible time is over.
//! How late that is counts from that time, on the one clock of this machine.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use remoting::Serialize;

use crate::admin::Admin;
use crate::cell::{DUE, QUEUES, SIZE, Target};
use crate::load::{Load, Measured, Shape, closed, histogram};
use crate::pop::pop;
use crate::send::{Sending, Wrong};
use crate::template::{Stamp, Template};
use crate::wire::{Answer, field, records};

/// How long messages are out of sight at first: longer than it takes any broker to hand them out.
const FIRST_MS: u64 = 8_000;
/// And when they came again: for good.
const SECOND_MS: u64 = 120_000;
/// What is promised: no message comes more than this before its time.
const EARLY_MS: u64 = 50;

/// Sends messages, pops them without an ack on leases that end within a second, and waits until all of them came
/// again; the latency is how late.
pub fn run(admin: &mut Admin, topic: &str, run: u64, target: Target) -> Result<Measured, Wrong> {
    let template = Template::send(topic, SIZE, Serialize::Binary);
    let mut fill = Bounded {
        sending: Sending::new(template, QUEUES, 1, run),
        left: DUE,
    };
    let shape = |connections, outstanding| Shape {
        connections,
        outstanding,
        one_write: false,
        warm: Duration::ZERO,
        time: Duration::from_secs(60),
    };
    let Target { address, pid, .. } = target;
    closed(address, shape(1, 64), Instant::now(), None, &mut fill)?;
    let messages = fill.sending.acked;
    admin.until_end(topic, QUEUES, messages)?;
    let mut load = Again::new(topic, run, messages);
    let all = shape(QUEUES as usize, 1);
    let measured = closed(address, all, Instant::now(), pid, &mut load)?;
    match load.wrong() {
        Some(wrong) => Err(wrong),
        None => Ok(Measured {
            latency: load.late,
            ..measured
        }),
    }
}

/// Sends so many messages and no more.
struct Bounded {
    sending: Sending,
    /// How many are to be sent yet.
    left: u64,
}

impl Load for Bounded {
    fn request(&mut self, connection: usize, opaque: i32, ns: u64, out: &mut Vec<u8>) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        self.sending.request(connection, opaque, ns, out)
    }

    fn answer(&mut self, connection: usize, answer: Answer, frame: &[u8]) -> usize {
        self.sending.answer(connection, answer, frame)
    }

    fn done(&self) -> bool {
        self.left == 0
    }
}

/// Pops everything once, and waits for all of it to come again.
struct Again {
    topic: String,
    run: u64,
    messages: u64,
    /// When each message is due again (queue and number), in milliseconds since the Unix epoch.
    due: HashMap<(u32, u64), u64>,
    came: u64,
    /// Nanoseconds that each came behind its time.
    late: Histogram<u64>,
    wrong: Option<Wrong>,
}

impl Again {
    /// So many messages lie in the topic.
    fn new(topic: &str, run: u64, messages: u64) -> Again {
        Again {
            topic: topic.to_owned(),
            run,
            messages,
            due: HashMap::new(),
            came: 0,
            late: histogram(),
            wrong: None,
        }
    }

    /// What was wrong with what came.
    fn wrong(&self) -> Option<Wrong> {
        let missing = self.messages - self.came;
        let all = || (missing > 0).then(|| Wrong(format!("{missing} never came again")));
        self.wrong.clone().or_else(all)
    }

    fn popped(&mut self, answer: Answer, frame: &[u8]) -> Result<usize, String> {
        let time = |name| field(frame, &answer, name)?.parse::<u64>().ok();
        let due = time("popTime").zip(time("invisibleTime"));
        let (popped, invisible) = due.ok_or("a pop without its time")?;
        let now = now_ms();
        let (mut again, mut wrong) = (0, None);
        let whole = records(&frame[answer.body_at..], |record| {
            let stamp = Stamp::read(record.body).filter(|stamp| stamp.run == self.run);
            let Some(stamp) = stamp else {
                wrong = Some("a message of somebody else".to_owned());
                return;
            };
            let message = (stamp.queue, stamp.seq);
            let Some(due) = self.due.insert(message, popped + invisible) else {
                return;
            };
            if now + EARLY_MS < due {
                wrong = Some(format!("a message came {} ms early", due - now));
            }
            again += 1;
            // Times are told in milliseconds: earlier than in the next one is not known.
            let late = now.saturating_sub(due).max(1) * 1_000_000;
            self.late.saturating_record(late);
        });
        self.came += again as u64;
        match whole.filter(|_| wrong.is_none()) {
            Some(_) => Ok(again),
            None => Err(wrong.unwrap_or_else(|| "a pop is not made of whole records".to_owned())),
        }
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_millis() as u64
}

impl Load for Again {
    fn request(&mut self, connection: usize, opaque: i32, _: u64, out: &mut Vec<u8>) -> bool {
        if self.done() {
            return false;
        }
        let all = self.due.len() as u64 == self.messages;
        let invisible = match all {
            true => SECOND_MS,
            // Spread over a second, however fast they are handed out.
            false => FIRST_MS + self.due.len() as u64 * 1_000 / self.messages.max(1),
        };
        let mut request = pop("bench-again", &self.topic, connection, invisible);
        request.opaque = opaque;
        request.encode(out);
        true
    }

    fn answer(&mut self, _: usize, answer: Answer, frame: &[u8]) -> usize {
        let taken = match answer.code {
            0 => self.popped(answer, frame),
            19 | 209 | 210 => Ok(0),
            code => Err(format!("a pop had code {code}")),
        };
        taken.unwrap_or_else(|wrong| {
            self.wrong.get_or_insert(Wrong(wrong));
            0
        })
    }

    fn done(&self) -> bool {
        self.came >= self.messages || self.wrong.is_some()
    }
}
