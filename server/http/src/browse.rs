//! Reading messages without a group: nothing is leased, nothing changes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac_sha256::Hash;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use posthouse_client::{Filter, Pull, Queue, Received};

use crate::body::{Body, Response};
use crate::call::Call;
use crate::clock;
use crate::events;
use crate::groups;
use crate::media;
use crate::mq_headers;
use crate::names;
use crate::node::Node;
use crate::operations::{Operation, row};
use crate::page;
use crate::parameters::{NAMESPACE, Parameters};
use crate::problem::{self, Fault, Problem};
use crate::receive::bytes_of_others;
use crate::token::Kind;
use crate::write::{self, Bodies};

pub(crate) const OPERATIONS: &[Operation] = &[
    row!(GET "/v1/topics/{topic}/messages" "browseMessages" browse,
        INVALID_PAGE_TOKEN, RESERVED_TOPIC, TOPIC_NOT_FOUND, QUEUE_NOT_FOUND, PAGE_TOKEN_EXPIRED, INVALID_TOPIC,
        INVALID_FILTER, BROKER_NOT_FOUND, TOPIC_NOT_WRITABLE),
    row!(GET "/v1/groups/{group}/dead-letters" "browseDeadLetters" dead_letters,
        INVALID_PAGE_TOKEN, PAGE_TOKEN_EXPIRED, INVALID_GROUP, GROUP_NOT_FOUND, BROKER_NOT_FOUND,
        TOPIC_NOT_FOUND, TOPIC_NOT_WRITABLE),
    row!(GET "/v1/topics/{topic}/messages/{message_id}" "getMessage" get,
        RESERVED_TOPIC, TOPIC_NOT_FOUND, MESSAGE_NOT_FOUND, INVALID_TOPIC),
];

const LIMIT: u64 = 32;
const LIMIT_MAX: u64 = 64;
/// So many bytes of bodies end a page before its limit does.
const PAGE_BYTES: usize = 4 << 20;
/// The most pulls of one page: a filter that lets nothing through ends it before.
const PULLS_MAX: usize = 64;

/// What a caller asks for.
struct Wanted {
    topic: String,
    namespace: Option<String>,
    queue: Option<String>,
    offset: Option<u64>,
    from: Option<i64>,
    to: Option<i64>,
    filter: Filter,
    limit: usize,
    bodies: Bodies,
    /// What must be the same on every page.
    same: String,
}

/// Where a page goes on.
struct Place {
    queue: usize,
    offset: u64,
}

async fn browse(call: Call) -> Result<Response, Problem> {
    let known = [
        "queue",
        "offset",
        "from",
        "to",
        "tag",
        "sql",
        "key",
        "limit",
        "page_token",
        "body",
    ];
    let mut parameters = Parameters::new(call.query(), &known, &[]);
    let offset = parameters.number("offset", 0..=i64::MAX as u64);
    let (from, to) = (parameters.time("from"), parameters.time("to"));
    let limit = parameters.number("limit", 1..=LIMIT_MAX).unwrap_or(LIMIT);
    let bodies = parameters.word("body", &["auto", "base64", "json", "none"]);
    if parameters.text("offset").is_some() && parameters.text("queue").is_none() {
        parameters.fault("offset", "an offset is a place in a queue: say which queue");
    }
    if parameters.text("key") == Some("") {
        parameters.fault("key", "a key has at least one character");
    }
    if parameters.text("key").is_some() {
        for other in ["queue", "offset", "tag", "sql", "page_token"] {
            if parameters.text(other).is_some() {
                parameters.fault(other, "not together with key");
            }
        }
    }
    parameters.finish()?;
    let namespace = parameters.text(NAMESPACE).map(str::to_owned);
    let topic = names::topic(call.parameter(0), namespace.as_deref())?;
    let filter = crate::tail::filter(&mut parameters)?;
    let text = |name: &str| parameters.text(name).unwrap_or_default().to_owned();
    let same = ["queue", "offset", "from", "to", "tag", "sql", "key"]
        .map(text)
        .join("\n");
    let wanted = Wanted {
        topic: topic.as_str().to_owned(),
        namespace,
        queue: parameters.text("queue").map(str::to_owned),
        offset,
        from,
        to,
        filter,
        limit: usize::try_from(limit).unwrap_or(1),
        bodies: Bodies::of(bodies),
        same,
    };
    let kind = media::accepted(&call.headers, &[media::JSON, events::BATCH])?;
    if let Some(key) = parameters.text("key") {
        let found = by_key(&call.node, key, &wanted).await?;
        return Ok(match kind {
            events::BATCH => as_events(&call, &found, &wanted, None),
            _ => shown(&found, &wanted, None),
        });
    }
    let token = parameters.text("page_token");
    let place = token
        .map(|token| read_page(&call.node, token, &wanted))
        .transpose()?;
    let (found, next) = page(&call.node, &wanted, place, &mut 0, &mut 0).await?;
    let next = next.map(|place| page_token(&call.node, &wanted, &place));
    Ok(match kind {
        events::BATCH => as_events(&call, &found, &wanted, next.as_deref()),
        _ => shown(&found, &wanted, next.as_deref()),
    })
}

