//! One scenario being played: its names, its clients, and what its steps saw.

use std::collections::BTreeMap;
use std::sync::Arc;

use posthouse_client::{Client, Error, PushConsumer, Received};
use serde_json::{Map, Value, json};

use super::steps;
use crate::places::fresh;

/// Makes a client of the server that is played against.
pub type MakeClient = dyn Fn() -> Client + Send + Sync;

pub struct Play {
    make: Arc<MakeClient>,
    pub client: Client,
    /// Behind every name of this run.
    ending: String,
    /// What steps with a name saw.
    pub seen: Map<String, Value>,
    /// The recall handle of each `send` that has a name.
    pub handles: BTreeMap<String, Option<String>>,
    /// What goes on until the end.
    pub behind: Vec<PushConsumer>,
    more: Vec<Client>,
}

/// Why a step saw nothing else.
pub enum Refused {
    By(Error),
    NoHandle,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        Refused::By(error)
    }
}

impl Play {
    pub fn new(make: Arc<MakeClient>) -> Play {
        Play {
            client: make(),
            make,
            ending: fresh(""),
            seen: Map::new(),
            handles: BTreeMap::new(),
            behind: Vec::new(),
            more: Vec::new(),
        }
    }

    /// A client beside the first one.
    pub fn another_client(&mut self) -> Client {
        let client = (self.make)();
        self.more.push(client.clone());
        client
    }

    /// A name as it is for this run.
    pub fn name(&self, step: &Value, key: &str) -> String {
        format!("{}{}", step[key].as_str().unwrap(), self.ending)
    }

    /// Plays every step, up to the first that is refused.
    pub async fn steps(&mut self, scenario: &Value) {
        for step in scenario["steps"].as_array().unwrap() {
            let saw = steps::play(self, step).await;
            let (saw, refused) = match saw {
                Ok(saw) => (saw, false),
                Err(Refused::NoHandle) => (json!({"refused": "no handle"}), true),
                Err(Refused::By(error)) => match error.code() {
                    Some(code) => (json!({ "refused": code }), true),
                    None => (json!({"refused": error.to_string()}), true),
                },
            };
            if let Some(name) = step["as"].as_str() {
                self.seen.insert(name.to_owned(), saw);
            }
            if refused {
                return;
            }
        }
    }

    pub async fn end(self) {
        for consumer in self.behind {
            consumer.shutdown().await;
        }
        for client in self.more {
            client.shutdown().await;
        }
        self.client.shutdown().await;
    }
}

/// Deliveries of a step, and what is told of them.
#[derive(Default)]
pub struct Seen {
    pub acked: Vec<Received>,
    attempts: BTreeMap<String, i32>,
}

pub fn body(message: &Received) -> String {
    String::from_utf8(message.body.to_vec()).unwrap()
}

impl Seen {
    /// A message came; whether it counts as done.
    pub fn came(&mut self, message: Received, acked: bool) {
        let attempts = self.attempts.entry(body(&message)).or_default();
        *attempts = (*attempts).max(message.reconsume_times + 1);
        if acked {
            self.acked.push(message);
        }
    }

    pub fn tell(&self) -> Value {
        let in_order: Vec<String> = self.acked.iter().map(body).collect();
        let mut bodies = in_order.clone();
        bodies.sort();
        let mut by_key: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for message in &self.acked {
            if let Some(key) = message.property("__SHARDINGKEY") {
                by_key.entry(key).or_default().push(body(message));
            }
        }
        let of =
            |tell: fn(&Received) -> Value| -> Vec<Value> { self.acked.iter().map(tell).collect() };
        json!({
            "bodies": bodies,
            "inOrder": in_order,
            "byShardingKey": by_key,
            "attempts": self.attempts,
            "tags": of(|message| json!(message.tag())),
            "keys": of(|message| json!(message.keys().collect::<Vec<_>>())),
            "properties": of(own_properties),
            "lengths": of(|message| json!(message.body.len())),
        })
    }
}

/// The properties that the sender set: what no system wrote.
fn own_properties(message: &Received) -> Value {
    let own = message.own_properties();
    own.map(|(name, value)| (name.to_owned(), json!(value)))
        .collect::<Map<_, _>>()
        .into()
}
