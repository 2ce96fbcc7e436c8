//! Who reads which queue. Every member of a group computes this by itself, so all of them, Java's
//! included, must compute the same.

use std::collections::BTreeMap;

use crate::queue::Queue;

/// How a group's members share the queues. All members must use the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Neighbouring queues go to the same member (Java's `AVG`).
    #[default]
    Average,
    /// Members take turns (Java's `AVG_BY_CIRCLE`).
    AverageByCircle,
    /// Few queues move when a member comes or goes (Java's `CONSISTENT_HASH`, 10 virtual nodes).
    ConsistentHash,
}

/// Places that each member has on the circle of the consistent hash.
const PLACES: usize = 10;

impl Strategy {
    /// The queues of `own` among the members. Both lists are sorted; nobody who is not on the list of
    /// members gets a queue.
    ///
    /// ```
    /// use posthouse_client::{Queue, Strategy};
    ///
    /// let queues: Vec<_> = (0..3).map(|id| Queue::new("t", "b", id)).collect();
    /// let members = ["m1".to_owned(), "m2".to_owned()];
    /// let own = Strategy::Average.allocate(&queues, &members, "m1");
    /// assert_eq!(own, queues[..2]);
    /// ```
    pub fn allocate(self, queues: &[Queue], members: &[String], own: &str) -> Vec<Queue> {
        let Some(at) = members.iter().position(|member| member == own) else {
            return Vec::new();
        };
        match self {
            Strategy::Average => average(queues, members.len(), at),
            Strategy::AverageByCircle => {
                let own = queues.iter().skip(at).step_by(members.len());
                own.cloned().collect()
            }
            Strategy::ConsistentHash => {
                let circle = circle(members);
                let is_own = |queue: &&Queue| owner(&circle, queue) == Some(own);
                queues.iter().filter(is_own).cloned().collect()
            }
        }
    }
}

fn average(queues: &[Queue], members: usize, at: usize) -> Vec<Queue> {
    let (each, rest) = (queues.len() / members, queues.len() % members);
    // The first members have one more.
    let start = at * each + at.min(rest);
    let count = each + usize::from(at < rest);
    queues.iter().skip(start).take(count).cloned().collect()
}

fn circle(members: &[String]) -> BTreeMap<u32, &str> {
    let mut circle = BTreeMap::new();
    for member in members {
        for place in 0..PLACES {
            circle.insert(hash(&format!("{member}-{place}")), member.as_str());
        }
    }
    circle
}

fn owner<'m>(circle: &BTreeMap<u32, &'m str>, queue: &Queue) -> Option<&'m str> {
    let behind = circle.range(hash(&queue.to_string())..).next();
    behind
        .or_else(|| circle.first_key_value())
        .map(|(_, member)| *member)
}

/// The first four bytes of the MD5, as Java's router takes them.
fn hash(text: &str) -> u32 {
    let [a, b, c, d, ..] = md5::compute(text).0;
    u32::from_be_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(count: u32) -> Vec<Queue> {
        (0..count)
            .map(|id| Queue::new("topic", "broker-a", id))
            .collect()
    }

    fn members(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("10.0.0.{n}@1#{n}")).collect()
    }

    /// The queue numbers of each member.
    fn shares(strategy: Strategy, queue_count: u32, member_count: usize) -> Vec<Vec<u32>> {
        let (queues, members) = (queues(queue_count), members(member_count));
        let share = |own: &String| {
            let own = strategy.allocate(&queues, &members, own);
            own.iter().map(|queue| queue.id).collect()
        };
        members.iter().map(share).collect()
    }

    #[test]
    fn average_gives_neighbours() {
        let all = shares(Strategy::Average, 8, 3);
        assert_eq!(all, [vec![0, 1, 2], vec![3, 4, 5], vec![6, 7]]);
        assert_eq!(shares(Strategy::Average, 2, 3), [vec![0], vec![1], vec![]]);
    }

    #[test]
    fn by_circle_takes_turns() {
        let all = shares(Strategy::AverageByCircle, 8, 3);
        assert_eq!(all, [vec![0, 3, 6], vec![1, 4, 7], vec![2, 5]]);
    }

    #[test]
    fn every_queue_has_one_owner() {
        for strategy in [
            Strategy::Average,
            Strategy::AverageByCircle,
            Strategy::ConsistentHash,
        ] {
            for members in 1..10 {
                let mut all = shares(strategy, 16, members).concat();
                all.sort_unstable();
                assert_eq!(all, (0..16).collect::<Vec<_>>(), "{strategy:?} {members}");
            }
        }
    }

    #[test]
    fn shares_are_those_that_java_computes() {
        let of_broker = |broker: &'static str, count| {
            (0..count).map(move |id| Queue::new("orders", broker, id))
        };
        let queues: Vec<_> = of_broker("broker-a", 16)
            .chain(of_broker("broker-b", 3))
            .collect();
        let members = [
            "10.0.0.1@7#aa",
            "10.0.0.2@DEFAULT",
            "192.168.1.9@42#1234567",
        ];
        let members = members.map(str::to_owned);
        let java = include_str!("../testdata/java-shares.txt");
        let lines = java.lines().filter(|line| !line.starts_with('#'));
        for line in lines {
            let (head, share) = line.split_once(": ").unwrap();
            let (strategy, member) = head.split_once(' ').unwrap();
            let strategy = match strategy {
                "Averagely" => Strategy::Average,
                "AveragelyByCircle" => Strategy::AverageByCircle,
                _ => Strategy::ConsistentHash,
            };
            let own = strategy.allocate(&queues, &members, member);
            let own = own
                .iter()
                .map(|queue| format!("{}{}", &queue.broker[7..], queue.id));
            assert_eq!(own.collect::<Vec<_>>().join(" "), share, "{head}");
        }
    }

    #[test]
    fn who_is_not_on_the_list_gets_nothing() {
        let own = Strategy::Average.allocate(&queues(4), &members(2), "stranger");
        assert!(own.is_empty());
    }
}
