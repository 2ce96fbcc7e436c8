//! Who of a group consumes which queues, and how: pulling or popping (Apache `QUERY_ASSIGNMENT`,
//! `SET_MESSAGE_REQUEST_MODE`). The rules of sharing are those of Apache's clients, so that members
//! that ask and members that share by themselves agree.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use model::{GroupName, Mark, TopicName};
use store::{Store, Table};

use crate::topic::topic_missing;
use crate::{Answer, AskedFor, Broker, Caller, Error, MessageModel, MessageQueue, limits};

/// How a group gets a topic's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Each member pulls its queues.
    Pull,
    /// Members pop.
    Pop,
}

/// How a group gets a topic's messages, as it was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestMode {
    /// The topic.
    pub topic: TopicName,
    /// The group.
    pub group: GroupName,
    /// How.
    pub mode: Mode,
    /// With whose queues a member shares when popping; 0 or less: everybody pops everything.
    pub share: i32,
}

/// A member asks what is its own (Apache `QueryAssignmentRequestBody`).
#[derive(Clone, Copy, Debug)]
pub struct Assign<'a> {
    /// The group.
    pub group: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// The member.
    pub client: &'a str,
    /// `AVG` or `AVG_BY_CIRCLE`.
    pub strategy: &'a str,
    /// How the group consumes.
    pub model: MessageModel,
}

/// What a member is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// `None`: the topic is unknown.
    pub queues: Option<Vec<Assignment>>,
}

/// One queue of a member; of all queues of a broker, the number is -1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The queue.
    pub queue: MessageQueue,
    /// How to get its messages.
    pub mode: Mode,
}

/// The modes that were set, and the brokers of the topics that members asked about.
#[derive(Debug, Default)]
pub(crate) struct Modes {
    /// By topic and group.
    set: RwLock<BTreeMap<(TopicName, GroupName), (Mode, i32)>>,
    /// By topic: when the name servers were asked, and what they said.
    routes: Mutex<HashMap<String, (Duration, Brokers)>>,
}

/// Brokers and how many queues each has to read.
type Brokers = Arc<Vec<(String, u32)>>;

/// For so long what the name servers said is taken for true, as Apache's brokers do.
const ROUTE_KEPT: Duration = Duration::from_secs(30);

impl Modes {
    /// What the store knows.
    pub fn open(store: &Store) -> Modes {
        let rows = store.rows(Table::Modes);
        let read = |(key, value): &(Vec<u8>, Vec<u8>)| {
            let (topic, group) = std::str::from_utf8(key).ok()?.split_once('\0')?;
            let names = (TopicName::parse(topic).ok()?, GroupName::parse(group).ok()?);
            let (mode, share) = value.split_first()?;
            let mode = if *mode == 1 { Mode::Pop } else { Mode::Pull };
            Some((names, (mode, i32::from_be_bytes(share.try_into().ok()?))))
        };
        Modes {
            set: RwLock::new(rows.iter().filter_map(read).collect()),
            routes: Mutex::default(),
        }
    }

    /// The brokers of a topic, if the name servers were asked lately.
    fn route(&self, topic: &str, now: Duration) -> Option<Brokers> {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let (asked, brokers) = routes.get(topic)?;
        (now < *asked + ROUTE_KEPT).then(|| Arc::clone(brokers))
    }

    /// Keeps what the name servers said; of a topic they do not know, for no longer than this question.
    fn note_route(&self, topic: &str, said: Vec<(String, u32)>, now: Duration) -> Option<Brokers> {
        let brokers = Arc::new(said);
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.retain(|_, (asked, _)| now < *asked + ROUTE_KEPT);
        if !brokers.is_empty() && routes.len() < limits::ROUTES {
            routes.insert(topic.to_owned(), (now, Arc::clone(&brokers)));
        }
        Some(brokers)
    }
}

impl Broker {
    /// Sets how a group gets a topic's messages. Makes the group, as a heartbeat would.
    ///
    /// # Errors
    /// [`Error::RetryTopicMode`], [`Error::TopicMissing`], [`Error::GroupMissing`].
    pub fn set_request_mode(
        &self,
        group: &str,
        topic: &str,
        mode: Mode,
        share: i32,
    ) -> Result<Answer<()>, Error> {
        if topic.starts_with(model::name::RETRY_PREFIX) {
            return Err(Error::RetryTopicMode);
        }
        let found = self.topics.find(topic);
        let found = found.ok_or_else(|| topic_missing(topic, AskedFor::Stats))?;
        let (config, _) = self.find_group(group, AskedFor::Pull)?;
        let names = (found.config.name.clone(), config.name.clone());
        let key = format!("{}\0{}", names.0, names.1);
        let mut row = vec![u8::from(mode == Mode::Pop)];
        row.extend_from_slice(&share.to_be_bytes());
        let mark = (self.store).put(&[(Table::Modes, key.as_bytes(), Some(&row))])?;
        tracing::info!(group, topic, ?mode, share, "the request mode was set");
        let mut modes = self
            .modes
            .set
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        modes.insert(names, (mode, share));
        Ok(Answer::After(mark, ()))
    }

