//! Writes requests straight into a connection's buffer: for clients' hot requests. Everything else is a
//! [`crate::Command`].

use crate::frame::Serialize;
use crate::language::Language;
use crate::reply::{Head, Writer};
use crate::version;

/// A request being written, in our language and version. First the fields, then the body. Nothing
/// counts until `body` or `finish` has run.
#[must_use]
pub struct Request<'o> {
    out: &'o mut Vec<u8>,
    writer: Writer,
    start: usize,
}

impl<'o> Request<'o> {
    /// Begins a request at the end of `out`. The binary form has room for codes of 16 bits only; a
    /// larger code is written as JSON.
    pub fn new(out: &'o mut Vec<u8>, head: Head, code: i32, oneway: bool) -> Self {
        let start = out.len();
        let serialize = match i16::try_from(code) {
            Ok(_) => head.serialize,
            Err(_) => Serialize::Json,
        };
        let head = Head { serialize, ..head };
        let flag = if oneway { 2 } else { 0 };
        let writer = Writer::begin(out, head, code, flag, Language::Rust, version::CURRENT);
        Request { out, writer, start }
    }

    /// A named field.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.writer.field(self.out, name, value);
        self
    }

    /// A named number.
    pub fn number(mut self, name: &str, value: i64) -> Self {
        self.writer.number(self.out, name, value);
        self
    }

    /// Ends the request with this body.
    pub fn body(mut self, body: &[u8]) {
        self.writer.end_header(self.out, self.start);
        self.out.extend_from_slice(body);
        Writer::end_frame(self.out, self.start);
    }

    /// Ends a request without a body.
    pub fn finish(self) {
        self.body(&[]);
    }
}
