//! A message as a request says it: the fields of the envelope, checked one by one, and put together once all
//! were seen.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use posthouse_client::{Deliver, Message};

use crate::json::{At, Faults, Kind, Value, Walk, Wrong};
use crate::problem;
use crate::rules::{self, Refused};
use crate::time;

/// The fields of the envelope.
pub(crate) const FIELDS: [&str; 10] = [
    "body",
    "body_encoding",
    "content_type",
    "tag",
    "keys",
    "properties",
    "message_group",
    "delay_level",
    "delay",
    "deliver_at",
];

/// What a message is put together from.
pub(crate) struct Draft<'a> {
    pub message: Message,
    /// When it is delivered, if its sender said a time: milliseconds since the Unix epoch.
    pub deliver_at: Option<i64>,
    /// The same as its sender said it: a delay is another time whenever it is read.
    pub said: String,
    body: Option<Value<'a>>,
    encoding: Option<&'static str>,
    content_type: Option<Cow<'a, str>>,
    /// How many of the three fields about its delivery there are.
    times: u32,
    /// The door's clock.
    now: i64,
    /// The request's body, if the fields stand in it: what is written there as it is needs no copy.
    within: Option<&'a Bytes>,
    /// The tag of the message before, which this one's often is too.
    tag_before: Option<&'a Arc<str>>,
}

