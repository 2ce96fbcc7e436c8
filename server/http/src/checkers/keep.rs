//! Calls stored checkers. For each there is a task that attends its group's desk and asks the URL what lies
//! there. A receiver that cannot be reached is attended for no longer, so that brokers ask nobody and count
//! nothing; when somebody is there again, so is the door.
//!
//! ```text
//! brokers --list--> keep ── a task a checker ── attend ──question──> POST ──> commit, rollback, nothing
//!                                                  ^                  | cannot be reached
//!                                                  └── back ── knock ─┘
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::{Method, StatusCode};
use posthouse_client::code::response::REQUEST_CODE_NOT_SUPPORTED;
use posthouse_client::{CheckerInfo, Decision};
use serde::Deserialize;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use super::calls::{Calls, Outcome};
use crate::checks::{Asked, Attendance, By, Taken, Wanted};
use crate::clock;
use crate::media;
use crate::node::Node;
use crate::told::Promise;
use crate::webhook::{Failed, Request, Signed, Url};
use crate::write::Bodies;

/// How often brokers are asked for their checkers: another door may have put one.
const LOOK: Duration = Duration::from_secs(10);
/// The same of brokers that keep none.
const LOOK_SELDOM: Duration = Duration::from_secs(600);
/// Questions to one receiver at once.
const AT_ONCE: usize = 4;
/// Between two knocks at a receiver that cannot be reached: first, and at last.
const KNOCK: Duration = Duration::from_millis(500);
const KNOCK_MAX: Duration = Duration::from_secs(30);
/// Before brokers that could not be told of us are told again.
const AGAIN: Duration = Duration::from_secs(2);

/// What the door knows of checkers besides what brokers keep.
#[derive(Default)]
pub(crate) struct Called {
    changed: Notify,
    /// How its calls ended.
    pub calls: Calls,
}

impl Called {
    /// Says that checkers were changed here.
    pub(crate) fn tell(&self) {
        self.changed.notify_one();
    }
}

/// A checker that is called.
struct Own {
    info: CheckerInfo,
    url: Url,
    wanted: Wanted,
}

/// Calls every checker that brokers keep, until the server ends.
pub(crate) async fn keep(node: Arc<Node>) {
    let (mut tasks, mut called) = (JoinSet::new(), HashMap::new());
    loop {
        let next = match node.client.admin().checkers().await {
            Ok(checkers) => {
                call_these(&node, checkers, &mut called, &mut tasks);
                LOOK
            }
            Err(error) if error.code() == Some(REQUEST_CODE_NOT_SUPPORTED) => LOOK_SELDOM,
            // Those that are called stay.
            Err(error) => {
                tracing::debug!(%error, "brokers do not say which checkers they keep");
                AGAIN
            }
        };
        tokio::select! {
            () = sleep(next) => {}
            () = node.checkers.changed.notified() => {}
            () = node.ended() => return,
        }
        while tasks.try_join_next().is_some() {}
    }
}

/// Begins to call those that are new or changed, and ends the others.
fn call_these(
    node: &Arc<Node>,
    checkers: Vec<CheckerInfo>,
    called: &mut HashMap<String, (CheckerInfo, AbortHandle)>,
    tasks: &mut JoinSet<()>,
) {
    called.retain(|_, (own, task)| {
        let stays = checkers.contains(own);
        if !stays {
            task.abort();
            node.checkers.calls.forget(&own.topic);
        }
        stays
    });
    for info in checkers {
        if called.contains_key(&info.topic) {
            continue;
        }
        let url = match node.webhooks.parse(&info.url) {
            Ok(url) => url,
            Err(refused) => {
                // It was put where more is allowed than here.
                tracing::warn!(
                    topic = info.topic,
                    why = refused.0,
                    "a checker is not called"
                );
                continue;
            }
        };
        let namespace = info.topic.split_once('%').map(|(namespace, _)| namespace);
        let wanted = Wanted {
            topic: info.topic.as_str().into(),
            group: info.producer_group.clone(),
            namespace: namespace.map(str::to_owned),
            bodies: Bodies::Auto,
        };
        let own = Arc::new(Own {
            info: info.clone(),
            url,
            wanted,
        });
        let task = tasks.spawn(call(node.clone(), own));
        called.insert(info.topic.clone(), (info, task));
    }
}

/// Calls one checker for as long as the task lives.
async fn call(node: Arc<Node>, own: Arc<Own>) {
    let (topic, group) = (&own.wanted.topic, &own.wanted.group);
    loop {
        let attended = (node.desks).attend(&node.client, group, topic.clone(), By::Webhook);
        let attended = match attended.await {
            Ok(attended) => attended,
            Err(error) => {
                tracing::debug!(%topic, %error, "brokers cannot be told of a checker");
                sleep(AGAIN).await;
                continue;
            }
        };
        let mut asking = JoinSet::new();
        let failed = until_away(&node, &own, &attended, &mut asking).await;
        drop(attended);
        tracing::warn!(%topic, host = own.url.host, %failed, "a checker cannot be called; nobody is asked until it can");
        while asking.join_next().await.is_some() {}
        let mut pause = KNOCK;
        loop {
            sleep(pause).await;
            match node.webhooks.reach(&own.url).await {
                Ok(()) => break,
                Err(error) => tracing::debug!(%topic, %error, "a checker still cannot be called"),
            }
            pause = (pause * 2).min(KNOCK_MAX);
        }
        tracing::info!(%topic, host = own.url.host, "a checker can be called again");
    }
}

