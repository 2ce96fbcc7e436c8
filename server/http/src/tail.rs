//! Follows topics over SSE, without a group: what is stored, from where the caller left off.
//!
//! ```text
//! broker --long polls--> Reader (one a topic and format) --ring of written events--> Stream, Stream, Stream
//!                                                        --Fan: to the sockets of all that have what is before-->
//!        --pulls of its own, while it is behind the ring---------------> Stream
//! ```
//! An event is written once for all streams of a topic that want it in one format. A stream's place is an offset for each queue,
//! and every event's id is that place, signed: order holds within a queue, nothing is lost or comes
//! twice over any number of reconnects, and any node can go on.

mod cursor;
mod fan;
mod pace;
mod reader;
mod round;
mod stream;
mod wanted;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::header::HeaderName;
use posthouse_client::Filter;

use crate::body::Response;
use crate::call::Call;
use crate::names;
use crate::node::Node;
use crate::operations::{Operation, row};
use crate::parameters::{NAMESPACE, Parameters};
use crate::problem::{self, Problem};
use crate::write::Format;
use crate::{sse, tickets, time, token};

use cursor::Place;
use reader::Reader;
pub(crate) use reader::Readers;
use stream::Stream;
use wanted::Wanted;
pub(crate) use wanted::{EXPRESSION_MAX, TAGS_EXPECTED, TOO_LONG, filter, tags};

pub(crate) const OPERATIONS: &[Operation] = &[row!(
    GET "/v1/topics/{topic}/stream" "tailTopic" tail,
    INVALID_TOPIC, RESERVED_TOPIC, TOPIC_NOT_FOUND, INVALID_FILTER, INVALID_CURSOR, QUEUE_NOT_FOUND
)];

static LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const PARAMETERS: &[&str] = &[
    "from",
    "last_event_id",
    "tag",
    "sql",
    "queue",
    "format",
    "max_events",
    "max_duration",
    "ticket",
];
/// Where a caller wants to begin.
enum From {
    Latest,
    Earliest,
    Time(i64),
    Cursor(String),
}

async fn tail(call: Call) -> Result<Response, Problem> {
    sse::accepted(&call.headers, false)?;
    let mut parameters = Parameters::new(call.query(), PARAMETERS, &["queue"]);
    let from = from(&call, &parameters);
    let max_events = parameters.number("max_events", 1..=u64::MAX);
    let max_duration = parameters.duration("max_duration", Duration::ZERO..=sse::LONGEST);
    let format = Format::read(&mut parameters);
    let filter = filter(&mut parameters);
    parameters.finish()?;
    tickets::allowed(&call, parameters.text("ticket"))?;
    let topic = names::topic(call.parameter(0), parameters.text(NAMESPACE))?;
    let queues: Vec<&str> = parameters.texts("queue").collect();
    let (filter, node) = (filter?, &call.node);
    let is_sql = matches!(filter, Filter::Sql(_));
    let of_sql = is_sql.then(|| node.sql_streams.take(1));
    let place_taken = match of_sql {
        Some(None) => None,
        of_sql => node
            .a_stream(&call.line)
            .map(|place| (place, of_sql, node.tails.take(1))),
    };
    let Some(place_taken) = place_taken else {
        let problem = Problem::new(&problem::QUOTA_EXCEEDED).detail("too many streams are open");
        return Ok(sse::refused(&problem, call.id.as_str()));
    };
    let begun = async {
        if let Filter::Sql(_) = &filter {
            let admin = node.client.admin();
            admin.check_filter(topic.as_str(), &filter).await?;
        }
        let reader = Readers::of(node, topic.as_str(), format).await?;
        let wanted = Wanted::new(filter, &queues, &reader.queues)?;
        let place = begin(node, &reader, &from).await?;
        Ok((reader, Arc::new(wanted), place))
    };
    let (reader, wanted, place) = match begun.await {
        Ok(begun) => begun,
        Err(problem) => return sse::refused_if_it_passes(problem, call.id.as_str()),
    };
    let stream = |out| Stream {
        node: node.clone(),
        behind: !matches!(from, From::Latest),
        reader,
        wanted,
        place,
        out,
        events_left: max_events.unwrap_or(u64::MAX),
        max_duration,
    };
    Ok(sse::served(&call, |out| {
        let stream = stream(out);
        async move {
            stream.run().await;
            drop(place_taken);
        }
    }))
}

/// `Last-Event-ID` goes before `last_event_id`, which a first connection of a browser can say, and that
/// before `from`.
fn from(call: &Call, parameters: &Parameters<'_>) -> From {
    // Whatever it is, whoever says it was here before: to begin with the latest would lose what is between.
    let ids = call.headers.get_all(&LAST_EVENT_ID).iter();
    let ids: Vec<_> = ids
        .map(|id| String::from_utf8_lossy(id.as_bytes()))
        .collect();
    let header = (!ids.is_empty()).then(|| ids.join(", "));
    let came_back = header.or_else(|| parameters.text("last_event_id").map(str::to_owned));
    if let Some(cursor) = came_back.filter(|id| !id.is_empty()) {
        return From::Cursor(cursor);
    }
    match parameters.text("from") {
        None | Some("latest") => From::Latest,
        Some("earliest") => From::Earliest,
        Some(text) => match time::parse(text) {
            Some(time) => From::Time(time),
            None => From::Cursor(text.to_owned()),
        },
    }
}

async fn begin(node: &Node, reader: &Arc<Reader>, from: &From) -> Result<Place, Problem> {
    let admin = node.client.admin();
    let mut place = reader.head();
    match from {
        From::Latest => {}
        From::Earliest => {
            for (queue, next) in reader.queues.iter().zip(&mut place.0) {
                *next = admin.min_offset(queue).await?;
            }
        }
        From::Time(ms) => {
            let since = Duration::from_millis(u64::try_from(*ms).unwrap_or(0));
            let time = SystemTime::UNIX_EPOCH + since;
            for (queue, next) in reader.queues.iter().zip(&mut place.0) {
                *next = admin.offset_at(queue, time).await?;
            }
        }
        From::Cursor(text) => {
            let read = node.tokens.read(token::Kind::Cursor, text);
            let read = read.and_then(|bytes| Place::read(&bytes, &reader.topic, &reader.queues));
            let wrong = || {
                let detail = "this is no position in this topic that this cluster has handed out";
                Problem::new(&problem::INVALID_CURSOR).detail(detail)
            };
            place = read.ok_or_else(wrong)?;
        }
    }
    Ok(place)
}
