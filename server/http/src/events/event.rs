//! One CloudEvent (1.0), and the message it is kept as: as the RocketMQ binding of CloudEvents' Java SDK does it, so
//! that either side reads what the other wrote.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hmac_sha256::Hash;

use crate::draft::Draft;
use crate::duration;
use crate::problem::{self, Fault, Kind, Place, Problem};
use crate::publish::Read;
use crate::rules::{self, Refused};
use crate::time;

/// What an attribute's name is preceded by in a message's properties.
pub(crate) const PREFIX: &str = "CE_";
/// The property that the media type of an event's data is in.
pub(crate) const CONTENT_TYPE: &str = "CE_contenttype";
/// The property that names the extensions which are integers and booleans, with spaces between. All properties
/// are text; in JSON an extension comes back as what it was.
pub(crate) const TYPED: &str = "cloudevent_typed";
/// What stands in for no data, since a message has at least one byte.
pub(crate) const NO_DATA: &[u8] = &[0];
/// The attributes without which it is no event.
pub(crate) const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];
/// What an event that is received says of its lease: no publisher may say it.
pub(crate) const OF_LEASE: [&str; 4] = [
    "mqleaseid",
    "mqleaseexpiresat",
    "mqdeliveryattempt",
    "mqreplytoken",
];
/// Attributes that are text; extensions may be integers and booleans too.
pub(super) const OF_TEXT: [&str; 8] = [
    "specversion",
    "id",
    "source",
    "type",
    "time",
    "subject",
    "dataschema",
    "datacontenttype",
];
const VERSION: &str = "1.0";
const NAME_MAX: usize = 64;

/// An event as a request says it.
#[derive(Debug, Default)]
pub(super) struct Event {
    /// Names and values, as they came.
    pub attributes: Vec<(String, String)>,
    /// The names of those that came as integers and booleans.
    pub typed: Vec<String>,
    pub data: Option<Bytes>,
}

/// What is wrong with an event, all of it.
pub(super) struct Faults<'p> {
    /// Where in the request an attribute of this name stands.
    place: &'p dyn Fn(&str) -> Place,
    found: Vec<Fault>,
    kind: Option<&'static Kind>,
}

impl<'p> Faults<'p> {
    pub(super) fn new(place: &'p dyn Fn(&str) -> Place) -> Faults<'p> {
        Faults {
            place,
            found: Vec::new(),
            kind: None,
        }
    }

    pub(super) fn add(&mut self, name: &str, detail: impl Into<String>) {
        self.refuse(name, &problem::INVALID_CLOUDEVENT, detail);
    }

    fn refuse(&mut self, name: &str, kind: &'static Kind, detail: impl Into<String>) {
        self.kind.get_or_insert(kind);
        let (place, detail) = ((self.place)(name), detail.into());
        self.found.push(Fault { place, detail });
    }

    fn allowed(&mut self, name: &str, checked: Result<(), Refused>) -> bool {
        if let Err(Refused { kind, detail }) = checked {
            self.refuse(name, kind, detail);
        }
        checked.is_ok()
    }

    /// # Errors
    /// The problem that they come to, if there is one.
    pub(super) fn check(self) -> Result<(), Problem> {
        match self.kind {
            Some(kind) => Err(Problem::new(kind).faults(self.found)),
            None => Ok(()),
        }
    }
}

impl Event {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The same event is the same source and id: a name that no caller's key can be.
    fn key(&self) -> String {
        let mut digest = Hash::new();
        for name in ["source", "id"] {
            let text = self.get(name).unwrap_or_default();
            digest.update((text.len() as u64).to_le_bytes());
            digest.update(text.as_bytes());
        }
        format!("ce {}", URL_SAFE_NO_PAD.encode(&digest.finalize()[..24]))
    }

