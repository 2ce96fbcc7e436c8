//! What a record means for what waits.

use model::LogOffset;
use model::message::{key, properties};
use model::record::View;

use super::{Kind, key as hash, topic_hash};

/// One record's meaning: it closes something, it waits itself, or both.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transition {
    /// Behind the record.
    pub end: LogOffset,
    pub closes: Option<LogOffset>,
    pub opens: Option<Opening>,
}

/// How its time is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// A delayed message that waits for a span of time.
    Span = 0,
    /// A delayed message that waits for a moment.
    Moment = 1,
    /// A half message.
    Half = 2,
}

impl Class {
    pub fn of(number: u8) -> Option<Class> {
        [Class::Span, Class::Moment, Class::Half]
            .into_iter()
            .find(|&class| class as u8 == number)
    }
}

/// A record that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    pub at: LogOffset,
    pub size: u32,
    /// By the wall clock of the moment it was stored.
    pub due: i64,
    /// How far the wall clock had been set by then.
    pub skew: i64,
    pub key: u64,
    /// Hash of the real topic; 0 if it names none.
    pub topic: u64,
    pub class: Class,
}

/// A record's place in the log and its time there.
pub(crate) struct Place {
    pub at: LogOffset,
    pub size: u32,
    pub stored_at: i64,
    pub skew: i64,
}

impl Transition {
    /// The meaning of a record; `None` if it has none. `kind`: what its topic's records wait for.
    pub fn new(
        kind: Option<Kind>,
        prepared_offset: u64,
        text: &str,
        place: &Place,
    ) -> Option<Transition> {
        let closes = (prepared_offset != 0).then_some(LogOffset(prepared_offset));
        let opens = kind.and_then(|kind| opening(kind, text, place));
        (closes.is_some() || opens.is_some()).then_some(Transition {
            end: LogOffset(place.at.0 + u64::from(place.size)),
            closes,
            opens,
        })
    }

    /// The meaning of a stored record.
    pub fn of(view: &View<'_>) -> Option<Transition> {
        let kind = Kind::of(view.topic());
        if kind.is_none() && view.prepared_offset() == 0 {
            return None;
        }
        let place = Place {
            at: view.log_offset(),
            size: view.len() as u32,
            stored_at: view.stored_at(),
            skew: 0,
        };
        Transition::new(kind, view.prepared_offset(), view.properties(), &place)
    }
}

/// What of a record's properties counts. A record of a timer's topic that names no time or no topic
/// does not wait: nobody could deliver it.
fn opening(kind: Kind, text: &str, place: &Place) -> Option<Opening> {
    let (mut out, mut topic, mut unique_key) = (None, None, None);
    let (mut level, mut span, mut moment) = (false, false, false);
    for (name, value) in properties(text) {
        match name {
            key::TIMER_OUT_MS => out = value.parse().ok(),
            key::REAL_TOPIC => topic = Some(value),
            key::UNIQ_KEY => unique_key = Some(value),
            key::DELAY => level = value.parse().is_ok_and(|level: i64| level > 0),
            key::TIMER_DELAY_SEC | key::TIMER_DELAY_MS => span = true,
            key::TIMER_DELIVER_MS => moment = true,
            _ => {}
        }
    }
    let named = topic.zip(unique_key);
    let (due, class) = match kind {
        Kind::Timer => {
            topic?;
            let by_span = level || span || !moment;
            (out?, if by_span { Class::Span } else { Class::Moment })
        }
        Kind::Half => (out.unwrap_or(place.stored_at), Class::Half),
    };
    Some(Opening {
        at: place.at,
        size: place.size,
        due,
        skew: place.skew,
        topic: topic.map_or(0, topic_hash),
        // Levels cannot be recalled: nobody looks for them.
        key: match named {
            Some((topic, unique_key)) if !(level && kind == Kind::Timer) => hash(topic, unique_key),
            _ => 0,
        },
        class,
    })
}

/// When a timer's record says that it is due.
pub(crate) fn timer_out(view: &View<'_>) -> Option<i64> {
    view.property(key::TIMER_OUT_MS)?.parse().ok()
}
