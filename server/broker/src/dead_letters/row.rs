//! The bytes of operations and of what is gone, as rows of [`store::Table::Operations`].
//!
//! ```text
//! key    `o` and the operation's id | `g` and the group
//! value  of an operation: names and values as a message's properties are stored
//!        of a group: each range's first position 8 and the one behind it 8, big-endian
//! ```

use model::GroupName;
use model::message::{append, property};

use super::work::Job;
use super::{Gone, Operation, OperationState, Work};

/// What a row says.
pub(super) enum Row {
    Job(Job),
    Gone(GroupName, Gone),
}

/// The key of an operation.
pub(super) fn key(id: &str) -> Vec<u8> {
    format!("o{id}").into_bytes()
}

/// The key of a group.
pub(super) fn group_key(group: &GroupName) -> Vec<u8> {
    format!("g{group}").into_bytes()
}

/// The value of an operation.
pub(super) fn job(job: &Job) -> Vec<u8> {
    let mut text = String::new();
    let operation = &job.operation;
    let mut put = |name: &str, value: &dyn std::fmt::Display| {
        append(&mut text, name, &value.to_string());
    };
    put("group", &operation.group);
    put("state", &operation.state.as_str());
    put("done", &operation.done);
    put("total", &operation.total);
    put("started", &operation.started_at);
    put("next", &job.next);
    put("end", &job.end);
    if let Some(why) = &operation.why {
        put("why", &why.replace(char::is_control, " "));
    }
    if let Some(once) = &operation.once {
        put("once", once);
    }
    match &operation.work {
        Work::Redrive {
            to,
            from,
            limit,
            per_second,
        } => {
            put("kind", &"redrive");
            to.iter().for_each(|to| put("to", to));
            from.iter().for_each(|from| put("from", from));
            limit.iter().for_each(|limit| put("limit", limit));
            per_second.iter().for_each(|rate| put("rate", rate));
        }
        Work::Purge { before } => {
            put("kind", &"purge");
            before.iter().for_each(|before| put("before", before));
        }
    }
    text.into_bytes()
}

/// The value of a group.
pub(super) fn gone(gone: &Gone) -> Vec<u8> {
    let ranges = gone.ranges();
    ranges
        .flat_map(|(from, to)| [from.to_be_bytes(), to.to_be_bytes()].concat())
        .collect()
}

/// Reads a row.
pub(super) fn read(key: &[u8], value: &[u8]) -> Option<Row> {
    let (kind, name) = key.split_first()?;
    let name = std::str::from_utf8(name).ok()?;
    match kind {
        b'o' => read_job(name, std::str::from_utf8(value).ok()?).map(Row::Job),
        b'g' => {
            let mut gone = Gone::default();
            for range in value.chunks(16) {
                let (from, to) = range.split_first_chunk::<8>()?;
                let to = u64::from_be_bytes(to.try_into().ok()?);
                gone.add(u64::from_be_bytes(*from), to);
            }
            Some(Row::Gone(GroupName::parse(name).ok()?, gone))
        }
        _ => None,
    }
}

fn read_job(id: &str, text: &str) -> Option<Job> {
    let said = |name| property(text, name).map(str::to_owned);
    let number = |name| property(text, name)?.parse().ok();
    let work = match property(text, "kind")? {
        "redrive" => Work::Redrive {
            to: said("to"),
            from: said("from"),
            limit: number("limit"),
            per_second: property(text, "rate").and_then(|rate| rate.parse().ok()),
        },
        "purge" => Work::Purge {
            before: property(text, "before").and_then(|before| before.parse().ok()),
        },
        _ => return None,
    };
    let state = match property(text, "state")? {
        "running" => OperationState::Running,
        "done" => OperationState::Done,
        "cancelled" => OperationState::Cancelled,
        "failed" => OperationState::Failed,
        _ => return None,
    };
    Some(Job {
        operation: Operation {
            id: id.to_owned(),
            group: GroupName::parse(property(text, "group")?).ok()?,
            work,
            state,
            done: number("done")?,
            total: number("total")?,
            started_at: property(text, "started")?.parse().ok()?,
            why: said("why"),
            once: said("once"),
        },
        next: number("next")?,
        end: number("end")?,
    })
}
