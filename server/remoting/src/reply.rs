//! Writes headers straight into a connection's buffer: answers through [`Reply`], everything else
//! through the same writer underneath.
//!
//! A header is a few constant pieces with numbers between them; its lengths are patched when its end
//! is known. In JSON every field is a string, because the C++ client drops anything else.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::frame::Serialize;
use crate::language::Language;
use crate::version;

/// What an answer must repeat of its request.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// The request's opaque.
    pub opaque: i32,
    /// The request's header form: an answer has the same.
    pub serialize: Serialize,
}

/// An answer being written: language JAVA, our version, flag 1. First the remark, then the fields,
/// then the body. Nothing counts until `finish`, `body` or `body_bytes` has run.
#[must_use]
pub struct Reply<'o> {
    out: &'o mut Vec<u8>,
    writer: Writer,
    /// Where this frame begins in `out`.
    start: usize,
    /// Where a body lies that was written before its header.
    before: Option<Place<'o>>,
}

impl<'o> Reply<'o> {
    /// Begins an answer at the end of `out`. Without a field, `extFields` is left out.
    pub fn new(out: &'o mut Vec<u8>, head: Head, code: i32) -> Self {
        let start = out.len();
        out.reserve(512);
        let writer = Writer::begin(out, head, code, 1, Language::Java, version::CURRENT);
        Reply {
            out,
            writer,
            start,
            before: None,
        }
    }

    /// Begins the answer whose body already lies in `out`, from `body_at` to the end: for who knows
    /// the fields only when the body is read. `finish` moves the header before it.
    pub fn before(out: &'o mut Vec<u8>, body_at: usize, head: Head, code: i32) -> Self {
        let place = Place {
            start: body_at,
            body_at,
            room: None,
        };
        Reply::placed(out, place, head, code)
    }

    /// The same with room left by [`Room::leave`], so that a body seldom has to be moved.
    pub fn placed(out: &'o mut Vec<u8>, place: Place<'o>, head: Head, code: i32) -> Self {
        Reply {
            before: Some(place),
            ..Reply::new(out, head, code)
        }
    }

    /// A text for people. Must come before the fields.
    pub fn remark(mut self, remark: &str) -> Self {
        self.writer.remark(self.out, remark);
        self
    }

    /// A named field. This name, and that of any other field here, is a constant without quotes and
    /// backslashes.
    #[inline(always)]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.writer.constant_name(self.out, name);
        self.writer.value(self.out, value);
        self
    }

    /// A named text of ASCII without quotes and backslashes.
    #[inline(always)]
    pub fn plain(mut self, name: &str, value: &[u8]) -> Self {
        self.writer.plain(self.out, name, value);
        self
    }

    /// A named number.
    #[inline(always)]
    pub fn number(mut self, name: &str, value: i64) -> Self {
        self.writer.number(self.out, name, value);
        self
    }

    /// Fields that are the same in every answer.
    pub fn fields(mut self, fields: &Prepared) -> Self {
        self.writer.prepared(self.out, fields);
        self
    }

    /// A named truth.
    pub fn flag(self, name: &str, value: bool) -> Self {
        self.field(name, if value { "true" } else { "false" })
    }

    /// `extFields` is there even if nothing is in it, as where Apache has a header class.
    pub fn empty_fields(mut self) -> Self {
        self.writer.some_fields(self.out);
        self
    }

    /// Ends an answer without a body (or with the one it was begun before).
    pub fn finish(mut self) {
        self.writer.end_header(self.out, self.start);
        if let Some(place) = self.before {
            place.put(self.out, self.start, self.writer.serialize);
            self.start = place.start;
        }
        Writer::end_frame(self.out, self.start);
    }

    /// Ends the header, lets `write` append the body, ends the answer.
    pub fn body(mut self, write: impl FnOnce(&mut Vec<u8>)) {
        debug_assert!(self.before.is_none(), "the body is already there");
        self.writer.end_header(self.out, self.start);
        write(self.out);
        Writer::end_frame(self.out, self.start);
    }

    /// Ends the answer with this body.
    pub fn body_bytes(self, body: &[u8]) {
        self.body(|out| out.extend_from_slice(body));
    }
}

