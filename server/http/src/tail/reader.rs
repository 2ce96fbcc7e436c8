//! The one reader of a topic in a format on this node: long polls on every queue, and a ring of events that
//! are written once, whoever follows. Who has what was before is served by its [`Fan`].

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use posthouse_client::{Filter, Pull, Pulled, Queue, Received};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::cursor::Place;
use super::fan::{Fan, Point};
use super::pace::Pace;
use super::round::Round;
use crate::node::Node;
use crate::problem::Problem;
use crate::write::{self, Bodies, Format};
use crate::{events, shown, sse, token};

/// How long a broker holds a pull.
const HOLD: Duration = Duration::from_secs(20);
/// After a pull that failed.
const PAUSE: Duration = Duration::from_secs(1);
/// What the ring keeps: whoever is further behind reads by itself.
const RING_BYTES: usize = 4 << 20;
const RING_EVENTS: usize = 4_096;
/// What the members of a message beside its body take, mostly.
const MEMBERS: usize = 512;
/// Events handed to a stream at once, between two yields.
pub(super) const SLICE: usize = 64;

/// The readers of all topics that are followed.
#[derive(Default)]
pub(crate) struct Readers(Mutex<Running>);

/// Readers by topic and format.
type Running = HashMap<(Arc<str>, Format), Weak<Reader>>;

/// The one reader of a topic in a format. It ends with the last stream that holds it.
pub(crate) struct Reader {
    pub topic: Arc<str>,
    format: Format,
    pub queues: Arc<[Queue]>,
    node: Weak<Node>,
    ring: Mutex<Ring>,
    moved: watch::Sender<()>,
    pub(super) fan: Fan,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

struct Ring {
    /// The number of the first event that is kept; they are numbered through.
    first: u64,
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// The place before the first event that is kept.
    base: Place,
    /// The place behind the last one, and its id.
    head: Place,
    id: Arc<str>,
}

/// Something that happened in a queue, as it is sent.
pub(crate) struct Event {
    /// The queue's place among the topic's queues.
    pub queue: usize,
    pub offset: u64,
    /// The queue's next offset behind it.
    pub next: u64,
    pub tag: Option<Box<str>>,
    /// The JSON alone, for a stream whose place is not the reader's.
    pub data: Bytes,
    /// The whole event with the reader's place as its id.
    pub frame: Bytes,
    /// The same as a chunk of an answer.
    pub chunk: Bytes,
    /// Messages are skipped by filters; gaps are not.
    pub is_gap: bool,
}

/// What a stream finds behind its number.
pub(crate) enum Found {
    /// These, in order.
    Events(Vec<Arc<Event>>),
    /// Nothing yet; this is its id.
    End(Arc<str>),
    /// The ring has gone on without it.
    Lost,
}

impl Readers {
    /// The reader of a topic in a format; started if there is none.
    ///
    /// # Errors
    /// `topic-not-found`, and what brokers say.
    pub(crate) async fn of(
        node: &Arc<Node>,
        topic: &str,
        format: Format,
    ) -> Result<Arc<Reader>, Problem> {
        let admin = node.client.admin();
        let mut queues = admin.queues(topic).await?;
        queues.sort();
        let name: (Arc<str>, Format) = (topic.into(), format);
        if let Some(reader) = node.readers.running(&name, &queues) {
            return Ok(reader);
        }
        let mut head = Vec::with_capacity(queues.len());
        for queue in &queues {
            head.push(admin.max_offset(queue).await?);
        }
        let reader = Arc::new(Reader::new(node, name.clone(), queues, Place(head)));
        let mut table = node.readers.lock();
        // Somebody else may have been faster.
        let other = table.get(&name).and_then(Weak::upgrade);
        if let Some(other) = other.filter(|other| other.queues == reader.queues) {
            return Ok(other);
        }
        table.retain(|_, reader| reader.strong_count() > 0);
        table.insert(name, Arc::downgrade(&reader));
        drop(table);
        reader.start(node);
        Ok(reader)
    }

