//! A broker that means nothing: the serving end of `remoting` with the least work that a send could
//! be. What it costs is what the transport costs; a real broker is compared with it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use model::{Level, LogOffset, Mark};
use remoting::server::{
    Door, Hub, Listener, Options, Outcome, Peer, Refusal, Run, Running, Server, Service,
};
use remoting::{Frame, Head, Reply};

#[derive(Default)]
struct Toy {
    log: Mutex<Vec<u8>>,
    offsets: [AtomicU64; 8],
    staged: AtomicU64,
}

impl Service for Toy {
    fn call(&self, _: &Peer, request: &Frame<'_>, _: Run, out: &mut Vec<u8>) -> Outcome {
        let head = Head {
            opaque: request.opaque,
            serialize: request.serialize,
        };
        match request.code {
            310 => {
                let queue = request
                    .ext
                    .get("e")
                    .and_then(|queue| queue.parse::<usize>().ok());
                let queue = queue.unwrap_or_default() & 7;
                let properties = request.ext.get("i").unwrap_or_default();
                let mut log = self.log.lock().unwrap_or_else(|poison| poison.into_inner());
                let offset = self.offsets[queue].fetch_add(1, Ordering::Relaxed);
                log.extend_from_slice(&crc32fast::hash(request.body).to_be_bytes());
                log.extend_from_slice(request.body);
                log.extend_from_slice(properties.as_bytes());
                drop(log);
                let at = LogOffset(self.staged.fetch_add(1, Ordering::Relaxed) + 1);
                Reply::new(out, head, 0)
                    .field("msgId", "7F00000100002A9F0000000000000000")
                    .number("queueId", queue as i64)
                    .number("queueOffset", offset as i64)
                    .field("TRACE_ON", "true")
                    .field("MSG_REGION", "DefaultRegion")
                    .finish();
                let level = Level::Appended;
                return Outcome::After(Mark { level, at });
            }
            17 => Reply::new(out, head, 0).finish(),
            30 => {
                let queue = request
                    .ext
                    .get("queueId")
                    .and_then(|queue| queue.parse::<usize>().ok());
                let end = self.offsets[queue.unwrap_or_default() & 7].load(Ordering::Relaxed);
                Reply::new(out, head, 0)
                    .number("offset", end as i64)
                    .finish();
            }
            _ => Reply::new(out, head, 3).finish(),
        }
        Outcome::Done
    }

    fn commit(&self) -> Result<(), Refusal> {
        self.log
            .lock()
            .unwrap_or_else(|poison| poison.into_inner())
            .clear();
        Ok(())
    }
}

/// Serves until dropped.
pub fn serve(address: SocketAddr, io_threads: usize) -> std::io::Result<Running> {
    let listener = Listener::bind(address, Door::Main)?;
    let hub = Hub::new(io_threads);
    Server::start(
        vec![listener],
        Options::default(),
        hub,
        Arc::<Toy>::default(),
    )
}