    /// All modes that were set, by topic and group.
    pub fn request_modes(&self) -> Vec<RequestMode> {
        let modes = self
            .modes
            .set
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let mode = |((topic, group), (mode, share)): (&(TopicName, GroupName), &(Mode, i32))| {
            RequestMode {
                topic: topic.clone(),
                group: group.clone(),
                mode: *mode,
                share: *share,
            }
        };
        modes.iter().map(mode).collect()
    }

    /// Forgets the modes of a topic or a group that is gone.
    pub(crate) fn forget_modes(&self, gone: impl Fn(&TopicName, &GroupName) -> bool) {
        let mut modes = self
            .modes
            .set
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let keys: Vec<(TopicName, GroupName)> = (modes.keys())
            .filter(|(topic, group)| gone(topic, group))
            .cloned()
            .collect();
        for names in keys {
            let key = format!("{}\0{}", names.0, names.1);
            match self.store.put(&[(Table::Modes, key.as_bytes(), None)]) {
                Ok(Mark { .. }) => drop(modes.remove(&names)),
                Err(error) => tracing::warn!(%error, "a request mode was not forgotten"),
            }
        }
    }

    /// How a group gets a topic's messages. Retry topics are always pulled.
    fn request_mode(&self, group: &str, topic: &TopicName) -> (Mode, i32) {
        if topic.is_retry() {
            return (Mode::Pull, 0);
        }
        let modes = self
            .modes
            .set
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let set = GroupName::parse(group)
            .ok()
            .and_then(|group| modes.get(&(topic.clone(), group)).copied());
        let default = match self.options.pop_by_default {
            true => Mode::Pop,
            false => Mode::Pull,
        };
        set.unwrap_or((default, self.options.pop_share_queues))
    }

    /// The queues of a member, on every broker of the topic, and how to get their messages. Each broker
    /// knows all members of a group and asks the name servers for the topic's queues, so a member may
    /// ask any of them.
    ///
    /// # Errors
    /// [`Error::Invalid`]: the strategy is unknown.
    pub fn assign(&self, caller: &Caller, assign: &Assign<'_>) -> Result<Answer<Assigned>, Error> {
        let strategy = Strategy::parse(assign.strategy)?;
        let known = match self.cold.take::<Vec<(String, u32)>>(caller) {
            Some(asked) => self
                .modes
                .note_route(assign.topic, asked?, self.clock.mono()),
            None => self.modes.route(assign.topic, self.clock.mono()),
        };
        let Some(brokers) = known else {
            let (topics, topic) = (Arc::clone(&self.topics.registrar), assign.topic.to_owned());
            let asked = self
                .cold
                .defer(caller, move || Ok(topics.brokers_of(&topic)))?;
            return Ok(asked.map(|_: Vec<(String, u32)>| Assigned { queues: None }));
        };
        Ok(Answer::Ready(Assigned {
            queues: self.assigned(assign, strategy, &brokers),
        }))
    }

    /// What a member gets of the queues of these brokers; `None` if the topic has none.
    fn assigned(
        &self,
        assign: &Assign<'_>,
        strategy: Strategy,
        brokers: &[(String, u32)],
    ) -> Option<Vec<Assignment>> {
        let topic = TopicName::parse(assign.topic).ok()?;
        let own = self.topics.find(assign.topic);
        let own = own.map(|own| (self.options.name.clone(), own.config.read_queues));
        // A name server that knows nothing yet leaves what we know ourselves.
        let brokers = match brokers {
            [] => own.as_slice(),
            known => known,
        };
        if brokers.is_empty() {
            return None;
        }
        let of = |(broker, queues): &(String, u32)| {
            let queue = |id| (broker.clone(), id);
            // Whoever registered there may have said anything.
            let queues = (*queues).min(limits::QUEUES_PER_TOPIC);
            (0..queues as i32).map(queue).collect::<Vec<_>>()
        };
        // In the order in which Java sorts queues.
        let mut all: Vec<Place> = brokers.iter().flat_map(of).collect();
        all.sort();
        let (mode, share) = self.request_mode(assign.group, &topic);
        let told = |places: Vec<Place>| {
            let one = |(broker, queue)| Assignment {
                queue: MessageQueue {
                    topic: assign.topic.to_owned(),
                    broker,
                    queue,
                },
                mode,
            };
            Some(places.into_iter().map(one).collect())
        };
        if assign.model == MessageModel::Broadcasting {
            return told(all);
        }
        let members = {
            let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
            clients.members(assign.group)
        };
        let Some(own) = members.iter().position(|member| member == assign.client) else {
            return told(Vec::new());
        };
        match mode {
            Mode::Pull => told(strategy.share(&all, members.len(), own)),
            Mode::Pop => told(popped_queues(strategy, &all, members.len(), own, share)),
        }
    }
}

