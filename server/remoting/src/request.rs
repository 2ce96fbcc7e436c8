//! Writes requests straight into a connection's buffer: for clients' hot requests. Everything else is a
//! [`crate::Command`].

use model::batch::{Item, push};

use crate::frame::Serialize;
use crate::language::Language;
use crate::reply::{Head, Writer};
use crate::version;

/// What a request carries behind its header.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// A body.
    Body(&'a [u8]),
    /// The messages of a batch, whose body they are when it is written.
    Batch(&'a [Item<'a>]),
}

impl Payload<'_> {
    /// No body.
    pub const NONE: Payload<'static> = Payload::Body(&[]);

    /// How many bytes it is when it is written.
    pub fn encoded_len(&self) -> usize {
        match self {
            Payload::Body(body) => body.len(),
            Payload::Batch(items) => items.iter().map(Item::encoded_len).sum(),
        }
    }
}

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
    pub fn body(self, body: &[u8]) {
        self.payload(Payload::Body(body));
    }

    /// Ends the request with this.
    ///
    /// # Panics
    /// If properties of a batch's messages are longer than can be said.
    pub fn payload(mut self, payload: Payload<'_>) {
        self.writer.end_header(self.out, self.start);
        self.out.reserve(payload.encoded_len());
        match payload {
            Payload::Body(body) => self.out.extend_from_slice(body),
            Payload::Batch(items) => {
                let all = items.iter().all(|item| push(self.out, item));
                assert!(
                    all,
                    "a message's properties are longer than a batch can say"
                );
            }
        }
        Writer::end_frame(self.out, self.start);
    }

    /// Ends a request without a body.
    pub fn finish(self) {
        self.body(&[]);
    }
}
