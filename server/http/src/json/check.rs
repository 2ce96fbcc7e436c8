//! The proof that a text is one strict JSON value (RFC 8259, and no name twice in an object).

use std::borrow::Cow;

use memchr::memchr2;

use super::{DEPTH, Value, unescape};
use crate::problem::{self, Fault, Problem};

/// Objects with more members than this are sorted to find a name that is there twice.
const FEW: usize = 16;

/// The value that a text is.
///
/// # Errors
/// `malformed-json`, with the line, the column and the pointer of what is wrong.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value<'_>, Problem> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            return Err(malformed(
                bytes,
                Wrong::new(error.valid_up_to(), "this is not UTF-8"),
            ));
        }
    };
    let mut check = Check {
        bytes,
        text,
        at: 0,
        names: Vec::new(),
    };
    check.whole().map_err(|wrong| malformed(bytes, wrong))
}

/// What is wrong, and where.
struct Wrong {
    at: usize,
    what: Cow<'static, str>,
    /// Names and positions on the way to it, the innermost first.
    way: Vec<String>,
}

impl Wrong {
    fn new(at: usize, what: impl Into<Cow<'static, str>>) -> Wrong {
        Wrong {
            at,
            what: what.into(),
            way: Vec::new(),
        }
    }

    fn inside(mut self, step: impl Into<String>) -> Wrong {
        self.way.push(step.into());
        self
    }
}

fn malformed(bytes: &[u8], wrong: Wrong) -> Problem {
    let before = bytes.get(..wrong.at).unwrap_or(bytes);
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before
        .iter()
        .rev()
        .take_while(|byte| **byte != b'\n')
        .count()
        + 1;
    let mut pointer = String::new();
    for step in wrong.way.iter().rev() {
        super::faults::push_step(&mut pointer, step);
    }
    let detail = format!("line {line}, column {column}: {}", wrong.what);
    Problem::new(&problem::MALFORMED_JSON)
        .detail(detail.clone())
        .faults(vec![Fault {
            place: problem::Place::Pointer(pointer),
            detail,
        }])
}

struct Check<'a> {
    bytes: &'a [u8],
    text: &'a str,
    at: usize,
    /// Names of the objects that are open, those of the innermost last.
    names: Vec<Cow<'a, str>>,
}

