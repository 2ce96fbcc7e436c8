//! A frame: four bytes of length, one byte of header form, three of header length, header, body.
//!
//! Decoding borrows. A [`Decoder`] keeps the list of named fields and the few strings that had
//! escapes; everything else points into the connection's buffer. A connection decodes thousands of
//! frames with one decoder and allocates for none of them.

use model::batch::Item;

use crate::language::Language;
use crate::{binary, json};

/// The longest frame, its length word included (Apache `frameMaxLength`).
pub const FRAME_MAX: usize = 16 * 1024 * 1024;
/// The longest header. Properties of 32 KiB with every byte escaped take a fifth of it.
pub const HEADER_MAX: usize = 1024 * 1024;
/// The most named fields in one header. Java's commands have at most 20.
pub const FIELDS_MAX: usize = 256;

/// How a header is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Serialize {
    /// A JSON object.
    #[default]
    Json = 0,
    /// Apache's `ROCKETMQ` form: fixed binary fields.
    Binary = 1,
}

/// Why a connection's bytes are no frame. All of them close the connection, as Apache does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length word is above [`FRAME_MAX`]; an HTTP request looks like this too.
    #[error("a frame of {0} bytes is longer than {FRAME_MAX}")]
    TooLong(u64),
    /// The length word does not even cover the header's length, or the bytes end early.
    #[error("a frame of {0} bytes is too short")]
    TooShort(u64),
    /// The header is longer than the frame.
    #[error("a header of {0} bytes does not fit its frame")]
    HeaderOverrun(u32),
    /// The header is above [`HEADER_MAX`].
    #[error("a header of {0} bytes is longer than {HEADER_MAX}")]
    HeaderTooLong(u32),
    /// No header.
    #[error("a frame without a header")]
    NoHeader,
    /// A header form that nobody defined.
    #[error("unknown header form {0}")]
    UnknownSerialize(u8),
    /// Not a JSON object, or a fixed field of the wrong kind.
    #[error("the JSON header is broken at byte {0}")]
    Json(usize),
    /// A length inside the binary header points beyond its end.
    #[error("the binary header is broken at byte {0}")]
    Binary(usize),
    /// More than [`FIELDS_MAX`] named fields.
    #[error("more than {FIELDS_MAX} named fields")]
    TooManyFields,
}

/// One command as it lies in the connection's buffer.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Request code, or response code of an answer.
    pub code: i32,
    /// The sender's language.
    pub language: Language,
    /// The sender's version: an ordinal of Apache's `MQVersion`, see [`crate::version`].
    pub version: i32,
    /// Names the request among those of one connection and direction; echoed in the answer.
    pub opaque: i32,
    /// Bits: 1 an answer, 2 nobody waits for one.
    pub flag: i32,
    /// The form of the header.
    pub serialize: Serialize,
    /// A text for people.
    pub remark: Option<&'a str>,
    /// The named fields.
    pub ext: Ext<'a>,
    /// Everything behind the header.
    pub body: &'a [u8],
    /// Of a batch that was made within the process, its messages where they lie; `body` is empty then.
    pub batch: &'a [Item<'a>],
}

impl Frame<'_> {
    /// Whether this answers a request.
    pub fn is_response(&self) -> bool {
        self.flag & 1 != 0
    }

    /// Whether the sender wants no answer, not even of an error.
    pub fn is_oneway(&self) -> bool {
        self.flag & 2 != 0
    }
}

/// A piece of the header, or of the decoder's unescaped text: small, because every name and every value
/// of every message is one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    at: u32,
    len: u32,
}

/// It lies in the decoder's text, not in the header. Neither is so long that a place needs this bit.
const COPIED: u32 = 1 << 31;

impl Span {
    /// Of the header.
    #[inline(always)]
    pub(crate) fn of(start: usize, end: usize) -> Span {
        Span {
            at: start as u32,
            len: end.wrapping_sub(start) as u32,
        }
    }

    /// Of the decoder's text.
    pub(crate) fn copied(start: usize, end: usize) -> Span {
        let Span { at, len } = Span::of(start, end);
        Span {
            at: at | COPIED,
            len,
        }
    }

    pub(crate) fn is_empty(self) -> bool {
        self.len == 0
    }

    #[inline(always)]
    pub(crate) fn slice<'a>(self, header: &'a [u8], text: &'a [u8]) -> &'a [u8] {
        let from = if self.at & COPIED == 0 { header } else { text };
        let at = (self.at & !COPIED) as usize;
        from.get(at..at + self.len as usize).unwrap_or_default()
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    /// The name, if it is one byte; else 0.
    pub(crate) letter: u8,
    pub(crate) name: Span,
    pub(crate) value: Span,
}

/// A command's named fields (`extFields`). Every value is text; who wants a number parses it.
#[derive(Clone, Copy, Debug)]
pub struct Ext<'a> {
    header: &'a [u8],
    text: &'a [u8],
    fields: &'a [Field],
    absent: bool,
}

