//! Where topics are: what name servers answered, and the queues that follow from it.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use model::flag::Perm;
use remoting::body::TopicRoute;

use crate::channel::Channels;
use crate::error::{Error, Result};
use crate::name_servers::NameServers;
use crate::queue::Queue;

/// The topic that unknown topics are made from.
pub(crate) const TEMPLATE: &str = "TBW102";
/// Queues that a new topic gets at most (Java's `defaultTopicQueueNums`).
pub(crate) const TEMPLATE_QUEUES: u32 = 4;

/// A broker set of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broker {
    pub(crate) name: Arc<str>,
    /// By broker id; 0 is the master.
    pub(crate) members: Vec<(i64, Arc<str>)>,
}

impl Broker {
    pub(crate) fn master(&self) -> Option<&Arc<str>> {
        self.member(0)
    }

    pub(crate) fn member(&self, id: i64) -> Option<&Arc<str>> {
        let found = self.members.iter().find(|(member, _)| *member == id);
        found.map(|(_, address)| address)
    }

    /// The master, else any.
    pub(crate) fn any(&self) -> Option<&Arc<str>> {
        let first = self.members.first().map(|(_, address)| address);
        self.master().or(first)
    }
}

/// A topic's route.
#[derive(Debug)]
pub(crate) struct Route {
    answer: TopicRoute,
    pub(crate) brokers: Vec<Broker>,
    /// What consumers read, in Java's order.
    pub(crate) readable: Vec<Queue>,
    /// What producers write, in Java's order, each with its master's address.
    pub(crate) writable: Vec<Target>,
    /// Whose turn it is.
    pub(crate) next: AtomicUsize,
}

/// A queue that can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) queue: Queue,
    pub(crate) master: Arc<str>,
}

impl Route {
    pub(crate) fn new(topic: &str, answer: TopicRoute) -> Route {
        let topic: Arc<str> = topic.into();
        let brokers: Vec<Broker> = (answer.broker_datas.iter())
            .map(|data| Broker {
                name: data.broker_name.as_str().into(),
                members: (data.broker_addrs.iter())
                    .map(|(id, address)| (*id, address.as_str().into()))
                    .collect(),
            })
            .collect();
        let mut datas = answer.queue_datas.clone();
        datas.sort_by(|a, b| a.broker_name.cmp(&b.broker_name));
        let find = |name: &str| brokers.iter().find(|broker| &*broker.name == name);
        let (mut readable, mut writable) = (Vec::new(), Vec::new());
        for data in &datas {
            let name: Arc<str> = data.broker_name.as_str().into();
            if Perm(data.perm).readable() {
                let ids = 0..data.read_queue_nums;
                readable.extend(ids.map(|id| Queue::new(topic.clone(), name.clone(), id)));
            }
            let master = find(&name).and_then(Broker::master);
            if let Some(master) = master.filter(|_| Perm(data.perm).writable()) {
                writable.extend((0..data.write_queue_nums).map(|id| Target {
                    queue: Queue::new(topic.clone(), name.clone(), id),
                    master: master.clone(),
                }));
            }
        }
        if let Some(order) = answer
            .order_topic_conf
            .as_deref()
            .filter(|conf| !conf.is_empty())
        {
            writable = ordered(&topic, order, find);
        }
        Route {
            answer,
            brokers,
            readable,
            writable,
            next: AtomicUsize::new(crate::ids::chance() as usize),
        }
    }

    /// What an unknown topic will look like, from the route of its template.
    fn from_template(topic: &str, mut answer: TopicRoute) -> Route {
        answer
            .queue_datas
            .retain(|data| Perm(data.perm).inherited());
        for data in &mut answer.queue_datas {
            let queues = data.read_queue_nums.min(TEMPLATE_QUEUES);
            (data.read_queue_nums, data.write_queue_nums) = (queues, queues);
        }
        Route::new(topic, answer)
    }

    pub(crate) fn broker(&self, name: &str) -> Option<&Broker> {
        self.brokers.iter().find(|broker| &*broker.name == name)
    }
}

/// The queues of an ordered topic: `broker:queues;broker:queues`.
fn ordered<'a>(
    topic: &Arc<str>,
    order: &str,
    find: impl Fn(&str) -> Option<&'a Broker>,
) -> Vec<Target> {
    let mut writable = Vec::new();
    for part in order.split(';') {
        let Some((name, queues)) = part.split_once(':') else {
            continue;
        };
        let master = find(name).and_then(Broker::master);
        if let (Some(master), Ok(queues)) = (master, queues.trim().parse::<u32>()) {
            writable.extend((0..queues).map(|id| Target {
                queue: Queue::new(topic.clone(), name, id),
                master: master.clone(),
            }));
        }
    }
    writable
}

