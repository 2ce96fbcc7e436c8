//! What may stand in a message: one rule a field, the same at every door that publishes.

use crate::events::TYPED;
use crate::problem::{self, Kind};

/// The most keys of a message.
pub(crate) const KEYS_MAX: usize = 16;
/// The most properties of a message.
pub(crate) const PROPERTIES_MAX: usize = 128;
/// The most bytes of tag, keys and properties together.
pub(crate) const PROPERTY_BYTES_MAX: usize = 16 << 10;
/// Message groups are shorter than this.
const MESSAGE_GROUP_END: usize = 64;
const CONTENT_TYPE_MAX: usize = 255;
/// The longest tag, and the longest key, in characters.
const WORD_MAX: usize = 2_048;
/// The delay levels that RocketMQ has.
pub(crate) const LEVELS: std::ops::RangeInclusive<u64> = 1..=18;
/// The property that a message's content type is kept in.
pub(crate) const CONTENT_TYPE: &str = "content_type";

/// Why a value is not allowed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refused {
    pub kind: &'static Kind,
    pub detail: &'static str,
}

type Checked = Result<(), Refused>;

fn checked(allowed: bool, kind: &'static Kind, detail: &'static str) -> Checked {
    match allowed {
        true => Ok(()),
        false => Err(Refused { kind, detail }),
    }
}

fn is_long(text: &str) -> bool {
    text.len() > WORD_MAX && text.chars().count() > WORD_MAX
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

pub(crate) fn tag(text: &str) -> Checked {
    let written = !text.trim().is_empty() && !text.contains('|') && !has_control(text);
    checked(
        written && !is_long(text),
        &problem::INVALID_TAG,
        "not blank, without '|' and control characters, at most 2048 characters",
    )
}

pub(crate) fn key(text: &str) -> Checked {
    let written = !text.is_empty() && !text.contains(char::is_whitespace) && !has_control(text);
    checked(
        written && !is_long(text),
        &problem::INVALID_KEY,
        "not empty, without white space and control characters, at most 2048 characters",
    )
}

pub(crate) fn message_group(text: &str) -> Checked {
    let fits = (1..MESSAGE_GROUP_END).contains(&text.len());
    let allowed = fits && !text.trim().is_empty() && !has_control(text);
    let detail = "1 to 63 bytes, not blank, without control characters";
    checked(allowed, &problem::INVALID_MESSAGE_GROUP, detail)
}

pub(crate) fn content_type(text: &str) -> Checked {
    let allowed = (1..=CONTENT_TYPE_MAX).contains(&text.len()) && !has_control(text);
    checked(
        allowed,
        &problem::INVALID_PROPERTY,
        "1 to 255 bytes without control characters",
    )
}

pub(crate) fn property(name: &str, value: &str) -> Checked {
    if posthouse_client::is_reserved(name) || [CONTENT_TYPE, TYPED].contains(&name) {
        let detail = "this name belongs to RocketMQ or to a field of its own";
        return checked(false, &problem::RESERVED_PROPERTY, detail);
    }
    let allowed =
        !name.is_empty() && !value.is_empty() && !has_control(name) && !has_control(value);
    let detail = "name and value are not empty, and have no control characters";
    checked(allowed, &problem::INVALID_PROPERTY, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slug(checked: Checked) -> &'static str {
        checked.err().map_or("", |refused| refused.kind.slug)
    }

    #[test]
    fn what_brokers_would_misread_is_refused() {
        let long = "é".repeat(2_049);
        for text in ["", " ", "a|b", "a\u{1}", "\n", &long] {
            assert_eq!(slug(tag(text)), "invalid-tag", "{text:?}");
        }
        for text in ["", "a b", "a\tb", "a\u{2}", "\u{a0}", &long] {
            assert_eq!(slug(key(text)), "invalid-key", "{text:?}");
        }
        for text in ["", "  ", &"g".repeat(64), "a\u{1}"] {
            assert_eq!(
                slug(message_group(text)),
                "invalid-message-group",
                "{text:?}"
            );
        }
        for (name, value) in [("", "x"), ("x", ""), ("a\u{1}", "x"), ("a", "\u{2}")] {
            assert_eq!(slug(property(name, value)), "invalid-property", "{name:?}");
        }
        for name in [
            "KEYS",
            "UNIQ_KEY",
            "__SHARDINGKEY",
            "content_type",
            "__RMQ.x",
        ] {
            assert_eq!(slug(property(name, "x")), "reserved-property", "{name}");
        }
        let fine = [
            tag("a"),
            tag(&"é".repeat(2_048)),
            key("o-17"),
            message_group(&"g".repeat(63)),
            property("ä", "b c"),
        ];
        assert!(fine.iter().all(Result::is_ok));
    }
}
