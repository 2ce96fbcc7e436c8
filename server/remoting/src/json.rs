//! The JSON header, read by hand into spans.
//!
//! A general parser would build a map for every message; this one notes where each name and value
//! lies, and copies only strings that were written with escapes. It takes what real clients send:
//! unknown names, numbers, booleans and nulls among the named fields (C++), a line break behind the
//! object (C++), languages by name or ordinal, fixed numbers in quotes.

use crate::cursor::Cursor;
use crate::frame::{FrameError, Raw, Scratch, Span};
use crate::header::decimal;
use crate::language::Language;

/// Reads a header, which must be UTF-8, into spans.
pub(crate) fn parse(header: &[u8], scratch: &mut Scratch) -> Result<Raw, FrameError> {
    let mut parser = Parser {
        cursor: Cursor::new(header),
    };
    let mut raw = Raw::default();
    parser.expect(b'{')?;
    if !parser.cursor.take(b'}') {
        loop {
            let name = parser.name(scratch)?;
            parser.member(name, &mut raw, scratch)?;
            if !parser.cursor.take(b',') {
                break;
            }
        }
        parser.expect(b'}')?;
    }
    match parser.cursor.ended() {
        true => Ok(raw),
        false => Err(parser.broken()),
    }
}

struct Parser<'h> {
    cursor: Cursor<'h>,
}

/// A value, as far as a header needs to know it.
enum Value {
    Null,
    Text(Span),
    /// A number, a boolean, or something nested: its text as it came.
    Other(Span),
}

impl<'h> Parser<'h> {
    fn broken(&self) -> FrameError {
        FrameError::Json(self.cursor.at)
    }

    fn expect(&mut self, byte: u8) -> Result<(), FrameError> {
        match self.cursor.take(byte) {
            true => Ok(()),
            false => Err(self.broken()),
        }
    }

    /// A member's name and the colon behind it.
    fn name(&mut self, scratch: &mut Scratch) -> Result<Span, FrameError> {
        self.expect(b'"')?;
        let name = self.string(scratch)?;
        self.expect(b':')?;
        self.cursor.blanks();
        Ok(name)
    }

    fn member(
        &mut self,
        name: Span,
        raw: &mut Raw,
        scratch: &mut Scratch,
    ) -> Result<(), FrameError> {
        match self.text(name, scratch) {
            b"code" => raw.code = self.number(scratch)?,
            b"version" => raw.version = self.number(scratch)?,
            b"opaque" => raw.opaque = self.number(scratch)?,
            b"flag" => raw.flag = self.number(scratch)?,
            b"language" => raw.language = self.language(scratch)?,
            b"extFields" => {
                scratch.fields.clear();
                raw.has_fields = self.fields(scratch)?;
            }
            b"remark" => {
                raw.remark = match self.value(scratch)? {
                    Value::Null => None,
                    Value::Text(span) | Value::Other(span) => Some(span),
                }
            }
            _ => {
                self.value(scratch)?;
            }
        }
        Ok(())
    }

