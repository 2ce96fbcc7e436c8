//! Who of a group consumes which queues, and how: pulling or popping (Apache `QUERY_ASSIGNMENT`,
//! `SET_MESSAGE_REQUEST_MODE`). The rules of sharing are those of Apache's clients, so that members
//! that ask and members that share by themselves agree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLock};

use model::{GroupName, Mark, TopicName};
use store::{Store, Table};

use crate::topic::topic_missing;
use crate::{Answer, AskedFor, Broker, Error, MessageModel, MessageQueue};

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

/// The modes that were set, by topic and group.
#[derive(Debug, Default)]
pub(crate) struct Modes(RwLock<BTreeMap<(TopicName, GroupName), (Mode, i32)>>);

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
        Modes(RwLock::new(rows.iter().filter_map(read).collect()))
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
        let mut modes = self.modes.0.write().unwrap_or_else(PoisonError::into_inner);
        modes.insert(names, (mode, share));
        Ok(Answer::After(mark, ()))
    }

    /// All modes that were set, by topic and group.
    pub fn request_modes(&self) -> Vec<RequestMode> {
        let modes = self.modes.0.read().unwrap_or_else(PoisonError::into_inner);
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
        let mut modes = self.modes.0.write().unwrap_or_else(PoisonError::into_inner);
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
        let modes = self.modes.0.read().unwrap_or_else(PoisonError::into_inner);
        let set = GroupName::parse(group)
            .ok()
            .and_then(|group| modes.get(&(topic.clone(), group)).copied());
        let default = match self.options.pop_by_default {
            true => Mode::Pop,
            false => Mode::Pull,
        };
        set.unwrap_or((default, self.options.pop_share_queues))
    }

    /// The queues of a member, and how to get their messages. Queues of other brokers of the topic are
    /// not known here: a member is to ask each broker.
    ///
    /// # Errors
    /// [`Error::Invalid`]: the strategy is unknown.
    pub fn assign(&self, assign: &Assign<'_>) -> Result<Assigned, Error> {
        let Some(topic) = self.topics.find(assign.topic) else {
            return Ok(Assigned { queues: None });
        };
        let queue = |id: i32| MessageQueue {
            topic: assign.topic.to_owned(),
            broker: self.options.name.clone(),
            queue: id,
        };
        let ids: Vec<i32> = (0..topic.config.read_queues as i32).collect();
        let (mode, share) = self.request_mode(assign.group, &topic.config.name);
        let told = |ids: Vec<i32>, mode| Assigned {
            queues: Some(
                ids.into_iter()
                    .map(|id| Assignment {
                        queue: queue(id),
                        mode,
                    })
                    .collect(),
            ),
        };
        if assign.model == MessageModel::Broadcasting {
            return Ok(told(ids, mode));
        }
        let members = {
            let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
            clients.members(assign.group)
        };
        let strategy = Strategy::parse(assign.strategy)?;
        let Some(own) = members.iter().position(|member| member == assign.client) else {
            return Ok(told(Vec::new(), mode));
        };
        Ok(match mode {
            Mode::Pull => told(strategy.share(&ids, members.len(), own), mode),
            Mode::Pop => told(
                popped_queues(strategy, &ids, members.len(), own, share),
                mode,
            ),
        })
    }
}

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
    fn share(self, queues: &[i32], members: usize, own: usize) -> Vec<i32> {
        let of_circle = |(at, _): &(usize, &i32)| at % members == own;
        match self {
            Strategy::Circle => {
                let own = queues.iter().enumerate().filter(of_circle);
                own.map(|(_, queue)| *queue).collect()
            }
            Strategy::Average => {
                let (each, more) = (queues.len() / members, queues.len() % members);
                let from = own * each + own.min(more);
                let count = each + usize::from(own < more);
                queues.iter().skip(from).take(count).copied().collect()
            }
        }
    }
}

/// The queues a member pops: its own and those of the `share` members behind it, or simply all of the
/// broker (-1) where that comes to the same.
fn popped_queues(
    strategy: Strategy,
    queues: &[i32],
    members: usize,
    own: usize,
    share: i32,
) -> Vec<i32> {
    let share = usize::try_from(share).unwrap_or(0);
    if share == 0 || share + 1 >= members {
        return vec![-1];
    }
    if members > queues.len() {
        // Everybody gets one.
        return queues
            .get(own % queues.len().max(1))
            .copied()
            .into_iter()
            .collect();
    }
    let all = (own..=own + share).flat_map(|at| strategy.share(queues, members, at % members));
    all.collect::<BTreeSet<i32>>().into_iter().collect()
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
        let queues = [0, 1, 2, 3, 4, 5, 6, 7];
        let popped =
            |members, own, share| popped_queues(Strategy::Average, &queues, members, own, share);
        assert_eq!(popped(1, 0, 8), [-1]);
        assert_eq!(popped(4, 0, -1), [-1]);
        assert_eq!(popped(4, 0, 3), [-1]);
        assert_eq!(popped(4, 0, 1), [0, 1, 2, 3]);
        assert_eq!(popped(4, 3, 1), [0, 1, 6, 7]);
        assert_eq!(popped(9, 8, 1), [0]);
    }
}
