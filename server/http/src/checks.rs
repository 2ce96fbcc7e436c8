//! Checks: brokers ask what became of a transaction, and whoever waits here answers with a resolution.
//!
//! The door is a producer of the group for as long as somebody waits, and no longer: a broker that asks
//! nobody counts nothing.

mod desk;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method};
use posthouse_client::GroupName;
use tokio::time::{Instant, sleep_until};

use crate::body::Response;
use crate::call::Call;
use crate::media;
use crate::names;
use crate::node::Node;
use crate::operations::{Operation, row};
use crate::parameters::{NAMESPACE, Parameters};
use crate::problem::{self, Fault, Problem};
use crate::publisher::Kind;
use crate::sse::{self, End, Out};
use crate::tickets;
use crate::told;
use crate::transactions::Named;
use crate::write::{self, Bodies, Object};

pub(crate) use desk::{Asked, Attendance, By, Desks, Taken};

pub(crate) const OPERATIONS: &[Operation] = &[
    row!(POST "/v1/topics/{topic}/transaction-checks:receive" "receiveChecks" receive,
        RESERVED_TOPIC, TOPIC_NOT_FOUND, INVALID_TOPIC, INVALID_GROUP, MESSAGE_TYPE_MISMATCH,
        TOPIC_NOT_WRITABLE),
    row!(GET "/v1/topics/{topic}/transaction-checks/stream" "streamChecks" stream,
        RESERVED_TOPIC, TOPIC_NOT_FOUND, INVALID_TOPIC, INVALID_GROUP, MESSAGE_TYPE_MISMATCH,
        TOPIC_NOT_WRITABLE),
];

const WAIT: Duration = Duration::from_secs(10);
const WAIT_MAX: Duration = Duration::from_secs(30);
const MAX: u64 = 16;
const MAX_MAX: u64 = 32;

/// For what somebody answers, and how it is shown.
pub(crate) struct Wanted {
    pub topic: Arc<str>,
    pub group: String,
    pub namespace: Option<String>,
    pub bodies: Bodies,
}

impl Wanted {
    /// What every checker says.
    fn read(call: &Call, parameters: &mut Parameters<'_>) -> Result<Wanted, Problem> {
        let bodies = parameters.word("body", &["auto", "base64", "json"]);
        let namespace = parameters.text(NAMESPACE).map(str::to_owned);
        let topic = names::topic(call.parameter(0), namespace.as_deref())?;
        let group = parameters.text("producer_group").unwrap_or(topic.as_str());
        if GroupName::parse(group).is_err() {
            let fault = Fault::parameter(
                "producer_group",
                "1 to 120 ASCII letters, digits, _ and - expected",
            );
            return Err(Problem::new(&problem::INVALID_GROUP).faults(vec![fault]));
        }
        Ok(Wanted {
            group: group.to_owned(),
            topic: topic.as_str().into(),
            namespace,
            bodies: Bodies::of(bodies),
        })
    }

    async fn attend(&self, node: &Node) -> Result<Attendance, Problem> {
        let kinds = [Kind::Transaction];
        node.publisher
            .check(&node.client, &self.topic, &kinds)
            .await?;
        let desks = &node.desks;
        let topic = self.topic.clone();
        let attended = desks.attend(&node.client, &self.group, topic, By::Listening);
        Ok(attended.await?)
    }

    pub(crate) fn write(&self, out: &mut String, node: &Node, asked: &Asked) {
        let Asked { check, answer_by } = asked;
        let named = Named::of_check(check);
        let mut object = Object::new(out);
        object.string("check_id", &named.check_id(node, check.times()));
        object.string("transaction_id", &named.sign(node));
        object.number("attempt", check.times().max(1).into());
        let by = named.expires_at.map_or(*answer_by, |at| at.min(*answer_by));
        object.time("answer_by", by);
        let text = object.value("message");
        let namespace = self.namespace.as_deref();
        write::message(text, &check.message, self.bodies, namespace).end();
        object.end();
    }
}