    /// A running reader, unless the topic has other queues by now: then a new one takes over.
    fn running(&self, name: &(Arc<str>, Format), queues: &[Queue]) -> Option<Arc<Reader>> {
        let reader = self.lock().get(name).and_then(Weak::upgrade);
        reader.filter(|reader| *reader.queues == *queues)
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    fn new(
        node: &Arc<Node>,
        (topic, format): (Arc<str>, Format),
        queues: Vec<Queue>,
        head: Place,
    ) -> Reader {
        let id = sign(node, &topic, &queues, &head);
        Reader {
            topic,
            format,
            queues: queues.into(),
            node: Arc::downgrade(node),
            fan: Fan::new(head.clone()),
            ring: Mutex::new(Ring {
                first: 0,
                events: VecDeque::new(),
                bytes: 0,
                base: head.clone(),
                head,
                id,
            }),
            moved: watch::Sender::new(()),
            tasks: Mutex::default(),
        }
    }

    fn start(self: &Arc<Reader>, node: &Arc<Node>) {
        let follow = |at| {
            let (reader, node) = (Arc::downgrade(self), node.clone());
            tokio::spawn(follow(reader, node, at))
        };
        let mut tasks: Vec<_> = (0..self.queues.len()).map(follow).collect();
        tasks.push(tokio::spawn(fan_out(
            Arc::downgrade(self),
            self.subscribe(),
        )));
        *self.tasks.lock().unwrap_or_else(PoisonError::into_inner) = tasks;
    }

    /// Behind everything that the reader has seen.
    pub(crate) fn head(&self) -> Place {
        self.ring().head.clone()
    }

    /// Hears of new events; subscribe before looking.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }

    /// Where in the ring a stream at this place goes on, and the reader's place there; `None` if it has
    /// to catch up first.
    pub(crate) fn join(&self, place: &Place) -> Option<(u64, Place)> {
        let ring = self.ring();
        if *place == ring.head {
            return Some((ring.first + ring.events.len() as u64, ring.head.clone()));
        }
        let mut all = ring.base.0.iter().zip(&place.0);
        all.all(|(base, own)| base <= own)
            .then(|| (ring.first, ring.base.clone()))
    }

    /// The events from this number on, at most a slice.
    pub(crate) fn after(&self, number: u64) -> Found {
        let ring = self.ring();
        let Some(skip) = number.checked_sub(ring.first) else {
            return Found::Lost;
        };
        let events = ring
            .events
            .range(usize::try_from(skip).unwrap_or(0).min(ring.events.len())..);
        let events: Vec<Arc<Event>> = events.take(SLICE).cloned().collect();
        match events.is_empty() {
            true => Found::End(ring.id.clone()),
            false => Found::Events(events),
        }
    }

    /// Brings all riders to the end of the ring, or some way there. `false` if they are.
    async fn round(&self, pace: &mut Pace) -> bool {
        let mut end = Point::clone(&self.fan.end());
        let mut round = match self.after(end.number) {
            Found::End(_) => return false,
            Found::Events(events) => {
                let round = Round::new(events);
                for event in round.events() {
                    end.number += 1;
                    end.place.set(event.queue, event.next);
                }
                Some(round)
            }
            Found::Lost => {
                let ring = self.ring();
                end.number = ring.first + ring.events.len() as u64;
                end.place.clone_from(&ring.head);
                None
            }
        };
        self.fan.begin(end);
        let mut at = 0;
        while let Some(next) = self.fan.serve(at, round.as_mut()) {
            at = next;
            pace.give_way().await;
        }
        true
    }

    /// The id of a place of this topic.
    pub(crate) fn sign(&self, place: &Place) -> Arc<str> {
        match self.node.upgrade() {
            Some(node) => sign(&node, &self.topic, &self.queues, place),
            None => "".into(),
        }
    }

    fn take(&self, at: usize, from: u64, pulled: &Pulled) {
        let Some(queue) = self.queues.get(at) else {
            return;
        };
        let mut ring = self.ring();
        if pulled.moved {
            let gap = gap(queue, from, pulled.next);
            self.push(&mut ring, at, from, pulled.next, None, gap, true);
        }
        for message in &pulled.messages {
            let data = self.data(message);
            let next = message.queue_offset + 1;
            let tag = message.tag().map(Into::into);
            self.push(&mut ring, at, message.queue_offset, next, tag, data, false);
        }
        if let Some(head) = ring.head.0.get_mut(at) {
            *head = pulled.next.max(*head);
        }
        drop(ring);
        self.moved.send_replace(());
    }

    #[allow(clippy::too_many_arguments)] // the fields of one event
    fn push(
        &self,
        ring: &mut Ring,
        queue: usize,
        offset: u64,
        next: u64,
        tag: Option<Box<str>>,
        data: Bytes,
        is_gap: bool,
    ) {
        if let Some(head) = ring.head.0.get_mut(queue) {
            *head = next;
        }
        ring.id = self.sign(&ring.head);
        let (frame, chunk) = chunked(&frame(is_gap, &ring.id, &data));
        ring.bytes += data.len() + frame.len();
        ring.events.push_back(Arc::new(Event {
            queue,
            offset,
            next,
            tag,
            data,
            frame,
            chunk,
            is_gap,
        }));
        while ring.bytes > RING_BYTES || ring.events.len() > RING_EVENTS {
            let Some(oldest) = ring.events.pop_front() else {
                break;
            };
            ring.first += 1;
            ring.bytes -= oldest.data.len() + oldest.frame.len();
            if let Some(base) = ring.base.0.get_mut(oldest.queue) {
                *base = oldest.next;
            }
        }
    }

    /// The data of a message's event.
    pub(crate) fn data(&self, message: &Received) -> Bytes {
        let mut out = String::with_capacity(message.body.len() + MEMBERS);
        match self.format {
            Format::Message => write::message(&mut out, message, Bodies::Auto, None),
            Format::CloudEvent => events::event(&mut out, message, None),
        }
        .end();
        Bytes::from(out)
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let tasks = self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner);
        for task in tasks {
            task.abort();
        }
    }
}

/// A message that could not be had any more when its turn came.
pub(crate) fn gap(queue: &Queue, from: u64, to: u64) -> Bytes {
    let gap = serde_json::json!({
        "queue": shown::queue(queue),
        "lost_from": from,
        "resumed_at": to,
    });
    Bytes::from(gap.to_string())
}

/// A whole event.
pub(crate) fn frame(is_gap: bool, id: &str, data: &[u8]) -> Bytes {
    let mut text = String::with_capacity(id.len() + data.len() + 32);
    let name = is_gap.then_some("gap");
    sse::push(&mut text, name, Some(id), &String::from_utf8_lossy(data));
    Bytes::from(text)
}

/// An event, alone and as a chunk of an answer: both lie in the same memory.
fn chunked(frame: &[u8]) -> (Bytes, Bytes) {
    let head = format!("{:x}\r\n", frame.len());
    let chunk = Bytes::from([head.as_bytes(), frame, b"\r\n"].concat());
    (chunk.slice(head.len()..chunk.len() - 2), chunk)
}

fn sign(node: &Node, topic: &str, queues: &[Queue], place: &Place) -> Arc<str> {
    let payload = place.write(topic, queues);
    node.tokens.sign(token::Kind::Cursor, &payload).into()
}

/// Pulls one queue for as long as somebody follows.
async fn follow(reader: Weak<Reader>, node: Arc<Node>, at: usize) {
    let pull = Pull {
        filter: Filter::All,
        hold: HOLD,
        ..Pull::default()
    };
    loop {
        let Some((queue, from)) = reader.upgrade().and_then(|reader| {
            let queue = reader.queues.get(at)?.clone();
            let from = reader.ring().head.0.get(at).copied()?;
            Some((queue, from))
        }) else {
            return;
        };
        match node.client.pull(&queue, from, &pull).await {
            Ok(pulled) => match reader.upgrade() {
                Some(reader) if pulled.next != from => reader.take(at, from, &pulled),
                Some(_) => {}
                None => return,
            },
            Err(error) => {
                tracing::debug!(%queue, %error, "a followed queue gave no answer");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Serves riders for as long as somebody follows.
async fn fan_out(reader: Weak<Reader>, mut moved: watch::Receiver<()>) {
    while moved.changed().await.is_ok() {
        let Some(reader) = reader.upgrade() else {
            return;
        };
        let mut pace = Pace::new();
        while reader.round(&mut pace).await {
            tokio::task::yield_now().await;
        }
    }
}
