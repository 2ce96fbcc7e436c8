//! Server-sent events: how one is written, and the answer that carries them.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::Frame;
use hyper::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::node::Node;
use crate::problem::{self, Problem};

/// Events that wait for a slow reader; then its stream waits, and nobody else's.
const AHEAD: usize = 8;
/// How long a browser waits after a refusal that will pass.
const REFUSED: Duration = Duration::from_secs(30);

/// Where a stream's events go.
pub(crate) struct Out {
    frames: mpsc::Sender<Bytes>,
    stall: Duration,
}

/// The reader is gone, or reads nothing.
#[derive(Debug)]
pub(crate) struct Gone;

impl Out {
    /// Hands over events that are written already.
    pub(crate) async fn send(&self, frame: Bytes) -> Result<(), Gone> {
        match self.frames.try_send(frame) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Gone),
            Err(mpsc::error::TrySendError::Full(frame)) => {
                let sent = self.frames.send_timeout(frame, self.stall).await;
                sent.map_err(|_| Gone)
            }
        }
    }

    /// Returns once the reader is gone.
    pub(crate) async fn gone(&self) {
        self.frames.closed().await;
    }
}

/// An answer whose events come from the other end.
pub(crate) fn open(node: &Node) -> (Out, Response) {
    let (frames, events) = mpsc::channel(AHEAD);
    let stall = node.options.limits.write_stall;
    let response = answer(Body::new(Events(events)));
    (Out { frames, stall }, response)
}

/// What a refusal looks like that will pass: browsers give up for good on any status but 200.
pub(crate) fn refused(problem: &Problem, id: &str) -> Response {
    let mut text = format!("retry: {}\n", jittered(REFUSED).as_millis());
    push(
        &mut text,
        Some("problem"),
        None,
        &problem.to_json(Some(id)).to_string(),
    );
    answer(Body::from(text))
}

fn answer(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-store, no-transform"),
    );
    let name = HeaderName::from_static("x-accel-buffering");
    headers.insert(name, HeaderValue::from_static("no"));
    response
}

/// The first bytes: they open the stream in the browser, pass through proxies, and say where it begins.
pub(crate) fn hello(retry: Duration, id: &str) -> Bytes {
    Bytes::from(format!("retry: {}\n: ok\nid: {id}\n\n", retry.as_millis()))
}

/// A sign of life; with an id, the browser's place moves without an event.
pub(crate) fn heartbeat(id: Option<&str>) -> Bytes {
    Bytes::from(match id {
        Some(id) => format!(": hb\nid: {id}\n\n"),
        None => ": hb\n\n".to_owned(),
    })
}

/// The last event of a stream that we end.
pub(crate) fn drain(reason: &str, retry: Duration) -> Bytes {
    let mut text = format!("retry: {}\n", jittered(retry).as_millis());
    push(
        &mut text,
        Some("drain"),
        None,
        &serde_json::json!({"reason": reason}).to_string(),
    );
    Bytes::from(text)
}

/// An event with a value.
pub(crate) fn event(name: &str, id: Option<&str>, data: &Value) -> Bytes {
    let mut text = String::new();
    push(&mut text, Some(name), id, &data.to_string());
    Bytes::from(text)
}

/// Appends an event. `data` is JSON on one line, in which no line break can stand.
pub(crate) fn push(out: &mut String, name: Option<&str>, id: Option<&str>, data: &str) {
    for (field, value) in [("event", name), ("id", id), ("data", Some(data))] {
        if let Some(value) = value {
            for part in [field, ": ", value, "\n"] {
                out.push_str(part);
            }
        }
    }
    out.push('\n');
}

/// Somewhere in the fifth around it, so that many do not come back at once.
pub(crate) fn jittered(duration: Duration) -> Duration {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let chance = RandomState::new().build_hasher().finish() % 401;
    duration * (800 + chance as u32) / 1_000
}

/// Whether the caller takes events. `spelled_out`: only if it says so itself, which no crawler does.
///
/// # Errors
/// `not-acceptable`.
pub(crate) fn accepted(headers: &HeaderMap, spelled_out: bool) -> Result<(), Problem> {
    let all = headers.get_all(ACCEPT).iter();
    let all: Vec<&str> = all.filter_map(|value| value.to_str().ok()).collect();
    let kinds = all.iter().flat_map(|list| list.split(','));
    let mut kinds = kinds.map(|kind| kind.split(';').next().unwrap_or_default().trim());
    let takes = |kind: &str| {
        kind.eq_ignore_ascii_case("text/event-stream")
            || (!spelled_out && matches!(kind, "*/*" | "text/*"))
    };
    if (all.is_empty() && !spelled_out) || kinds.any(takes) {
        return Ok(());
    }
    let detail = "this is a stream: ask for it with Accept: text/event-stream";
    Err(Problem::new(&problem::NOT_ACCEPTABLE).detail(detail))
}

/// Events as a body.
struct Events(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = self.0.poll_recv(cx);
        frame.map(|frame| frame.map(|bytes| Ok(Frame::data(bytes))))
    }
}
