//! The proof that a text is one strict JSON value (RFC 8259, and no name twice in an object).

use std::borrow::Cow;

use memchr::memchr2;

use super::{DEPTH, Kind, Value, unescape};
use crate::problem::{self, Fault, Problem};

/// Objects with more members than this are sorted to find a name that is there twice.
const FEW: usize = 16;

/// How much looking a text is worth here and now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// What takes about a tenth of a millisecond, reading included: a hundred messages of one kibibyte, or five
    /// hundred properties.
    Little,
    /// As much as it takes.
    Any,
}

impl Effort {
    fn steps(self) -> usize {
        match self {
            Effort::Little => 32 << 10,
            Effort::Any => usize::MAX,
        }
    }
}

/// The value that a text is.
///
/// # Errors
/// `malformed-json`, with the line, the column and the pointer of what is wrong.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value<'_>, Problem> {
    let value = walk(bytes, Effort::Any, Walk::value)?;
    // With any effort there is always an end.
    value.ok_or_else(|| Problem::new(&problem::INTERNAL))
}

/// Whether it takes little to read a text, or to find that it is not JSON.
pub(crate) fn is_quick(bytes: &[u8]) -> bool {
    !matches!(walk(bytes, Effort::Little, Walk::value), Ok(None))
}

/// Reads a text while it is proved: `read` walks over the one value that it is. What it has read counts only if
/// this ends well: `None` if the text is worth more effort.
///
/// # Errors
/// Those of [`parse`].
pub(crate) fn walk<'a, T>(
    bytes: &'a [u8],
    effort: Effort,
    read: impl FnOnce(&mut Walk<'a>) -> Result<T, Wrong>,
) -> Result<Option<T>, Problem> {
    let Ok(text) = simdutf8::basic::from_utf8(bytes) else {
        let valid = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
        return Err(malformed(bytes, Wrong::new(valid, "this is not UTF-8")));
    };
    let mut walk = Walk {
        bytes,
        text,
        at: 0,
        depth: 0,
        blanks: 0,
        left: effort.steps(),
        names: Vec::new(),
    };
    match walk.whole(read) {
        Ok(read) => Ok(Some(read)),
        Err(wrong) if wrong.is_over => Ok(None),
        Err(wrong) => Err(malformed(bytes, wrong)),
    }
}

/// What is wrong, and where.
pub(crate) struct Wrong {
    at: usize,
    what: Cow<'static, str>,
    /// Names and positions on the way to it, the innermost first.
    way: Vec<String>,
    /// Nothing is, but the effort is spent.
    is_over: bool,
}

impl Wrong {
    fn new(at: usize, what: impl Into<Cow<'static, str>>) -> Wrong {
        Wrong {
            at,
            what: what.into(),
            way: Vec::new(),
            is_over: false,
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

/// A text on the way to its proof. Where it stands is a value; whatever looks at it must take it whole.
pub(crate) struct Walk<'a> {
    bytes: &'a [u8],
    text: &'a str,
    at: usize,
    depth: usize,
    /// White space that nothing was charged for yet.
    blanks: usize,
    /// The effort that is left, in steps of some nanoseconds.
    left: usize,
    /// Names of the objects that are open, those of the innermost last.
    names: Vec<Cow<'a, str>>,
}

/// Steps that every value and every name costs, to be proved and to be read.
const VALUE: usize = 16;
/// Bytes of a string that are looked at in one step.
const STRIDE: usize = 8;

impl<'a> Walk<'a> {
    /// What the value is that comes next, as far as its first byte tells.
    pub(crate) fn kind(&self) -> Kind {
        Value::new(&self.text[self.at..]).kind()
    }

    /// The value.
    pub(crate) fn value(&mut self) -> Result<Value<'a>, Wrong> {
        let start = self.at;
        let mut plain = false;
        match self.peek() {
            Some(b'"') => plain = self.string()?.1,
            Some(b'{') => self.members(|walk, _| walk.value().map(drop))?,
            Some(b'[') => self.items(|walk, _| walk.value().map(drop))?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true")?,
            Some(b'f') => self.word("false")?,
            Some(b'n') => self.word("null")?,
            Some(_) => return Err(self.wrong("a JSON value was expected")),
            None => return Err(self.wrong("the text ends where a value was expected")),
        }
        self.charge(VALUE)?;
        let text = &self.text[start..self.at];
        Ok(Value { text, plain })
    }

    /// The members of the object, one by one: `each` takes the value that belongs to the name.
    pub(crate) fn members(
        &mut self,
        mut each: impl FnMut(&mut Self, &str) -> Result<(), Wrong>,
    ) -> Result<(), Wrong> {
        self.open()?;
        let first = self.names.len();
        if self.closes(b'}') {
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.wrong("a name in quotes was expected"));
            }
            let begun = self.at;
            let name = match self.string()? {
                (name, true) => Cow::Borrowed(name),
                (name, false) => unescape(name),
            };
            self.charge(VALUE)?;
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
            each(self, &name).map_err(|wrong| wrong.inside(&*name))?;
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

    /// The items of the array, one by one: `each` takes the value at its place.
    pub(crate) fn items(
        &mut self,
        mut each: impl FnMut(&mut Self, usize) -> Result<(), Wrong>,
    ) -> Result<(), Wrong> {
        self.open()?;
        if self.closes(b']') {
            return Ok(());
        }
        for place in 0_usize.. {
            let inside = |wrong: Wrong| wrong.inside(place.to_string());
            each(self, place).map_err(inside)?;
            if !self.goes_on(b']')? {
                break;
            }
        }
        Ok(())
    }

    fn whole<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Wrong>) -> Result<T, Wrong> {
        self.space();
        let read = read(self)?;
        self.space();
        self.charge(0)?;
        match self.peek() {
            None => Ok(read),
            Some(_) => Err(self.wrong("nothing may follow the value")),
        }
    }

