//! What a client does by itself: it asks for routes again, and tells brokers that it is there.

use std::collections::HashSet;
use std::sync::{Arc, Weak};

use remoting::Command;
use remoting::body;
use remoting::code::request;
use remoting::header::heartbeat::UnregisterHeader;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::client::{Inner, LEAVE};

/// Runs until the client is dropped, or the task is aborted.
pub(crate) async fn run(client: Weak<Inner>) {
    let (routes, heartbeat) = match client.upgrade() {
        Some(client) => (client.config.route_period, client.config.heartbeat_period),
        None => return,
    };
    let (mut routes, mut heartbeat) = (interval(routes), interval(heartbeat));
    for timer in [&mut routes, &mut heartbeat] {
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is now, and there is nothing to do yet.
        timer.tick().await;
    }
    loop {
        let beats = tokio::select! {
            _ = routes.tick() => false,
            _ = heartbeat.tick() => true,
        };
        let Some(client) = client.upgrade() else {
            return;
        };
        match beats {
            true => drop(client.heartbeat().await),
            false => client.refresh_routes().await,
        }
    }
}

impl Inner {
    async fn refresh_routes(&self) {
        for topic in self.routes.topics() {
            let refreshed = self.routes.refresh(&topic, &self.ask()).await;
            if let Err(error) = refreshed {
                tracing::debug!(%topic, %error, "the route stays as it is");
            }
        }
    }

    /// Tells every broker of every route who is here; returns the addresses of those that heard it. Slaves
    /// hear only of consumers.
    pub(crate) async fn heartbeat(self: &Arc<Inner>) -> HashSet<Arc<str>> {
        let Some(data) = self.members.heartbeat(&self.id) else {
            return HashSet::new();
        };
        let consumes = !data.consumer_data_set.is_empty();
        let body = body::to_vec(&data);
        let mut beats = JoinSet::new();
        for broker in self.brokers() {
            for (id, address) in broker.members {
                if id == 0 || consumes {
                    let command = Command::request(request::HEART_BEAT).body(body.clone());
                    let client = self.clone();
                    beats.spawn(async move {
                        let heard = client.call(&address, command).await;
                        if let Err(error) = heard {
                            tracing::debug!(%address, %error, "a broker does not hear us");
                            return None;
                        }
                        Some(address)
                    });
                }
            }
        }
        let mut heard = HashSet::new();
        while let Some(beat) = beats.join_next().await {
            heard.extend(beat.ok().flatten());
        }
        heard
    }

    /// Takes leave of every broker for every group.
    pub(crate) async fn leave_all(self: &Arc<Inner>) {
        let (producers, consumers) = self.members.groups();
        for group in producers {
            self.leave(Some(&group), None).await;
        }
        for group in consumers {
            self.leave(None, Some(&group)).await;
        }
    }

    /// Takes leave of every broker for one group.
    pub(crate) async fn leave(self: &Arc<Inner>, producer: Option<&str>, consumer: Option<&str>) {
        let header = UnregisterHeader {
            client_id: &self.id,
            producer_group: producer,
            consumer_group: consumer,
        };
        let command = header.fill(Command::request(request::UNREGISTER_CLIENT));
        let mut leaves = JoinSet::new();
        for broker in self.brokers() {
            for (_, address) in broker.members {
                let (client, command) = (self.clone(), command.clone());
                leaves.spawn(async move {
                    let channel = client.channels.to(&address).await;
                    if let Ok(channel) = channel {
                        // Who does not answer will notice that the connection is gone.
                        let _ = channel.call(command, LEAVE).await;
                    }
                });
            }
        }
        while leaves.join_next().await.is_some() {}
    }
}