/// What was asked for so far.
#[derive(Default)]
pub(crate) struct Routes {
    known: RwLock<HashMap<Arc<str>, Arc<Route>>>,
    /// Unknown topics that producers send to, as their template makes them.
    templates: RwLock<HashMap<Arc<str>, Arc<Route>>>,
}

/// Whom to ask.
pub(crate) struct Ask<'a> {
    pub(crate) servers: &'a NameServers,
    pub(crate) channels: &'a Channels,
    pub(crate) limit: Duration,
}

impl Ask<'_> {
    async fn route(&self, topic: &str) -> Result<TopicRoute> {
        self.servers.route(self.channels, topic, self.limit).await
    }
}

impl Routes {
    /// The route of a topic, asked for when it is not known.
    pub(crate) async fn of(&self, topic: &str, ask: &Ask<'_>) -> Result<Arc<Route>> {
        match self.cached(topic) {
            Some(route) => Ok(route),
            None => self.refresh(topic, ask).await,
        }
    }

    /// The route of a topic that is known.
    pub(crate) fn cached(&self, topic: &str) -> Option<Arc<Route>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(topic).cloned()
    }

    /// The route by which to send to a topic, which the first message may make.
    pub(crate) async fn to_publish(&self, topic: &str, ask: &Ask<'_>) -> Result<Arc<Route>> {
        match self.cached_to_publish(topic) {
            Some(route) => Ok(route),
            // Boxed: a send has no room for what it seldom does.
            None => Box::pin(self.refresh_to_publish(topic, ask)).await,
        }
    }

    /// The route by which to send to a topic, if it was asked for.
    pub(crate) fn cached_to_publish(&self, topic: &str) -> Option<Arc<Route>> {
        self.cached(topic).or_else(|| {
            let templates = self.templates.read();
            let templates = templates.unwrap_or_else(PoisonError::into_inner);
            templates.get(topic).cloned()
        })
    }

    /// Asks for the route to publish again.
    pub(crate) async fn refresh_to_publish(
        &self,
        topic: &str,
        ask: &Ask<'_>,
    ) -> Result<Arc<Route>> {
        match self.refresh(topic, ask).await {
            Err(Error::NoRoute(_)) => {}
            answer => return answer,
        }
        let template = match ask.route(TEMPLATE).await {
            Ok(template) => template,
            // There is no template either: it is the topic that is missing.
            Err(Error::NoRoute(_)) => return Err(Error::NoRoute(topic.to_owned())),
            Err(error) => return Err(error),
        };
        let route = Arc::new(Route::from_template(topic, template));
        if route.writable.is_empty() {
            return Err(Error::NoRoute(topic.to_owned()));
        }
        let mut templates = self
            .templates
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        templates.insert(topic.into(), route.clone());
        Ok(route)
    }

    /// Asks again. What did not change stays the same object.
    pub(crate) async fn refresh(&self, topic: &str, ask: &Ask<'_>) -> Result<Arc<Route>> {
        let answer = ask.route(topic).await?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(route) = known.get(topic)
            && route.answer == answer
        {
            return Ok(route.clone());
        }
        let route = Arc::new(Route::new(topic, answer));
        known.insert(topic.into(), route.clone());
        drop(known);
        let mut templates = self
            .templates
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        templates.remove(topic);
        Ok(route)
    }

    /// Forgets a topic: it was deleted.
    pub(crate) fn forget(&self, topic: &str) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.remove(topic);
    }

    /// Every topic that was asked for, found or not.
    pub(crate) fn topics(&self) -> Vec<Arc<str>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let templates = self.templates.read();
        let templates = templates.unwrap_or_else(PoisonError::into_inner);
        known.keys().chain(templates.keys()).cloned().collect()
    }

    /// Every broker of every known route.
    pub(crate) fn brokers(&self) -> Vec<Broker> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let templates = self.templates.read();
        let templates = templates.unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Broker> = Vec::new();
        for route in known.values().chain(templates.values()) {
            for broker in &route.brokers {
                if !all.contains(broker) {
                    all.push(broker.clone());
                }
            }
        }
        all
    }
}

#[cfg(test)]
mod tests;
