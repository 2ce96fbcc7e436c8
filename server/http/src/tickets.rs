//! Tickets: the right to open one stream for a while, for browsers, whose `EventSource` can set no header.
//!
//! A ticket is for one path, and for the web page that asked for it.

use hyper::StatusCode;
use hyper::header::{HOST, HeaderName, ORIGIN};
use serde_json::json;

use crate::body::Response;
use crate::call::{Call, json_answer};
use crate::json::{self, At, Faults};
use crate::operations::{Operation, row};
use crate::parameters::Parameters;
use crate::problem::{self, Problem};
use crate::token::Kind;
use crate::{clock, time};

pub(crate) const OPERATIONS: &[Operation] = &[row!(
    POST "/v1/stream-tickets" "createStreamTicket" create,
    MALFORMED_JSON, INVALID_REQUEST, UNSUPPORTED_MEDIA_TYPE, INVALID_SETTING
)];

/// How long a ticket may be good, and how long it usually is, in milliseconds.
const TICKET_MOST: i64 = 15 * 60_000;
const TICKET_USUAL: i64 = 10 * 60_000;

/// The right to open one stream for a while, for who can set no header.
async fn create(mut call: Call) -> Result<Response, Problem> {
    Parameters::new(call.query(), &[], &[]).finish()?;
    let limit = call.node.options.limits.small;
    let body = call.json(limit, "application/json").await?;
    let (mut faults, top) = (Faults::default(), At::Root);
    let (mut path, mut ttl) = (None, TICKET_USUAL);
    let members = faults.object(top, json::parse(&body)?);
    for (name, value) in members.into_iter().flatten() {
        let at = top.member(&name);
        match &*name {
            "path" => path = faults.string(at, value),
            "ttl" => {
                let given = faults.duration(at, value).map_or(ttl, |ttl| {
                    i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX)
                });
                if !(1_000..=TICKET_MOST).contains(&given) {
                    faults.refuse(&problem::INVALID_SETTING, at, "1s to 15m");
                }
                ttl = given;
            }
            _ => faults.unknown(top, &name, &["path", "ttl"]),
        }
    }
    match &path {
        Some(path) if !(path.starts_with("/v1/") && path.ends_with("/stream")) => {
            faults.refuse(
                &problem::INVALID_SETTING,
                top.member("path"),
                "the path of a stream expected",
            );
        }
        None if faults.is_empty() => faults.missing(top, "path"),
        _ => {}
    }
    faults.check()?;
    let until = clock::wall_ms() + ttl;
    let origin = call
        .headers
        .get(ORIGIN)
        .map(|origin| origin.as_bytes())
        .unwrap_or_default();
    let path = path.unwrap_or_default();
    let payload = [&until.to_be_bytes(), path.as_bytes(), b"\0", origin].concat();
    let ticket = call.node.tokens.sign(Kind::Ticket, &payload);
    let answer = json!({"ticket": ticket, "expires_at": time::format(until)});
    let mut response = json_answer(StatusCode::CREATED, &answer);
    let name = HeaderName::from_static("referrer-policy");
    response
        .headers_mut()
        .insert(name, hyper::header::HeaderValue::from_static("no-referrer"));
    Ok(response)
}

/// Whether a ticket lets the caller open the stream that it asks for. Without one, nothing stands against it
/// while there are no credentials.
///
/// # Errors
/// `forbidden`.
pub(crate) fn allowed(call: &Call, ticket: Option<&str>) -> Result<(), Problem> {
    let Some(ticket) = ticket else {
        return Ok(());
    };
    let refused = |detail: &str| Err(Problem::new(&problem::FORBIDDEN).detail(detail));
    let read = || {
        let payload = call.node.tokens.read(Kind::Ticket, ticket)?;
        let (until, rest) = payload.split_first_chunk::<8>()?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        let (path, origin) = (rest.get(..end)?.to_vec(), rest.get(end + 1..)?.to_vec());
        Some((i64::from_be_bytes(*until), path, origin))
    };
    let Some((until, path, origin)) = read() else {
        return refused("this is no ticket of this cluster");
    };
    if until <= clock::wall_ms() {
        return refused("the ticket is over; ask for a new one");
    }
    if path != call.uri.path().as_bytes() {
        return refused("the ticket is for another stream");
    }
    let is_its = match call.headers.get(ORIGIN) {
        Some(asks) => asks.as_bytes() == origin,
        // A browser names no origin to a server of the page's own.
        None => origin.is_empty() || is_own(call, &origin),
    };
    match is_its {
        true => Ok(()),
        false => refused("the ticket is for a page of another origin"),
    }
}

/// Whether a page of this origin came from here.
fn is_own(call: &Call, origin: &[u8]) -> bool {
    let host = call.headers.get(HOST).map(|host| host.as_bytes());
    let mark = b"://";
    let at = origin.windows(mark.len()).position(|three| three == mark);
    let own = at.and_then(|at| origin.get(at + mark.len()..));
    own.is_some() && own == host
}
