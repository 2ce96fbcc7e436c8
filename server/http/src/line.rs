//! A connection's socket, and the way past hyper to it: events that are written once for many streams go straight
//! to each socket, while its connection has nothing to write.
//!
//! ```text
//! hyper ── Wire ──┐
//!                 ├── Line ── socket
//! fan ────────────┘  only while all that hyper was given is written, and all that it will be given
//! ```

use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use rustix::net::{Shutdown, shutdown};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// What is written in one piece.
const SMALL: usize = 1024;

/// A connection's socket as hyper has it.
pub(crate) struct Wire {
    reads: OwnedReadHalf,
    line: Arc<Line>,
}

/// The side of a connection's socket that is written to.
pub(crate) struct Line {
    socket: OwnedWriteHalf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What was begun past hyper and the socket did not take: it goes before anything else.
    rest: Bytes,
    /// Pieces of a body that hyper has not asked for yet.
    owed: usize,
    /// hyper has nothing left to write.
    flushed: bool,
}

/// What became of something that was to be written past hyper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Past {
    /// The socket has it.
    Whole,
    /// The socket has its beginning; the connection, which must be woken, writes the rest.
    Begun,
    /// Nothing of it is written: it goes by hyper.
    No,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Wire {
        let (reads, socket) = stream.into_split();
        let state = Mutex::default();
        let line = Arc::new(Line { socket, state });
        Wire { reads, line }
    }

    pub(crate) fn line(&self) -> &Arc<Line> {
        &self.line
    }
}

impl Line {
    /// Whose connection it is.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.socket.peer_addr().ok()
    }

    /// A piece of the answer's body waits for hyper to ask for it.
    pub(crate) fn owe(&self) {
        self.lock().owed += 1;
    }

    /// hyper has taken such a piece, and asks us to flush when it has written it.
    pub(crate) fn taken(&self) {
        let mut state = self.lock();
        state.owed = state.owed.saturating_sub(1);
        state.flushed = false;
    }

    /// Writes a whole chunk of the answer that is under way, if it is its turn.
    pub(crate) fn write_past(&self, chunk: &Bytes) -> Past {
        let mut state = self.lock();
        if !state.flushed || state.owed > 0 {
            return Past::No;
        }
        match self.socket.try_write(chunk) {
            Ok(written) if written == chunk.len() => Past::Whole,
            Ok(written) => {
                state.rest = chunk.slice(written..);
                state.flushed = false;
                Past::Begun
            }
            // What is wrong with the socket, its connection learns when it writes.
            Err(_) => Past::No,
        }
    }

    fn poll_rest(&self, cx: &mut Context<'_>) -> Poll<io::Result<MutexGuard<'_, State>>> {
        let mut state = self.lock();
        while !state.rest.is_empty() {
            let written = ready!(self.poll_write(cx, |socket| socket.try_write(&state.rest)))?;
            if written == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            state.rest.advance(written);
        }
        Poll::Ready(Ok(state))
    }

    fn poll_write(
        &self,
        cx: &mut Context<'_>,
        write: impl Fn(&OwnedWriteHalf) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.as_ref().poll_write_ready(cx))?;
            match write(&self.socket) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reads).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        drop(ready!(self.line.poll_rest(cx))?);
        self.line.poll_write(cx, |socket| socket.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        drop(ready!(self.line.poll_rest(cx))?);
        let all: usize = parts.iter().map(|part| part.len()).sum();
        if all > SMALL {
            return self
                .line
                .poll_write(cx, |socket| socket.try_write_vectored(parts));
        }
        // Most answers: to put their parts together costs less than to let the kernel do it.
        let mut together = [0; SMALL];
        let mut at = 0;
        for part in parts {
            together[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        self.line
            .poll_write(cx, |socket| socket.try_write(&together[..all]))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper asks for it only when it has written everything.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.line.poll_rest(cx))?.flushed = true;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        drop(ready!(self.line.poll_rest(cx))?);
        Poll::Ready(match shutdown(self.line.socket.as_ref(), Shutdown::Write) {
            // The peer was faster.
            Err(rustix::io::Errno::NOTCONN) => Ok(()),
            done => done.map_err(io::Error::from),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A connection, and its peer.
    pub(crate) async fn connected() -> (Wire, TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let peer = TcpStream::connect(address).await.unwrap();
        (Wire::new(listener.accept().await.unwrap().0), peer)
    }

    #[tokio::test]
    async fn nothing_goes_past_what_the_connection_has_to_write() {
        let (mut wire, mut peer) = connected().await;
        let (line, past) = (wire.line().clone(), Bytes::from_static(b"past"));
        assert_eq!(line.write_past(&past), Past::No);
        wire.write_all(b"head ").await.unwrap();
        assert_eq!(line.write_past(&past), Past::No);
        wire.flush().await.unwrap();
        assert_eq!(line.write_past(&past), Past::Whole);
        line.owe();
        wire.flush().await.unwrap();
        assert_eq!(line.write_past(&past), Past::No);
        line.taken();
        assert_eq!(line.write_past(&past), Past::No);
        wire.flush().await.unwrap();
        assert_eq!(line.write_past(&past), Past::Whole);
        wire.shutdown().await.unwrap();
        let mut read = String::new();
        peer.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "head pastpast");
    }

    #[tokio::test]
    async fn what_the_socket_did_not_take_goes_before_anything_else() {
        let (mut wire, mut peer) = connected().await;
        wire.write_all(b"head ").await.unwrap();
        wire.flush().await.unwrap();
        // More than any socket takes at once.
        let long = Bytes::from(vec![b'x'; 64 << 20]);
        assert_eq!(wire.line().write_past(&long), Past::Begun);
        assert_eq!(wire.line().write_past(&long), Past::No);
        let reading = tokio::spawn(async move {
            let mut read = Vec::new();
            peer.read_to_end(&mut read).await.unwrap();
            read
        });
        wire.write_all(b" tail").await.unwrap();
        wire.shutdown().await.unwrap();
        let read = reading.await.unwrap();
        assert_eq!(read.len(), long.len() + 10);
        assert!(read.starts_with(b"head x") && read.ends_with(b"x tail"));
    }
}
