//! The attributes of topics: `+key=value,-key` in requests, plain keys in what is stored (Apache
//! `TopicAttributes` and `AttributeUtil`, whose words the errors use).

use std::collections::BTreeMap;

use crate::Error;

enum Kind {
    /// One of these values.
    OneOf(&'static [&'static str]),
    /// A whole number.
    Number,
}

struct Attribute {
    name: &'static str,
    kind: Kind,
    changeable: bool,
}

const ATTRIBUTES: &[Attribute] = &[
    Attribute {
        name: "queue.type",
        kind: Kind::OneOf(&["SimpleCQ", "BatchCQ", "RocksDBCQ"]),
        changeable: false,
    },
    Attribute {
        name: "cleanup.policy",
        kind: Kind::OneOf(&["DELETE", "COMPACTION"]),
        changeable: false,
    },
    Attribute {
        name: "message.type",
        kind: Kind::OneOf(&[
            "UNSPECIFIED",
            "NORMAL",
            "FIFO",
            "DELAY",
            "TRANSACTION",
            "MIXED",
        ]),
        changeable: true,
    },
    Attribute {
        name: "reserve.time",
        kind: Kind::Number,
        changeable: true,
    },
];

/// Values Apache knows and this broker does not serve, with the reason.
const NOT_SERVED: &[(&str, &str, &str)] = &[
    (
        "queue.type",
        "BatchCQ",
        "this broker keeps one queue entry a message",
    ),
    (
        "queue.type",
        "RocksDBCQ",
        "this broker has its own queue index",
    ),
    (
        "cleanup.policy",
        "COMPACTION",
        "this broker does not compact topics",
    ),
];

/// Parses `+key=value,-key` (the attributes of a request).
///
/// # Errors
/// [`Error::Attributes`].
pub fn attributes(text: &str) -> Result<Vec<(String, String)>, Error> {
    let mut changes: Vec<(String, String)> = Vec::new();
    for item in text.split(',').filter(|item| !item.is_empty()) {
        let (key, value) = match item.split_once('=') {
            Some((key, value)) if key.starts_with('+') && !value.contains('=') => (key, value),
            None if item.starts_with('-') => (item, ""),
            _ => return Err(Error::Attributes("kv string format wrong.".to_owned())),
        };
        if changes.iter().any(|(known, _)| known == key) {
            return Err(Error::Attributes(format!("key duplication: {key}")));
        }
        changes.push((key.to_owned(), value.to_owned()));
    }
    Ok(changes)
}

/// What `current` becomes by `changes`; `None` is a topic about to be made.
pub(crate) fn alter(
    current: Option<&BTreeMap<String, String>>,
    changes: &[(String, String)],
) -> Result<BTreeMap<String, String>, Error> {
    let mut after = current.cloned().unwrap_or_default();
    let wrong = |text: String| Err(Error::Attributes(text));
    let mut seen: Vec<&str> = Vec::new();
    for (signed, value) in changes {
        let (add, key) = match (signed.strip_prefix('+'), signed.strip_prefix('-')) {
            (Some(key), _) => (true, key),
            (_, Some(key)) => (false, key),
            _ => return wrong(format!("wrong format key: {signed}")),
        };
        if seen.contains(&key) {
            return wrong(format!("key duplication: {key}"));
        }
        seen.push(key);
        if !add && current.is_none() {
            return wrong(format!(
                "only add attribute is supported while creating topic. key: {key}"
            ));
        }
        let Some(attribute) = ATTRIBUTES.iter().find(|known| known.name == key) else {
            return wrong(format!("unsupported key: {key}"));
        };
        let there = after.contains_key(key);
        if !add && !there {
            return wrong(format!("attempt to delete a nonexistent key: {key}"));
        }
        if there && !attribute.changeable && (!add || after.get(key) != Some(value)) {
            return wrong(format!(
                "attempt to update an unchangeable attribute. key: {key}"
            ));
        }
        if add {
            check(attribute, value)?;
            after.insert(key.to_owned(), value.clone());
        } else {
            after.remove(key);
        }
    }
    Ok(after)
}

fn check(attribute: &Attribute, value: &str) -> Result<(), Error> {
    let name = attribute.name;
    let legal = match attribute.kind {
        Kind::OneOf(values) => values.contains(&value),
        Kind::Number => value.parse::<i64>().is_ok(),
    };
    if !legal {
        return Err(Error::Attributes(match attribute.kind {
            Kind::OneOf(values) => format!("value is not in set: {values:?}"),
            Kind::Number => format!("value is not a number: {value}"),
        }));
    }
    match (NOT_SERVED.iter()).find(|(key, refused, _)| *key == name && *refused == value) {
        Some((_, _, reason)) => Err(Error::Attributes(format!("{name}={value}: {reason}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(current: Option<&str>, changes: &str) -> String {
        let current = current.map(|text| {
            let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
            pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
        });
        match attributes(changes).and_then(|changes| alter(current.as_ref(), &changes)) {
            Ok(after) => format!("{after:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn attributes_are_added_changed_and_removed() {
        assert_eq!(
            check(None, "+message.type=FIFO,+reserve.time=100"),
            r#"{"message.type": "FIFO", "reserve.time": "100"}"#
        );
        assert_eq!(check(Some("message.type=FIFO"), "-message.type"), "{}");
        assert_eq!(
            check(Some("message.type=FIFO"), "+message.type=NORMAL"),
            r#"{"message.type": "NORMAL"}"#
        );
        assert_eq!(
            check(Some("message.type=FIFO"), ""),
            r#"{"message.type": "FIFO"}"#
        );
    }

    #[test]
    fn what_cannot_be_is_refused_in_apaches_words() {
        let text = |current, changes| check(current, changes);
        assert_eq!(text(None, "+nope=1"), "unsupported key: nope");
        assert_eq!(text(None, "nope=1"), "kv string format wrong.");
        assert_eq!(
            text(None, "-message.type"),
            "only add attribute is supported while creating topic. key: message.type"
        );
        assert_eq!(
            text(Some(""), "-message.type"),
            "attempt to delete a nonexistent key: message.type"
        );
        assert_eq!(
            text(Some("queue.type=SimpleCQ"), "-queue.type"),
            "attempt to update an unchangeable attribute. key: queue.type"
        );
        assert_eq!(
            text(None, "+message.type=A,+message.type=B"),
            "key duplication: +message.type"
        );
        assert!(text(None, "+reserve.time=soon").starts_with("value is not a number"));
    }

    #[test]
    fn batch_queues_and_compaction_are_refused_with_the_reason() {
        assert!(check(None, "+queue.type=BatchCQ").starts_with("queue.type=BatchCQ: this broker"));
        assert!(check(None, "+cleanup.policy=COMPACTION").contains("does not compact"));
        assert_eq!(
            check(None, "+queue.type=SimpleCQ"),
            r#"{"queue.type": "SimpleCQ"}"#
        );
    }
}
