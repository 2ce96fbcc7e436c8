//! The query string of a request: every parameter known, given once, and in its range.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::duration;
use crate::json::nearest;
use crate::names;
use crate::problem::{self, Fault, Place, Problem};
use crate::time;

/// Every call takes it: the namespace that topics and groups are in.
pub(crate) const NAMESPACE: &str = "namespace";

/// The longest texts of parameters, in characters, wherever they are taken. The rest is as long as a target.
const LONGEST: &[(&str, usize)] = &[
    ("topic", 255),
    ("queue", 255),
    ("prefix", 255),
    ("confirm", 255),
    ("key", 2_048),
    ("page_token", 4_096),
    ("ticket", 4_096),
];

/// The parameters of a request. Readers note what is wrong and go on; [`Parameters::finish`] tells all of it.
#[derive(Debug)]
pub(crate) struct Parameters<'a> {
    given: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    faults: Vec<Fault>,
    wait_is_wrong: bool,
}

impl<'a> Parameters<'a> {
    /// Takes a query string apart. What is not `known` is a fault, and so is what is there twice, unless
    /// it is `repeatable`.
    pub(crate) fn new(
        query: &'a str,
        known: &[&'static str],
        repeatable: &[&str],
    ) -> Parameters<'a> {
        let mut all = Parameters {
            given: Vec::new(),
            faults: Vec::new(),
            wait_is_wrong: false,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (decode(name), decode(value)) else {
                let place = decode(name).unwrap_or(Cow::Borrowed("?"));
                all.fault(&place, "percent-encoded UTF-8 expected");
                continue;
            };
            let name_known = name == NAMESPACE || known.contains(&&*name);
            if !name_known {
                let detail = match nearest(&name, known) {
                    Some(near) => format!("unknown parameter; did you mean \"{near}\"?"),
                    None => "unknown parameter".to_owned(),
                };
                all.fault(&name, detail);
            } else if all.value(&name).is_some() && !repeatable.contains(&&*name) {
                all.fault(&name, "this parameter is given more than once");
            } else if name == NAMESPACE && !names::is_namespace(&value) {
                all.fault(
                    &name,
                    "up to 127 ASCII letters, digits, _, -, % and | expected",
                );
            } else if let Some(most) = too_long(&name, &value) {
                all.fault(&name, format!("at most {most} characters expected"));
            } else {
                all.given.push((name, value));
            }
        }
        all
    }

    /// A parameter's text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.value(name)
    }

    /// All texts of a parameter that may be repeated.
    pub(crate) fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.given
            .iter()
            .filter(move |(own, _)| own == name)
            .map(|(_, value)| &**value)
    }

    /// A number in this range.
    pub(crate) fn number(&mut self, name: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let text = self.value(name)?;
        let plain = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text
            .parse()
            .ok()
            .filter(|number| plain && range.contains(number));
        if number.is_none() {
            self.fault(
                name,
                format!(
                    "a number from {} to {} expected",
                    range.start(),
                    range.end()
                ),
            );
        }
        number
    }

    /// A duration of any length; `expected` says which are allowed.
    pub(crate) fn any_duration(&mut self, name: &str, expected: &str) -> Option<Duration> {
        let read = duration::parse(self.value(name)?);
        if read.is_none() {
            self.fault(name, expected);
        }
        read
    }

    /// A duration in this range.
    pub(crate) fn duration(
        &mut self,
        name: &str,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let read = duration::parse(self.value(name)?);
        let read = read.filter(|duration| range.contains(duration));
        if read.is_none() {
            let (from, to) = (
                duration::format(*range.start()),
                duration::format(*range.end()),
            );
            self.fault(
                name,
                format!("a duration like \"5s\" from {from} to {to} expected"),
            );
            self.wait_is_wrong |= name == "wait";
        }
        read
    }

    /// One of these words.
    pub(crate) fn word(&mut self, name: &str, words: &[&'static str]) -> Option<&'static str> {
        let text = self.value(name)?;
        let found = words.iter().find(|word| **word == text).copied();
        if found.is_none() {
            self.fault(name, format!("one of {} expected", words.join(", ")));
        }
        found
    }

    /// A time: milliseconds since the Unix epoch.
    pub(crate) fn time(&mut self, name: &str) -> Option<i64> {
        let read = time::parse(self.value(name)?);
        if read.is_none() {
            self.fault(name, "a time like \"2026-11-23T08:00:00Z\" expected");
        }
        read
    }

    /// Notes that a parameter is wrong in another way.
    pub(crate) fn fault(&mut self, name: &str, detail: impl Into<String>) {
        let place = Place::Parameter(name.to_owned());
        self.faults.push(Fault {
            place,
            detail: detail.into(),
        });
    }

    /// # Errors
    /// `invalid-parameter`, with everything that is wrong.
    pub(crate) fn finish(&mut self) -> Result<(), Problem> {
        if self.faults.is_empty() {
            return Ok(());
        }
        let problem =
            Problem::new(&problem::INVALID_PARAMETER).faults(std::mem::take(&mut self.faults));
        Err(match self.wait_is_wrong {
            // RocketMQ 5's ILLEGAL_POLLING_TIME.
            true => problem.with("code", 40018),
            false => problem,
        })
    }

    fn value(&self, name: &str) -> Option<&str> {
        let found = self.given.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| &**value)
    }
}

