//! Requests, made once and patched for each use: the generator must cost less than any broker.
//!
//! What changes lies at fixed places because its width is fixed: opaques have ten digits, queue ids
//! one, ids their 32. A body says where it comes from, when it was sent, and its own checksum:
//!
//! ```text
//! 0      8      16     20     24     32     36
//! | run  | ns   | from | queue| seq  | crc  | filling …
//! ```

use remoting::{Command, Serialize};

/// The first opaque: it and all that follow have ten digits.
pub const OPAQUE: i32 = 1_000_000_000;
/// The smallest body that has room for its stamp.
pub const BODY_MIN: usize = 36;

/// Who sent a body, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The run, so that leftovers of another are seen.
    pub run: u64,
    /// Nanoseconds on the generator's clock: when it was meant to be sent.
    pub ns: u64,
    /// The connection.
    pub from: u32,
    /// The queue it was sent to.
    pub queue: u32,
    /// Counts the messages of one connection and queue.
    pub seq: u64,
}

impl Stamp {
    /// Writes the stamp and its checksum over a body.
    pub fn write(&self, body: &mut [u8]) {
        body[0..8].copy_from_slice(&self.run.to_le_bytes());
        body[8..16].copy_from_slice(&self.ns.to_le_bytes());
        body[16..20].copy_from_slice(&self.from.to_le_bytes());
        body[20..24].copy_from_slice(&self.queue.to_le_bytes());
        body[24..32].copy_from_slice(&self.seq.to_le_bytes());
        let crc = checksum(body);
        body[32..36].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads a body's stamp; `None` if the body is not as it was sent.
    pub fn read(body: &[u8]) -> Option<Stamp> {
        let long = |at: usize| Some(u64::from_le_bytes(*body.get(at..)?.first_chunk()?));
        let word = |at: usize| Some(u32::from_le_bytes(*body.get(at..)?.first_chunk()?));
        let stamp = Stamp {
            run: long(0)?,
            ns: long(8)?,
            from: word(16)?,
            queue: word(20)?,
            seq: long(24)?,
        };
        (word(32)? == checksum(body)).then_some(stamp)
    }
}

fn checksum(body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&body[..32]);
    crc.update(&body[36..]);
    crc.finalize()
}

/// A whole frame with places to patch.
#[derive(Clone)]
pub struct Template {
    bytes: Vec<u8>,
    serialize: Serialize,
    opaque_at: usize,
    queue_at: Option<usize>,
    ids: Vec<usize>,
    bodies: Vec<(usize, usize)>,
    /// Where the number of a property lies, and its digits.
    number_at: Option<(usize, usize)>,
}

/// A property whose value is a number of always the same width.
#[derive(Clone, Copy, Debug)]
pub struct Numbered {
    /// Its name.
    pub name: &'static str,
    /// How many digits it has.
    pub digits: usize,
}

const QUEUE: &str = "7";
const ID: &str = "7F00000100AB0CD10000000000000000";

impl Template {
    /// SEND_MESSAGE_V2 with one body of this size, as the Java client writes it.
    pub fn send(topic: &str, size: usize, serialize: Serialize) -> Template {
        let properties = format!("UNIQ_KEY\u{1}{ID}\u{2}WAIT\u{1}true\u{2}");
        let mut body = filling(size);
        mark(&mut body);
        let command = header(310, topic, &properties, 0, false, serialize).body(body);
        Template::of(&command, size)
    }

    /// The same with more properties, a system flag, and perhaps a property that [`Template::number`]
    /// sets.
    pub fn with(
        topic: &str,
        size: usize,
        more: &str,
        numbered: Option<Numbered>,
        sys_flag: i32,
    ) -> Template {
        let mut properties = format!("UNIQ_KEY\u{1}{ID}\u{2}{more}");
        if let Some(Numbered { name, digits }) = numbered {
            properties += &format!("{name}\u{1}{}\u{2}", "0".repeat(digits));
        }
        properties += "WAIT\u{1}true\u{2}";
        let mut body = filling(size);
        mark(&mut body);
        let form = Serialize::Binary;
        let command = header(310, topic, &properties, sys_flag, false, form).body(body);
        let mut template = Template::of(&command, size);
        template.number_at = numbered.map(|Numbered { name, digits }| {
            let name = format!("{name}\u{1}");
            let at = memchr::memmem::find(&template.bytes, name.as_bytes());
            (
                at.expect("the property was just written") + name.len(),
                digits,
            )
        });
        template
    }