/// A queue of some broker; of all its queues, the number is -1.
type Place = (String, i32);

/// How queues are shared out.
#[derive(Clone, Copy)]
enum Strategy {
    /// Neighbouring queues to one member.
    Average,
    /// One after the other.
    Circle,
}

impl Strategy {
    fn parse(name: &str) -> Result<Strategy, Error> {
        match name {
            "AVG" | "" => Ok(Strategy::Average),
            "AVG_BY_CIRCLE" => Ok(Strategy::Circle),
            other => Err(Error::Invalid(format!("the strategy {other} is not known"))),
        }
    }

    /// The queues of member `own` of `members`.
    fn share<T: Clone>(self, queues: &[T], members: usize, own: usize) -> Vec<T> {
        let of_circle = |(at, _): &(usize, &T)| at % members == own;
        match self {
            Strategy::Circle => {
                let own = queues.iter().enumerate().filter(of_circle);
                own.map(|(_, queue)| queue.clone()).collect()
            }
            Strategy::Average => {
                let (each, more) = (queues.len() / members, queues.len() % members);
                let from = own * each + own.min(more);
                let count = each + usize::from(own < more);
                queues.iter().skip(from).take(count).cloned().collect()
            }
        }
    }
}

/// The queues a member pops: its own and those of the `share` members behind it, or simply all of each
/// broker (-1) where that comes to the same.
fn popped_queues(
    strategy: Strategy,
    queues: &[Place],
    members: usize,
    own: usize,
    share: i32,
) -> Vec<Place> {
    let share = usize::try_from(share).unwrap_or(0);
    let mut popped: Vec<Place> = if share == 0 || share + 1 >= members {
        let whole = queues.iter().map(|(broker, _)| (broker.clone(), -1));
        whole.collect()
    } else if members > queues.len() {
        // Everybody gets one.
        let one = queues.get(own % queues.len().max(1));
        one.cloned().into_iter().collect()
    } else {
        let shares = (own..=own + share).map(|at| strategy.share(queues, members, at % members));
        shares.flatten().collect()
    };
    popped.sort();
    popped.dedup();
    popped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_shared_as_apaches_clients_share_them() {
        let queues = [0, 1, 2, 3, 4];
        let share = |strategy: Strategy, own| strategy.share(&queues, 2, own);
        assert_eq!(share(Strategy::Average, 0), [0, 1, 2]);
        assert_eq!(share(Strategy::Average, 1), [3, 4]);
        assert_eq!(share(Strategy::Circle, 0), [0, 2, 4]);
        assert_eq!(share(Strategy::Circle, 1), [1, 3]);
        assert_eq!(Strategy::Average.share(&[0], 3, 2), [] as [i32; 0]);
    }

    #[test]
    fn a_popping_member_has_all_queues_or_its_own_and_its_neighbours() {
        let queues: Vec<Place> = (0..8).map(|id| ("a".to_owned(), id)).collect();
        let popped = |members, own, share| -> Vec<i32> {
            let popped = popped_queues(Strategy::Average, &queues, members, own, share);
            popped.into_iter().map(|(_, id)| id).collect()
        };
        assert_eq!(popped(1, 0, 8), [-1]);
        assert_eq!(popped(4, 0, -1), [-1]);
        assert_eq!(popped(4, 0, 3), [-1]);
        assert_eq!(popped(4, 0, 1), [0, 1, 2, 3]);
        assert_eq!(popped(4, 3, 1), [0, 1, 6, 7]);
        assert_eq!(popped(9, 8, 1), [0]);
        let two = [
            ("a".to_owned(), 0),
            ("a".to_owned(), 1),
            ("b".to_owned(), 0),
        ];
        let popped = popped_queues(Strategy::Average, &two, 1, 0, 8);
        assert_eq!(popped, [("a".to_owned(), -1), ("b".to_owned(), -1)]);
    }
}