/// Asks what lies at the desk until the receiver cannot be reached.
async fn until_away(
    node: &Arc<Node>,
    own: &Arc<Own>,
    attended: &Attendance,
    asking: &mut JoinSet<Result<(), Failed>>,
) -> Failed {
    loop {
        tokio::select! {
            taken = attended.take(1), if asking.len() < AT_ONCE => {
                asking.spawn(ask(node.clone(), own.clone(), taken));
            }
            Some(asked) = asking.join_next() => {
                if let Ok(Err(failed)) = asked {
                    return failed;
                }
            }
        }
    }
}

/// Asks once, does what is answered, and notes how that ended.
///
/// # Errors
/// If the receiver cannot be reached: then the question lies at the desk again.
async fn ask(node: Arc<Node>, own: Arc<Own>, taken: Taken) -> Result<(), Failed> {
    let Some(asked) = taken.asked.first().cloned() else {
        return Ok(());
    };
    let ended = |outcome: Outcome, status| {
        node.metrics.webhook(outcome.as_str());
        node.checkers
            .calls
            .ended(&own.wanted.topic, outcome, status);
    };
    match answer(&node, &own, &asked, taken).await {
        Ok(None) => {}
        Ok(Some((outcome, status))) => ended(outcome, Some(status)),
        Err(failed @ (Failed::Forbidden(_) | Failed::Unreachable(_))) => {
            ended(Outcome::Unreachable, None);
            return Err(failed);
        }
        Err(failed) => {
            ended(Outcome::NoAnswer, None);
            let (topic, host) = (&own.wanted.topic, &own.url.host);
            tracing::warn!(%topic, host, %failed, "a checker gave no answer about a transaction");
        }
    }
    Ok(())
}

/// What a receiver answered, and what came of it; nothing if the server has no room to ask.
async fn answer(
    node: &Node,
    own: &Own,
    asked: &Asked,
    mut taken: Taken,
) -> Result<Option<(Outcome, StatusCode)>, Failed> {
    let check = &asked.check;
    let (topic, host) = (&own.wanted.topic, &own.url.host);
    let mut text = String::new();
    own.wanted.write(&mut text, node, asked);
    let Some(_held) = node.bodies.take(text.len()) else {
        tracing::warn!(%topic, "the server holds too many bytes just now: a checker was not called");
        taken.told();
        return Ok(None);
    };
    let body = Bytes::from(text);
    let id = format!("{}-{}", check.transaction.id(), check.times().max(1));
    let signed = Signed::new(&own.info.secret, &id, clock::wall_ms() / 1_000, &body);
    let mut headers = Vec::from(signed.headers);
    headers.push(("content-type", media::JSON.to_owned()));
    headers.push(("accept", media::JSON.to_owned()));
    let request = Request {
        method: Method::POST,
        headers,
        body,
    };
    let answer = node.webhooks.call(&own.url, request).await;
    // Only who was not there at all is asked again at once.
    if !matches!(answer, Err(Failed::Forbidden(_) | Failed::Unreachable(_))) {
        taken.told();
    }
    let answer = answer?;
    let status = answer.status;
    let (decision, outcome) = match read(status, &answer.body) {
        Some(Decision::Commit) => (Decision::Commit, Outcome::Commit),
        Some(Decision::Rollback) => (Decision::Rollback, Outcome::Rollback),
        Some(Decision::Unknown) => return Ok(Some((Outcome::Unknown, status))),
        None => {
            tracing::warn!(%topic, host, %status, "a checker's answer about a transaction is none");
            return Ok(Some((Outcome::Invalid, status)));
        }
    };
    // As if the broker had asked for it: until the half message ends. What fails is asked about again.
    if let Err(error) = node.client.resolve_late(&check.transaction, decision).await {
        tracing::warn!(%topic, %error, "a checker's decision about a transaction was not taken");
        return Ok(Some((Outcome::Refused, status)));
    }
    Ok(Some((outcome, status)))
}

/// What an answer decides; `None` if it is none.
fn read(status: StatusCode, body: &[u8]) -> Option<Decision> {
    #[derive(Deserialize)]
    struct Said {
        resolution: String,
    }
    if status != StatusCode::OK {
        return None;
    }
    let said: Said = serde_json::from_slice(body).ok()?;
    match &*said.resolution {
        "commit" => Some(Decision::Commit),
        "rollback" => Some(Decision::Rollback),
        "unknown" => Some(Decision::Unknown),
        _ => None,
    }
}
