//! A message that came.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use bytes::Bytes;
use model::flag::sys;
use model::id::push_offset_id;
use model::message::{key, properties, property};
use model::record::View;
use remoting::Command;

use crate::compress::decompress;
use crate::message::is_reserved;
use crate::queue::Queue;

/// A message that came. What it says are the fields of [`Content`], behind one pointer: a clone is the same message, and
/// costs one count. Its body and its properties share the bytes of the answer that it came in: who keeps one message of
/// many for long keeps the answer (at most 256 KiB and one message), unless it is copied.
#[derive(Clone, Debug)]
pub struct Received(Arc<Content>);

/// What a message says that came.
#[derive(Clone, Debug)]
pub struct Content {
    /// The topic; of a retried message its first one.
    pub topic: Arc<str>,
    /// The queue it was read from. Its topic is `%RETRY%group` for a retried message.
    pub queue: Queue,
    /// Its offset there.
    pub queue_offset: u64,
    /// Where it lies in the broker's log.
    pub log_offset: u64,
    /// Bytes of its record in the broker's log.
    pub store_size: u32,
    /// The body, decompressed; as it was sent, if it cannot be.
    pub body: Bytes,
    /// The sender's own number.
    pub flag: i32,
    /// When it was made, by the sender's clock: milliseconds since the Unix epoch.
    pub born_at: i64,
    /// Who sent it.
    pub born_host: SocketAddr,
    /// When it was stored, by the broker's clock: milliseconds since the Unix epoch.
    pub stored_at: i64,
    /// The broker that stored it.
    pub store_host: SocketAddr,
    /// How often it was delivered before.
    pub reconsume_times: i32,
    /// Bits for systems, see [`model::flag::sys`].
    pub sys_flag: i32,
    /// Log offset of the message that this one came from, or 0.
    pub prepared_offset: u64,
    /// As the record has them: text.
    properties: Bytes,
}

impl From<Content> for Received {
    fn from(content: Content) -> Received {
        Received(Arc::new(content))
    }
}

impl Deref for Received {
    type Target = Content;

    fn deref(&self) -> &Content {
        &self.0
    }
}

/// Changes this message, and no clone of it.
impl DerefMut for Received {
    fn deref_mut(&mut self) -> &mut Content {
        Arc::make_mut(&mut self.0)
    }
}

impl Received {
    /// One that is put together by hand, as for a test, or from what was kept of one. Its numbers and times are nought,
    /// and can be set; its properties are written as [`Received::property_text`] gives them.
    pub fn bare(queue: Queue, body: Bytes, property_text: &str) -> Received {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Received::from(Content {
            topic: queue.topic.clone(),
            queue,
            queue_offset: 0,
            log_offset: 0,
            store_size: 0,
            body,
            flag: 0,
            born_at: 0,
            born_host: nowhere,
            stored_at: 0,
            store_host: nowhere,
            reconsume_times: 0,
            sys_flag: 0,
            prepared_offset: 0,
            properties: Bytes::copy_from_slice(property_text.as_bytes()),
        })
    }

    /// A reply, as a broker hands it to who waits for it. It lies in no queue.
    pub(crate) fn from_reply(command: &Command) -> Received {
        let number = |name| {
            command
                .field(name)
                .and_then(|text| text.parse::<i64>().ok())
        };
        let host = |name| {
            let text = command.field(name).unwrap_or_default();
            // Java writes a slash before an address without a name.
            let host = text.trim_start_matches('/').parse().ok();
            host.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)))
        };
        let topic: Arc<str> = command.field("topic").unwrap_or_default().into();
        let sys_flag = number("sysFlag").unwrap_or(0) as i32;
        let body = Bytes::copy_from_slice(&command.body);
        let properties = command.field("properties").unwrap_or_default();
        Received::from(Content {
            store_size: 0,
            queue: Queue::new(topic.clone(), "", 0),
            topic,
            queue_offset: 0,
            log_offset: 0,
            body: whole(sys_flag, &body).unwrap_or(body),
            flag: number("flag").unwrap_or(0) as i32,
            born_at: number("bornTimestamp").unwrap_or(0),
            born_host: host("bornHost"),
            stored_at: number("storeTimestamp").unwrap_or(0),
            store_host: host("storeHost"),
            reconsume_times: 0,
            sys_flag,
            prepared_offset: 0,
            properties: Bytes::copy_from_slice(properties.as_bytes()),
        })
    }
}

