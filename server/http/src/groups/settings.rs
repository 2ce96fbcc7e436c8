//! What a request says of a group, and how a group is shown.

use std::time::Duration;

use hyper::header::HeaderValue;
use posthouse_client::{ExponentialRetry, GroupConfig, RetryKind, RetryPolicy};
use serde_json::{Value, json};

use crate::duration;
use crate::etag;
use crate::json::{self, At, Faults};
use crate::problem::{self, Problem};

const FIELDS: &[&str] = &["ordered", "max_attempts", "retry", "enabled"];
const RETRY_FIELDS: &[&str] = &["initial", "max", "multiplier", "steps"];
const ATTEMPTS_MAX: u64 = 10_000;
const STEPS_MAX: usize = 64;
/// Apache's table begins with two waits that no retry has, like that of the delay levels.
const UNUSED: usize = 2;

/// What a request says.
#[derive(Debug, Default)]
pub(super) struct Settings {
    ordered: Option<bool>,
    max_attempts: Option<i32>,
    retry: Option<RetryPolicy>,
    enabled: Option<bool>,
}

impl Settings {
    /// Reads a body: all settings of a resource that is put, or a patch of some.
    pub(super) fn parse(body: &[u8]) -> Result<Settings, Problem> {
        let mut settings = Settings::default();
        let (mut faults, top) = (Faults::default(), At::Root);
        let members = faults.object(top, json::parse(body)?);
        for (name, value) in members.into_iter().flatten() {
            let at = top.member(&name);
            match &*name {
                "ordered" => settings.ordered = faults.bool(at, value),
                "enabled" => settings.enabled = faults.bool(at, value),
                "max_attempts" => match faults.number(at, value) {
                    Some(attempts) if (1..=ATTEMPTS_MAX).contains(&attempts) => {
                        settings.max_attempts = i32::try_from(attempts).ok();
                    }
                    Some(_) => {
                        let detail = format!("1 to {ATTEMPTS_MAX} attempts");
                        faults.refuse(&problem::INVALID_SETTING, at, detail);
                    }
                    None => {}
                },
                "retry" => settings.retry = retry(&mut faults, at, value),
                _ => faults.unknown(top, &name, FIELDS),
            }
        }
        faults.check()?;
        Ok(settings)
    }

    /// Changes what the request says, and leaves the rest.
    pub(super) fn change(&self, group: &mut GroupConfig) {
        if let Some(ordered) = self.ordered {
            group.consume_message_orderly = ordered;
        }
        if let Some(attempts) = self.max_attempts {
            group.retry_max_times = attempts;
        }
        if let Some(retry) = &self.retry {
            group.retry_policy = retry.clone();
        }
        if let Some(enabled) = self.enabled {
            group.consume_enable = enabled;
        }
    }
}

fn retry(faults: &mut Faults, at: At<'_>, value: json::Value<'_>) -> Option<RetryPolicy> {
    let mut growing = ExponentialRetry::default();
    let mut steps = None;
    let mut grows = false;
    for (name, value) in faults.object(at, value)? {
        let at_own = at.member(&name);
        match &*name {
            "initial" => growing.initial = millis(faults.duration(at_own, value)?),
            "max" => growing.max = millis(faults.duration(at_own, value)?),
            "multiplier" => {
                growing.multiplier =
                    i64::try_from(faults.number(at_own, value)?).unwrap_or(i64::MAX);
            }
            "steps" => {
                let mut all = Vec::new();
                for (place, value) in faults.array(at_own, value)?.enumerate() {
                    all.push(millis(faults.duration(at_own.item(place), value)?));
                }
                steps = Some(all);
            }
            _ => faults.unknown(at, &name, RETRY_FIELDS),
        }
        grows |= name != "steps";
    }
    match steps {
        Some(_) if grows => {
            let detail = "either steps, or initial, max and multiplier";
            faults.refuse(&problem::INVALID_SETTING, at, detail);
            None
        }
        Some(steps) if steps.is_empty() || steps.len() > STEPS_MAX => {
            let detail = format!("1 to {STEPS_MAX} steps");
            faults.refuse(&problem::INVALID_SETTING, at.member("steps"), detail);
            None
        }
        Some(steps) => {
            let first = steps.first().copied().unwrap_or_default();
            let table = std::iter::repeat_n(first, UNUSED).chain(steps);
            Some(RetryPolicy {
                kind: RetryKind::Customized,
                exponential: None,
                customized: Some(table.collect()),
            })
        }
        None => Some(RetryPolicy {
            kind: RetryKind::Exponential,
            exponential: Some(growing),
            customized: None,
        }),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn shown_millis(ms: i64) -> String {
    duration::format(Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
}

/// A group as answers show it. `retry` is null where the brokers' delay levels decide.
pub(super) fn shown(group: &GroupConfig) -> Value {
    let policy = &group.retry_policy;
    let retry = match (policy.kind, &policy.customized) {
        (RetryKind::Exponential, _) => {
            let growing = policy.exponential.unwrap_or_default();
            json!({
                "initial": shown_millis(growing.initial),
                "max": shown_millis(growing.max),
                "multiplier": growing.multiplier,
            })
        }
        (RetryKind::Customized, Some(table)) => {
            let steps: Vec<String> = table
                .iter()
                .skip(UNUSED)
                .map(|ms| shown_millis(*ms))
                .collect();
            json!({"steps": steps})
        }
        (RetryKind::Customized, None) => Value::Null,
    };
    json!({
        "name": group.name.as_str(),
        "ordered": group.consume_message_orderly,
        "max_attempts": group.retry_max_times,
        "retry": retry,
        "enabled": group.consume_enable,
    })
}

/// Changes whenever a setting does.
pub(super) fn etag(group: &GroupConfig) -> HeaderValue {
    etag::of(shown(group).to_string())
}