    fn text<'a>(&self, span: Span, scratch: &'a Scratch) -> &'a [u8]
    where
        'h: 'a,
    {
        span.slice(self.cursor.bytes, &scratch.text)
    }

    fn number(&mut self, scratch: &mut Scratch) -> Result<i32, FrameError> {
        match self.value(scratch)? {
            Value::Null => Ok(0),
            Value::Text(span) | Value::Other(span) => {
                let number = decimal(self.text(span, scratch));
                let number = number.and_then(|number| i32::try_from(number).ok());
                number.ok_or(self.broken())
            }
        }
    }

    fn language(&mut self, scratch: &mut Scratch) -> Result<Language, FrameError> {
        Ok(match self.value(scratch)? {
            Value::Null => Language::Other,
            Value::Text(span) => Language::from_name(self.text(span, scratch)),
            Value::Other(span) => {
                let text = std::str::from_utf8(self.text(span, scratch)).unwrap_or_default();
                Language::from_ordinal(text.parse().unwrap_or(-1))
            }
        })
    }

    /// The named fields: true if there is an object, false for a null.
    fn fields(&mut self, scratch: &mut Scratch) -> Result<bool, FrameError> {
        if self.cursor.byte() == Some(b'n') {
            self.value(scratch)?;
            return Ok(false);
        }
        self.expect(b'{')?;
        if self.cursor.take(b'}') {
            return Ok(true);
        }
        loop {
            while let Some((letter, name, value)) = self.plain_field() {
                scratch.push(letter, name, value)?;
            }
            let name = self.name(scratch)?;
            match self.value(scratch)? {
                Value::Null => self.forget(name, scratch),
                Value::Text(value) | Value::Other(value) => {
                    let letter = match self.text(name, scratch) {
                        &[letter] => letter,
                        _ => 0,
                    };
                    scratch.push(letter, name, value)?;
                }
            }
            if !self.cursor.take(b',') {
                break;
            }
        }
        self.expect(b'}')?;
        Ok(true)
    }

    /// `"name":"value",` with no blank and no escape: what nearly every field looks like. The comma is
    /// part of it, so that there is a next field. Moves only if that is what is there.
    fn plain_field(&mut self) -> Option<(u8, Span, Span)> {
        let rest = self.cursor.rest();
        if rest.first() != Some(&b'"') {
            return None;
        }
        let start = self.cursor.at + 1;
        let end = match rest.first_chunk() {
            // The names of a send's fields are letters.
            Some(&[_, letter, b'"', b':', b'"']) if letter != b'"' && letter != b'\\' => start + 1,
            _ => {
                let end = plain(self.cursor.bytes, start);
                if self.cursor.bytes.get(end..)?.first_chunk() != Some(b"\":\"") {
                    return None;
                }
                end
            }
        };
        let value_start = end + 3;
        let value_end = plain(self.cursor.bytes, value_start);
        if self.cursor.bytes.get(value_end..)?.first_chunk() != Some(b"\",") {
            return None;
        }
        self.cursor.at = value_end + 2;
        let letter = match self.cursor.bytes.get(start..end) {
            Some(&[letter]) => letter,
            _ => 0,
        };
        let value = Span::of(value_start, value_end);
        Some((letter, Span::of(start, end), value))
    }

    /// A null takes back an earlier value of the same name.
    fn forget(&self, name: Span, scratch: &mut Scratch) {
        let mut fields = std::mem::take(&mut scratch.fields);
        let name = self.text(name, scratch);
        fields.retain(|field| self.text(field.name, scratch) != name);
        scratch.fields = fields;
    }

    fn value(&mut self, scratch: &mut Scratch) -> Result<Value, FrameError> {
        let start = self.cursor.at;
        match self.cursor.byte() {
            Some(b'"') => {
                self.cursor.at += 1;
                return Ok(Value::Text(self.string(scratch)?));
            }
            Some(b'{' | b'[') => self.nested()?,
            Some(b'-' | b'0'..=b'9') => {
                while matches!(
                    self.cursor.byte(),
                    Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')
                ) {
                    self.cursor.at += 1;
                }
            }
            Some(b'n') => {
                self.word(b"null")?;
                return Ok(Value::Null);
            }
            Some(b't') => self.word(b"true")?,
            Some(b'f') => self.word(b"false")?,
            _ => return Err(self.broken()),
        }
        Ok(Value::Other(Span::of(start, self.cursor.at)))
    }

    fn word(&mut self, word: &[u8]) -> Result<(), FrameError> {
        let rest = self.cursor.rest();
        if !rest.starts_with(word) {
            return Err(self.broken());
        }
        self.cursor.at += word.len();
        Ok(())
    }

    /// Steps over an object or array. Only brackets and strings are looked at: nothing of ours is in
    /// it, so whether it is well-formed inside does not matter.
    fn nested(&mut self) -> Result<(), FrameError> {
        let mut depth = 0usize;
        loop {
            match self.cursor.byte().ok_or(self.broken())? {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                b'"' => self.skip_string()?,
                _ => {}
            }
            self.cursor.at += 1;
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// From an opening quote to the closing one.
    fn skip_string(&mut self) -> Result<(), FrameError> {
        self.cursor.at += 1;
        loop {
            self.cursor.at = plain(self.cursor.bytes, self.cursor.at);
            match self.cursor.byte() {
                Some(b'"') => return Ok(()),
                Some(_) => self.cursor.at += 2,
                None => return Err(self.broken()),
            }
        }
    }

    /// The rest of a string, behind its opening quote.
    fn string(&mut self, scratch: &mut Scratch) -> Result<Span, FrameError> {
        let start = self.cursor.at;
        self.cursor.at = plain(self.cursor.bytes, start);
        match self.cursor.byte() {
            Some(b'"') => {
                let end = self.cursor.at;
                self.cursor.at += 1;
                Ok(Span::of(start, end))
            }
            Some(_) => self.escaped(start, &mut scratch.text),
            None => Err(self.broken()),
        }
    }

    /// The rest of a string that has escapes; `self.cursor.at` is at the first one.
    fn escaped(&mut self, start: usize, text: &mut Vec<u8>) -> Result<Span, FrameError> {
        let copy = text.len();
        text.extend_from_slice(self.cursor.since(start));
        loop {
            let rest = self.cursor.rest();
            if let Some([b'\\', b'u', b'0', b'0', b'0', digit @ (b'1' | b'2')]) = rest.first_chunk()
            {
                // What stands between names and values of properties: nearly every escape.
                text.push(digit - b'0');
                self.cursor.at += 6;
            } else {
                let byte = self.cursor.byte();
                self.cursor.at += 1;
                match byte {
                    Some(b'"') => {
                        return Ok(Span::copied(copy, text.len()));
                    }
                    Some(_) => self.escape(text)?,
                    None => return Err(self.broken()),
                }
            }
            self.cursor.at = copy_plain(self.cursor.bytes, self.cursor.at, text);
        }
    }

    /// What follows a backslash.
    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), FrameError> {
        let byte = self.cursor.byte().ok_or(self.broken())?;
        self.cursor.at += 1;
        text.push(match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => return self.unicode(text),
            _ => return Err(self.broken()),
        });
        Ok(())
    }

    /// The four digits behind `\u`, and a second escape if they are half of a pair. A lone half
    /// becomes the replacement character, as it does when Java writes it out.
    fn unicode(&mut self, text: &mut Vec<u8>) -> Result<(), FrameError> {
        let unit = self.hex()?;
        if unit < 0x80 {
            text.push(unit as u8);
            return Ok(());
        }
        let mut point = char::from_u32(unit);
        let pair = self.cursor.bytes.get(self.cursor.at..self.cursor.at + 2) == Some(b"\\u");
        if (0xD800..0xDC00).contains(&unit) && pair {
            let back = self.cursor.at;
            self.cursor.at += 2;
            let low = self.hex()?;
            if (0xDC00..0xE000).contains(&low) {
                point = char::from_u32(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00));
            } else {
                self.cursor.at = back;
            }
        }
        let point = point.unwrap_or(char::REPLACEMENT_CHARACTER);
        text.extend_from_slice(point.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    fn hex(&mut self) -> Result<u32, FrameError> {
        let digits = self
            .cursor
            .bytes
            .get(self.cursor.at..)
            .and_then(|rest| rest.first_chunk::<4>());
        let [a, b, c, d] = digits
            .ok_or(self.broken())?
            .map(|digit| HEX[usize::from(digit)]);
        if (a | b | c | d) > 15 {
            return Err(self.broken());
        }
        self.cursor.at += 4;
        Ok(u32::from(a) << 12 | u32::from(b) << 8 | u32::from(c) << 4 | u32::from(d))
    }
}