/// A page of CloudEvents, which has no room for the next page's token: that stands in `Link`.
fn as_events(call: &Call, found: &[Received], wanted: &Wanted, next: Option<&str>) -> Response {
    let size: usize = found.iter().map(|one| one.body.len() + 512).sum();
    let mut out = String::with_capacity(16 + size);
    out.push('[');
    for (place, message) in found.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        events::event(&mut out, message, wanted.namespace.as_deref()).end();
    }
    out.push(']');
    let mut response = json(out);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(events::BATCH));
    if let Some(next) = next {
        page::link(call, next, headers);
    }
    response
}

/// What a group gave up, queue by queue.
async fn dead_letters(call: Call) -> Result<Response, Problem> {
    let known = ["from", "to", "limit", "page_token", "body"];
    let mut parameters = Parameters::new(call.query(), &known, &[]);
    let (from, to) = (parameters.time("from"), parameters.time("to"));
    let limit = parameters.number("limit", 1..=LIMIT_MAX).unwrap_or(LIMIT);
    let bodies = parameters.word("body", &["auto", "base64", "json", "none"]);
    parameters.finish()?;
    let namespace = parameters.text(NAMESPACE).map(str::to_owned);
    let group = names::group(call.parameter(0), namespace.as_deref())?;
    let text = |name: &str| parameters.text(name).unwrap_or_default().to_owned();
    let wanted = Wanted {
        topic: format!("%DLQ%{group}"),
        namespace,
        queue: None,
        offset: None,
        from,
        to,
        filter: Filter::All,
        limit: usize::try_from(limit).unwrap_or(1),
        bodies: Bodies::of(bodies),
        same: ["from", "to"].map(text).join("\n"),
    };
    let token = parameters.text("page_token");
    let place = token
        .map(|token| read_page(&call.node, token, &wanted))
        .transpose()?;
    match letters(&call.node, group.as_str(), &wanted, place).await {
        Ok((found, next)) => {
            let next = next.map(|place| page_token(&call.node, &wanted, &place));
            Ok(shown(&found, &wanted, next.as_deref()))
        }
        // The topic is made with the group's first dead letter.
        Err(problem) if std::ptr::eq(problem.kind(), &problem::TOPIC_NOT_FOUND) => {
            groups::existing(&call.node.client.admin(), &group).await?;
            Ok(shown(&[], &wanted, None))
        }
        Err(problem) => Err(problem),
    }
}