impl<'a> Ext<'a> {
    /// No fields at all.
    pub const ABSENT: Ext<'static> = Ext {
        header: &[],
        text: &[],
        fields: &[],
        absent: true,
    };

    /// The value of a field; of duplicates the last one wins.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        let name = name.as_bytes();
        let found = |field: &&Field| self.slice(field.name) == name;
        let field = self.fields.iter().rev().find(found)?;
        std::str::from_utf8(self.slice(field.value)).ok()
    }

    /// All fields in the order they came. JSON nulls are left out.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.bytes().filter_map(|(name, value)| {
            Some((
                std::str::from_utf8(name).ok()?,
                std::str::from_utf8(value).ok()?,
            ))
        })
    }

    /// As [`Ext::iter`], for who compares names and parses numbers as bytes. From a binary header, it
    /// may be no UTF-8.
    pub fn bytes(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let ext = *self;
        self.fields
            .iter()
            .map(move |field| (ext.slice(field.name), ext.slice(field.value)))
    }

    /// As [`Ext::bytes`], of fields whose names are one byte.
    #[inline]
    pub(crate) fn letters(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        let ext = *self;
        let named = ext.fields.iter().filter(|field| field.letter != 0);
        named.map(move |field| (field.letter, ext.slice(field.value)))
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Whether the header had no `extFields` at all (as opposed to an empty one).
    pub fn is_absent(&self) -> bool {
        self.absent
    }

    #[inline(always)]
    fn slice(&self, span: Span) -> &'a [u8] {
        span.slice(self.header, self.text)
    }
}

/// What a header says, before the spans are resolved.
#[derive(Debug, Default)]
pub(crate) struct Raw {
    pub(crate) code: i32,
    pub(crate) language: Language,
    pub(crate) version: i32,
    pub(crate) opaque: i32,
    pub(crate) flag: i32,
    pub(crate) remark: Option<Span>,
    pub(crate) has_fields: bool,
}

/// Space that decoding reuses from frame to frame.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) fields: Vec<Field>,
    /// Strings that were written with escapes, without them.
    pub(crate) text: Vec<u8>,
}

impl Scratch {
    #[inline]
    pub(crate) fn push(&mut self, letter: u8, name: Span, value: Span) -> Result<(), FrameError> {
        if self.fields.len() == FIELDS_MAX {
            return Err(FrameError::TooManyFields);
        }
        self.fields.push(Field {
            letter,
            name,
            value,
        });
        Ok(())
    }
}

/// Decodes frames; one per I/O thread.
#[derive(Debug, Default)]
pub struct Decoder {
    scratch: Scratch,
    /// A header that was not UTF-8, with the offending bytes replaced.
    replaced: String,
}

impl Decoder {
    /// An empty decoder.
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// Length of the next whole frame in `bytes`, `None` if more bytes are needed. What can be judged
    /// from the first eight bytes is judged before the rest is waited for.
    pub fn peek(bytes: &[u8]) -> Result<Option<usize>, FrameError> {
        let Some(&length) = bytes.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(length) as usize;
        if length > FRAME_MAX - 4 {
            return Err(FrameError::TooLong(length as u64));
        }
        if length < 4 {
            return Err(FrameError::TooShort(length as u64));
        }
        if let Some(word) = bytes.get(4..8).and_then(|rest| rest.first_chunk::<4>()) {
            header_word(*word, length)?;
        }
        let whole = 4 + length;
        Ok((bytes.len() >= whole).then_some(whole))
    }

    /// Decodes one whole frame, its length word included.
    pub fn decode<'a>(&'a mut self, frame: &'a [u8]) -> Result<Frame<'a>, FrameError> {
        let short = FrameError::TooShort(frame.len() as u64);
        let length = *frame.first_chunk::<4>().ok_or(short)?;
        let length = u32::from_be_bytes(length) as usize;
        let word = frame.get(4..8).and_then(|rest| rest.first_chunk::<4>());
        let word = *word.ok_or(short)?;
        if length > FRAME_MAX - 4 {
            return Err(FrameError::TooLong(length as u64));
        }
        let (serialize, header_length) = header_word(word, length)?;
        let header = frame.get(8..8 + header_length).ok_or(short)?;
        let body = frame.get(8 + header_length..4 + length).ok_or(short)?;
        self.scratch.fields.clear();
        self.scratch.text.clear();
        let (header, raw) = match serialize {
            Serialize::Binary => (header, binary::parse(header, &mut self.scratch)?),
            Serialize::Json => {
                let header = utf8(header, &mut self.replaced);
                (header, json::parse(header, &mut self.scratch)?)
            }
        };
        let ext = Ext {
            header,
            text: &self.scratch.text,
            fields: &self.scratch.fields,
            absent: !raw.has_fields,
        };
        Ok(Frame {
            code: raw.code,
            language: raw.language,
            version: raw.version,
            opaque: raw.opaque,
            flag: raw.flag,
            serialize,
            remark: (raw.remark).and_then(|span| std::str::from_utf8(ext.slice(span)).ok()),
            ext,
            body,
            batch: &[],
        })
    }
}

/// Java replaces what is no UTF-8, and goes on.
fn utf8<'a>(header: &'a [u8], replaced: &'a mut String) -> &'a [u8] {
    match std::str::from_utf8(header) {
        Ok(_) => header,
        Err(_) => {
            *replaced = String::from_utf8_lossy(header).into_owned();
            replaced.as_bytes()
        }
    }
}

fn header_word(word: [u8; 4], length: usize) -> Result<(Serialize, usize), FrameError> {
    let [form, a, b, c] = word;
    let header = u32::from_be_bytes([0, a, b, c]);
    let serialize = match form {
        0 => Serialize::Json,
        1 => Serialize::Binary,
        other => return Err(FrameError::UnknownSerialize(other)),
    };
    if length < 4 {
        return Err(FrameError::TooShort(length as u64));
    }
    if header as usize > length - 4 {
        return Err(FrameError::HeaderOverrun(header));
    }
    if header == 0 {
        return Err(FrameError::NoHeader);
    }
    if header as usize > HEADER_MAX {
        return Err(FrameError::HeaderTooLong(header));
    }
    Ok((serialize, header as usize))
}

#[cfg(test)]
mod tests;
