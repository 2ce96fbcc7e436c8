//! The topics that belong to the broker: which exist from the start, which nobody may send to, which
//! nobody may change (Apache `TopicValidator` and the constructor of `TopicConfigManager`).

use model::TopicName;
use model::flag::Perm;
use model::topic::TopicConfig;

use crate::options::Options;

/// The template of topics that are made by their first send.
pub(crate) const TEMPLATE: &str = "TBW102";
/// Where a consumer that was sent to another offset is reported.
pub(crate) const OFFSET_MOVED: &str = "OFFSET_MOVED_EVENT";

/// Leased messages that were appended again before their segment was deleted.
pub(crate) const KEPT_LEASED: &str = "rmq_sys_POSTHOUSE_LEASED";

/// Half messages.
pub(crate) const HALVES: &str = store::pending::HALF_TOPIC;
/// Markers of half messages that were rolled back.
pub(crate) const ENDED_HALVES: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
/// Half messages that were given up.
pub(crate) const DEAD_HALVES: &str = "TRANS_CHECK_MAX_TIME_TOPIC";

const NOT_SENDABLE: &[&str] = &[
    "SCHEDULE_TOPIC_XXXX",
    HALVES,
    ENDED_HALVES,
    DEAD_HALVES,
    "SELF_TEST_TOPIC",
    OFFSET_MOVED,
    // Apache takes these, and then knows neither when nor where to.
    store::pending::TIMER_TOPIC,
];

/// System topics that need not exist.
const NAMED_ONLY: &[&str] = &[
    DEAD_HALVES,
    "RMQ_SYS_TRACE_TOPIC",
    "CHECKPOINT_TOPIC",
    TEMPLATE,
];

/// The prefix of system topics.
const PREFIX: &str = "rmq_sys_";

/// The prefix of the store's own topics: their records are tables, and no client has a say in them.
const STORE_PREFIX: &str = "rmq_sys_POSTHOUSE";

/// Whether clients may send to a topic.
pub(crate) fn sendable(topic: &str) -> bool {
    !NOT_SENDABLE.contains(&topic) && !is_stores(topic)
}

/// Whether what lies in a topic may have been handed to a consumer. The others hold what waits for its
/// time, and what is the store's own.
pub(crate) fn consumable(topic: &str) -> bool {
    store::Kind::of(topic).is_none() && !is_stores(topic)
}

/// Whether a topic is the store's own.
pub(crate) fn is_stores(topic: &str) -> bool {
    topic.starts_with(STORE_PREFIX)
}

/// The topics every broker has. Some nothing is stored in here, but they are registered like Apache's,
/// so that clients and tools find what they expect.
pub(crate) fn at_start(options: &Options) -> Vec<TopicConfig> {
    let own = |open| if open { Perm(7) } else { Perm(Perm::INHERIT) };
    let (cluster, name) = (&options.cluster, &options.name);
    let revive = format!("rmq_sys_REVIVE_LOG_{cluster}");
    let members = format!("rmq_sys_SYNC_BROKER_MEMBER_{name}");
    let reply = format!("{cluster}_REPLY_TOPIC");
    let mut topics = vec![
        ("SELF_TEST_TOPIC", Perm::READ_WRITE, 1),
        ("BenchmarkTest", Perm::READ_WRITE, 1024),
        (cluster, own(options.cluster_topic), 16),
        (name, own(options.broker_topic), 1),
        (OFFSET_MOVED, Perm::READ_WRITE, 1),
        ("SCHEDULE_TOPIC_XXXX", Perm::READ_WRITE, 18),
        (HALVES, Perm::READ_WRITE, 1),
        (ENDED_HALVES, Perm::READ_WRITE, 1),
        (&reply, Perm::READ_WRITE, 1),
        (&revive, Perm::READ_WRITE, 8),
        (&members, Perm(Perm::INHERIT), 1),
        ("rmq_sys_wheel_timer", Perm::READ_WRITE, 1),
    ];
    if options.auto_create_topics {
        topics.push((TEMPLATE, Perm(7), options.default_topic_queues));
    }
    if options.trace_topic {
        topics.push(("RMQ_SYS_TRACE_TOPIC", Perm::READ_WRITE, 1));
    }
    (topics.into_iter())
        .filter_map(|(name, perm, queues)| {
            let mut config = TopicConfig::new(TopicName::parse(name).ok()?, queues);
            config.perm = perm;
            Some(config)
        })
        .collect()
}

/// The names that belong to the broker, whether the topics exist or not.
pub(crate) fn names(options: &Options) -> Vec<TopicName> {
    let mut names: Vec<TopicName> = at_start(options)
        .into_iter()
        .map(|topic| topic.name)
        .collect();
    let more = NAMED_ONLY.iter().chain(NOT_SENDABLE);
    names.extend(more.filter_map(|name| TopicName::parse(name).ok()));
    names.sort();
    names.dedup();
    names
}

/// Whether a topic belongs to the broker, given [`names`].
pub(crate) fn is_system(names: &[TopicName], topic: &str) -> bool {
    topic.starts_with(PREFIX)
        || names
            .binary_search_by(|name| name.as_str().cmp(topic))
            .is_ok()
}