/// A page of dead letters. What was sent again or given up is still in the log, but no dead letter any more:
/// where all of a page is gone, the next one is looked at, as long as a page may take.
async fn letters(
    node: &Node,
    group: &str,
    wanted: &Wanted,
    mut place: Option<Place>,
) -> Result<(Vec<Received>, Option<Place>), Problem> {
    let (mut pulls, mut bytes) = (0, 0);
    let mut gone = None;
    loop {
        let (mut found, next) = page(node, wanted, place, &mut pulls, &mut bytes).await?;
        if found.is_empty() {
            return Ok((found, next));
        }
        let gone = match &mut gone {
            Some(gone) => gone,
            None => gone.insert(node.client.admin().gone_dead_letters(group).await?),
        };
        found.retain(|letter| {
            let ranges = gone.get(&*letter.queue.broker).map(Vec::as_slice);
            let mut ranges = ranges.unwrap_or_default().iter();
            !ranges.any(|&(from, to)| (from..to).contains(&letter.queue_offset))
        });
        if !found.is_empty() || next.is_none() || bytes >= PAGE_BYTES || pulls >= PULLS_MAX {
            return Ok((found, next));
        }
        place = next;
    }
}

/// Newest first, as far as the key index reaches.
async fn by_key(node: &Node, key: &str, wanted: &Wanted) -> Result<Vec<Received>, Problem> {
    let at = |ms: Option<i64>, else_ms: i64| {
        let ms = u64::try_from(ms.unwrap_or(else_ms)).unwrap_or(0);
        UNIX_EPOCH + Duration::from_millis(ms)
    };
    let between: (SystemTime, SystemTime) =
        (at(wanted.from, 0), at(wanted.to, clock::wall_ms() + 60_000));
    let max = u32::try_from(wanted.limit).unwrap_or(1);
    let admin = node.client.admin();
    let mut found = admin
        .messages_by_key(&wanted.topic, key, max, between)
        .await?;
    found.truncate(wanted.limit);
    Ok(found)
}

/// One page, queue by queue, and where the next one begins. It counts what it takes on top of what was taken.
async fn page(
    node: &Node,
    wanted: &Wanted,
    place: Option<Place>,
    pulls: &mut usize,
    bytes: &mut usize,
) -> Result<(Vec<Received>, Option<Place>), Problem> {
    let client = &node.client;
    let admin = client.admin();
    if let Filter::Sql(_) = &wanted.filter {
        admin.check_filter(&wanted.topic, &wanted.filter).await?;
    }
    let mut queues = admin.queues(&wanted.topic).await?;
    queues.sort();
    if let Some(name) = &wanted.queue {
        queues.retain(|queue| crate::shown::queue(queue) == *name);
        if queues.is_empty() {
            let fault = Fault::parameter("queue", format!("the topic has no queue {name}"));
            return Err(Problem::new(&problem::QUEUE_NOT_FOUND).faults(vec![fault]));
        }
    }
    let mut found = Vec::new();
    let (first, mut start) = place.map_or((0, wanted.offset), |place| {
        (place.queue, Some(place.offset))
    });
    for (at, queue) in queues.iter().enumerate().skip(first) {
        let mut offset = match start.take() {
            Some(offset) => offset,
            None => begin(node, queue, wanted.from).await?,
        };
        loop {
            if found.len() == wanted.limit || *bytes >= PAGE_BYTES || *pulls >= PULLS_MAX {
                return Ok((found, Some(Place { queue: at, offset })));
            }
            *pulls += 1;
            let pull = Pull {
                filter: wanted.filter.clone(),
                max: u32::try_from(wanted.limit - found.len()).unwrap_or(1),
                ..Pull::default()
            };
            let pulled = client.pull(queue, offset, &pull).await?;
            *bytes += pulled
                .messages
                .iter()
                .map(|message| message.body.len())
                .sum::<usize>();
            let before = |message: &Received| wanted.to.is_none_or(|to| message.stored_at < to);
            let whole = pulled.messages.iter().all(before);
            found.extend(pulled.messages.into_iter().filter(before));
            if !whole || pulled.next <= offset || (pulled.next >= pulled.end && !pulled.moved) {
                // The rest of this queue is later than asked for, or not there yet.
                break;
            }
            offset = pulled.next;
        }
    }
    Ok((found, None))
}