    /// The message that it is kept as.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(super) fn message(
        self,
        topic: &Arc<str>,
        key: &Key,
        now: i64,
        limit: usize,
        mut faults: Faults<'_>,
    ) -> Result<Read, Problem> {
        self.required(&mut faults);
        let mut draft = Draft::new(topic, now);
        for (name, value) in &self.attributes {
            self.attribute(name, value, &mut draft, &mut faults);
        }
        if !self.typed.is_empty() {
            let property = (TYPED.to_owned(), self.typed.join(" "));
            draft.message.properties.push(property);
        }
        if draft.has_two_times() {
            let detail = "either mqdelay or mqdeliverat";
            faults.refuse("mqdelay", &problem::INVALID_DELIVERY_TIME, detail);
        }
        let id = self.get("id").unwrap_or_default();
        if rules::key(id).is_ok() {
            draft.message.keys.push(id.to_owned());
        }
        let key = match key {
            Key::None => None,
            Key::Said(key) => Some(key.clone()),
            Key::OfEvent => Some(self.key()),
        };
        let kind = self.get("datacontenttype").map(str::to_owned);
        let data = self.data.filter(|data| !data.is_empty());
        draft.put_body(data.unwrap_or(Bytes::from_static(NO_DATA)), kind.as_deref());
        for checked in [draft.body_size(limit), draft.property_size()] {
            faults.allowed("data", checked);
        }
        faults.check()?;
        Ok(Read::of(draft).named(key))
    }

    fn required(&self, faults: &mut Faults<'_>) {
        for name in REQUIRED {
            match self.get(name) {
                None => faults.add(name, "this attribute is required"),
                Some("") => faults.add(name, "not empty"),
                Some(_) => {}
            }
        }
        match self.get("specversion") {
            None | Some("" | VERSION) => {}
            Some(_) => faults.add("specversion", "only 1.0 is taken"),
        }
        if self
            .get("time")
            .is_some_and(|text| time::parse(text).is_none())
        {
            faults.add("time", "a time like \"2026-11-23T08:00:00Z\" expected");
        }
        for name in ["subject", "dataschema", "datacontenttype"] {
            if self.get(name) == Some("") {
                faults.add(name, "not empty, or not there");
            }
        }
    }

    fn attribute(&self, name: &str, value: &str, draft: &mut Draft<'_>, faults: &mut Faults<'_>) {
        if !is_name(name) {
            return faults.add(name, "names are 1 to 64 of a to z and 0 to 9");
        }
        if OF_LEASE.contains(&name) {
            return faults.add(
                name,
                "this is said of an event that is received; leave it out",
            );
        }
        match name {
            "mqtag" => {
                if faults.allowed(name, rules::tag(value)) {
                    draft.message.tag = Some(value.into());
                }
                return;
            }
            "mqdelay" => {
                return match duration::parse(value) {
                    Some(delay) => draft.delay(delay),
                    None => faults.add(name, "duration like \"5m\" expected"),
                };
            }
            "mqdeliverat" => {
                return match time::parse(value) {
                    Some(time) => draft.deliver_at(time),
                    None => faults.add(name, "a time like \"2026-11-24T02:00:00Z\" expected"),
                };
            }
            "datacontenttype" => {
                if faults.allowed(name, rules::content_type(value)) {
                    let property = (CONTENT_TYPE.to_owned(), value.to_owned());
                    draft.message.properties.push(property);
                }
                return;
            }
            _ => {}
        }
        if name == "partitionkey" && faults.allowed(name, rules::message_group(value)) {
            draft.message.sharding_key = Some(value.to_owned());
        }
        let property = format!("{PREFIX}{name}");
        // What is empty was told above; an extension may not be empty either.
        let told = REQUIRED.contains(&name) || ["subject", "dataschema"].contains(&name);
        if value.is_empty() && told {
            return;
        }
        if faults.allowed(name, rules::property(&property, value)) {
            draft.message.properties.push((property, value.to_owned()));
        }
    }
}

/// Whether an attribute may have this name. What has a place of its own in JSON is none.
pub(super) fn is_name(name: &str) -> bool {
    let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(lower) && name != "data"
}

/// What a repeat of an event is known by.
#[derive(Debug, Clone)]
pub(super) enum Key {
    /// Its source and id, as CloudEvents means them.
    OfEvent,
    /// The caller's own key.
    Said(String),
    /// Nothing: two are two.
    None,
}
