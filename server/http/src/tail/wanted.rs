//! What a stream's caller wants of a topic.

use posthouse_client::{Filter, Queue, Received};

use super::reader::Event;
use crate::parameters::Parameters;
use crate::problem::{self, Fault, Problem};
use crate::{rules, shown};

/// The filter that the parameters `tag` and `sql` say.
///
/// # Errors
/// `invalid-filter` for both at once, and for an expression that is none.
pub(crate) fn filter(parameters: &mut Parameters<'_>) -> Result<Filter, Problem> {
    let invalid = |name: &str, what: &str| {
        let fault = Fault::parameter(name, what);
        Err(Problem::new(&problem::INVALID_FILTER).faults(vec![fault]))
    };
    let long = |text: &str| text.chars().count() > EXPRESSION_MAX;
    match (parameters.text("tag"), parameters.text("sql")) {
        (Some(_), Some(_)) => invalid("sql", "either tag or sql, not both"),
        (Some(text), None) if long(text) => invalid("tag", TOO_LONG),
        (None, Some(text)) if long(text) => invalid("sql", TOO_LONG),
        (Some(text), None) => match tags(text) {
            Some(filter) => Ok(filter),
            None => invalid("tag", TAGS_EXPECTED),
        },
        (None, Some(sql)) if sql.trim().is_empty() => invalid("sql", "an expression expected"),
        (None, Some(sql)) => Ok(Filter::sql(sql)),
        (None, None) => Ok(Filter::All),
    }
}

/// The longest expression of a filter, in characters.
pub(crate) const EXPRESSION_MAX: usize = 2_048;
pub(crate) const TOO_LONG: &str = "at most 2048 characters expected";
pub(crate) const TAGS_EXPECTED: &str = "tags, which have no '|', separated by ||; or *";

/// A filter by tags, separated by `||`; `*` is everything. What no message can be tagged with is none.
pub(crate) fn tags(text: &str) -> Option<Filter> {
    let mut tags = text.split("||").map(str::trim);
    match () {
        () if tags.clone().any(|tag| rules::tag(tag).is_err()) => None,
        () if tags.any(|tag| tag == "*") => Some(Filter::All),
        () => Some(Filter::tags(text)),
    }
}

/// Which messages a stream carries.
pub(crate) struct Wanted {
    pub filter: Filter,
    tags: Vec<Box<str>>,
    /// By the queue's place among the topic's queues; empty: all.
    queues: Vec<bool>,
}

impl Wanted {
    /// # Errors
    /// `queue-not-found`.
    pub(crate) fn new(filter: Filter, named: &[&str], all: &[Queue]) -> Result<Wanted, Problem> {
        let mut queues = Vec::new();
        if !named.is_empty() {
            queues = vec![false; all.len()];
        }
        for name in named {
            let at = all.iter().position(|queue| shown::queue(queue) == *name);
            let missing = || {
                let fault = Fault::parameter("queue", format!("the topic has no queue {name}"));
                Problem::new(&problem::QUEUE_NOT_FOUND).faults(vec![fault])
            };
            let at = at.ok_or_else(missing)?;
            if let Some(queue) = queues.get_mut(at) {
                *queue = true;
            }
        }
        let tags = match &filter {
            Filter::Tags(tags) => tags.split("||").map(|tag| tag.trim().into()).collect(),
            Filter::All | Filter::Sql(_) => Vec::new(),
        };
        Ok(Wanted {
            filter,
            tags,
            queues,
        })
    }

    pub(crate) fn has_queue(&self, at: usize) -> bool {
        self.queues.get(at).copied().unwrap_or(true)
    }

    /// Whether nothing of the topic is left out.
    pub(crate) fn is_everything(&self) -> bool {
        matches!(self.filter, Filter::All) && self.queues.is_empty()
    }

    pub(crate) fn is_sql(&self) -> bool {
        matches!(self.filter, Filter::Sql(_))
    }

    /// Whether an event of the shared reader, which knows no filter, is wanted.
    pub(crate) fn accepts_event(&self, event: &Event) -> bool {
        match event.is_gap {
            true => self.has_queue(event.queue),
            false => self.accepts(event.queue, event.tag.as_deref()),
        }
    }

    fn accepts(&self, queue: usize, tag: Option<&str>) -> bool {
        let tagged = || tag.is_some_and(|tag| self.tags.iter().any(|own| **own == *tag));
        self.has_queue(queue) && (self.tags.is_empty() || tagged())
    }

    /// The same of a message that was pulled with the filter.
    pub(crate) fn accepts_pulled(&self, queue: usize, message: &Received) -> bool {
        self.accepts(queue, message.tag())
    }
}