/// How long the header of the last answer of its kind was, by form: the next one is mostly just as long,
/// so a body that is written before its header leaves so much room.
#[derive(Debug, Default)]
pub struct Room {
    json: AtomicUsize,
    binary: AtomicUsize,
}

/// Where the header of a body goes that is written first.
#[derive(Clone, Copy, Debug)]
pub struct Place<'r> {
    /// Where the answer begins.
    start: usize,
    body_at: usize,
    room: Option<&'r Room>,
}

/// Longer headers are not expected again.
const ROOM_MAX: usize = 512;

impl Room {
    /// Leaves room at the end of `out`; the body begins behind it.
    pub fn leave(&self, out: &mut Vec<u8>, serialize: Serialize) -> Place<'_> {
        let start = out.len();
        out.resize(start + self.of(serialize).load(Ordering::Relaxed), 0);
        Place {
            start,
            body_at: out.len(),
            room: Some(self),
        }
    }

    fn of(&self, serialize: Serialize) -> &AtomicUsize {
        match serialize {
            Serialize::Json => &self.json,
            Serialize::Binary => &self.binary,
        }
    }
}

impl Place<'_> {
    /// Moves the header, which lies from `header_at` to the end, before the body.
    fn put(&self, out: &mut Vec<u8>, header_at: usize, serialize: Serialize) {
        let Place { start, body_at, .. } = *self;
        let length = out.len() - header_at;
        if length == body_at - start {
            out.copy_within(header_at.., start);
            return out.truncate(header_at);
        }
        if let Some(room) = self.room
            && header_at > body_at
            && length <= ROOM_MAX
        {
            room.of(serialize).store(length, Ordering::Relaxed);
        }
        let mut small = [0u8; ROOM_MAX];
        match small.get_mut(..length) {
            Some(header) => {
                header.copy_from_slice(&out[header_at..]);
                out.copy_within(body_at..header_at, start + length);
                out[start..start + length].copy_from_slice(header);
                out.truncate(header_at + length - (body_at - start));
            }
            None => {
                out[body_at..].rotate_right(length);
                out.drain(start..body_at);
            }
        }
    }
}

/// Fields written once, in both forms, for answers that all have them.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    json: Vec<u8>,
    binary: Vec<u8>,
}

impl Prepared {
    /// These fields, in this order.
    pub fn new(fields: &[(&str, &str)]) -> Prepared {
        let write = |serialize| {
            let head = Head {
                opaque: 0,
                serialize,
            };
            let mut out = Vec::new();
            let mut writer = Writer::begin(&mut out, head, 0, 1, Language::Java, version::CURRENT);
            writer.some_fields(&mut out);
            let start = out.len();
            for (name, value) in fields {
                writer.field(&mut out, name, value);
            }
            out.split_off(start)
        };
        Prepared {
            json: write(Serialize::Json),
            binary: write(Serialize::Binary),
        }
    }
}

const USUAL: (i32, i32, Language, i32) = (0, 1, Language::Java, 479);
const USUAL_START: &[u8] = b"\0\0\0\0\0\0\0\0{\"code\":0,\"flag\":1,\"language\":\"JAVA\",\
    \"serializeTypeCurrentRPC\":\"JSON\",\"version\":479,\"opaque\":";

/// The header under construction. Its buffer is handed to each step.
pub(crate) struct Writer {
    serialize: Serialize,
    /// Where the block of fields begins; `None` until there is one.
    fields_at: Option<usize>,
    has_remark: bool,
    first: bool,
}

