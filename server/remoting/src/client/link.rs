//! One connection: what is to be written, who waits, and the three tasks that keep it moving.
//!
//! Callers append whole frames to one buffer, and one task writes it: what many callers staged while
//! the last write was under way leaves together. A call that is given up never leaves half a frame.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

use super::waiting::Waiting;
use super::{CallError, Heard, Incoming, answer_to};
use crate::command::Command;
use crate::frame::Decoder;
use crate::limits::{CLIENT_OUT, CLIENT_READ};

/// What callers and tasks share.
pub(super) struct Link {
    pub(super) address: SocketAddr,
    pub(super) waiting: Waiting,
    out: Mutex<Out>,
    /// There is something to write.
    staged: Notify,
    /// Something was written, or never will be.
    written: Notify,
}

#[derive(Default)]
struct Out {
    frames: Vec<u8>,
    /// Bytes staged and bytes written since the connection stands.
    staged: u64,
    written: u64,
    gone: bool,
}

/// A link and its tasks, which end with it.
pub(super) struct Connection {
    pub(super) link: Arc<Link>,
    tasks: [JoinHandle<()>; 3],
}

impl Connection {
    pub(super) fn begin(
        address: SocketAddr,
        (reader, writer): (
            impl AsyncRead + Unpin + Send + 'static,
            impl AsyncWrite + Unpin + Send + 'static,
        ),
        incoming: Arc<Incoming>,
    ) -> Connection {
        let link = Arc::new(Link {
            address,
            waiting: Waiting::default(),
            out: Mutex::default(),
            staged: Notify::new(),
            written: Notify::new(),
        });
        let deadlines = link.clone();
        let tasks = [
            tokio::spawn(read(reader, link.clone(), incoming)),
            tokio::spawn(write(writer, link.clone())),
            tokio::spawn(async move { deadlines.waiting.deadlines().await }),
        ];
        Connection { link, tasks }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.link.break_off();
    }
}

impl Link {
    fn out(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends what `encode` writes. Returns the position behind it, for [`Link::until_written`].
    pub(super) fn stage(&self, encode: impl FnOnce(&mut Vec<u8>)) -> u64 {
        let mut out = self.out();
        let before = out.frames.len();
        encode(&mut out.frames);
        out.staged += (out.frames.len() - before) as u64;
        let position = out.staged;
        drop(out);
        if before == 0 {
            self.staged.notify_one();
        }
        position
    }

    /// Whether so much is staged that callers must wait for [`Link::room`].
    pub(super) fn is_full(&self) -> bool {
        self.out().frames.len() >= CLIENT_OUT
    }

    /// Waits while the peer does not take what is staged already.
    pub(super) async fn room(&self) {
        loop {
            let written = self.written.notified();
            {
                let out = self.out();
                if out.gone || out.frames.len() < CLIENT_OUT {
                    return;
                }
            }
            written.await;
        }
    }

    /// Waits until everything before `position` was handed to the socket.
    pub(super) async fn until_written(&self, position: u64) -> Result<(), CallError> {
        loop {
            let written = self.written.notified();
            {
                let out = self.out();
                if out.written >= position {
                    return Ok(());
                }
                if out.gone {
                    return Err(CallError::Broken(self.address));
                }
            }
            written.await;
        }
    }

    /// Waits until everything staged so far was handed to the socket.
    pub(super) async fn flush(&self) -> Result<(), CallError> {
        let position = self.out().staged;
        self.until_written(position).await
    }

    pub(super) fn break_off(&self) {
        self.out().gone = true;
        self.waiting.break_off(self.address);
        self.written.notify_waiters();
        self.staged.notify_one();
    }
}

async fn write(mut writer: impl AsyncWrite + Unpin, link: Arc<Link>) {
    let mut frames = Vec::new();
    loop {
        link.staged.notified().await;
        // Whoever else is about to stage does so before the write.
        tokio::task::yield_now().await;
        {
            let mut out = link.out();
            if out.gone {
                return;
            }
            std::mem::swap(&mut out.frames, &mut frames);
        }
        // TLS keeps what it has not sealed yet; a socket keeps nothing.
        if writer.write_all(&frames).await.is_err() || writer.flush().await.is_err() {
            return link.break_off();
        }
        link.out().written += frames.len() as u64;
        link.written.notify_waiters();
        frames.clear();
        frames.shrink_to(CLIENT_OUT);
    }
}

async fn read(reader: impl AsyncRead + Unpin, link: Arc<Link>, incoming: Arc<Incoming>) {
    // However it ends (its runtime, too, may end), nobody waits for answers that cannot come.
    struct BreaksOff<'a>(&'a Link);
    impl Drop for BreaksOff<'_> {
        fn drop(&mut self) {
            self.0.break_off();
        }
    }
    let _ends = BreaksOff(&link);
    read_frames(reader, &link, &*incoming).await;
}

async fn read_frames(mut reader: impl AsyncRead + Unpin, link: &Arc<Link>, incoming: &Incoming) {
    let mut later = JoinSet::new();
    let mut bytes = Vec::new();
    let mut decoder = Decoder::new();
    let mut answers = Vec::new();
    loop {
        // As much again as there is: never because of a length that the peer claims.
        bytes.reserve(bytes.len().max(CLIENT_READ));
        let Ok(1..) = reader.read_buf(&mut bytes).await else {
            return;
        };
        let mut at = 0;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let length = match Decoder::peek(rest) {
                Ok(Some(length)) => length,
                Ok(None) => break,
                Err(_) => return,
            };
            let frame = rest.get(..length).unwrap_or_default();
            let Ok(head) = decoder.decode(frame) else {
                return;
            };
            if head.is_response() {
                answers.push((head.opaque, Bytes::copy_from_slice(frame)));
            } else {
                let (opaque, oneway) = (head.opaque, head.is_oneway());
                let Ok(request) = Command::decode(frame) else {
                    return;
                };
                match incoming(request) {
                    Heard::Answer(answer) if !oneway => {
                        link.stage(|out| answer_to(opaque, *answer).encode(out));
                    }
                    Heard::Later(answer) => {
                        let link = link.clone();
                        later.spawn(async move {
                            let answer = answer_to(opaque, answer.await);
                            if !oneway {
                                link.stage(|out| answer.encode(out));
                            }
                        });
                        while later.try_join_next().is_some() {}
                    }
                    Heard::Nothing | Heard::Answer(_) => {}
                }
            }
            at += length;
        }
        bytes.drain(..at);
        link.waiting.answer(&mut answers);
    }
}
