//! What waits, as a list for whoever looks after it.

use model::message::key;
use model::record::View;
use store::{Kind, Open, Wait};

use crate::offset::read_failed;
use crate::{Broker, Error};

/// A message that waits for its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delayed {
    /// Where it waits; the next list goes on behind it.
    pub open: Open,
    /// The topic it goes to.
    pub topic: String,
    /// The queue it goes to.
    pub queue: u32,
    /// Its `UNIQ_KEY`.
    pub unique_key: String,
    /// Its delay level, if it waits for one.
    pub level: Option<i32>,
    /// When it was stored, ms since the Unix epoch.
    pub stored_at: i64,
}

impl Broker {
    /// Up to `max` messages that wait, in the order they are due, behind `after`. Reads their records,
    /// so it may block.
    ///
    /// # Errors
    /// [`Error::Store`] if the disk refuses.
    pub fn delayed(&self, after: Option<Open>, max: usize) -> Result<Vec<Delayed>, Error> {
        let mut opens = Vec::new();
        (self.store.pending()).list(Kind::Timer, after, max, &mut opens);
        let mut list = Vec::with_capacity(opens.len());
        let mut bytes = Vec::new();
        for open in opens {
            bytes.clear();
            let read = self.store.record(open.at, Wait::Yes, &mut bytes);
            read.map_err(read_failed)?;
            list.extend(View::parse(&bytes).ok().map(|view| described(open, &view)));
        }
        Ok(list)
    }

    /// How many messages wait for their time.
    pub fn delayed_count(&self) -> usize {
        self.store.pending().len(Kind::Timer)
    }
}

fn described(open: Open, view: &View<'_>) -> Delayed {
    let text = |name| view.property(name).unwrap_or_default().to_owned();
    let level = view
        .property(key::DELAY)
        .and_then(|level| level.parse().ok());
    Delayed {
        open,
        topic: text(key::REAL_TOPIC),
        queue: text(key::REAL_QID).parse().unwrap_or_default(),
        unique_key: text(key::UNIQ_KEY),
        level: level.filter(|&level| level > 0),
        stored_at: view.stored_at(),
    }
}
