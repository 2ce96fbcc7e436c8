//! What a consumer wants of a topic.

use crate::name::TopicName;
use crate::tag::java_hash;

/// One topic in a consumer's heartbeat (Apache `SubscriptionData`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The topic.
    pub topic: TopicName,
    /// The expression as the user wrote it: `*`, `A || B`, or SQL.
    pub expression: String,
    /// What kind of expression it is.
    pub kind: ExpressionKind,
    /// The client's version of it: milliseconds (Java) or nanoseconds (Go).
    pub version: i64,
    /// The tags of a tag expression.
    pub tags: Vec<String>,
    /// Their hashes, as the client sent them.
    pub codes: Vec<i32>,
    /// Class filters (legacy; kept for tools).
    pub class_filter: bool,
}

/// The language of a subscription's expression.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ExpressionKind {
    /// `TAG`, also when the type is absent.
    Tag,
    /// `SQL92`
    Sql92,
    /// Anything else a client made up.
    Other(String),
}

impl ExpressionKind {
    /// Reads the wire name; absent or empty means tags.
    pub fn parse(name: Option<&str>) -> ExpressionKind {
        match name {
            None | Some("" | "TAG") => ExpressionKind::Tag,
            Some("SQL92") => ExpressionKind::Sql92,
            Some(other) => ExpressionKind::Other(other.to_owned()),
        }
    }

    /// The wire name.
    pub fn as_str(&self) -> &str {
        match self {
            ExpressionKind::Tag => "TAG",
            ExpressionKind::Sql92 => "SQL92",
            ExpressionKind::Other(name) => name,
        }
    }
}

impl Subscription {
    /// Builds a tag subscription from an expression (Apache `FilterAPI.buildSubscriptionData`):
    /// `*`, empty or absent takes everything; otherwise tags separated by `||`.
    pub fn tags(topic: TopicName, expression: &str, version: i64) -> Subscription {
        let all = expression.is_empty() || expression == "*";
        let tags: Vec<String> = expression
            .split("||")
            .map(str::trim)
            .filter(|tag| !all && !tag.is_empty())
            .map(str::to_owned)
            .collect();
        Subscription {
            topic,
            expression: if all { "*" } else { expression }.to_owned(),
            kind: ExpressionKind::Tag,
            version,
            codes: tags.iter().map(|tag| java_hash(tag)).collect(),
            tags,
            class_filter: false,
        }
    }

    /// Whether a queue entry's tag code passes. Collisions pass too: clients compare the text again.
    pub fn accepts(&self, tags_code: i64) -> bool {
        self.expression.is_empty()
            || self.expression == "*"
            || self.codes.contains(&(tags_code as i32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_around_tags_do_not_count() {
        let topic = TopicName::parse("t").unwrap();
        let subscription = Subscription::tags(topic, " TagA ||  || TagB", 1);
        assert_eq!(subscription.tags, ["TagA", "TagB"]);
        assert!(subscription.accepts(2598919));
        assert!(!subscription.accepts(0));
    }
}
