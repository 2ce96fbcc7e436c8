//! The syntax of Java's `.properties`, as `java.util.Properties` reads and writes it: the bodies of 25,
//! 26, 318 and 319, and the configuration files of brokers and name servers.
//!
//! RocketMQ's users bring files that were written for Java, so every rule of that class holds:
//! three ways to separate key and value, continued lines, escapes. Two differences are on
//! purpose: texts are UTF-8 (an escape `\uXXXX` still works), and a comment may be in any
//! encoding, because many files carry Chinese comments in GBK.

use std::fmt::Write as _;

/// One `key=value` of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key, unescaped.
    pub key: String,
    /// The value, unescaped; blanks at its end are kept, as in Java.
    pub value: String,
    /// The line it starts on, from 1.
    pub line: usize,
}

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// A `\u` that is not followed by four hexadecimal digits.
    #[error("line {0}: \\u must be followed by four hexadecimal digits")]
    UnicodeEscape(usize),
    /// A key or value that is not UTF-8.
    #[error("line {0}: not UTF-8 (only comments may be in another encoding)")]
    Encoding(usize),
    /// A value without a key.
    #[error("line {0}: there is no key before the separator")]
    NoKey(usize),
}

/// Reads a whole file. Entries come in the file's order; a key may come twice.
pub fn parse(file: &[u8]) -> Result<Vec<Entry>, SyntaxError> {
    let file = file.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(file);
    let mut lines = Lines {
        rest: file,
        number: 0,
    };
    let mut entries = Vec::new();
    while let Some((bytes, line)) = lines.logical() {
        entries.push(entry(&bytes, line)?);
    }
    Ok(entries)
}

/// Appends lines of `key=value` with nothing escaped, as Apache's `MixAll.properties2String` does: what
/// 26 and 319 answer.
pub fn write_plain<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>, out: &mut Vec<u8>) {
    for (key, value) in entries {
        out.extend_from_slice(key.as_bytes());
        out.push(b'=');
        out.extend_from_slice(value.as_bytes());
        out.push(b'\n');
    }
}

/// Writes one entry so that [`parse`] and Java read it back.
pub fn write(key: &str, value: &str) -> String {
    let mut out = String::with_capacity(key.len() + value.len() + 1);
    escape(key, true, &mut out);
    out.push('=');
    escape(value, false, &mut out);
    out
}

struct Lines<'a> {
    rest: &'a [u8],
    number: usize,
}

impl<'a> Lines<'a> {
    /// The next line with its number, without its end; `\r\n` is one end.
    fn natural(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        self.number += 1;
        let end = self.rest.iter().position(|b| matches!(b, b'\n' | b'\r'));
        let Some(end) = end else {
            return Some(std::mem::take(&mut self.rest));
        };
        let (line, tail) = self.rest.split_at(end);
        let ending = if tail.starts_with(b"\r\n") { 2 } else { 1 };
        self.rest = tail.get(ending..).unwrap_or_default();
        Some(line)
    }

    /// The next entry's bytes: continued lines joined, comments and blank lines skipped.
    fn logical(&mut self) -> Option<(Vec<u8>, usize)> {
        loop {
            let line = self.natural()?.trim_ascii_start();
            if matches!(line.first(), None | Some(b'#' | b'!')) {
                continue;
            }
            let start = self.number;
            let mut whole = line.to_vec();
            while continues(&whole) {
                whole.pop();
                match self.natural() {
                    Some(next) => whole.extend_from_slice(next.trim_ascii_start()),
                    None => break,
                }
            }
            if !whole.is_empty() {
                return Some((whole, start));
            }
        }
    }
}

/// A line goes on when it ends in an odd number of backslashes.
fn continues(line: &[u8]) -> bool {
    line.iter().rev().take_while(|b| **b == b'\\').count() % 2 == 1
}

fn entry(bytes: &[u8], line: usize) -> Result<Entry, SyntaxError> {
    let mut escaped = false;
    let is_end = |b: &u8| {
        let end = !escaped && matches!(b, b'=' | b':' | b' ' | b'\t' | b'\x0C');
        escaped = *b == b'\\' && !escaped;
        end
    };
    let end = bytes.iter().position(is_end).unwrap_or(bytes.len());
    let (key, rest) = bytes.split_at(end);
    let rest = rest.trim_ascii_start();
    let value = match rest.first() {
        Some(b'=' | b':') => rest.get(1..).unwrap_or_default().trim_ascii_start(),
        _ => rest,
    };
    if key.is_empty() {
        return Err(SyntaxError::NoKey(line));
    }
    Ok(Entry {
        key: unescape(key, line)?,
        value: unescape(value, line)?,
        line,
    })
}

fn unescape(bytes: &[u8], line: usize) -> Result<String, SyntaxError> {
    let text = str::from_utf8(bytes).map_err(|_| SyntaxError::Encoding(line))?;
    if !text.contains('\\') {
        return Ok(text.to_owned());
    }
    // Java's escapes are UTF-16 units: a character outside the basic plane takes two of them.
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let c = if c == '\\' {
            match chars.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\x0C',
                Some('u') => {
                    let digits: String = chars.by_ref().take(4).collect();
                    let hex = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
                    let unit = u16::from_str_radix(&digits, 16).ok().filter(|_| hex);
                    units.push(unit.ok_or(SyntaxError::UnicodeEscape(line))?);
                    continue;
                }
                Some(other) => other,
                None => break,
            }
        } else {
            c
        };
        units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    }
    Ok(String::from_utf16_lossy(&units))
}

fn escape(text: &str, is_key: bool, out: &mut String) {
    for (i, c) in text.chars().enumerate() {
        match c {
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\x0C' => out.push_str("\\f"),
            '\\' => out.push_str("\\\\"),
            ' ' if is_key || i == 0 => out.push_str("\\ "),
            '=' | ':' | '#' | '!' if is_key => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {
                // `write!` to a String cannot fail.
                let _ = write!(out, "\\u{:04X}", c as u32);
            }
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests;