    /// Writes the number of the property that changes.
    pub fn number(&mut self, number: u64) {
        if let Some((at, length)) = self.number_at {
            digits(&mut self.bytes[at..at + length], number);
        }
    }

    /// SEND_BATCH_MESSAGE with `count` bodies of this size.
    pub fn batch(topic: &str, size: usize, count: usize, serialize: Serialize) -> Template {
        let properties = format!("UNIQ_KEY\u{1}{ID}\u{2}");
        let mut body = Vec::new();
        for _ in 0..count {
            let length = 4 * 5 + size + 2 + properties.len();
            body.extend((length as u32).to_be_bytes());
            body.extend([0; 12]);
            body.extend((size as u32).to_be_bytes());
            let mut one = filling(size);
            mark(&mut one);
            body.extend(one);
            body.extend((properties.len() as u16).to_be_bytes());
            body.extend(properties.as_bytes());
        }
        let properties = "WAIT\u{1}true\u{2}";
        let command = header(320, topic, properties, 0, true, serialize).body(body);
        Template::of(&command, size)
    }

    /// How many messages are in it.
    pub fn messages(&self) -> usize {
        self.bodies.len()
    }

    fn of(command: &Command, size: usize) -> Template {
        let mut bytes = Vec::new();
        command.encode(&mut bytes);
        let find = |what: &[u8]| memchr::memmem::find_iter(&bytes, what).collect::<Vec<_>>();
        let (opaque_at, queue_at) = match command.serialize {
            Serialize::Json => {
                let queue = find(format!("\"e\":\"{QUEUE}\"").as_bytes());
                (find(OPAQUE.to_string().as_bytes())[0], queue[0] + 5)
            }
            Serialize::Binary => (13, find(b"\0\x01e\0\0\0\x017")[0] + 7),
        };
        let bodies = find(&MARK).into_iter().map(|at| (at, at + size));
        Template {
            serialize: command.serialize,
            opaque_at,
            queue_at: Some(queue_at),
            ids: find(ID.as_bytes()),
            bodies: bodies.collect(),
            number_at: None,
            bytes,
        }
    }

    /// Appends the frame. `stamp` is asked for each body in turn.
    pub fn write(
        &self,
        out: &mut Vec<u8>,
        opaque: i32,
        queue: u32,
        mut stamp: impl FnMut() -> Stamp,
    ) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let frame = &mut out[start..];
        match self.serialize {
            Serialize::Json => digits(
                &mut frame[self.opaque_at..self.opaque_at + 10],
                opaque as u64,
            ),
            Serialize::Binary => {
                frame[self.opaque_at..self.opaque_at + 4].copy_from_slice(&opaque.to_be_bytes());
            }
        }
        if let Some(at) = self.queue_at {
            frame[at] = b'0' + queue as u8;
        }
        for (n, &(from, to)) in self.bodies.iter().enumerate() {
            let stamp = stamp();
            stamp.write(&mut frame[from..to]);
            if let Some(&id) = self.ids.get(n) {
                let number = u64::from(stamp.from) << 44 | u64::from(queue) << 40 | stamp.seq;
                hex(&mut frame[id + 16..id + 32], number);
            }
        }
    }
}

const MARK: [u8; 8] = *b"\xF1BODY\xF2\xF3\xF4";

fn mark(body: &mut [u8]) {
    assert!(
        body.len() >= BODY_MIN,
        "a body has at least {BODY_MIN} bytes"
    );
    body[..8].copy_from_slice(&MARK);
}

fn filling(size: usize) -> Vec<u8> {
    (0..size).map(|n| b'a' + (n % 26) as u8).collect()
}

