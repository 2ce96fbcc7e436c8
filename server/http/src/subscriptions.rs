//! What a group wants of each topic, kept with the group (Apache `subscriptionDataSet`): one filter for all
//! members, so that no two disagree.

use posthouse_client::{Filter, GroupConfig};
use serde::{Deserialize, Serialize};

use crate::problem::{self, Problem};

/// One subscription, as Apache's `SimpleSubscriptionData` is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Subscription {
    pub topic: String,
    #[serde(default = "tag_type")]
    pub expression_type: String,
    #[serde(default = "everything")]
    pub expression: String,
    #[serde(default)]
    pub version: i64,
}

fn tag_type() -> String {
    "TAG".to_owned()
}

fn everything() -> String {
    "*".to_owned()
}

impl Subscription {
    pub(crate) fn new(topic: &str, filter: &Filter, version: i64) -> Subscription {
        let (kind, expression) = match filter {
            Filter::All => ("TAG", "*"),
            Filter::Tags(tags) => ("TAG", tags.as_str()),
            Filter::Sql(expression) => ("SQL92", expression.as_str()),
        };
        Subscription {
            topic: topic.to_owned(),
            expression_type: kind.to_owned(),
            expression: expression.to_owned(),
            version,
        }
    }

    pub(crate) fn filter(&self) -> Filter {
        match (self.expression_type.as_str(), self.expression.trim()) {
            ("SQL92", _) => Filter::sql(&self.expression),
            (_, "" | "*") => Filter::All,
            _ => Filter::tags(&self.expression),
        }
    }

    /// Whether two filters let the same messages through: the order of tags says nothing.
    pub(crate) fn is(&self, filter: &Filter) -> bool {
        match (self.filter(), filter) {
            (Filter::Tags(own), Filter::Tags(other)) => tags(&own) == tags(other),
            (own, other) => own == *other,
        }
    }
}

fn tags(expression: &str) -> std::collections::BTreeSet<&str> {
    expression.split("||").map(str::trim).collect()
}

/// The subscriptions of a group. What cannot be read is none: Apache keeps what it was given.
pub(crate) fn of(group: &GroupConfig) -> Vec<Subscription> {
    let text = group.subscriptions.as_deref().unwrap_or("[]");
    serde_json::from_str(text).unwrap_or_default()
}

/// Puts a subscription into a group's configuration, in the place of the one of the same topic.
pub(crate) fn put(group: &mut GroupConfig, subscription: Subscription) {
    let mut all = of(group);
    all.retain(|own| own.topic != subscription.topic);
    all.push(subscription);
    all.sort_by(|a, b| a.topic.cmp(&b.topic));
    group.subscriptions = serde_json::to_string(&all).ok();
}

/// Takes the subscription of a topic out of a group's configuration.
pub(crate) fn remove(group: &mut GroupConfig, topic: &str) {
    let mut all = of(group);
    all.retain(|own| own.topic != topic);
    group.subscriptions = serde_json::to_string(&all).ok();
}

/// A group wants nothing of a topic yet.
pub(crate) fn missing(group: &str, topic: &str) -> Problem {
    let detail = format!(
        "group {group} has no subscription to {topic}; PUT one, or receive once with tag=* or another filter"
    );
    Problem::new(&problem::SUBSCRIPTION_NOT_FOUND).detail(detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use posthouse_client::GroupName;

    #[test]
    fn apaches_spelling_is_read_and_written() {
        let mut group = GroupConfig::new(GroupName::parse("g").unwrap());
        let text = r#"[{"topic":"b","expressionType":"SQL92","expression":"a > 1","version":7},{"topic":"a"}]"#;
        group.subscriptions = Some(text.to_owned());
        let all = of(&group);
        assert_eq!(all[0].filter(), Filter::sql("a > 1"));
        assert_eq!(all[1].filter(), Filter::All);
        put(
            &mut group,
            Subscription::new("b", &Filter::tags("x || y"), 8),
        );
        assert_eq!(
            group.subscriptions.as_deref(),
            Some(
                r#"[{"topic":"a","expressionType":"TAG","expression":"*","version":0},{"topic":"b","expressionType":"TAG","expression":"x || y","version":8}]"#
            )
        );
        assert!(of(&group)[1].is(&Filter::tags("y||x")));
        assert!(!of(&group)[1].is(&Filter::tags("y")));
        assert!(!of(&group)[1].is(&Filter::All));
    }
}