impl Writer {
    pub(crate) fn begin(
        out: &mut Vec<u8>,
        head: Head,
        code: i32,
        flag: i32,
        language: Language,
        version: i32,
    ) -> Writer {
        match head.serialize {
            // What nearly every answer begins with.
            Serialize::Json if (code, flag, language, version) == USUAL => {
                out.extend_from_slice(USUAL_START);
                decimal(out, i64::from(head.opaque));
            }
            Serialize::Json => {
                out.extend_from_slice(b"\0\0\0\0\0\0\0\0{\"code\":");
                decimal(out, i64::from(code));
                out.extend_from_slice(b",\"flag\":");
                decimal(out, i64::from(flag));
                out.extend_from_slice(b",\"language\":\"");
                out.extend_from_slice(language.name().as_bytes());
                out.extend_from_slice(b"\",\"opaque\":");
                decimal(out, i64::from(head.opaque));
                out.extend_from_slice(b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
                decimal(out, i64::from(version));
            }
            Serialize::Binary => {
                // Codes and versions are 16 bits in this form; Java cuts them the same way.
                let mut fixed = [0; 21];
                fixed[8..10].copy_from_slice(&(code as i16).to_be_bytes());
                fixed[10] = language as u8;
                fixed[11..13].copy_from_slice(&(version as i16).to_be_bytes());
                fixed[13..17].copy_from_slice(&head.opaque.to_be_bytes());
                fixed[17..21].copy_from_slice(&flag.to_be_bytes());
                out.extend_from_slice(&fixed);
            }
        }
        Writer {
            serialize: head.serialize,
            fields_at: None,
            has_remark: false,
            first: true,
        }
    }

    pub(crate) fn remark(&mut self, out: &mut Vec<u8>, remark: &str) {
        debug_assert!(
            self.fields_at.is_none(),
            "the remark comes before the fields"
        );
        if self.has_remark || self.fields_at.is_some() {
            return;
        }
        self.has_remark = true;
        match self.serialize {
            Serialize::Json => {
                out.extend_from_slice(b",\"remark\":\"");
                escape(out, remark.as_bytes());
                out.push(b'"');
            }
            Serialize::Binary => long_string(out, remark.as_bytes()),
        }
    }

    /// Opens the block of fields unless it is open.
    #[inline]
    pub(crate) fn some_fields(&mut self, out: &mut Vec<u8>) {
        if self.fields_at.is_some() {
            return;
        }
        match self.serialize {
            Serialize::Json => out.extend_from_slice(b",\"extFields\":{"),
            Serialize::Binary if self.has_remark => out.extend_from_slice(&[0; 4]),
            // The length of no remark, too.
            Serialize::Binary => {
                self.has_remark = true;
                out.extend_from_slice(&[0; 8]);
            }
        }
        self.fields_at = Some(out.len());
    }

    pub(crate) fn field(&mut self, out: &mut Vec<u8>, name: &str, value: &str) {
        self.some_fields(out);
        match self.serialize {
            Serialize::Json => {
                self.between(out);
                escape(out, name.as_bytes());
                out.extend_from_slice(b"\":\"");
            }
            Serialize::Binary => binary_name(out, name),
        }
        self.value(out, value);
    }

    fn value(&mut self, out: &mut Vec<u8>, value: &str) {
        match self.serialize {
            Serialize::Json => {
                escape(out, value.as_bytes());
                out.push(b'"');
            }
            Serialize::Binary => long_string(out, value.as_bytes()),
        }
    }

    /// The name of a field, to its value: copied in line, it is a few moves.
    #[inline(always)]
    fn constant_name(&mut self, out: &mut Vec<u8>, name: &str) {
        debug_assert!(is_plain(name.as_bytes()), "{name:?} needs escapes");
        self.some_fields(out);
        match self.serialize {
            Serialize::Json => {
                self.between(out);
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b"\":\"");
            }
            Serialize::Binary => binary_name(out, name),
        }
    }

