//! JSON as a strict reader takes it: once as a whole, then member by member, without a tree.
//!
//! [`parse`] proves that a text is one JSON value, in UTF-8, at most [`DEPTH`] deep, with no name twice in
//! an object. After that a [`Value`] is only a part of the text: it is read where it lies, and nothing is
//! allocated for what is not looked at. [`walk`] is for texts of many parts: they are read while they are proved,
//! so that nothing is looked for twice.

mod check;
mod faults;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use memchr::{memchr, memchr2};

pub(crate) use check::{Effort, Walk, Wrong, is_quick, parse, plain, walk};
pub(crate) use faults::{At, Faults, nearest};

/// How deep values may be nested in each other.
pub(crate) const DEPTH: usize = 64;

/// A value inside a text that was proved to be JSON.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'a> {
    text: &'a str,
    /// It is known to be a string without escapes.
    plain: bool,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

impl<'a> Value<'a> {
    fn new(text: &'a str) -> Value<'a> {
        let plain = false;
        Value { text, plain }
    }

    pub(crate) fn kind(self) -> Kind {
        match self.text.as_bytes().first() {
            Some(b'"') => Kind::String,
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') | None => Kind::Null,
            Some(_) => Kind::Number,
        }
    }

    /// The text as it was written.
    pub(crate) fn raw(self) -> &'a str {
        self.text
    }

    /// A string's characters.
    pub(crate) fn as_str(self) -> Option<Cow<'a, str>> {
        let inner = self.text.strip_prefix('"')?.strip_suffix('"')?;
        Some(match self.plain {
            true => Cow::Borrowed(inner),
            false => unescape(inner),
        })
    }

    /// An integer that is not negative, however it is written: to a schema `1.0` and `1e3` are integers too.
    pub(crate) fn as_u64(self) -> Option<u64> {
        /// Up to here a float is exactly what was written.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        let float = || {
            let number: f64 = self.text.parse().ok()?;
            let counts = number.fract() == 0.0 && (0.0..=EXACT).contains(&number);
            (self.kind() == Kind::Number && counts).then_some(number as u64)
        };
        self.text.parse().ok().or_else(float)
    }

    pub(crate) fn as_bool(self) -> Option<bool> {
        match self.text {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// The members of an object, in their order.
    pub(crate) fn members(self) -> Option<Members<'a>> {
        (self.kind() == Kind::Object).then(|| Members(Parts(&self.text[1..])))
    }

    /// The items of an array.
    pub(crate) fn items(self) -> Option<Items<'a>> {
        (self.kind() == Kind::Array).then(|| Items(Parts(&self.text[1..])))
    }

    /// Without the white space between its parts.
    pub(crate) fn compact(self) -> Cow<'a, str> {
        let text = self.text;
        let bytes = text.as_bytes();
        let mut out = String::new();
        // What is before `kept` is in `out`.
        let (mut kept, mut at) = (0, 0);
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'"' => at = end_of_string(bytes, at),
                b' ' | b'\t' | b'\n' | b'\r' => {
                    out.push_str(&text[kept..at]);
                    at += 1;
                    kept = at;
                }
                _ => at += 1,
            }
        }
        if kept == 0 {
            return Cow::Borrowed(text);
        }
        out.push_str(&text[kept..]);
        Cow::Owned(out)
    }
}

/// Members of an object.
pub(crate) struct Members<'a>(Parts<'a>);

/// Items of an array.
pub(crate) struct Items<'a>(Parts<'a>);

/// What is left behind the opening bracket.
struct Parts<'a>(&'a str);

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, str>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let name = self.0.next()?.as_str()?;
        Some((name, self.0.next()?))
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        self.0.next()
    }
}

impl<'a> Parts<'a> {
    /// The next value on this level. Commas and colons stand where they should: that is proved.
    fn next(&mut self) -> Option<Value<'a>> {
        let between = |c| matches!(c, ' ' | '\t' | '\n' | '\r' | ',' | ':');
        let text = self.0.trim_start_matches(between);
        let end = end_of_value(text.as_bytes())?;
        let (value, rest) = text.split_at(end);
        self.0 = rest;
        Some(Value::new(value))
    }
}

/// Where the value ends that the text begins with; `None` at the end of the level.
fn end_of_value(bytes: &[u8]) -> Option<usize> {
    match bytes.first()? {
        b']' | b'}' => None,
        b'"' => Some(end_of_string(bytes, 0)),
        b'[' | b'{' => {
            let (mut at, mut depth) = (0, 0_usize);
            loop {
                match bytes.get(at)? {
                    b'"' => {
                        at = end_of_string(bytes, at);
                        continue;
                    }
                    b'[' | b'{' => depth += 1,
                    b']' | b'}' => depth -= 1,
                    _ => {}
                }
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
            }
        }
        _ => {
            let end = |b: &u8| matches!(b, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r');
            Some(bytes.iter().position(end).unwrap_or(bytes.len()))
        }
    }
}

/// Behind the closing quote of the string whose opening quote is at `at`.
fn end_of_string(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(found) = memchr2(b'"', b'\\', bytes.get(at..).unwrap_or_default()) {
        at += found + 1;
        match bytes.get(at - 1) {
            Some(b'"') => return at,
            // Whatever is escaped is no end.
            _ => at += 1,
        }
    }
    bytes.len()
}

fn unescape(text: &str) -> Cow<'_, str> {
    let Some(first) = memchr(b'\\', text.as_bytes()) else {
        return Cow::Borrowed(text);
    };
    let mut out = String::with_capacity(text.len());
    out.push_str(&text[..first]);
    let mut rest = &text[first..];
    while let Some(escape) = rest.strip_prefix('\\') {
        let (decoded, length) = escaped(escape);
        out.push(decoded);
        rest = &escape[length..];
        let plain = rest.find('\\').unwrap_or(rest.len());
        out.push_str(&rest[..plain]);
        rest = &rest[plain..];
    }
    Cow::Owned(out)
}

/// What the text behind a backslash stands for, and how long it is.
fn escaped(text: &str) -> (char, usize) {
    let plain = |c| (c, 1);
    match text.as_bytes().first() {
        Some(b'n') => plain('\n'),
        Some(b't') => plain('\t'),
        Some(b'r') => plain('\r'),
        Some(b'b') => plain('\u{8}'),
        Some(b'f') => plain('\u{c}'),
        Some(b'u') => {
            let hex = |at: usize| u32::from_str_radix(text.get(at..at + 4)?, 16).ok();
            let first = hex(1).unwrap_or_default();
            if let Some(one) = char::from_u32(first) {
                return (one, 5);
            }
            let second = hex(7).unwrap_or_default();
            let code = 0x1_0000 + ((first & 0x3ff) << 10) + (second & 0x3ff);
            (
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER),
                11,
            )
        }
        Some(&other) => plain(char::from(other)),
        None => ('\\', 0),
    }
}
