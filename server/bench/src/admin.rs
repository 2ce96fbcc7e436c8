//! The few requests around a cell: make a topic, ask where a queue ends, pull, send one.

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use remoting::{Command, Serialize};

use crate::send::Wrong;
use crate::template::{OPAQUE, Stamp, Template, pull};
use crate::wire::Asking;

/// A blocking connection to a broker.
pub struct Admin {
    asking: Asking,
    next: i32,
}

const LIMIT: Duration = Duration::from_secs(10);

impl Admin {
    /// Connects.
    pub fn connect(address: SocketAddr) -> io::Result<Admin> {
        Ok(Admin {
            asking: Asking::connect(address, LIMIT)?,
            next: 1,
        })
    }

    fn ask(&mut self, request: Command) -> io::Result<Command> {
        self.next += 1;
        let opaque = self.next;
        self.asking.ask(&Command { opaque, ..request })
    }

    fn expect(&mut self, request: Command) -> Result<Command, Wrong> {
        let code = request.code;
        let answer = self.ask(request)?;
        if answer.code != 0 {
            let remark = answer.remark.unwrap_or_default();
            return Err(Wrong(format!(
                "request {code} failed: {} {remark}",
                answer.code
            )));
        }
        Ok(answer)
    }

    /// Makes a topic with this many queues.
    pub fn create_topic(&mut self, topic: &str, queues: u32) -> Result<(), Wrong> {
        let request = Command::request(17)
            .with("topic", topic)
            .with("defaultTopic", "TBW102")
            .with("readQueueNums", queues)
            .with("writeQueueNums", queues)
            .with("perm", 6)
            .with("topicFilterType", "SINGLE_TAG")
            .with("topicSysFlag", 0)
            .with("order", false);
        self.expect(request).map(drop)
    }

    /// Where a queue ends (GET_MAX_OFFSET).
    pub fn end(&mut self, topic: &str, queue: u32) -> Result<u64, Wrong> {
        let request = Command::request(30)
            .with("topic", topic)
            .with("queueId", queue);
        let answer = self.expect(request)?;
        let offset = answer
            .field("offset")
            .and_then(|offset| offset.parse().ok());
        offset.ok_or_else(|| Wrong("no offset in the answer".to_owned()))
    }

    /// Pulls up to 32 messages; the body.
    pub fn pull(&mut self, topic: &str, queue: u32, offset: u64) -> Result<Vec<u8>, Wrong> {
        self.expect(pull(topic, queue, offset, 32, 0))
            .map(|answer| answer.body)
    }

    /// Sends one message; the answer's code.
    pub fn send_one(&mut self, topic: &str) -> io::Result<i32> {
        let mut frame = Vec::new();
        let template = Template::send(topic, 64, Serialize::Json);
        template.write(&mut frame, OPAQUE, 0, || Stamp {
            run: 0,
            ns: 0,
            from: 0,
            queue: 0,
            seq: 1,
        });
        let command = Command::decode(&frame).expect("a template is a frame");
        self.ask(command).map(|answer| answer.code)
    }

    /// Waits until all queues together end there; how long that took.
    pub fn until_end(&mut self, topic: &str, queues: u32, sum: u64) -> Result<Duration, Wrong> {
        let begun = Instant::now();
        loop {
            let mut stored = 0;
            for queue in 0..queues {
                stored += self.end(topic, queue)?;
            }
            if stored >= sum {
                return Ok(begun.elapsed());
            }
            if begun.elapsed() > Duration::from_secs(60) {
                return Err(Wrong(format!(
                    "{sum} acknowledged, {stored} stored after a minute"
                )));
            }
            thread::sleep(Duration::from_micros(200));
        }
    }
}