impl<'a> Draft<'a> {
    /// A message to this topic that nothing is said of yet.
    pub(crate) fn new(topic: &Arc<str>, now: i64) -> Draft<'a> {
        Draft {
            message: Message::new(topic.clone(), Bytes::new()),
            deliver_at: None,
            said: String::new(),
            body: None,
            encoding: None,
            content_type: None,
            times: 0,
            now,
            within: None,
            tag_before: None,
        }
    }

    /// It comes behind a message with this tag.
    pub(crate) fn behind(mut self, tag: Option<&'a Arc<str>>) -> Draft<'a> {
        self.tag_before = tag;
        self
    }

    /// All its fields are parts of this.
    pub(crate) fn within(mut self, body: &'a Bytes) -> Draft<'a> {
        self.within = Some(body);
        self
    }

    /// A text that outlives the request.
    fn kept(&self, text: Cow<'a, str>) -> Bytes {
        match (text, self.within) {
            (Cow::Borrowed(text), Some(body)) => body.slice_ref(text.as_bytes()),
            (text, _) => Bytes::from(text.into_owned()),
        }
    }

    /// Takes the fields of the object that a text says next, while it is proved; `other` takes those that are none of the
    /// envelope's. `false` if it is no object, which is noted.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub(crate) fn fields<'w: 'a>(
        &mut self,
        walk: &mut Walk<'w>,
        at: At<'_>,
        faults: &mut Faults,
        mut other: impl FnMut(&str, Value<'w>, &mut Faults),
    ) -> Result<bool, Wrong> {
        if walk.kind() != Kind::Object {
            faults.object(at, walk.value()?);
            return Ok(false);
        }
        walk.members(|walk, name| {
            let value = walk.value()?;
            if !self.field(name, at.member(name), value, faults) {
                other(name, value, faults);
            }
            Ok(())
        })?;
        Ok(true)
    }

    /// Takes a field of the envelope. `false` if it is none.
    pub(crate) fn field(
        &mut self,
        name: &str,
        at: At<'_>,
        value: Value<'a>,
        faults: &mut Faults,
    ) -> bool {
        match name {
            "body" => self.body = Some(value),
            "body_encoding" => self.encoding = faults.word(at, value, &["utf8", "json", "base64"]),
            "content_type" => {
                let text = faults.string(at, value);
                self.content_type =
                    text.filter(|text| allowed(faults, at, rules::content_type(text)));
            }
            "tag" => {
                let text = faults.string(at, value);
                let text = text.filter(|text| allowed(faults, at, rules::tag(text)));
                self.message.tag = text.map(|text| match self.tag_before {
                    Some(before) if **before == *text => before.clone(),
                    _ => text.as_ref().into(),
                });
            }
            "keys" => self.keys(at, value, faults),
            "properties" => self.properties(at, value, faults),
            "message_group" => {
                let text = faults.string(at, value);
                let text = text.filter(|text| allowed(faults, at, rules::message_group(text)));
                self.message.sharding_key = text.map(Cow::into_owned);
            }
            "delay_level" => {
                if let Some(level) = faults.number(at, value) {
                    self.level(level, |refused| allowed(faults, at, Err(refused)));
                }
            }
            "delay" => {
                if let Some(delay) = faults.duration(at, value) {
                    self.delay(delay);
                }
            }
            "deliver_at" => {
                if let Some(text) = faults.string(at, value) {
                    match time::parse(&text) {
                        Some(time) => self.deliver_at(time),
                        None => faults.add(at, "a time like \"2026-11-24T02:00:00Z\" expected"),
                    }
                }
            }
            _ => return false,
        }
        true
    }

    pub(crate) fn level(&mut self, level: u64, refuse: impl FnOnce(Refused) -> bool) {
        self.times += 1;
        match u8::try_from(level) {
            Ok(small) if rules::LEVELS.contains(&level) => {
                self.message.when = Deliver::Level(small);
                self.said = format!("level {small}");
            }
            _ => {
                let kind = &problem::INVALID_DELIVERY_TIME;
                refuse(Refused {
                    kind,
                    detail: "a delay level from 1 to 18 expected",
                });
            }
        }
    }

    pub(crate) fn delay(&mut self, delay: Duration) {
        let delay = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        self.deliver_at(self.now.saturating_add(delay));
        self.said = format!("delay {delay}");
    }

    /// A time that is past is delivered at once.
    pub(crate) fn deliver_at(&mut self, time: i64) {
        self.times += 1;
        self.deliver_at = Some(time);
        self.said = format!("at {time}");
        let since = Duration::from_millis(u64::try_from(time).unwrap_or_default());
        self.message.when = Deliver::At(UNIX_EPOCH + since);
    }

    /// What only all fields together tell. `false` if something is wrong: then it is noted.
    pub(crate) fn finish(&mut self, at: At<'_>, limit: usize, faults: &mut Faults) -> bool {
        let Some(value) = self.body else {
            faults.missing(at, "body");
            return false;
        };
        let here = at.member("body");
        if self.has_two_times() {
            let detail = "at most one of delay, delay_level and deliver_at";
            faults.refuse(&problem::INVALID_DELIVERY_TIME, at, detail);
            return false;
        }
        let Some((body, kind)) = self.body_of(value, here, faults) else {
            return false;
        };
        self.put_body(body, kind);
        let body = self.body_size(limit).map_err(|refused| (refused, here));
        let sizes = body.and_then(|()| self.property_size().map_err(|refused| (refused, at)));
        if let Err((Refused { kind, detail }, at)) = sizes {
            faults.refuse(kind, at, detail);
            return false;
        }
        true
    }

    /// The body that a value is, and what content type that has by itself.
    fn body_of(
        &self,
        value: Value<'a>,
        at: At<'_>,
        faults: &mut Faults,
    ) -> Option<(Bytes, Option<&'static str>)> {
        let text = value.kind() == Kind::String;
        let encoding = self.encoding.unwrap_or(if text { "utf8" } else { "json" });
        Some(match encoding {
            "json" => (self.kept(value.compact()), Some("application/json")),
            "base64" => {
                let text = faults.string(at, value)?;
                match STANDARD.decode(text.as_bytes()) {
                    Ok(body) => (Bytes::from(body), Some("application/octet-stream")),
                    Err(_) => {
                        let detail = "base64 with padding expected (RFC 4648)";
                        faults.refuse(&problem::INVALID_BASE64, at, detail);
                        return None;
                    }
                }
            }
            _ => (self.kept(faults.string(at, value)?), None),
        })
    }

    /// The body, and what its content type is unless its sender said one. Text needs none.
    pub(crate) fn put_body(&mut self, body: Bytes, kind: Option<&str>) {
        self.message.body = body;
        let said = self.content_type.take();
        if let Some(kind) = said.as_deref().or(kind) {
            let property = (rules::CONTENT_TYPE.to_owned(), kind.to_owned());
            self.message.properties.push(property);
        }
    }

    pub(crate) fn put_content_type(&mut self, text: Cow<'a, str>) {
        self.content_type = Some(text);
    }

    /// Whether more than one time of delivery is said.
    pub(crate) fn has_two_times(&self) -> bool {
        self.times > 1
    }

    /// Whether the body has a length that a message may have.
    pub(crate) fn body_size(&self, limit: usize) -> Result<(), Refused> {
        let (kind, detail) = match self.message.body.len() {
            0 => (&problem::EMPTY_BODY, "a message has at least one byte"),
            length if length > limit => (
                &problem::MESSAGE_TOO_LARGE,
                "the body is longer than a message may be",
            ),
            _ => return Ok(()),
        };
        Err(Refused { kind, detail })
    }

    /// Whether tag, keys and properties together are no longer than they may be.
    pub(crate) fn property_size(&self) -> Result<(), Refused> {
        let message = &self.message;
        let keys: usize = message.keys.iter().map(String::len).sum();
        let pairs = message
            .properties
            .iter()
            .map(|(name, value)| name.len() + value.len());
        let all = keys + message.tag.as_deref().map_or(0, str::len) + pairs.sum::<usize>();
        if all <= rules::PROPERTY_BYTES_MAX {
            return Ok(());
        }
        let detail = "tag, keys and properties have more than 16384 bytes";
        Err(Refused {
            kind: &problem::PROPERTIES_TOO_LARGE,
            detail,
        })
    }

    fn keys(&mut self, at: At<'_>, value: Value<'a>, faults: &mut Faults) {
        for (place, item) in faults.array(at, value).into_iter().flatten().enumerate() {
            if place == rules::KEYS_MAX {
                faults.refuse(&problem::INVALID_KEY, at, "at most 16 keys");
                return;
            }
            let here = at.item(place);
            if let Some(key) = faults.string(here, item)
                && allowed(faults, here, rules::key(&key))
            {
                self.message.keys.push(key.into_owned());
            }
        }
    }

    fn properties(&mut self, at: At<'_>, value: Value<'a>, faults: &mut Faults) {
        for (place, (name, value)) in faults.object(at, value).into_iter().flatten().enumerate() {
            if place == rules::PROPERTIES_MAX {
                faults.refuse(&problem::PROPERTIES_TOO_LARGE, at, "at most 128 properties");
                return;
            }
            let here = at.member(&name);
            if let Some(value) = faults.string(here, value)
                && allowed(faults, here, rules::property(&name, &value))
            {
                let property = (name.into_owned(), value.into_owned());
                self.message.properties.push(property);
            }
        }
    }
}

/// Notes what a rule says against a field.
fn allowed(faults: &mut Faults, at: At<'_>, checked: Result<(), Refused>) -> bool {
    if let Err(Refused { kind, detail }) = checked {
        faults.refuse(kind, at, detail);
    }
    checked.is_ok()
}