/// The bound that a text is beyond.
fn too_long(name: &str, text: &str) -> Option<usize> {
    let (_, most) = LONGEST.iter().find(|(own, _)| *own == name)?;
    (text.chars().count() > *most).then_some(*most)
}

/// Percent-encoding and `+` for a space undone, once; `None` if an escape or the result is none.
pub(crate) fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Some(Cow::Borrowed(text));
    }
    let spaced = text.replace('+', " ");
    percent_decode(&spaced).map(|text| Cow::Owned(text.into_owned()))
}

/// Percent-encoding undone, once; `None` if an escape or the result is none.
pub(crate) fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        if byte != b'%' {
            out.push(byte);
            rest = behind;
            continue;
        }
        let (digits, behind) = behind.split_at_checked(2)?;
        let digit = |digit: u8| char::from(digit).to_digit(16);
        out.push((digit(digits[0])? * 16 + digit(digits[1])?) as u8);
        rest = behind;
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(parameters: &mut Parameters<'_>) -> Vec<String> {
        let problem = parameters.finish().unwrap_err();
        let shown = problem.to_json(None);
        let errors = shown["errors"].as_array().unwrap().iter();
        errors
            .map(|e| {
                format!(
                    "{}: {}",
                    e["parameter"].as_str().unwrap(),
                    e["detail"].as_str().unwrap()
                )
            })
            .collect()
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let query = "topik=a&max=33&wait=31s&wait=1s&body=xml&from=today&x=%ff";
        let known = ["topic", "max", "wait", "body", "from", "x"];
        let mut parameters = Parameters::new(query, &known, &[]);
        assert_eq!(parameters.number("max", 1..=32), None);
        assert_eq!(
            parameters.duration("wait", Duration::ZERO..=Duration::from_secs(30)),
            None
        );
        assert_eq!(parameters.word("body", &["auto", "json"]), None);
        assert_eq!(parameters.time("from"), None);
        assert_eq!(
            faults(&mut parameters),
            [
                "topik: unknown parameter; did you mean \"topic\"?",
                "wait: this parameter is given more than once",
                "x: percent-encoded UTF-8 expected",
                "max: a number from 1 to 32 expected",
                "wait: a duration like \"5s\" from 0s to 30s expected",
                "body: one of auto, json expected",
                "from: a time like \"2026-11-23T08:00:00Z\" expected",
            ]
        );
        assert!(parameters.finish().is_ok());
    }

    #[test]
    fn a_text_has_a_bound_in_characters() {
        let fits = format!("key={}", "%C3%A4".repeat(2_048));
        assert!(Parameters::new(&fits, &["key"], &[]).finish().is_ok());
        let long = format!("key={}", "a".repeat(2_049));
        let mut parameters = Parameters::new(&long, &["key"], &[]);
        assert_eq!(
            faults(&mut parameters),
            ["key: at most 2048 characters expected"]
        );
    }

    #[test]
    fn values_are_decoded_once() {
        let query = "tag=a+%7C%7c+b&topic=t%2541&topic=u&namespace=n&flag";
        let mut parameters = Parameters::new(query, &["tag", "topic", "flag"], &["topic"]);
        assert_eq!(parameters.text("tag"), Some("a || b"));
        assert_eq!(parameters.texts("topic").collect::<Vec<_>>(), ["t%41", "u"]);
        assert_eq!(parameters.text(NAMESPACE), Some("n"));
        assert_eq!(parameters.text("flag"), Some(""));
        assert!(parameters.finish().is_ok());
    }

    #[test]
    fn numbers_are_digits_in_their_range() {
        for text in [
            "0",
            "33",
            "-1",
            "+1",
            "1.0",
            "",
            "1e1",
            "99999999999999999999",
        ] {
            let query = format!("max={}", text.replace('+', "%2B"));
            let mut parameters = Parameters::new(&query, &["max"], &[]);
            assert_eq!(parameters.number("max", 1..=32), None, "{text}");
            assert_eq!(faults(&mut parameters).len(), 1);
        }
        let mut parameters = Parameters::new("max=32", &["max"], &[]);
        assert_eq!(parameters.number("max", 1..=32), Some(32));
        assert_eq!(parameters.number("limit", 1..=32), None);
        assert!(parameters.finish().is_ok());
    }

    #[test]
    fn escapes_that_are_none_are_refused() {
        for text in ["%", "%4", "%g1", "%ff", "a%zz"] {
            assert_eq!(decode(text), None, "{text}");
        }
        assert_eq!(decode("%C3%A4").as_deref(), Some("ä"));
        assert_eq!(percent_decode("a+b%20").as_deref(), Some("a+b "));
    }
}