/// What a byte is worth as a hexadecimal digit; 255 if it is none.
const HEX: [u8; 256] = {
    let mut table = [255; 256];
    let mut digit = 0;
    while digit < 16 {
        table[b"0123456789abcdef"[digit] as usize] = digit as u8;
        table[b"0123456789ABCDEF"[digit] as usize] = digit as u8;
        digit += 1;
    }
    table
};

const ONES: u64 = 0x0101_0101_0101_0101;
const TOPS: u64 = 0x8080_8080_8080_8080;

/// Marks the first quote or backslash of eight bytes; 0 if there is none.
#[inline(always)]
fn special(word: [u8; 8]) -> u64 {
    let word = u64::from_le_bytes(word);
    let quotes = word ^ (ONES * u64::from(b'"'));
    let slashes = word ^ (ONES * u64::from(b'\\'));
    let hit = (quotes.wrapping_sub(ONES) & !quotes) | (slashes.wrapping_sub(ONES) & !slashes);
    hit & TOPS
}

/// As [`plain`], and appends what lies before it: short pieces are copied as they are looked at.
#[inline]
fn copy_plain(header: &[u8], mut at: usize, text: &mut Vec<u8>) -> usize {
    while let Some(word) = header.get(at..).and_then(|rest| rest.first_chunk()) {
        text.extend_from_slice(word);
        let hit = special(*word);
        if hit != 0 {
            let count = (hit.trailing_zeros() / 8) as usize;
            text.truncate(text.len() - 8 + count);
            return at + count;
        }
        at += 8;
    }
    let end = plain(header, at);
    text.extend_from_slice(header.get(at..end).unwrap_or_default());
    end
}

/// The first quote or backslash at or behind `at`; the end if there is none. Eight bytes a step.
#[inline]
fn plain(header: &[u8], mut at: usize) -> usize {
    while let Some(word) = header.get(at..).and_then(|rest| rest.first_chunk()) {
        let hit = special(*word);
        if hit != 0 {
            return at + (hit.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let tail = header.get(at..).unwrap_or_default();
    let hit = tail.iter().position(|&byte| byte == b'"' || byte == b'\\');
    at + hit.unwrap_or(tail.len())
}
