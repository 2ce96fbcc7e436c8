//! The load of pops and acks: each connection pops its own queue, then acknowledges every message by
//! itself, as the Java client does. A message counts when its ack is answered.

use std::collections::{HashMap, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};

use remoting::Command;

use crate::load::Load;
use crate::send::Wrong;
use crate::template::Stamp;
use crate::wire::{Answer, field, records};

struct Queue {
    /// Handles that are not acknowledged yet: the offset and the handle.
    handles: VecDeque<(u64, String)>,
    popping: bool,
    next: u64,
    end: u64,
}

/// Pops and acks over queues that hold so much each.
pub struct Popping {
    topic: String,
    run: u64,
    queues: Vec<Queue>,
    /// The acks under way, by connection and opaque.
    acking: HashMap<(usize, i32), ()>,
    left: u64,
    /// Pops that found nothing although something was left.
    pub empty: u64,
    wrong: Option<Wrong>,
}

/// How long a popped message is out of sight: longer than the measurement.
const INVISIBLE_MS: u64 = 120_000;

/// A pop of 32 messages of a queue that waits up to a second.
pub fn pop(group: &str, topic: &str, queue: usize, invisible_ms: u64) -> Command {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Command::request(200_050)
        .with("consumerGroup", group)
        .with("topic", topic)
        .with("queueId", queue)
        .with("maxMsgNums", 32)
        .with("invisibleTime", invisible_ms)
        .with("pollTime", 1_000)
        .with("bornTime", now.unwrap_or_default().as_millis())
        .with("initMode", 0)
        .with("expType", "TAG")
        .with("exp", "*")
        .with("order", false)
}

impl Popping {
    /// One connection for each queue; the queues end there.
    pub fn new(topic: &str, ends: &[u64], run: u64) -> Popping {
        let queue = |&end| Queue {
            handles: VecDeque::new(),
            popping: false,
            next: 0,
            end,
        };
        Popping {
            topic: topic.to_owned(),
            run,
            queues: ends.iter().map(queue).collect(),
            acking: HashMap::new(),
            left: ends.iter().sum(),
            empty: 0,
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

    fn ack(&self, queue: usize, offset: u64, handle: &str) -> Command {
        Command::request(200_051)
            .with("consumerGroup", "bench-pop")
            .with("topic", &self.topic)
            .with("queueId", queue)
            .with("extraInfo", handle)
            .with("offset", offset)
    }

    fn popped(&mut self, queue: usize, answer: Answer, frame: &[u8]) {
        self.queues[queue].popping = false;
        let text = |name| field(frame, &answer, name).unwrap_or_default();
        // `retry queue offset`, one for each queue popped from.
        let starts = text("startOffsetInfo");
        let (_, start) = starts.rsplit_once(' ').unwrap_or_default();
        let end_of_handle = format!(
            "{} {} {} 0 broker-a {queue}",
            text("popTime"),
            text("invisibleTime"),
            text("reviveQid")
        );
        let (run, mut wrong) = (self.run, None);
        let Queue { handles, next, .. } = &mut self.queues[queue];
        let count = records(&frame[answer.body_at..], |record| {
            let offset = record.queue_offset;
            let stamp = Stamp::read(record.body);
            if offset != *next || stamp.is_none_or(|stamp| stamp.run != run) {
                wrong = Some(format!("offset {offset} came where {} was due", *next));
            }
            *next = offset + 1;
            handles.push_back((offset, format!("{start} {end_of_handle} {offset}")));
        });
        if count.is_none() {
            wrong = Some("a pop is not made of whole records".to_owned());
        }
        if let Some(text) = wrong {
            self.note(text);
        }
    }
}

impl Load for Popping {
    fn request(&mut self, connection: usize, opaque: i32, _: u64, out: &mut Vec<u8>) -> bool {
        let queue = &mut self.queues[connection];
        let mut request = match queue.handles.pop_front() {
            Some((offset, handle)) => {
                self.acking.insert((connection, opaque), ());
                self.ack(connection, offset, &handle)
            }
            None if queue.popping || queue.next >= queue.end => return false,
            None => {
                queue.popping = true;
                pop("bench-pop", &self.topic, connection, INVISIBLE_MS)
            }
        };
        request.opaque = opaque;
        request.encode(out);
        true
    }

    fn answer(&mut self, connection: usize, answer: Answer, frame: &[u8]) -> usize {
        if self.acking.remove(&(connection, answer.opaque)).is_some() {
            if answer.code != 0 {
                self.note(format!("an ack had code {}", answer.code));
            }
            self.left = self.left.saturating_sub(1);
            return usize::from(answer.code == 0);
        }
        match answer.code {
            0 => self.popped(connection, answer, frame),
            19 | 209 | 210 => {
                self.queues[connection].popping = false;
                self.empty += 1;
            }
            code => self.note(format!("a pop had code {code}")),
        }
        0
    }

    fn done(&self) -> bool {
        self.left == 0
    }
}
