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
use crate::told::Promise;

/// Signs of life, so that proxies and browsers see that the stream lives.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(15);
/// A stream ends by itself, so that reconnects are spread and routine.
const AGE: Duration = Duration::from_secs(30 * 60);
/// The longest that a script may ask for; a stream is ended by its age before.
pub(crate) const LONGEST: Duration = Duration::from_secs(24 * 3_600);
/// Events that wait for a slow reader; then its stream waits, and nobody else's.
const AHEAD: usize = 8;
/// How long a browser waits after a refusal that will pass.
const REFUSED: Duration = Duration::from_secs(30);

/// Where a stream's events go.
#[derive(Clone)]
pub(crate) struct Out {
    frames: mpsc::Sender<Piece>,
    stall: Duration,
}

/// Events that are written, and what they promise.
struct Piece {
    bytes: Bytes,
    promise: Option<Box<dyn Promise>>,
}

/// Why a stream ends.
pub(crate) enum End {
    /// The reader went, or everything that was asked for is sent.
    Done,
    /// We end it; the last event says why.
    Drain(&'static str),
    /// Something is wrong that will pass.
    Problem(Box<Problem>),
}

impl From<Gone> for End {
    fn from(_: Gone) -> End {
        End::Done
    }
}

impl From<Problem> for End {
    fn from(problem: Problem) -> End {
        End::Problem(Box::new(problem))
    }
}

/// The reader is gone, or reads nothing.
#[derive(Debug)]
pub(crate) struct Gone;

impl Out {
    /// Hands over events that are written already.
    pub(crate) async fn send(&self, bytes: Bytes) -> Result<(), Gone> {
        let promise = None;
        self.hand(Piece { bytes, promise }).await
    }

    /// Hands over events that promise something: it is kept once the connection takes them.
    pub(crate) async fn promise(&self, bytes: Bytes, promise: impl Promise) -> Result<(), Gone> {
        let promise: Option<Box<dyn Promise>> = Some(Box::new(promise));
        self.hand(Piece { bytes, promise }).await
    }

    async fn hand(&self, piece: Piece) -> Result<(), Gone> {
        match self.frames.try_send(piece) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Gone),
            Err(mpsc::error::TrySendError::Full(piece)) => {
                let sent = self.frames.send_timeout(piece, self.stall).await;
                sent.map_err(|_| Gone)
            }
        }
    }

    /// Returns once the connection has taken everything.
    pub(crate) async fn taken(&self) -> Result<(), Gone> {
        let all = self.frames.reserve_many(AHEAD);
        match tokio::time::timeout(self.stall, all).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
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

/// Does a stream's work until that is done, its time is over or the server ends, and tells the reader why.
/// The work comes boxed: in place, each stream would have room for it twice, once to hand it over.
pub(crate) async fn run(
    node: &Node,
    out: &Out,
    asked: Option<Duration>,
    work: Pin<Box<impl Future<Output = Result<(), End>>>>,
) {
    let age = jittered(AGE);
    let over = tokio::time::sleep(asked.unwrap_or(age).min(age));
    let end = tokio::select! {
        () = node.ended() => End::Drain("shutdown"),
        () = over => match asked.is_some_and(|asked| asked <= age) {
            true => End::Done,
            false => End::Drain("max-age"),
        },
        done = work => done.err().unwrap_or(End::Done),
    };
    let last = match &end {
        End::Done => return,
        End::Drain(reason) => drain(reason, node.options.sse_retry),
        End::Problem(problem) => event("problem", None, &problem.to_json(None)),
    };
    // Nobody may be there any more to read it.
    let _ = out.send(last).await;
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

/// The same of a problem that will pass; another one is answered as it is.
pub(crate) fn refused_if_it_passes(problem: Problem, id: &str) -> Result<Response, Problem> {
    match problem.kind().retryable {
        true => Ok(refused(&problem, id)),
        false => Err(problem),
    }
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
pub(crate) fn hello(retry: Duration, id: Option<&str>) -> Bytes {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    Bytes::from(format!("retry: {}\n: ok\n{id}\n", retry.as_millis()))
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
struct Events(mpsc::Receiver<Piece>);

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let piece = self.0.poll_recv(cx);
        piece.map(|piece| {
            piece.map(|mut piece| {
                if let Some(promise) = &mut piece.promise {
                    promise.told();
                }
                Ok(Frame::data(piece.bytes))
            })
        })
    }
}
