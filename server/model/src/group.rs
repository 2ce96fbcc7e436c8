//! What a consumer group is configured to be.

use std::collections::BTreeMap;

use crate::name::GroupName;

/// A consumer group's configuration (Apache `SubscriptionGroupConfig`, with its defaults).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// The group's name.
    pub name: GroupName,
    /// Whether the group may consume at all.
    pub consume_enable: bool,
    /// Kept for administration tools; no broker reads it.
    pub consume_from_min_enable: bool,
    /// Whether members may consume in broadcasting mode.
    pub consume_broadcast_enable: bool,
    /// Kept for administration tools and POP.
    pub consume_message_orderly: bool,
    /// Queues of the retry topic; 0: nothing is retried, what is sent back is a dead letter.
    pub retry_queues: u32,
    /// Deliveries before a message is dead-lettered.
    pub retry_max_times: i32,
    /// How long a retry waits.
    pub retry_policy: RetryPolicy,
    /// The broker id normally read from.
    pub broker_id: u64,
    /// The broker id suggested to a consumer that lags.
    pub which_broker_when_consume_slowly: u64,
    /// Whether members are told at once when the group changes.
    pub notify_ids_changed_enable: bool,
    /// Opaque bits for clients.
    pub sys_flag: i32,
    /// Minutes after which clients send a message back.
    pub consume_timeout_minute: i32,
    /// Subscriptions that an operator fixed (`subscriptionDataSet`), as their JSON text. Kept for
    /// administration tools; no broker reads it.
    pub subscriptions: Option<String>,
    /// Attributes, keys without `+`.
    pub attributes: BTreeMap<String, String>,
}

impl GroupConfig {
    /// The configuration a group gets when it is created by its first heartbeat.
    pub fn new(name: GroupName) -> GroupConfig {
        GroupConfig {
            name,
            consume_enable: true,
            consume_from_min_enable: true,
            consume_broadcast_enable: true,
            consume_message_orderly: false,
            retry_queues: 1,
            retry_max_times: 16,
            retry_policy: RetryPolicy::default(),
            broker_id: 0,
            which_broker_when_consume_slowly: 1,
            notify_ids_changed_enable: true,
            sys_flag: 0,
            consume_timeout_minute: 15,
            subscriptions: None,
            attributes: BTreeMap::new(),
        }
    }
}

/// How long a retry waits (Apache `GroupRetryPolicy`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Which of the two applies.
    pub kind: RetryKind,
    /// Used when `kind` is exponential.
    pub exponential: Option<ExponentialRetry>,
    /// Milliseconds before each retry, used when `kind` is customized and it is given.
    pub customized: Option<Vec<i64>>,
}

impl RetryPolicy {
    /// Milliseconds before the retry of a message that was retried `times` before (Apache
    /// `RetryPolicy.nextDelayDuration`). `None`: as long as its delay level says, see
    /// [`RetryPolicy::level`].
    pub fn wait(&self, times: i32) -> Option<i64> {
        let times = usize::try_from(times).unwrap_or(0);
        match (self.kind, &self.customized) {
            (RetryKind::Exponential, _) => Some(self.exponential.unwrap_or_default().wait(times)),
            (RetryKind::Customized, None) => None,
            // The table begins with the two waits that no retry has, like that of the delay levels.
            (RetryKind::Customized, Some(table)) => table
                .get(times + 2)
                .or(table.last())
                .map(|&wait| wait.max(0)),
        }
    }

    /// The delay level of the same retry, where levels apply: the first is 3.
    pub fn level(times: i32) -> i32 {
        times.max(0).saturating_add(3)
    }
}

/// The kind of a [`RetryPolicy`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetryKind {
    /// `EXPONENTIAL`
    Exponential,
    /// `CUSTOMIZED`: the delay levels unless a table is given.
    #[default]
    Customized,
}

/// `min(max, initial * multiplier^n)`, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExponentialRetry {
    /// First wait.
    pub initial: i64,
    /// Longest wait.
    pub max: i64,
    /// Growth factor.
    pub multiplier: i64,
}

impl Default for ExponentialRetry {
    fn default() -> ExponentialRetry {
        ExponentialRetry {
            initial: 5_000,
            max: 7_200_000,
            multiplier: 2,
        }
    }
}

impl ExponentialRetry {
    fn wait(&self, times: usize) -> i64 {
        let growth = self.multiplier.saturating_pow(times.min(32) as u32);
        self.initial.saturating_mul(growth).min(self.max).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(policy: &RetryPolicy, times: [i32; 4]) -> [Option<i64>; 4] {
        times.map(|times| policy.wait(times))
    }

    #[test]
    fn a_group_waits_as_its_policy_says() {
        let levels = RetryPolicy::default();
        assert_eq!(waits(&levels, [0, 1, 15, 99]), [None; 4]);
        assert_eq!([0, 15].map(RetryPolicy::level), [3, 18]);

        let table = RetryPolicy {
            customized: Some(vec![1, 2, 30, 40]),
            ..RetryPolicy::default()
        };
        let expected = [Some(30), Some(40), Some(40), Some(30)];
        assert_eq!(waits(&table, [0, 1, 9, -1]), expected);

        let growing = RetryPolicy {
            kind: RetryKind::Exponential,
            ..RetryPolicy::default()
        };
        let expected = [Some(5_000), Some(10_000), Some(5_120_000), Some(7_200_000)];
        assert_eq!(waits(&growing, [0, 1, 10, i32::MAX]), expected);
        let steep = RetryPolicy {
            exponential: Some(ExponentialRetry {
                initial: i64::MAX,
                max: i64::MAX,
                multiplier: i64::MAX,
            }),
            ..growing
        };
        assert_eq!(steep.wait(9), Some(i64::MAX));
    }
}
