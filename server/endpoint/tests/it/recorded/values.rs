//! An answer as a flat list of named values, so that two of them can be held against each other.
//!
//! The names: `code`, `remark`, a field's own name, and in the body the path to the value
//! (`.consumerIdList[0]`; `[0].queueOffset` of a message).

use std::collections::BTreeMap;

use model::record::View;
use remoting::Command;
use remoting::body::from_slice;
use serde_json::Value;

use super::forms::{form, says_nothing};
use super::history;

/// Objects whose keys are data (topics, groups, queues, figures), so that their names are in brackets.
const BY_DATA: [&str; 10] = [
    ".data",
    ".offsetTable",
    ".subscriptionTable",
    ".topicConfigTable",
    ".subscriptionGroupTable",
    ".groupTopicMap",
    ".forbiddenTable",
    ".attributes",
    ".table",
    ".messageQueueTable",
];

#[derive(Default)]
pub struct Values(BTreeMap<String, String>);

impl Values {
    pub fn new(
        code: i32,
        remark: Option<&str>,
        fields: Option<&BTreeMap<String, String>>,
    ) -> Values {
        let mut values = Values::default();
        values.insert("code", code);
        if let Some(remark) = remark.filter(|remark| !says_nothing(remark)) {
            values.insert("remark", remark);
        }
        // An answer with no fields at all is another than one with an empty list of them.
        if let Some(fields) = fields {
            values.insert("fields", "");
            for (name, value) in fields {
                values.insert(name, value);
            }
            // Their order says nothing.
            if let Some(text) = values.0.remove("properties") {
                for (name, value) in model::message::properties(&text) {
                    values.insert(&format!("properties.{name}"), value);
                }
            }
        }
        values
    }

    pub fn of(answer: &Command) -> Values {
        let fields = answer.ext.as_ref().map(|fields| {
            let fields = fields.iter();
            fields
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect()
        });
        let mut values = Values::new(answer.code, answer.remark.as_deref(), fields.as_ref());
        values.body(&answer.body);
        values
    }

    /// A body is JSON, messages, a properties text, or bytes.
    pub fn body(&mut self, body: &[u8]) {
        if body.is_empty() {
            return;
        }
        if let Ok(value) = from_slice::<Value>(body) {
            return self.json("", &value);
        }
        let mut rest = body;
        for (number, record) in records(body).enumerate() {
            self.record(&format!("[{number}]"), &record);
            rest = &rest[record.len()..];
        }
        if rest.is_empty() {
            return;
        }
        let Ok(text) = std::str::from_utf8(rest) else {
            return self.insert("", format!("{rest:?}"));
        };
        for line in text.lines() {
            if let Some((name, value)) = line.split_once('=') {
                self.insert(&format!(".{name}"), value);
            }
        }
    }

    fn json(&mut self, path: &str, value: &Value) {
        match value {
            Value::Object(members) => {
                self.insert(path, "an object");
                for (name, member) in members {
                    // The one name with a path in it.
                    let name = match name.starts_with("commitLogDiskRatio_") {
                        true => "commitLogDiskRatio_PATH",
                        false => name,
                    };
                    let data = BY_DATA.iter().any(|by_data| path.ends_with(by_data));
                    match data {
                        true => self.json(&format!("{path}[{name}]"), member),
                        false => self.json(&format!("{path}.{name}"), member),
                    }
                }
            }
            // Lists of names, and of queues, are sets: Apache's order is that of a hash.
            Value::Array(items) => {
                self.insert(path, "a list");
                if path == ".consumeStatsList" {
                    return self.groups(path, items);
                }
                for (at, item) in items.iter().enumerate() {
                    match (item, item.get("messageQueue")) {
                        (Value::String(name), _) => {
                            self.insert(&format!("{path}[{name}]"), "listed");
                        }
                        (_, Some(queue)) => self.json(&format!("{path}[{queue}]"), item),
                        (_, None) => self.json(&format!("{path}[{at}]"), item),
                    }
                }
            }
            Value::String(text) => self.insert(path, text),
            other => self.insert(path, other),
        }
    }

    /// A list of groups, each an object with one member.
    fn groups(&mut self, path: &str, items: &[Value]) {
        for (group, stats) in items.iter().filter_map(Value::as_object).flatten() {
            self.json(&format!("{path}[{group}]"), stats);
        }
    }

    fn record(&mut self, path: &str, record: &View<'_>) {
        let mut insert = |name: &str, value: &dyn ToString| {
            self.insert(&format!("{path}.{name}"), value.to_string());
        };
        insert("topic", &record.topic());
        insert("queueId", &record.queue().0);
        insert("queueOffset", &record.queue_offset().0);
        insert("flag", &record.flag());
        insert("sysFlag", &record.sys_flag());
        insert("bornTimestamp", &record.born_at());
        insert("bornHost", &record.born_host());
        insert("storeTimestamp", &record.stored_at());
        insert("storeHost", &record.store_host());
        insert("reconsumeTimes", &record.reconsume_times());
        insert("preparedTransactionOffset", &record.prepared_offset());
        insert("physicalOffset", &record.log_offset().0);
        insert("body", &String::from_utf8_lossy(record.body()));
        for (name, value) in model::message::properties(record.properties()) {
            insert(&format!("properties.{name}"), &value);
        }
    }

    fn insert(&mut self, name: &str, value: impl ToString) {
        let name = if name.is_empty() { "body" } else { name };
        self.0.insert(name.to_owned(), value.to_string());
    }

    /// Forgets what of a body is not also in the other, of which only the start was kept.
    pub fn cut_like(&mut self, other: &Values) {
        let body = |name: &str| name.starts_with(['.', '[']);
        self.0
            .retain(|name, _| !body(name) || other.0.contains_key(name));
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// What of ours is not as it was recorded.
    pub fn differences(&self, ours: &Values) -> BTreeMap<String, String> {
        let names = self.0.keys().chain(ours.0.keys());
        let differs = names.filter_map(|name| {
            let short = |text: &String| text.chars().take(300).collect::<String>();
            let text = match (self.0.get(name), ours.0.get(name)) {
                (Some(theirs), Some(ours)) if form(name).same(theirs, ours) => return None,
                (Some(theirs), Some(ours)) => format!("{:?} not {:?}", short(ours), short(theirs)),
                (Some(_), None) if history::left_by_others(name) => return None,
                (Some(theirs), None) => format!("lacks, {:?}", short(theirs)),
                (None, ours) => format!("has {:?}", ours.map(short)),
            };
            Some((name.clone(), text))
        });
        differs.collect()
    }
}

/// The messages at the head of a body.
pub fn records(mut body: &[u8]) -> impl Iterator<Item = View<'_>> {
    std::iter::from_fn(move || {
        let record = View::parse(body).ok()?;
        body = &body[record.len()..];
        Some(record)
    })
}