async fn begin(node: &Node, queue: &Queue, from: Option<i64>) -> Result<u64, Problem> {
    let admin = node.client.admin();
    let Some(from) = from else {
        return Ok(admin.min_offset(queue).await?);
    };
    let since = Duration::from_millis(u64::try_from(from).unwrap_or(0));
    Ok(admin.offset_at(queue, UNIX_EPOCH + since).await?)
}

fn page_token(node: &Node, wanted: &Wanted, place: &Place) -> String {
    let until = page::until(node);
    let Place { queue, offset } = place;
    let text = format!("{until}\n{queue}\n{offset}\n{}", same(wanted));
    node.tokens.sign(Kind::Page, text.as_bytes())
}

/// What the pages of one list have in common, short: an expression may be as long as a target, and the token of
/// the next page has to fit beside it.
fn same(wanted: &Wanted) -> String {
    let mut digest = Hash::new();
    digest.update(wanted.topic.as_bytes());
    digest.update([0]);
    digest.update(wanted.same.as_bytes());
    URL_SAFE_NO_PAD.encode(&digest.finalize()[..16])
}

fn read_page(node: &Node, token: &str, wanted: &Wanted) -> Result<Place, Problem> {
    let read = || {
        let text = String::from_utf8(node.tokens.read(Kind::Page, token)?).ok()?;
        let mut parts = text.splitn(4, '\n');
        let until: i64 = parts.next()?.parse().ok()?;
        let place = Place {
            queue: parts.next()?.parse().ok()?,
            offset: parts.next()?.parse().ok()?,
        };
        let same = parts.next()? == same(wanted);
        same.then_some((until, place))
    };
    let Some((until, place)) = read() else {
        let detail = "this is no page_token of the same request";
        return Err(Problem::new(&problem::INVALID_PAGE_TOKEN).detail(detail));
    };
    match until > clock::wall_ms() {
        true => Ok(place),
        false => Err(page::expired()),
    }
}

fn shown(found: &[Received], wanted: &Wanted, next: Option<&str>) -> Response {
    let size: usize = found.iter().map(|one| one.body.len() + 512).sum();
    let mut out = String::with_capacity(64 + size);
    let mut whole = write::Object::new(&mut out);
    let list = whole.value("messages");
    list.push('[');
    for (place, message) in found.iter().enumerate() {
        if place > 0 {
            list.push(',');
        }
        write::message(list, message, wanted.bodies, wanted.namespace.as_deref()).end();
    }
    list.push(']');
    whole.optional("next_page_token", next);
    whole.end();
    json(out)
}

fn json(text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media::JSON));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// One message, by the id that its sender was told, or the one that says where it lies.
async fn get(call: Call) -> Result<Response, Problem> {
    let mut parameters = Parameters::new(call.query(), &["body"], &[]);
    let bodies = parameters.word("body", &["auto", "base64", "json", "none"]);
    parameters.finish()?;
    let kind = media::accepted(&call.headers, &[media::JSON, media::BYTES])?;
    let namespace = parameters.text(NAMESPACE);
    let topic = names::topic(call.parameter(0), namespace)?;
    let id = call.parameter(1);
    let found = call.node.client.admin().message(topic.as_str(), id).await?;
    let missing = || {
        Problem::new(&problem::MESSAGE_NOT_FOUND).detail("the topic has no message with this id")
    };
    let message = found
        .filter(|found| *found.topic == *topic.as_str())
        .ok_or_else(missing)?;
    if kind == media::BYTES {
        let mut response = Response::new(Body::from(message.body.clone()));
        mq_headers::write(response.headers_mut(), &message);
        bytes_of_others(response.headers_mut());
        return Ok(response);
    }
    let mut out = String::with_capacity(512 + message.body.len());
    write::message(&mut out, &message, Bodies::of(bodies), namespace).end();
    Ok(json(out))
}
