//! Takes connections and serves them until the end.
//!
//! We accept ourselves: what servers come with leaves a header that never ends open for ever.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

use crate::gauge::{Gauge, Taken, Unit};
use crate::line::Wire;
use crate::options::Limits;
use crate::router::Door;
use crate::shares::{Share, Shares};

/// What a connection may have waiting to be written, and read ahead: a hundred messages of 1 KiB come in one piece,
/// and are not copied together. hyper's defaults are three times as much, which 10,000 slow readers would turn into
/// gigabytes.
const BUFFER: usize = 128 << 10;
/// The same of one stream of HTTP/2, to be written.
const H2_BUFFER: usize = 64 << 10;
const H2_STREAMS: u32 = 128;
const H2_RESETS: usize = 20;
/// After an error that is not the peer's, most likely that descriptors have run out.
const PAUSE: Duration = Duration::from_millis(10);
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";

/// Serves a port until `closed`, then answers what is under way, for as long as that takes.
pub(crate) async fn serve(
    listener: TcpListener,
    door: Door,
    limits: Limits,
    mut closed: watch::Receiver<bool>,
) {
    let http = http(&limits);
    let open = GracefulShutdown::new();
    let connections = Connections::new(&limits);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closed.wait_for(|closed| *closed) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "an HTTP connection could not be taken");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Some(place) = connections.take(peer) else {
            // The answer is worth one try; whoever floods us is not waited for.
            let _ = stream.try_write(FULL);
            continue;
        };
        prepare(&stream, &limits);
        let wire = Wire::new(stream);
        let line = wire.line().clone();
        let door = door.clone();
        let asked = Arc::new(Notify::new());
        let asks = asked.clone();
        let service = service_fn(move |request| {
            asks.notify_one();
            let answer = door.clone().answer(request, line.clone());
            async move { Ok::<_, std::convert::Infallible>(answer.await) }
        });
        let serving = http.serve_connection(TokioIo::new(wire), service);
        let serving = open.watch(serving.into_owned());
        let patience = limits.header_time;
        tokio::spawn(async move {
            let mut serving = std::pin::pin!(serving);
            // hyper's own time begins only when it knows the version that the peer speaks.
            let over = tokio::select! {
                _ = &mut serving => true,
                () = asked.notified() => false,
                () = tokio::time::sleep(patience) => true,
            };
            if !over {
                // A peer that breaks off is its own affair.
                let _ = serving.await;
            }
            drop(place);
        });
    }
    drop(listener);
    open.shutdown().await;
}

fn http(limits: &Limits) -> Builder<TokioExecutor> {
    let mut http = Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_headers(limits.headers)
        .max_buf_size(BUFFER);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS)
        .max_pending_accept_reset_streams(H2_RESETS)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(H2_BUFFER)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
    http
}

fn prepare(stream: &TcpStream, limits: &Limits) {
    let stall = u32::try_from(limits.write_stall.as_millis()).unwrap_or(u32::MAX);
    let set = stream.set_nodelay(true).map_err(|_| ());
    // A peer that vanished, or reads nothing, does not hold its socket for ever.
    let set = set.and(set_tcp_user_timeout(stream, stall).map_err(|_| ()));
    if set.is_err() {
        tracing::debug!("a connection was gone before it was served");
    }
}

/// How many connections there are, and of whom.
struct Connections {
    all: Gauge,
    of_one: Shares,
}

/// The place of one connection.
struct Place {
    _all: Taken,
    _own: Share,
}

impl Connections {
    fn new(limits: &Limits) -> Connections {
        Connections {
            all: Gauge::new("connections", Unit::Requests, limits.connections),
            of_one: Shares::new(limits.connections_of_one),
        }
    }

    /// A place, unless all are taken.
    fn take(&self, peer: SocketAddr) -> Option<Place> {
        Some(Place {
            _all: self.all.take(1)?,
            _own: self.of_one.take(peer.ip())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_have_a_share_each_and_this_machine_has_none() {
        let limits = Limits {
            connections: 4,
            connections_of_one: 2,
            ..Limits::default()
        };
        let connections = Connections::new(&limits);
        let peer = |last| SocketAddr::from(([192, 0, 2, last], 1));
        let first = connections.take(peer(1)).unwrap();
        let _second = connections.take(peer(1)).unwrap();
        assert!(connections.take(peer(1)).is_none());
        drop(first);
        let _third = connections.take(peer(1)).unwrap();
        let local = SocketAddr::from(([127, 0, 0, 1], 1));
        let _fourth = connections.take(local).unwrap();
        let _fifth = connections.take(local).unwrap();
        assert!(connections.take(local).is_none());
    }
}
