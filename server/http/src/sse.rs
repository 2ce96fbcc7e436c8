//! Server-sent events: how one is written, and the answer that carries them.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use hyper::Version;
use hyper::body::Frame;
use hyper::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::body::{Body, Response};
use crate::call::Call;
use crate::line::Line;
use crate::node::Node;
use crate::problem::{self, Problem};
use crate::told::Promise;

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
    /// Where events may be written past this, as chunks, while nothing is under way here.
    line: Option<Arc<Line>>,
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

    /// The socket's line, if the answer goes over it in chunks and may be written past the connection.
    pub(crate) fn line(&self) -> Option<&Arc<Line>> {
        self.line.as_ref()
    }

    async fn hand(&self, piece: Piece) -> Result<(), Gone> {
        if let Some(line) = &self.line {
            line.owe();
        }
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
    let line = None;
    (
        Out {
            frames,
            stall,
            line,
        },
        response,
    )
}

/// An answer whose events this work sends. It is done by the connection itself: what wakes it finds its way to the
/// socket without another task, and it ends with the connection.
///
/// Not so over HTTP/2: there a connection lives on whose reader takes nothing of this stream, and asks for nothing
/// more of it. A task of its own notices.
pub(crate) fn served<W>(call: &Call, work: impl FnOnce(Out) -> W) -> Response
where
    W: Future<Output = ()> + Send + 'static,
{
    let node = &call.node;
    if call.version == Version::HTTP_2 {
        let (out, response) = open(node);
        let frames = out.frames.clone();
        let work = work(out);
        tokio::spawn(async move {
            tokio::select! {
                () = work => {}
                () = frames.closed() => {}
            }
        });
        return response;
    }
    let (frames, events) = mpsc::channel(AHEAD);
    let stall = node.options.limits.write_stall;
    // Before 1.1 there are no chunks.
    let line = (call.version == Version::HTTP_11).then(|| call.line.clone());
    let work = work(Out {
        frames,
        stall,
        line: line.clone(),
    });
    answer(Body::new(Served::new(work, events, line)))
}

/// Does a stream's work until that is done, its time is over or the server ends, and tells the reader why.
/// The work comes boxed: in place, each stream would have room for it twice, once to hand it over.
pub(crate) async fn run(
    node: &Node,
    out: &Out,
    asked: Option<Duration>,
    work: Pin<Box<impl Future<Output = Result<(), End>>>>,
) {
    // A stream ends by itself, so that reconnects are spread and routine.
    let age = jittered(node.options.limits.stream_age);
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

/// Events as a body, and the work that sends them.
struct Served {
    work: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    events: mpsc::Receiver<Piece>,
    line: Option<Arc<Line>>,
    woken: Arc<Woken>,
}

/// Wakes the connection when the work can go on, and knows whether it can: behind each event a connection asks for
/// the next one, which the work need not be bothered with.
struct Woken {
    can_go_on: AtomicBool,
    connection: Mutex<Waker>,
}

impl Served {
    fn new(
        work: impl Future<Output = ()> + Send + 'static,
        events: mpsc::Receiver<Piece>,
        line: Option<Arc<Line>>,
    ) -> Served {
        let woken = Woken {
            can_go_on: AtomicBool::new(true),
            connection: Mutex::new(Waker::noop().clone()),
        };
        Served {
            work: Some(Box::pin(work)),
            events,
            line,
            woken: Arc::new(woken),
        }
    }

    /// What was sent and is not taken yet.
    fn sent(&mut self) -> Option<Frame<Bytes>> {
        let piece = self.events.try_recv().ok()?;
        if let Some(line) = &self.line {
            line.taken();
        }
        Some(piece.taken())
    }
}

impl hyper::body::Body for Served {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if let Some(frame) = this.sent() {
            return Poll::Ready(Some(Ok(frame)));
        }
        this.woken.by(cx.waker());
        // Nobody but the work sends.
        if let Some(work) = &mut this.work
            && this.woken.can_go_on.swap(false, Ordering::AcqRel)
        {
            let waker = Waker::from(this.woken.clone());
            if work
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_ready()
            {
                this.work = None;
            }
        }
        match (this.sent(), &this.work) {
            (Some(frame), _) => Poll::Ready(Some(Ok(frame))),
            (None, Some(_)) => Poll::Pending,
            (None, None) => Poll::Ready(None),
        }
    }
}

impl Woken {
    /// Who is woken from now on. Told before `can_go_on` is looked at, so that nothing falls between.
    fn by(&self, connection: &Waker) {
        let mut known = self.lock();
        if !known.will_wake(connection) {
            known.clone_from(connection);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waker> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.can_go_on.store(true, Ordering::Release);
        self.lock().wake_by_ref();
    }
}

impl Piece {
    /// The connection has it: what was promised is kept.
    fn taken(mut self) -> Frame<Bytes> {
        if let Some(promise) = &mut self.promise {
            promise.told();
        }
        Frame::data(self.bytes)
    }
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
        piece.map(|piece| piece.map(|piece| Ok(piece.taken())))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use http_body_util::BodyExt;

    use super::*;

    struct Counts(Arc<AtomicUsize>);

    impl Promise for Counts {
        fn told(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn channel() -> (Out, mpsc::Receiver<Piece>) {
        let (frames, events) = mpsc::channel(AHEAD);
        let stall = Duration::from_secs(60);
        let line = None;
        (
            Out {
                frames,
                stall,
                line,
            },
            events,
        )
    }

    #[tokio::test]
    async fn a_connection_makes_its_events_itself_and_has_them_when_it_is_told() {
        let (out, events) = channel();
        let told = Arc::new(AtomicUsize::new(0));
        let counted = told.clone();
        let work = async move {
            for number in 0..3 * AHEAD {
                let promise = Counts(counted.clone());
                let bytes = Bytes::from(number.to_string());
                out.promise(bytes, promise).await.unwrap();
                if number % 5 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        };
        let mut body = Served::new(work, events, None);
        for number in 0..3 * AHEAD {
            assert_eq!(told.load(Ordering::Relaxed), number);
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), number.to_string());
        }
        assert!(body.frame().await.is_none());
    }

    /// A connection asks three times for each event; work that is asked each time doubles what an event costs.
    #[tokio::test]
    async fn work_that_nothing_woke_is_not_asked() {
        let (out, events) = channel();
        let (moved, mut seen) = tokio::sync::watch::channel(0);
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let mut following = Box::pin(async move {
            while seen.changed().await.is_ok() {
                out.send(Bytes::from_static(b"event")).await.unwrap();
            }
        });
        let work = std::future::poll_fn(move |cx| {
            counted.fetch_add(1, Ordering::Relaxed);
            following.as_mut().poll(cx)
        });
        let mut body = Served::new(work, events, None);
        let mut ask = move || {
            let mut cx = Context::from_waker(Waker::noop());
            hyper::body::Body::poll_frame(Pin::new(&mut body), &mut cx)
        };
        assert!(ask().is_pending());
        for number in 1..5 {
            moved.send_replace(number);
            assert!(matches!(ask(), Poll::Ready(Some(Ok(_)))));
            assert!(ask().is_pending() && ask().is_pending());
            assert_eq!(asked.load(Ordering::Relaxed), 1 + number);
        }
        drop(moved);
        assert!(matches!(ask(), Poll::Ready(None)));
    }
}
