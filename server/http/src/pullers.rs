//! One group, one way at a time: members that pull a topic as classic clients do would get what was popped
//! beside them once more.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use posthouse_client::Client;

use crate::problem::{self, Problem};

/// How long streams believe what they heard of a group's members: many streams of a group ask once.
const KNOWN_FOR: Duration = Duration::from_secs(1);

/// When was asked who pulls, and who did.
type Known = (Instant, Vec<String>);
/// A group and a topic.
type Names = (Box<str>, Box<str>);

/// Who pulls which group's topics, as far as streams asked.
#[derive(Default)]
pub(crate) struct Pullers {
    known: Mutex<HashMap<Names, Known>>,
}

impl Pullers {
    /// The members that pull, as known a moment ago.
    pub(crate) async fn of(
        &self,
        client: &Client,
        group: &str,
        topic: &str,
    ) -> Result<Vec<String>, Problem> {
        let key: Names = (group.into(), topic.into());
        let fresh = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let own = known.get(&key);
            own.filter(|(asked, _)| asked.elapsed() < KNOWN_FOR)
                .map(|(_, pullers)| pullers.clone())
        };
        match fresh {
            Some(pullers) => Ok(pullers),
            None => self.now(client, group, topic).await,
        }
    }

    /// The members that pull, as their brokers know now.
    pub(crate) async fn now(
        &self,
        client: &Client,
        group: &str,
        topic: &str,
    ) -> Result<Vec<String>, Problem> {
        let key: Names = (group.into(), topic.into());
        let asked = Instant::now();
        let pullers = client.admin().pullers(group, topic).await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (asked, _)| asked.elapsed() < KNOWN_FOR);
        known.insert(key, (asked, pullers.clone()));
        Ok(pullers)
    }
}

/// These members stand in the way.
pub(crate) fn problem(topic: &str, pullers: Vec<String>) -> Problem {
    let detail = format!(
        "{} of the group pull {topic}: stop them, or let them pop (mqadmin setConsumeMode -m POP, setClientRebalance(false))",
        pullers.len()
    );
    Problem::new(&problem::GROUP_CONSUMED_BY_PULL)
        .detail(detail)
        .with("client_ids", pullers)
}
