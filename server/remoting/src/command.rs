//! A command that owns its parts: for clients, for what a server says unasked, for tests.

use crate::frame::{Decoder, FrameError, Serialize};
use crate::language::Language;
use crate::reply::{Head, Writer};
use crate::version;

/// A request or an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Request code, or response code of an answer.
    pub code: i32,
    /// The sender's language.
    pub language: Language,
    /// The sender's version, see [`crate::version`].
    pub version: i32,
    /// Names the request; echoed in the answer.
    pub opaque: i32,
    /// Bits: 1 an answer, 2 nobody waits for one.
    pub flag: i32,
    /// A text for people.
    pub remark: Option<String>,
    /// The named fields; `None` leaves `extFields` out.
    pub ext: Option<Vec<(String, String)>>,
    /// Everything behind the header.
    pub body: Vec<u8>,
    /// The form of the header.
    pub serialize: Serialize,
}

impl Command {
    /// A request without fields, opaque 0.
    pub fn request(code: i32) -> Command {
        Command {
            code,
            language: Language::Java,
            version: version::CURRENT,
            opaque: 0,
            flag: 0,
            remark: None,
            ext: None,
            body: Vec::new(),
            serialize: Serialize::Json,
        }
    }

    /// An answer without fields to the request with this opaque.
    pub fn response(opaque: i32, code: i32) -> Command {
        Command {
            opaque,
            flag: 1,
            ..Command::request(code)
        }
    }

    /// Nobody waits for an answer.
    pub fn oneway(mut self) -> Command {
        self.flag |= 2;
        self
    }

    /// Adds a named field.
    pub fn with(mut self, name: impl Into<String>, value: impl ToString) -> Command {
        let fields = self.ext.get_or_insert_default();
        fields.push((name.into(), value.to_string()));
        self
    }

    /// Writes `extFields` even if there are none.
    pub fn with_fields(mut self) -> Command {
        self.ext.get_or_insert_default();
        self
    }

    /// Sets the text for people.
    pub fn remark(mut self, remark: impl Into<String>) -> Command {
        self.remark = Some(remark.into());
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: Vec<u8>) -> Command {
        self.body = body;
        self
    }

    /// The value of a field; of duplicates the last one wins.
    pub fn field(&self, name: &str) -> Option<&str> {
        let fields = self.ext.as_deref().unwrap_or_default();
        let found = fields.iter().rev().find(|(key, _)| key == name)?;
        Some(&found.1)
    }

    /// Whether this is an answer.
    pub fn is_response(&self) -> bool {
        self.flag & 1 != 0
    }

    /// Appends the whole frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let head = Head {
            opaque: self.opaque,
            serialize: self.serialize,
        };
        let start = out.len();
        let mut writer =
            Writer::begin(out, head, self.code, self.flag, self.language, self.version);
        if let Some(remark) = &self.remark {
            writer.remark(out, remark);
        }
        for (name, value) in self.ext.iter().flatten() {
            writer.field(out, name, value);
        }
        if self.ext.is_some() {
            writer.some_fields(out);
        }
        writer.end_header(out, start);
        out.extend_from_slice(&self.body);
        Writer::end_frame(out, start);
    }

    /// The whole frame.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256 + self.body.len());
        self.encode(&mut out);
        out
    }

    /// Reads one whole frame.
    pub fn decode(frame: &[u8]) -> Result<Command, FrameError> {
        let mut decoder = Decoder::new();
        let frame = decoder.decode(frame)?;
        let fields = frame.ext.iter();
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(Command {
            code: frame.code,
            language: frame.language,
            version: frame.version,
            opaque: frame.opaque,
            flag: frame.flag,
            remark: frame.remark.map(str::to_owned),
            ext: (!frame.ext.is_absent()).then(|| fields.collect()),
            body: frame.body.to_vec(),
            serialize: frame.serialize,
        })
    }
}

#[cfg(test)]
mod tests;
