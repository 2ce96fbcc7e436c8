//! A serde_json formatter that writes some keys without quotes.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// How maps with number keys are written. Maps with message-queue keys have one form only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `{"0":…}`: standard JSON, read by everybody.
    Standard,
    /// `{0:…}`: as Apache writes it to old clients.
    Fastjson,
}

pub(super) fn write<T: Serialize>(value: &T, dialect: Dialect, out: &mut Vec<u8>) {
    let start = out.len();
    let keys = Keys {
        dialect,
        key: Key::None,
    };
    let mut serializer = Serializer::with_formatter(&mut *out, keys);
    if let Err(error) = value.serialize(&mut serializer) {
        // Only a type that serializes into nonsense can fail, and none of ours does.
        tracing::error!(%error, "a body could not be written");
        out.truncate(start);
    }
}

struct Keys {
    dialect: Dialect,
    key: Key,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    /// Not in a key.
    None,
    /// A key begins; its quote waits for what comes.
    Begun,
    /// In a key with quotes.
    Quoted,
    /// In a key without quotes.
    Bare,
}

impl Keys {
    fn number<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        if self.key != Key::Begun {
            return Ok(());
        }
        if self.dialect == Dialect::Fastjson {
            self.key = Key::Bare;
            return Ok(());
        }
        self.key = Key::Quoted;
        out.write_all(b"\"")
    }
}

impl Formatter for Keys {
    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.key = Key::Begun;
        if first { Ok(()) } else { out.write_all(b",") }
    }

    fn end_object_key<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.key = Key::None;
        Ok(())
    }

    fn begin_string<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        match self.key {
            Key::Begun => Ok(()),
            _ => out.write_all(b"\""),
        }
    }

    fn end_string<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        match self.key {
            Key::Bare => Ok(()),
            Key::Begun => out.write_all(b"\"\""),
            _ => out.write_all(b"\""),
        }
    }

    fn write_i64<W: ?Sized + Write>(&mut self, out: &mut W, value: i64) -> io::Result<()> {
        self.number(out)?;
        write!(out, "{value}")
    }

    fn write_u64<W: ?Sized + Write>(&mut self, out: &mut W, value: u64) -> io::Result<()> {
        self.number(out)?;
        write!(out, "{value}")
    }

    fn write_i32<W: ?Sized + Write>(&mut self, out: &mut W, value: i32) -> io::Result<()> {
        self.write_i64(out, i64::from(value))
    }

    fn write_u32<W: ?Sized + Write>(&mut self, out: &mut W, value: u32) -> io::Result<()> {
        self.write_u64(out, u64::from(value))
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        text: &str,
    ) -> io::Result<()> {
        if self.key == Key::Begun {
            // No name of ours begins with a brace: it is a message queue's own JSON.
            if text.starts_with('{') {
                self.key = Key::Bare;
            } else {
                self.key = Key::Quoted;
                out.write_all(b"\"")?;
            }
        }
        out.write_all(text.as_bytes())
    }

    fn write_char_escape<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        escape: serde_json::ser::CharEscape,
    ) -> io::Result<()> {
        use serde_json::ser::{CharEscape, CompactFormatter};
        if self.key == Key::Begun {
            self.key = Key::Quoted;
            out.write_all(b"\"")?;
        }
        match (self.key, escape) {
            (Key::Bare, CharEscape::Quote) => out.write_all(b"\""),
            (Key::Bare, CharEscape::ReverseSolidus) => out.write_all(b"\\"),
            (_, escape) => CompactFormatter.write_char_escape(out, escape),
        }
    }
}
