//! What a consumer wants of a topic.

use std::sync::Arc;

use model::subscription::{ExpressionKind, Subscription};
use model::{NameError, TopicName};

use crate::clock;
use crate::received::Received;

/// What a consumer wants of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    /// Everything.
    #[default]
    All,
    /// Tags, separated by `||`.
    Tags(String),
    /// An SQL92 expression over properties.
    Sql(String),
}

impl Filter {
    /// Tags, separated by `||`; `*` is everything.
    pub fn tags(expression: impl Into<String>) -> Filter {
        Filter::Tags(expression.into())
    }

    /// An SQL92 expression over properties.
    pub fn sql(expression: impl Into<String>) -> Filter {
        Filter::Sql(expression.into())
    }
}

/// A filter on its topic, as heartbeats and pulls name it.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) topic: Arc<str>,
    pub(crate) subscription: Subscription,
}

impl Wanted {
    pub(crate) fn new(topic: &str, filter: &Filter) -> Result<Wanted, NameError> {
        let name = TopicName::parse(topic)?;
        let version = clock::wall_ms();
        let subscription = match filter {
            Filter::All => Subscription::tags(name, "*", version),
            Filter::Tags(tags) => Subscription::tags(name, tags, version),
            Filter::Sql(expression) => Subscription {
                kind: ExpressionKind::Sql92,
                expression: expression.clone(),
                ..Subscription::tags(name, "*", version)
            },
        };
        Ok(Wanted {
            topic: topic.into(),
            subscription,
        })
    }

    /// Whether a message has one of the tags: brokers compare their hashes only.
    pub(crate) fn accepts(&self, message: &Received) -> bool {
        let tags = &self.subscription.tags;
        tags.is_empty()
            || message
                .tag()
                .is_some_and(|tag| tags.iter().any(|own| own == tag))
    }
}
