//! Stored checkers of transactions: kept by Posthouse; Apache's brokers refuse it with code 3.

use std::collections::BTreeMap;

use remoting::Command;
use remoting::body::{self, CheckerInfo, CheckerList};
use remoting::code::{own, response};
use remoting::header::CheckersHeader;

use super::Admin;
use crate::error::{Error, Result};

impl Admin {
    /// Keeps a checker at every broker of its topic, in the place of the one that is there.
    ///
    /// # Errors
    /// [`Error::NoRoute`] if there is no such topic; the first refusal, with 2 if a broker has too many.
    pub async fn put_checker(&self, checker: &CheckerInfo) -> Result<()> {
        let command = Command::request(own::PUT_CHECKER).body(body::to_vec(checker));
        for broker in self.brokers_of(&checker.topic).await? {
            self.client.call(&broker, command.clone()).await?;
        }
        Ok(())
    }

    /// A topic's checker; the newest if its brokers keep several.
    ///
    /// # Errors
    /// [`Error::NoRoute`] if there is no such topic; the first broker that refuses or gives no answer.
    pub async fn checker(&self, topic: &str) -> Result<Option<CheckerInfo>> {
        let header = CheckersHeader { topic: Some(topic) };
        let command = header.fill(Command::request(own::GET_CHECKERS));
        let brokers = self.brokers_of(topic).await?;
        let lists: Vec<CheckerList> = self.each(brokers, command, None).await?;
        Ok(newest(lists).remove(topic))
    }

    /// The checkers of all topics, in the order of these; of several of one topic, the newest. Brokers
    /// that keep none (Apache's) are passed over, unless there are no others.
    ///
    /// # Errors
    /// The first broker that gives no answer, or refuses for another reason.
    pub async fn checkers(&self) -> Result<Vec<CheckerInfo>> {
        let command = Command::request(own::GET_CHECKERS);
        let (mut lists, mut refused): (Vec<CheckerList>, _) = (Vec::new(), None);
        for master in self.masters().await? {
            match self.each(vec![master], command.clone(), None).await {
                Ok(list) => lists.extend(list),
                Err(error) if error.code() == Some(response::REQUEST_CODE_NOT_SUPPORTED) => {
                    refused = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        match refused {
            Some(error) if lists.is_empty() => Err(error),
            _ => Ok(newest(lists).into_values().collect()),
        }
    }

    /// Takes a topic's checker away, from every broker of the topic. Returns whether there was one.
    ///
    /// # Errors
    /// As [`Admin::checker`].
    pub async fn delete_checker(&self, topic: &str) -> Result<bool> {
        let header = CheckersHeader { topic: Some(topic) };
        let command = header.fill(Command::request(own::DELETE_CHECKER));
        let mut there = false;
        for broker in self.brokers_of(topic).await? {
            match self.client.call(&broker, command.clone()).await {
                Ok(_) => there = true,
                Err(Error::Refused(refusal)) if refusal.code == response::QUERY_NOT_FOUND => {}
                Err(error) => return Err(error),
            }
        }
        Ok(there)
    }
}

fn newest(lists: Vec<CheckerList>) -> BTreeMap<String, CheckerInfo> {
    let mut all: BTreeMap<String, CheckerInfo> = BTreeMap::new();
    for checker in lists.into_iter().flat_map(|list| list.checkers) {
        let newer = |own: &CheckerInfo| own.created_at >= checker.created_at;
        if !all.get(&checker.topic).is_some_and(newer) {
            all.insert(checker.topic.clone(), checker);
        }
    }
    all
}
