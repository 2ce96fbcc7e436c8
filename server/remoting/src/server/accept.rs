//! Starting and stopping: listeners, I/O threads, and the two phases of an end.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use crate::limits::Limits;
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
        let _ = (listeners, options, hub, service);
        #[allow(clippy::todo)]
        {
            todo!()
        }
    }
}

/// A server at work. Dropping it ends it at once.
pub struct Running {
    addresses: Vec<SocketAddr>,
}

impl Running {
    /// The bound addresses, in the order of the listeners.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Stops accepting, answers what is in flight, writes it out, closes; what is not done after
    /// `grace` is cut. Blocks until the I/O threads have ended.
    pub fn shutdown(self, grace: Duration) {
        let _ = grace;
    }
}