impl<'a> Check<'a> {
    fn whole(&mut self) -> Result<Value<'a>, Wrong> {
        self.space();
        let start = self.at;
        self.value(0)?;
        let end = self.at;
        self.space();
        match self.peek() {
            None => Ok(Value(&self.text[start..end])),
            Some(_) => Err(self.wrong("nothing may follow the value")),
        }
    }

    fn value(&mut self, depth: usize) -> Result<(), Wrong> {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(_) => Err(self.wrong("a JSON value was expected")),
            None => Err(self.wrong("the text ends where a value was expected")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), Wrong> {
        self.open(depth)?;
        let first = self.names.len();
        if self.closes(b'}') {
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.wrong("a name in quotes was expected"));
            }
            let begun = self.at;
            let name = unescape(self.string()?);
            let of = self.names.get(first..).unwrap_or_default();
            if of.len() < FEW && of.contains(&name) {
                return Err(twice(begun, &name));
            }
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.wrong("\":\" was expected").inside(name));
            }
            self.at += 1;
            self.space();
            self.value(depth).map_err(|wrong| wrong.inside(&*name))?;
            self.names.push(name);
            if !self.goes_on(b'}')? {
                break;
            }
        }
        if self.names.len() - first > FEW {
            self.distinct(first)?;
        }
        self.names.truncate(first);
        Ok(())
    }

    /// The names of an object with many members. Which of two equal ones is at fault is not looked for.
    fn distinct(&mut self, first: usize) -> Result<(), Wrong> {
        let at = self.at;
        let names = self.names.get_mut(first..).unwrap_or_default();
        names.sort_unstable();
        let same = names.windows(2).find(|two| two[0] == two[1]);
        same.map_or(Ok(()), |two| Err(twice(at, &two[0])))
    }

    fn array(&mut self, depth: usize) -> Result<(), Wrong> {
        self.open(depth)?;
        if self.closes(b']') {
            return Ok(());
        }
        for place in 0_usize.. {
            let inside = |wrong: Wrong| wrong.inside(place.to_string());
            self.value(depth).map_err(inside)?;
            if !self.goes_on(b']')? {
                break;
            }
        }
        Ok(())
    }

    fn open(&mut self, depth: usize) -> Result<(), Wrong> {
        if depth > DEPTH {
            return Err(self.wrong(format!("values are nested more than {DEPTH} deep")));
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    fn closes(&mut self, bracket: u8) -> bool {
        let closes = self.peek() == Some(bracket);
        self.at += usize::from(closes);
        closes
    }

    /// Behind a value: whether another one follows.
    fn goes_on(&mut self, bracket: u8) -> Result<bool, Wrong> {
        self.space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.space();
                Ok(true)
            }
            Some(byte) if byte == bracket => {
                self.at += 1;
                Ok(false)
            }
            Some(_) => {
                Err(self.wrong(format!("\",\" or \"{}\" was expected", char::from(bracket))))
            }
            None => Err(self.wrong(format!("the text ends before \"{}\"", char::from(bracket)))),
        }
    }

    /// What stands between the quotes, as it is written.
    fn string(&mut self) -> Result<&'a str, Wrong> {
        self.at += 1;
        let start = self.at;
        loop {
            self.at += plain(self.bytes.get(self.at..).unwrap_or_default());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(&self.text[start..self.at - 1]);
                }
                Some(b'\\') => self.escape()?,
                Some(0..=0x1f) => {
                    return Err(self.wrong("control characters are written as \\u00xx"));
                }
                Some(_) => self.at += 1,
                None => return Err(self.wrong("the text ends inside a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Wrong> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let half = "half of a surrogate pair";
                let no_hex = "\\u wants four hexadecimal digits";
                let first = self.hex(self.at + 2).ok_or_else(|| self.wrong(no_hex))?;
                self.at += 6;
                match first {
                    0xd800..=0xdbff => {
                        let second = match self.bytes.get(self.at..self.at + 2) {
                            Some(b"\\u") => self.hex(self.at + 2),
                            _ => None,
                        };
                        let pair = matches!(second, Some(0xdc00..=0xdfff));
                        if !pair {
                            return Err(self.wrong(half));
                        }
                        self.at += 6;
                    }
                    0xdc00..=0xdfff => return Err(self.wrong(half)),
                    _ => {}
                }
            }
            _ => return Err(self.wrong("no escape begins so")),
        }
        Ok(())
    }

    fn hex(&self, at: usize) -> Option<u32> {
        let digits = self.bytes.get(at..at + 4)?;
        let all = digits.iter().all(u8::is_ascii_hexdigit);
        all.then(|| u32::from_str_radix(&self.text[at..at + 4], 16).ok())?
    }

    fn number(&mut self) -> Result<(), Wrong> {
        self.at += usize::from(self.peek() == Some(b'-'));
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Wrong> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        match self.at == start {
            true => Err(self.wrong("a digit was expected")),
            false => Ok(()),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Wrong> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return Err(self.wrong("a JSON value was expected"));
        }
        self.at += word.len();
        Ok(())
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn wrong(&self, what: impl Into<Cow<'static, str>>) -> Wrong {
        Wrong::new(self.at, what)
    }
}

fn twice(at: usize, name: &str) -> Wrong {
    Wrong::new(at, "the name is there twice").inside(name)
}

/// How many bytes from the start are neither a quote, nor a backslash, nor a control character. Bodies are mostly
/// such text, so it is looked at in windows, which grow while it is: what is looked at twice is less than what is not.
pub(crate) fn plain(bytes: &[u8]) -> usize {
    const WINDOWS: std::ops::RangeInclusive<usize> = 32..=4096;
    let (mut at, mut size) = (0, *WINDOWS.start());
    while let Some(window) = bytes.get(at..bytes.len().min(at + size))
        && !window.is_empty()
    {
        let end = memchr2(b'"', b'\\', window).unwrap_or(window.len());
        let clean = &window[..end];
        // Without an early end, the compiler makes vector instructions of this.
        if clean.iter().fold(u8::MAX, |low, byte| low.min(*byte)) < b' ' {
            return at + clean.iter().position(|byte| *byte < b' ').unwrap_or(end);
        }
        at += end;
        if end < window.len() {
            break;
        }
        size = (size * 2).min(*WINDOWS.end());
    }
    at
}