/// The next questions, as soon as there is one.
async fn receive(call: Call) -> Result<Response, Problem> {
    let known = ["max", "wait", "producer_group", "body"];
    let mut parameters = Parameters::new(call.query(), &known, &[]);
    let max = parameters.number("max", 1..=MAX_MAX).unwrap_or(MAX);
    let wait = parameters.duration("wait", Duration::ZERO..=WAIT_MAX);
    let wanted = Wanted::read(&call, &mut parameters);
    parameters.finish()?;
    let wanted = wanted?;
    media::accepted(&call.headers, &[media::JSON])?;
    let node = &call.node;
    let _place = node.to_wait()?;
    let attendance = wanted.attend(node).await?;
    let max = usize::try_from(max).unwrap_or(1);
    let taken = tokio::select! {
        taken = attendance.take(max) => taken,
        () = tokio::time::sleep(wait.unwrap_or(WAIT)) => attendance.take_now(max),
        () = node.ended() => attendance.take_now(max),
    };
    let mut text = String::from("{\"checks\":[");
    for (place, asked) in taken.asked.iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        wanted.write(&mut text, node, asked);
    }
    text.push_str("]}");
    let mut response = Response::new(told::body(text.into(), taken));
    json_headers(response.headers_mut());
    Ok(response)
}

fn json_headers(headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media::JSON));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// Every question, one event each.
async fn stream(call: Call) -> Result<Response, Problem> {
    sse::accepted(&call.headers, true)?;
    let known = [
        "producer_group",
        "body",
        "max_events",
        "max_duration",
        "ticket",
    ];
    let mut parameters = Parameters::new(call.query(), &known, &[]);
    let events = parameters.number("max_events", 1..=u64::MAX);
    let asked = parameters.duration("max_duration", Duration::ZERO..=sse::LONGEST);
    let wanted = Wanted::read(&call, &mut parameters);
    parameters.finish()?;
    tickets::allowed(&call, parameters.text("ticket"))?;
    let wanted = wanted?;
    let Some(place) = call.node.a_stream(&call.line) else {
        let problem = Problem::new(&problem::QUOTA_EXCEEDED).detail("too many streams are open");
        return Ok(sse::refused(&problem, call.id.as_str()));
    };
    let (out, response) = sse::open(&call.node);
    if call.method == Method::HEAD {
        return Ok(response);
    }
    let node = call.node.clone();
    let attendance = match wanted.attend(&node).await {
        Ok(attendance) => attendance,
        Err(problem) => return sse::refused_if_it_passes(problem, call.id.as_str()),
    };
    let counted = node.check_streams.take(1);
    tokio::spawn(async move {
        let work = tell(&node, &out, &wanted, &attendance, events);
        sse::run(&node, &out, asked, Box::pin(work)).await;
        drop((place, counted));
    });
    Ok(response)
}

async fn tell(
    node: &Node,
    out: &Out,
    wanted: &Wanted,
    attendance: &Attendance,
    events: Option<u64>,
) -> Result<(), End> {
    out.send(sse::hello(node.options.sse_retry, None)).await?;
    let mut left = events.unwrap_or(u64::MAX);
    let mut beat = Instant::now() + sse::jittered(node.options.sse_heartbeat);
    while left > 0 {
        // Nothing is taken for a reader that has not read what came before.
        out.taken().await?;
        tokio::select! {
            taken = attendance.take(1) => {
                left -= 1;
                let text = event(node, wanted, &taken);
                out.promise(text, taken).await?;
            }
            () = out.gone() => return Err(End::Done),
            () = sleep_until(beat) => {
                out.send(sse::heartbeat(None)).await?;
                beat = Instant::now() + node.options.sse_heartbeat;
            }
        }
    }
    Ok(())
}

fn event(node: &Node, wanted: &Wanted, taken: &Taken) -> Bytes {
    let mut text = String::new();
    for asked in &taken.asked {
        let mut data = String::new();
        wanted.write(&mut data, node, asked);
        sse::push(&mut text, Some("transaction_check"), None, &data);
    }
    Bytes::from(text)
}