impl Content {
    /// The value of a property.
    pub fn property(&self, name: &str) -> Option<&str> {
        property(self.property_text(), name)
    }

    /// All properties, RocketMQ's own included.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        properties(self.property_text())
    }

    /// All properties as records have them: `name \x01 value \x02 …`.
    pub fn property_text(&self) -> &str {
        // It was read as text.
        str::from_utf8(&self.properties).unwrap_or_default()
    }

    /// The properties that its sender set: no tag, no keys, and none that a client or a broker writes.
    pub fn own_properties(&self) -> impl Iterator<Item = (&str, &str)> {
        let origin = [key::DLQ_ORIGIN_TOPIC, key::DLQ_ORIGIN_MESSAGE_ID];
        let own = move |name: &str| !is_reserved(name) && !origin.contains(&name);
        self.properties().filter(move |(name, _)| own(name))
    }

    /// The id that its sender gave it; of a message without one, where it lies.
    pub fn id(&self) -> String {
        let id = self.property(key::UNIQ_KEY);
        id.map_or_else(|| self.offset_id(), str::to_owned)
    }

    /// The id that says where it lies.
    pub fn offset_id(&self) -> String {
        let mut id = String::with_capacity(32);
        let at = model::LogOffset(self.log_offset);
        push_offset_id(&mut id, self.store_host, at);
        id
    }

    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        self.property(key::TAGS)
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let keys = self.property(key::KEYS).unwrap_or_default();
        keys.split(' ').filter(|key| !key.is_empty())
    }
}

#[cfg(test)]
impl Received {
    pub(crate) fn for_tests(topic: &str, offset: u64) -> Received {
        let mut message = Received::bare(Queue::new(topic, "b", 0), Bytes::new(), "");
        message.queue_offset = offset;
        message
    }
}

/// The messages in the body of an answer, and how many bytes each takes there. Ends at the first
/// record that is none, as Java does.
pub(crate) fn records(
    body: &Bytes,
    queue_of: impl Fn(&View<'_>) -> Queue,
) -> Vec<(Received, usize)> {
    let mut rest = body.as_ref();
    let mut found = Vec::new();
    while let Ok(view) = View::parse(rest) {
        found.push((received(body, &view, queue_of(&view)), view.len()));
        rest = rest.get(view.len()..).unwrap_or_default();
    }
    found
}

/// The decompressed body; `None` if it is as it was sent. One that is not what it says must not hold up
/// those behind it.
fn whole(sys_flag: i32, body: &[u8]) -> Option<Bytes> {
    let small = sys_flag & sys::COMPRESSED != 0;
    let whole = small.then(|| decompress(sys_flag, body).ok());
    whole.flatten().map(Bytes::from)
}

fn received(from: &Bytes, view: &View<'_>, queue: Queue) -> Received {
    let sys_flag = view.sys_flag();
    let body = whole(sys_flag, view.body());
    let body = body.unwrap_or_else(|| from.slice_ref(view.body()));
    let topic = match view.property(key::RETRY_TOPIC) {
        Some(first) if queue.topic.starts_with(model::name::RETRY_PREFIX) => first.into(),
        _ => queue.topic.clone(),
    };
    Received::from(Content {
        topic,
        queue,
        queue_offset: view.queue_offset().0,
        log_offset: view.log_offset().0,
        store_size: view.len() as u32,
        body,
        flag: view.flag(),
        born_at: view.born_at(),
        born_host: view.born_host(),
        stored_at: view.stored_at(),
        store_host: view.store_host(),
        reconsume_times: view.reconsume_times(),
        sys_flag,
        prepared_offset: view.prepared_offset(),
        properties: from.slice_ref(view.properties().as_bytes()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_in_no_clone() {
        let queue = Queue::new("t", "b", 0);
        let first = Received::bare(queue, Bytes::from_static(b"body"), "TAGS\u{1}a\u{2}");
        let mut second = first.clone();
        second.topic = "other".into();
        second.queue_offset = 7;
        assert_eq!((&*first.topic, first.queue_offset), ("t", 0));
        assert_eq!((&*second.topic, second.queue_offset), ("other", 7));
        assert_eq!((second.tag(), &*second.body), (Some("a"), &b"body"[..]));
    }
}
