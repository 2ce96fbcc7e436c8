//! Taking ports before anything listens on them.
//!
//! A port opens only after the broker is registered, so sockets are bound early (the number is known,
//! nobody else gets it) and listen late. A broker takes three: its own, the VIP port two below, and
//! the one above, which replication will use.

use std::io;
use std::net::{SocketAddr, TcpListener};

use remoting::server::{Door, Listener};
use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1_024;
/// How often a random port is tried until its neighbours are free too.
const TRIES: usize = 200;

/// A bound socket that does not listen yet.
#[derive(Debug)]
pub struct Bound {
    socket: Socket,
    door: Door,
}

/// Why a port was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// No VIP port fits below.
    #[error(
        "port {0} leaves no room for the VIP port two below it; give 3 or more, or 0 to pick one"
    )]
    TooLow(u16),
    /// Many random ports, and none had free neighbours.
    #[error("found no free port whose neighbours two below and one above are free")]
    NoneFree,
}

impl Bound {
    /// Takes an address; port 0 picks one.
    pub fn take(address: SocketAddr, door: Door) -> Result<Bound, Error> {
        let bind = || {
            let socket = Socket::new(
                Domain::for_address(address),
                Type::STREAM,
                Some(Protocol::TCP),
            )?;
            // A restart need not wait for old connections to be forgotten. Never for a port the
            // system picks: with it, two sockets that do not listen yet may get the same one.
            socket.set_reuse_address(address.port() != 0)?;
            socket.bind(&address.into())?;
            Ok(Bound { socket, door })
        };
        bind().map_err(|source| Error::Bind { address, source })
    }

    /// The address, with the port that was picked.
    pub fn address(&self) -> io::Result<SocketAddr> {
        let address = self.socket.local_addr()?.as_socket();
        address.ok_or_else(|| io::Error::other("not an IP socket"))
    }

    /// Opens it.
    pub fn listen(self) -> Result<Listener, Error> {
        let address = self
            .address()
            .unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
        let opened = self.socket.listen(BACKLOG);
        opened.map_err(|source| Error::Bind { address, source })?;
        Ok(Listener {
            socket: TcpListener::from(self.socket),
            door: self.door,
        })
    }
}

/// Takes a broker's main and VIP port. Port 0 picks one whose neighbours −2 and +1 are free.
pub fn take_broker(address: SocketAddr) -> Result<[Bound; 2], Error> {
    match address.port() {
        0 => {
            let mut picked = (0..TRIES).filter_map(|_| pick(address));
            picked.next().ok_or(Error::NoneFree)
        }
        low @ (1 | 2) => Err(Error::TooLow(low)),
        port => {
            let main = Bound::take(address, Door::Main)?;
            let vip = Bound::take(SocketAddr::new(address.ip(), port - 2), Door::Vip)?;
            Ok([main, vip])
        }
    }
}

fn pick(address: SocketAddr) -> Option<[Bound; 2]> {
    let main = Bound::take(address, Door::Main).ok()?;
    let port = main.address().ok()?.port();
    let neighbour = |port: u16| {
        let address = SocketAddr::new(address.ip(), port);
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )
        .ok()?;
        socket.bind(&address.into()).ok()?;
        Some(socket)
    };
    let socket = neighbour(port.checked_sub(2).filter(|port| *port > 0)?)?;
    neighbour(port.checked_add(1)?)?;
    Some([
        main,
        Bound {
            socket,
            door: Door::Vip,
        },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    fn loopback(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn a_picked_port_has_a_free_neighbour_above_and_the_vip_port_below() {
        let [main, vip] = take_broker(loopback(0)).unwrap();
        let (main, vip) = (main.address().unwrap(), vip.address().unwrap());
        assert_eq!(main.port() - 2, vip.port());
        Bound::take(loopback(main.port() + 1), Door::Main).unwrap();
    }

    #[test]
    fn a_taken_port_refuses_connections_until_it_listens() {
        let bound = Bound::take(loopback(0), Door::Main).unwrap();
        let address = bound.address().unwrap();
        assert!(TcpStream::connect(address).is_err());
        let _listening = bound.listen().unwrap();
        TcpStream::connect(address).unwrap();
    }

    #[test]
    fn a_port_in_use_is_named() {
        let held = Bound::take(loopback(0), Door::Main)
            .unwrap()
            .listen()
            .unwrap();
        let address = held.socket.local_addr().unwrap();
        let error = Bound::take(address, Door::Main).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot listen on {address}"));
    }
}