    /// Spends so many steps, and those for the white space before.
    ///
    /// # Errors
    /// If there are not as many left.
    pub(crate) fn charge(&mut self, steps: usize) -> Result<(), Wrong> {
        let steps = steps + std::mem::take(&mut self.blanks);
        match self.left.checked_sub(steps) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Wrong {
                is_over: true,
                ..self.wrong("")
            }),
        }
    }

    /// The names of an object with many members. Which of two equal ones is at fault is not looked for.
    fn distinct(&mut self, first: usize) -> Result<(), Wrong> {
        let at = self.at;
        let names = self.names.get_mut(first..).unwrap_or_default();
        names.sort_unstable();
        let same = names.windows(2).find(|two| two[0] == two[1]);
        same.map_or(Ok(()), |two| Err(twice(at, &two[0])))
    }

    fn open(&mut self) -> Result<(), Wrong> {
        if self.depth == DEPTH {
            return Err(self.wrong(format!("values are nested more than {DEPTH} deep")));
        }
        self.depth += 1;
        self.at += 1;
        self.space();
        Ok(())
    }

    fn closes(&mut self, bracket: u8) -> bool {
        let closes = self.peek() == Some(bracket);
        self.at += usize::from(closes);
        self.depth -= usize::from(closes);
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
                self.depth -= 1;
                Ok(false)
            }
            Some(_) => {
                Err(self.wrong(format!("\",\" or \"{}\" was expected", char::from(bracket))))
            }
            None => Err(self.wrong(format!("the text ends before \"{}\"", char::from(bracket)))),
        }
    }

    /// What stands between the quotes, as it is written, and whether that is what it means.
    fn string(&mut self) -> Result<(&'a str, bool), Wrong> {
        self.at += 1;
        let start = self.at;
        let mut escapes = 0;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let end = memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
            self.at += written(&rest[..end]);
            match self.peek() {
                Some(b'"') => {
                    let text = &self.text[start..self.at];
                    self.at += 1;
                    self.charge(escapes + text.len() / STRIDE)?;
                    return Ok((text, escapes == 0));
                }
                Some(b'\\') => {
                    escapes += 1;
                    self.escape()?;
                }
                Some(_) => {
                    return Err(self.wrong("control characters are written as \\u00xx"));
                }
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
        let start = self.at;
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
        self.charge(self.at - start)
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
        let start = self.at;
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        self.blanks += self.at - start;
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
        let clean = written(&window[..end]);
        if clean < end {
            return at + clean;
        }
        at += end;
        if end < window.len() {
            break;
        }
        size = (size * 2).min(*WINDOWS.end());
    }
    at
}

/// How many bytes from the start are no control characters.
fn written(bytes: &[u8]) -> usize {
    // Without an early end, the compiler makes vector instructions of this.
    match bytes.iter().fold(u8::MAX, |low, byte| low.min(*byte)) < b' ' {
        true => (bytes.iter().position(|byte| *byte < b' ')).unwrap_or(bytes.len()),
        false => bytes.len(),
    }
}