fn header(
    code: i32,
    topic: &str,
    properties: &str,
    sys_flag: i32,
    batch: bool,
    form: Serialize,
) -> Command {
    let command = Command {
        opaque: OPAQUE,
        serialize: form,
        ..Command::request(code)
    };
    command
        .with("a", "bench")
        .with("b", topic)
        .with("c", "TBW102")
        .with("d", 8)
        .with("e", QUEUE)
        .with("f", sys_flag)
        .with("g", 1_764_000_000_000_u64)
        .with("h", 0)
        .with("i", properties)
        .with("j", 0)
        .with("k", false)
        .with("m", batch)
}

fn digits(place: &mut [u8], number: u64) {
    let mut rest = number;
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

fn hex(place: &mut [u8], number: u64) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for (n, digit) in place.iter_mut().rev().enumerate() {
        *digit = HEX[(number >> (4 * n) & 15) as usize];
    }
}

/// PULL_MESSAGE that may wait for `wait_ms`, with its subscription.
pub fn pull(topic: &str, queue: u32, offset: u64, max: u32, wait_ms: u64) -> Command {
    Command::request(11)
        .with("consumerGroup", "bench")
        .with("topic", topic)
        .with("queueId", queue)
        .with("queueOffset", offset)
        .with("maxMsgNums", max)
        .with("sysFlag", if wait_ms > 0 { 6 } else { 4 })
        .with("commitOffset", 0)
        .with("suspendTimeoutMillis", wait_ms)
        .with("subscription", "*")
        .with("subVersion", 0)
        .with("expressionType", "TAG")
}

#[cfg(test)]
mod tests {
    use super::{Numbered, OPAQUE, Stamp, Template};
    use remoting::{Command, Serialize};

    #[test]
    fn what_is_patched_is_what_is_decoded() {
        for serialize in [Serialize::Json, Serialize::Binary] {
            for count in [1, 3] {
                let template = match count {
                    1 => Template::send("topic", 128, serialize),
                    _ => Template::batch("topic", 128, count, serialize),
                };
                assert_eq!(template.messages(), count);
                let mut seq = 41;
                let stamp = || {
                    seq += 1;
                    Stamp {
                        run: 1,
                        ns: 2,
                        from: 3,
                        queue: 5,
                        seq,
                    }
                };
                let mut out = Vec::new();
                template.write(&mut out, OPAQUE + 123_456, 5, stamp);
                let command = Command::decode(&out).unwrap();
                assert_eq!(command.opaque, OPAQUE + 123_456);
                assert_eq!(command.field("e"), Some("5"));
                if count == 1 {
                    assert_eq!(Stamp::read(&command.body).unwrap().seq, 42);
                    let id = command.field("i").unwrap().get(9..41);
                    assert_eq!(id, Some("7F00000100AB0CD1000035000000002A"));
                }
            }
        }
    }

    #[test]
    fn a_numbered_property_is_patched() {
        let numbered = Numbered {
            name: "TIMER_DELIVER_MS",
            digits: 13,
        };
        let mut template = Template::with("topic", 128, "A\u{1}b\u{2}", Some(numbered), 4);
        template.number(1_795_528_075_618);
        let mut out = Vec::new();
        template.write(&mut out, OPAQUE, 0, || Stamp {
            run: 1,
            ns: 2,
            from: 3,
            queue: 0,
            seq: 4,
        });
        let command = Command::decode(&out).unwrap();
        let properties = command.field("i").unwrap();
        assert!(properties.contains("A\u{1}b\u{2}TIMER_DELIVER_MS\u{1}1795528075618\u{2}WAIT"));
        assert_eq!(command.field("f"), Some("4"));
    }

    #[test]
    fn a_changed_body_is_seen() {
        let stamp = Stamp {
            run: 1,
            ns: 2,
            from: 3,
            queue: 4,
            seq: 5,
        };
        let mut body = vec![b'x'; 100];
        stamp.write(&mut body);
        assert_eq!(Stamp::read(&body), Some(stamp));
        for at in 0..100 {
            body[at] ^= 1;
            assert_eq!(Stamp::read(&body), None);
            body[at] ^= 1;
        }
    }
}
