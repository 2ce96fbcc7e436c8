//! Starting and stopping: listeners, I/O threads, and the two phases of an end.

use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use std::{fmt, io, thread};

use tokio::time::sleep;

use crate::limits::Limits;
use crate::server::cold::Pool;
use crate::server::hub::Mail;
use crate::server::run::run;
use crate::server::thread::{Thread, turn_ends};
use crate::server::{Door, Hub, Service};

/// A bound address and which door it is.
#[derive(Debug)]
pub struct Listener {
    /// The listening socket.
    pub socket: TcpListener,
    /// What comes through it is marked so.
    pub door: Door,
}

impl Listener {
    /// Binds an address; port 0 picks one. `SO_REUSEADDR` is on, as in Apache: a restarted server
    /// need not wait for its old connections to be forgotten.
    pub fn bind(address: SocketAddr, door: Door) -> io::Result<Listener> {
        use socket2::{Domain, Protocol, Socket, Type};
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(1024)?;
        let socket = TcpListener::from(socket);
        Ok(Listener { socket, door })
    }

    /// The bound address.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// How a server is run. The number of I/O threads is the hub's.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Names the I/O threads: `posthouse-io` becomes `posthouse-io-0` and so on. Empty: `remoting`.
    pub name: String,
    /// What peers are allowed.
    pub limits: Limits,
}

/// Starts servers.
pub struct Server;

impl Server {
    /// Serves what comes through the listeners, on the hub's I/O threads. One hub serves one server.
    pub fn start(
        listeners: Vec<Listener>,
        options: Options,
        hub: Arc<Hub>,
        service: Arc<dyn Service>,
    ) -> io::Result<Running> {
        let addresses = listeners.iter().map(Listener::address);
        let addresses = addresses.collect::<io::Result<Vec<_>>>()?;
        let limits = Arc::new(options.limits);
        let cold = Pool::new(limits.cold_threads, limits.cold_jobs);
        let partial = Arc::new(AtomicUsize::new(0));
        let (ended, ends) = mpsc::channel();
        let mut running = Running {
            addresses,
            hub: hub.clone(),
            threads: Vec::new(),
            ends,
        };
        let mut listeners = Some(listeners);
        for index in 0..hub.io_threads() {
            // The first thread accepts for all.
            let listeners = listeners.take().unwrap_or_default();
            let (hub, service, limits) = (hub.clone(), service.clone(), limits.clone());
            let (cold, partial, ended) = (cold.clone(), partial.clone(), ended.clone());
            let name = match options.name.as_str() {
                "" => format!("remoting-{index}"),
                name => format!("{name}-{index}"),
            };
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .enable_time()
                .on_thread_park(turn_ends)
                .build()?;
            let thread = thread::Builder::new().name(name).spawn(move || {
                let thread = Thread::new(index, hub, service, limits, cold, partial);
                runtime.block_on(run(thread, listeners));
                drop(runtime);
                let _ = ended.send(());
            })?;
            running.threads.push(thread);
        }
        Ok(running)
    }
}

/// A server at work. Dropping it ends it at once.
pub struct Running {
    addresses: Vec<SocketAddr>,
    hub: Arc<Hub>,
    threads: Vec<thread::JoinHandle<()>>,
    /// One letter for each thread that has ended.
    ends: mpsc::Receiver<()>,
}

impl Running {
    /// The bound addresses, in the order of the listeners.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Stops accepting, answers what is in flight, writes it out, closes; what is not done after
    /// `grace` is cut. Blocks until the I/O threads have ended.
    pub fn shutdown(self, grace: Duration) {
        let until = Instant::now() + grace;
        self.tell(|| Mail::Drain);
        for _ in &self.threads {
            let left = until.saturating_duration_since(Instant::now());
            if self.ends.recv_timeout(left).is_err() {
                break;
            }
        }
        // Dropping stops what is left.
    }

    fn tell(&self, mail: impl Fn() -> Mail) {
        for index in 0..self.threads.len() {
            self.hub.post(index, mail());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tell(|| Mail::Stop);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("an I/O thread panicked");
            }
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "serving {:?}", self.addresses)
    }
}

/// Accepts for all threads. When the process has no file descriptors left, it waits a little longer
/// each time instead of turning in a circle.
pub(crate) async fn accept(thread: Rc<Thread>, listener: Listener) {
    let door = listener.door;
    let bound = listener.socket.set_nonblocking(true);
    let socket = match bound.and_then(|()| tokio::net::TcpListener::from_std(listener.socket)) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(%error, "a listener cannot be used"),
    };
    let mut pause = PAUSE_MIN;
    loop {
        match socket.accept().await {
            Ok((stream, remote)) => {
                pause = PAUSE_MIN;
                hand_out(&thread, stream, remote, door);
            }
            Err(error) => {
                tracing::warn!(%error, "no connection accepted for {pause:?}");
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

fn hand_out(thread: &Thread, stream: tokio::net::TcpStream, remote: SocketAddr, door: Door) {
    if thread.hub.connections() >= thread.limits.connections {
        tracing::warn!(%remote, "too many connections: closing the newest");
        return;
    }
    // Without it, Nagle and delayed acknowledgements would add 40 ms to a lone answer.
    let moved = stream.set_nodelay(true).and_then(|()| stream.into_std());
    if let Ok(stream) = moved {
        let place = thread.hub.place();
        let mail = Mail::Accepted(stream, remote, door);
        thread.hub.post(place, mail);
    }
}

const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_secs(1);
