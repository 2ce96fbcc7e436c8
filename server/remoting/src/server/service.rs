//! What a server serves: one request at a time, by a plain function that never waits.

use std::sync::Arc;
use std::time::Duration;

use model::{Level, LogOffset, Mark};

use crate::frame::Frame;
use crate::server::Peer;

/// Handles requests. Called on I/O threads, so nothing here may block or take over 200 µs: that is
/// what [`Outcome::Cold`] is for.
pub trait Service: Send + Sync + 'static {
    /// Handles one request. The answer, if any, is appended to `out`, which holds earlier answers.
    /// What was appended for a one-way request, or with an outcome that runs the request again, is
    /// dropped. A panic becomes code 1 for this request only.
    fn call(&self, peer: &Peer, request: &Frame<'_>, run: Run, out: &mut Vec<u8>) -> Outcome;

    /// Ends a tick: writes out what was staged. On an error every answer of the tick that waits on a
    /// mark is replaced by the refusal.
    fn commit(&self) -> Result<(), Refusal> {
        Ok(())
    }

    /// How far a watermark is now.
    fn reached(&self, level: Level) -> LogOffset {
        let _ = level;
        LogOffset(u64::MAX)
    }

    /// The response code that an answer gets whose mark was not reached in time (10
    /// FLUSH_DISK_TIMEOUT, 12 FLUSH_SLAVE_TIMEOUT); the rest of the answer stays.
    fn late(&self, level: Level) -> i32 {
        let _ = level;
        1
    }

    /// Why no mark will move any more, if so: answers that wait for one get this refusal instead, as
    /// soon as [`crate::server::Hub::marks_moved`] is called.
    fn failed(&self) -> Option<Refusal> {
        None
    }

    /// How long an answer waits for its mark (Apache's `syncFlushTimeout`).
    fn mark_timeout(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// A connection stands, and its remote address is known.
    fn opened(&self, peer: &Arc<Peer>) {
        let _ = peer;
    }

    /// A connection is gone; what it held is forgotten.
    fn closed(&self, peer: &Peer) {
        let _ = peer;
    }

    /// An answer that a client sent to one of our own requests.
    fn answered(&self, peer: &Peer, response: &Frame<'_>) {
        let _ = (peer, response);
    }
}

/// Why a commit failed, as its senders are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Response code.
    pub code: i32,
    /// Text for people.
    pub remark: String,
}

/// Which run of a request this is.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Why the request runs again; `None` the first time.
    pub again: Option<Again>,
    /// Names this request for [`crate::server::Hub::wake`] while it is held. Unique in the process.
    pub ticket: u64,
}

impl Run {
    /// Whether the request may still be held: it may not once it has been.
    pub fn may_hold(&self) -> bool {
        !matches!(self.again, Some(Again::Woken | Again::Deadline))
    }
}

/// Why a request runs again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// It was held, and what it waited for may be there. It may not hold any more.
    Woken,
    /// It was held, and its time is over. It may not hold any more.
    Deadline,
    /// Its cold job is done.
    Warm,
}

/// What became of a request.
#[must_use]
pub enum Outcome {
    /// The answer (or nothing, if it is one-way) was written and may leave.
    Done,
    /// The answer was written, something was staged: it leaves when the mark is reached.
    After(Mark),
    /// Nothing was written. The request runs again when it is woken or this time is over.
    Hold(Duration),
    /// Nothing was written. The job may block; then the request runs again.
    Cold(Box<dyn FnOnce() + Send>),
}