    #[inline(always)]
    fn plain(&mut self, out: &mut Vec<u8>, name: &str, value: &[u8]) {
        self.constant_name(out, name);
        match self.serialize {
            Serialize::Json => {
                out.extend_from_slice(value);
                out.push(b'"');
            }
            Serialize::Binary => long_string(out, value),
        }
    }

    #[inline(always)]
    pub(crate) fn number(&mut self, out: &mut Vec<u8>, name: &str, value: i64) {
        let mut digits = itoa::Buffer::new();
        self.plain(out, name, digits.format(value).as_bytes());
    }

    fn prepared(&mut self, out: &mut Vec<u8>, fields: &Prepared) {
        self.some_fields(out);
        match self.serialize {
            Serialize::Json if fields.json.is_empty() => {}
            Serialize::Json => {
                if !std::mem::take(&mut self.first) {
                    out.push(b',');
                }
                out.extend_from_slice(&fields.json);
            }
            Serialize::Binary => out.extend_from_slice(&fields.binary),
        }
    }

    /// What stands before a name in JSON.
    #[inline]
    fn between(&mut self, out: &mut Vec<u8>) {
        if !std::mem::take(&mut self.first) {
            out.push(b',');
        }
        out.push(b'"');
    }

    /// Closes the header of the frame that begins at `start`, and patches its length.
    pub(crate) fn end_header(&mut self, out: &mut Vec<u8>, start: usize) {
        match self.serialize {
            Serialize::Json => {
                let end: &[u8] = if self.fields_at.is_some() {
                    b"}}"
                } else {
                    b"}"
                };
                out.extend_from_slice(end);
            }
            Serialize::Binary => {
                self.some_fields(out);
                if let Some(at) = self.fields_at {
                    let length = (out.len() - at) as u32;
                    out[at - 4..at].copy_from_slice(&length.to_be_bytes());
                }
            }
        }
        let length = (out.len() - start - 8) as u32;
        let word = (self.serialize as u32) << 24 | (length & 0xFF_FFFF);
        out[start + 4..start + 8].copy_from_slice(&word.to_be_bytes());
    }

    /// Patches the length of the frame that begins at `start` and ends where `out` ends.
    pub(crate) fn end_frame(out: &mut [u8], start: usize) {
        let length = (out.len() - start - 4) as u32;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }
}

fn decimal(out: &mut Vec<u8>, value: i64) {
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(digits.format(value).as_bytes());
}

/// Names are constants: copied in line, they are a few moves.
#[inline(always)]
fn binary_name(out: &mut Vec<u8>, name: &str) {
    let name = name.as_bytes();
    out.extend_from_slice(&(name.len() as u16).to_be_bytes());
    out.extend_from_slice(name);
}

fn long_string(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&(text.len() as u32).to_be_bytes());
    out.extend_from_slice(text);
}

/// Appends the inside of a JSON string.
pub(crate) fn escape(out: &mut Vec<u8>, text: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    if is_plain(text) {
        return out.extend_from_slice(text);
    }
    let mut from = 0;
    for (at, &byte) in text.iter().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&text[from..at]);
        from = at + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&digits);
            }
        }
    }
    out.extend_from_slice(&text[from..]);
}

/// Whether nothing in `text` needs an escape. Eight bytes a step; a few bytes above 0x7F may be taken
/// for one that does.
fn is_plain(text: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let (words, tail) = text.as_chunks::<8>();
    let mut hit = 0;
    for word in words {
        let word = u64::from_le_bytes(*word);
        let quotes = word ^ (ONES * u64::from(b'"'));
        let slashes = word ^ (ONES * u64::from(b'\\'));
        hit |= word.wrapping_sub(ONES * 0x20) & !word;
        hit |= quotes.wrapping_sub(ONES) & !quotes;
        hit |= slashes.wrapping_sub(ONES) & !slashes;
    }
    let plain = |&byte: &u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    hit & (ONES * 0x80) == 0 && tail.iter().all(plain)
}

#[cfg(test)]
mod tests;
