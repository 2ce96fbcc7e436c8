//! Names of topics and groups as paths and parameters give them.

use std::borrow::Cow;

use posthouse_client::{GroupName, TopicName};

use crate::parameters::Parameters;
use crate::problem::{self, Fault, Problem};

/// Topics that belong to brokers. `rmq_sys_` is a prefix; the others are whole names.
const SYSTEM: &[&str] = &[
    "TBW102",
    "SELF_TEST_TOPIC",
    "BenchmarkTest",
    "OFFSET_MOVED_EVENT",
    "SCHEDULE_TOPIC_XXXX",
    "RMQ_SYS_TRANS_HALF_TOPIC",
    "RMQ_SYS_TRANS_OP_HALF_TOPIC",
    "TRANS_CHECK_MAX_TIME_TOPIC",
    "RMQ_SYS_TRACE_TOPIC",
    "CHECKPOINT_TOPIC",
    "DefaultHeartBeatSyncerTopic",
];
const SYSTEM_PREFIX: &str = "rmq_sys_";
/// Every cluster's requests are answered through a topic of this name.
const REPLY_SUFFIX: &str = "_REPLY_TOPIC";

/// Groups that belong to brokers and tools.
const SYSTEM_GROUPS: &[&str] = &[
    "DEFAULT_CONSUMER",
    "DEFAULT_PRODUCER",
    "TOOLS_CONSUMER",
    "SCHEDULE_CONSUMER",
    "FILTERSRV_CONSUMER",
    "__MONITOR_CONSUMER",
    "CLIENT_INNER_PRODUCER",
    "SELF_TEST_P_GROUP",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
    "CID_ONSAPI_PULL",
    "CID_RMQ_SYS_TRANS",
];
const SYSTEM_GROUP_PREFIX: &str = "CID_RMQ_SYS_";

/// Whether a topic belongs to brokers: their own, and what groups retry or gave up.
pub(crate) fn is_system(topic: &str) -> bool {
    let prefix = topic.get(..SYSTEM_PREFIX.len());
    SYSTEM.contains(&topic)
        || prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(SYSTEM_PREFIX))
        || topic.ends_with(REPLY_SUFFIX)
        || topic.starts_with("%RETRY%")
        || topic.starts_with("%DLQ%")
}

/// Whether a group belongs to brokers and tools.
pub(crate) fn is_system_group(group: &str) -> bool {
    SYSTEM_GROUPS.contains(&group) || group.starts_with(SYSTEM_GROUP_PREFIX)
}

/// A topic that users may name, in its namespace.
///
/// # Errors
/// `invalid-topic`, `reserved-topic`.
pub(crate) fn topic(name: &str, namespace: Option<&str>) -> Result<TopicName, Problem> {
    let full = full(name, namespace);
    let invalid = |what: &str| {
        Problem::new(&problem::INVALID_TOPIC).faults(vec![Fault::parameter("topic", what)])
    };
    if is_system(&full) {
        let detail = "this topic belongs to the brokers";
        return Err(Problem::new(&problem::RESERVED_TOPIC).detail(detail));
    }
    TopicName::parse(&full).map_err(|_| invalid("1 to 127 ASCII letters, digits, _ and -"))
}

/// A group that users may name, in its namespace.
///
/// # Errors
/// `invalid-group`.
pub(crate) fn group(name: &str, namespace: Option<&str>) -> Result<GroupName, Problem> {
    let full = full(name, namespace);
    let invalid = |what: &str| {
        Problem::new(&problem::INVALID_GROUP).faults(vec![Fault::parameter("group", what)])
    };
    if is_system_group(&full) {
        return Err(invalid("this group belongs to the brokers"));
    }
    GroupName::parse(&full).map_err(|_| invalid("1 to 120 ASCII letters, digits, _ and -"))
}

/// The target at which something is: names, as callers say them, below `/v1`.
pub(crate) fn location(parts: &[&str], namespace: Option<&str>) -> String {
    fn push(out: &mut String, name: &str) {
        if !name.bytes().any(|byte| matches!(byte, b'%' | b'|')) {
            return out.push_str(name);
        }
        for c in name.chars() {
            match c {
                '%' => out.push_str("%25"),
                '|' => out.push_str("%7C"),
                c => out.push(c),
            }
        }
    }
    let mut out = String::with_capacity(96);
    out.push_str("/v1");
    for part in parts {
        out.push('/');
        push(&mut out, part);
    }
    if let Some(namespace) = namespace.filter(|namespace| !namespace.is_empty()) {
        out.push_str("?namespace=");
        push(&mut out, namespace);
    }
    out
}

/// The name as brokers know it: `namespace%name`.
pub(crate) fn full<'n>(name: &'n str, namespace: Option<&str>) -> Cow<'n, str> {
    match namespace.filter(|namespace| !namespace.is_empty()) {
        Some(namespace) => format!("{namespace}%{name}").into(),
        None => name.into(),
    }
}

/// Whether names can be in it: those of both together are as long as a topic's at most. Empty is none.
pub(crate) fn is_namespace(namespace: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-%|".contains(&byte);
    namespace.len() <= 127 && namespace.bytes().all(allowed)
}

/// Deleting takes the name twice.
///
/// # Errors
/// `confirmation-required`.
pub(crate) fn confirmed(parameters: &Parameters<'_>, name: &str) -> Result<(), Problem> {
    if parameters.text("confirm") == Some(name) {
        return Ok(());
    }
    let fault = Fault::parameter("confirm", format!("confirm={name} says that this is meant"));
    Err(Problem::new(&problem::CONFIRMATION_REQUIRED).faults(vec![fault]))
}

/// Whether use alone may make it: in a namespace or in none, its name is plain.
pub(crate) fn may_be_made(full: &str) -> bool {
    is_plain(full.rsplit('%').next().unwrap_or_default())
}

/// Whether something new may have this name: what Java's tools write as `%` and `|` is only found.
pub(crate) fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    !name.is_empty() && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str) -> Option<&'static str> {
        topic(name, None).err().map(|problem| problem.kind().slug)
    }

    #[test]
    fn a_topic_of_the_brokers_is_not_for_users() {
        for name in [
            "TBW102",
            "rmq_sys_x",
            "RMQ_SYS_TRACE_TOPIC",
            "%RETRY%g",
            "%DLQ%g",
            "c_REPLY_TOPIC",
        ] {
            assert_eq!(refused(name), Some("reserved-topic"), "{name}");
        }
        for name in ["", "a b", "ä", &"t".repeat(128)] {
            assert_eq!(refused(name), Some("invalid-topic"), "{name}");
        }
        assert_eq!(refused("orders"), None);
        let inside = topic("orders", Some("shop")).unwrap();
        assert_eq!(inside.as_str(), "shop%orders");
    }

    #[test]
    fn a_namespace_is_made_of_what_names_are_made_of() {
        for name in ["", "shop", "MQ_INST_1%a|b", &"n".repeat(127)] {
            assert!(is_namespace(name), "{name}");
        }
        for name in ["a b", "ä", "a/b", "\0", &"n".repeat(128)] {
            assert!(!is_namespace(name), "{name}");
        }
    }

    #[test]
    fn a_group_of_the_brokers_is_not_for_users() {
        for name in ["TOOLS_CONSUMER", "CID_RMQ_SYS_x", "", "a b"] {
            let problem = group(name, None).unwrap_err();
            assert_eq!(problem.kind().slug, "invalid-group", "{name}");
        }
        assert!(group("billing", None).is_ok());
    }
}
