//! Whether a message passes what a consumer asked for, judged by the tag code in its queue entry.

use std::sync::Arc;

use model::TopicName;
use model::subscription::{ExpressionKind, Subscription};

use crate::{Error, limits};

/// The filter of one pull.
#[derive(Clone, Debug)]
pub(crate) enum Filter {
    /// Everything passes.
    All,
    /// What the subscription's tags say.
    Tags(Arc<Subscription>),
}

impl Filter {
    /// The filter of a subscription from a heartbeat.
    pub fn of(subscription: &Arc<Subscription>) -> Result<Filter, Error> {
        if subscription.kind == ExpressionKind::Sql92 {
            return Err(Error::SqlNotSupported);
        }
        Ok(match is_all(&subscription.expression) {
            true => Filter::All,
            false => Filter::Tags(Arc::clone(subscription)),
        })
    }

    /// The filter of an expression that came with a pull. A kind nobody knows is refused: Apache takes
    /// it for no filter at all.
    pub fn parse(
        topic: &TopicName,
        expression: &str,
        kind: Option<&str>,
        version: i64,
    ) -> Result<Filter, Error> {
        match ExpressionKind::parse(kind) {
            ExpressionKind::Sql92 => return Err(Error::SqlNotSupported),
            ExpressionKind::Other(_) => return Err(Error::SubscriptionUnparsable),
            ExpressionKind::Tag => {}
        }
        if is_all(expression) {
            return Ok(Filter::All);
        }
        if expression.len() > limits::EXPRESSION {
            return Err(Error::SubscriptionUnparsable);
        }
        let subscription = Subscription::tags(topic.clone(), expression, version);
        if subscription.tags.is_empty() {
            return Err(Error::SubscriptionUnparsable);
        }
        Ok(Filter::Tags(Arc::new(subscription)))
    }

    /// Whether an entry with this tag code passes. Collisions pass too: clients compare the text.
    pub fn accepts(&self, tags_code: i64) -> bool {
        match self {
            Filter::All => true,
            Filter::Tags(subscription) => subscription.accepts(tags_code),
        }
    }
}

fn is_all(expression: &str) -> bool {
    expression.is_empty() || expression == "*"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(expression: &str, kind: Option<&str>) -> Result<Filter, Error> {
        Filter::parse(&TopicName::parse("t").unwrap(), expression, kind, 0)
    }

    #[test]
    fn a_tag_passes_by_its_java_hash() {
        let filter = parse("TagA || TagB", None).unwrap();
        assert!(filter.accepts(2_598_919));
        assert!(filter.accepts(2_598_920));
        assert!(!filter.accepts(0));
        assert!(parse("*", Some("TAG")).unwrap().accepts(0));
    }

    #[test]
    fn what_is_not_understood_is_refused_not_ignored() {
        assert_eq!(
            parse("a > 1", Some("SQL92")).unwrap_err(),
            Error::SqlNotSupported
        );
        assert_eq!(
            parse("a", Some("XYZ")).unwrap_err(),
            Error::SubscriptionUnparsable
        );
        assert_eq!(
            parse(" || ", None).unwrap_err(),
            Error::SubscriptionUnparsable
        );
    }
}
