//! What is wrong with the members of a request, all of it, each with its pointer.

use std::borrow::Cow;
use std::time::Duration;

use super::{Kind, Value};
use crate::duration;
use crate::problem::{self, Fault, Place, Problem};

/// The way to a value, as a JSON pointer writes it. Nothing is written before something is wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum At<'p> {
    /// The whole document.
    Root,
    /// A member of an object.
    Member(&'p At<'p>, &'p str),
    /// An item of an array.
    Item(&'p At<'p>, usize),
}

impl<'p> At<'p> {
    pub(crate) fn member(&'p self, name: &'p str) -> At<'p> {
        At::Member(self, name)
    }

    pub(crate) fn item(&'p self, place: usize) -> At<'p> {
        At::Item(self, place)
    }

    /// The pointer (RFC 6901).
    pub(crate) fn pointer(&self) -> String {
        let mut out = String::new();
        self.push(&mut out);
        out
    }

    fn push(&self, out: &mut String) {
        match self {
            At::Root => {}
            At::Member(parent, name) => {
                parent.push(out);
                push_step(out, name);
            }
            At::Item(parent, place) => {
                parent.push(out);
                push_step(out, &place.to_string());
            }
        }
    }
}

/// One step of a pointer, escaped.
pub(super) fn push_step(out: &mut String, step: &str) {
    out.push('/');
    for c in step.chars() {
        match c {
            '~' => out.push_str("~0"),
            '/' => out.push_str("~1"),
            c => out.push(c),
        }
    }
}

/// What was found wrong so far. Readers note and go on, so that a client learns of everything at once.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    found: Vec<Fault>,
    /// The first type of problem that is not `invalid-request`: it names the answer, unless something
    /// could not even be understood.
    kind: Option<&'static problem::Kind>,
    misunderstood: bool,
}

impl Faults {
    /// Something that cannot be understood: answered `invalid-request`.
    pub(crate) fn add(&mut self, at: At<'_>, detail: impl Into<String>) {
        self.misunderstood = true;
        self.push(at, detail.into());
    }

    /// Something that is understood, but not allowed: answered as this type of problem.
    pub(crate) fn refuse(
        &mut self,
        kind: &'static problem::Kind,
        at: At<'_>,
        detail: impl Into<String>,
    ) {
        self.kind.get_or_insert(kind);
        self.push(at, detail.into());
    }

    /// A member that nobody knows.
    pub(crate) fn unknown(&mut self, parent: At<'_>, name: &str, known: &[&str]) {
        let detail = match nearest(name, known) {
            Some(near) => format!("unknown field; did you mean \"{near}\"?"),
            None => format!("unknown field; known are {}", known.join(", ")),
        };
        self.add(parent.member(name), detail);
    }

    /// A member that must be there, but is not.
    pub(crate) fn missing(&mut self, parent: At<'_>, name: &str) {
        self.add(parent.member(name), "this field is required");
    }

    pub(crate) fn string<'a>(&mut self, at: At<'_>, value: Value<'a>) -> Option<Cow<'a, str>> {
        let text = value.as_str();
        self.expect(at, value, text, "a string")
    }

    /// A string of so many characters at most.
    pub(crate) fn text<'a>(
        &mut self,
        at: At<'_>,
        value: Value<'a>,
        most: usize,
    ) -> Option<Cow<'a, str>> {
        let text = self.string(at, value)?;
        if text.len() > most && text.chars().count() > most {
            self.add(at, format!("at most {most} characters expected"));
            return None;
        }
        Some(text)
    }

    pub(crate) fn number(&mut self, at: At<'_>, value: Value<'_>) -> Option<u64> {
        self.expect(at, value, value.as_u64(), "an integer that is not negative")
    }

    pub(crate) fn bool(&mut self, at: At<'_>, value: Value<'_>) -> Option<bool> {
        self.expect(at, value, value.as_bool(), "true or false")
    }

    pub(crate) fn duration(&mut self, at: At<'_>, value: Value<'_>) -> Option<Duration> {
        let text = self.string(at, value)?;
        let read = duration::parse(&text);
        if read.is_none() {
            self.add(at, "duration like \"5m\" expected");
        }
        read
    }

    /// One of these words.
    pub(crate) fn word(
        &mut self,
        at: At<'_>,
        value: Value<'_>,
        words: &[&'static str],
    ) -> Option<&'static str> {
        let text = self.string(at, value)?;
        let found = words.iter().find(|word| **word == text);
        if found.is_none() {
            self.add(at, format!("one of {} expected", words.join(", ")));
        }
        found.copied()
    }

    /// Its members, if it is an object.
    pub(crate) fn object<'a>(
        &mut self,
        at: At<'_>,
        value: Value<'a>,
    ) -> Option<super::Members<'a>> {
        self.expect(at, value, value.members(), "an object")
    }

    /// Its items, if it is an array.
    pub(crate) fn array<'a>(&mut self, at: At<'_>, value: Value<'a>) -> Option<super::Items<'a>> {
        self.expect(at, value, value.items(), "an array")
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The problem that they come to, if there is one.
    pub(crate) fn problem(&mut self) -> Option<Problem> {
        if self.is_empty() {
            return None;
        }
        let kind = match (self.misunderstood, self.kind) {
            (false, Some(kind)) => kind,
            _ => &problem::INVALID_REQUEST,
        };
        let all = std::mem::take(self);
        Some(Problem::new(kind).faults(all.found))
    }

    /// # Errors
    /// The problem that they come to, if there is one.
    pub(crate) fn check(&mut self) -> Result<(), Problem> {
        self.problem().map_or(Ok(()), Err)
    }

    fn expect<T>(
        &mut self,
        at: At<'_>,
        value: Value<'_>,
        read: Option<T>,
        what: &str,
    ) -> Option<T> {
        if read.is_none() {
            let is = match value.kind() {
                Kind::Null => "null",
                Kind::Bool => "a boolean",
                Kind::Number => "a number",
                Kind::String => "a string",
                Kind::Array => "an array",
                Kind::Object => "an object",
            };
            self.add(at, format!("{what} expected, this is {is}"));
        }
        read
    }

    fn push(&mut self, at: At<'_>, detail: String) {
        let place = Place::Pointer(at.pointer());
        self.found.push(Fault { place, detail });
    }
}

/// The known name that an unknown one was most likely meant to be: at most two letters, and less than half of
/// it, off.
pub(crate) fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let close = |known: &&'k str| {
        let distance = distance(name, known);
        (distance <= 2 && distance * 2 < known.len().max(3)).then_some((distance, *known))
    };
    known.iter().filter_map(close).min().map(|(_, known)| known)
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from one to the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let other = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + other);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}
