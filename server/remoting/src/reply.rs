//! Writes headers straight into a connection's buffer: answers through [`Reply`], everything else
//! through the same writer underneath.
//!
//! A header is a few constant pieces with numbers between them; its lengths are patched when its end
//! is known. In JSON every field is a string, because the C++ client drops anything else.

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
    body_at: Option<usize>,
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
            body_at: None,
        }
    }

    /// Begins the answer whose body already lies in `out`, from `body_at` to the end: for who knows
    /// the fields only when the body is read. `finish` moves the header before it.
    pub fn before(out: &'o mut Vec<u8>, body_at: usize, head: Head, code: i32) -> Self {
        Reply {
            body_at: Some(body_at),
            ..Reply::new(out, head, code)
        }
    }

    /// A text for people. Must come before the fields.
    pub fn remark(mut self, remark: &str) -> Self {
        self.writer.remark(self.out, remark);
        self
    }

    /// A named field.
    #[inline]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.writer.field(self.out, name, value);
        self
    }

    /// A named text of ASCII without quotes and backslashes.
    #[inline]
    pub fn plain(mut self, name: &str, value: &[u8]) -> Self {
        self.writer.plain(self.out, name, value);
        self
    }

    /// A named number.
    #[inline]
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
        if let Some(body_at) = self.body_at {
            rotate(self.out, body_at, self.start);
            self.start = body_at;
        }
        Writer::end_frame(self.out, self.start);
    }

    /// Ends the header, lets `write` append the body, ends the answer.
    pub fn body(mut self, write: impl FnOnce(&mut Vec<u8>)) {
        debug_assert!(self.body_at.is_none(), "the body is already there");
        self.writer.end_header(self.out, self.start);
        write(self.out);
        Writer::end_frame(self.out, self.start);
    }

    /// Ends the answer with this body.
    pub fn body_bytes(self, body: &[u8]) {
        self.body(|out| out.extend_from_slice(body));
    }
}

/// Moves the header at `header_at` before the body at `body_at`.
fn rotate(out: &mut [u8], body_at: usize, header_at: usize) {
    let mut small = [0u8; 512];
    let length = out.len() - header_at;
    match small.get_mut(..length) {
        Some(header) if body_at <= header_at => {
            header.copy_from_slice(&out[header_at..]);
            out.copy_within(body_at..header_at, body_at + length);
            out[body_at..body_at + length].copy_from_slice(header);
        }
        _ => out[body_at..].rotate_right(length),
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
const USUAL_START: &[u8] = br#"{"code":0,"flag":1,"language":"JAVA","serializeTypeCurrentRPC":"JSON","version":479,"opaque":"#;

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
        out.extend_from_slice(&[0; 8]);
        match head.serialize {
            // What nearly every answer begins with.
            Serialize::Json if (code, flag, language, version) == USUAL => {
                out.extend_from_slice(USUAL_START);
                decimal(out, i64::from(head.opaque));
            }
            Serialize::Json => {
                out.extend_from_slice(b"{\"code\":");
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
                out.extend_from_slice(&(code as i16).to_be_bytes());
                out.push(language as u8);
                out.extend_from_slice(&(version as i16).to_be_bytes());
                out.extend_from_slice(&head.opaque.to_be_bytes());
                out.extend_from_slice(&flag.to_be_bytes());
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
            Serialize::Binary => {
                if !self.has_remark {
                    self.remark(out, "");
                }
                out.extend_from_slice(&[0; 4]);
            }
        }
        self.fields_at = Some(out.len());
    }

    #[inline]
    pub(crate) fn field(&mut self, out: &mut Vec<u8>, name: &str, value: &str) {
        self.some_fields(out);
        match self.serialize {
            Serialize::Json => {
                self.json_name(out, name);
                escape(out, value.as_bytes());
                out.push(b'"');
            }
            Serialize::Binary => {
                binary_name(out, name);
                long_string(out, value.as_bytes());
            }
        }
    }

    #[inline]
    fn plain(&mut self, out: &mut Vec<u8>, name: &str, value: &[u8]) {
        self.some_fields(out);
        match self.serialize {
            Serialize::Json => {
                self.json_name(out, name);
                out.extend_from_slice(value);
                out.push(b'"');
            }
            Serialize::Binary => {
                binary_name(out, name);
                long_string(out, value);
            }
        }
    }

    #[inline]
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

    #[inline]
    fn json_name(&mut self, out: &mut Vec<u8>, name: &str) {
        out.extend_from_slice(if self.first { b"\"" } else { b",\"" });
        self.first = false;
        escape(out, name.as_bytes());
        out.extend_from_slice(b"\":\"");
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
