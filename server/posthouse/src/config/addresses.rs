//! Where to listen, what to tell others, and which name servers to register with.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

use super::{Error, Given, Role};
use crate::interfaces;
use crate::raw_config::RawConfig;

pub(super) fn namesrv_listen(
    role: Role,
    given: &Given,
    raw: &RawConfig,
) -> Result<SocketAddr, Error> {
    if let Some(text) = &given.namesrv_addr {
        return address("--namesrv-addr", text);
    }
    let ip = raw.written("bindAddress").and_then(|ip| ip.parse().ok());
    let ip = ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    // In a standalone's file the port is the broker's.
    let written = raw.written("listenPort").filter(|_| role == Role::Namesrv);
    let port = written.and_then(|port| port.parse().ok());
    Ok(SocketAddr::new(ip, port.unwrap_or(9876)))
}

pub(super) fn broker_listen(given: &Given, raw: &RawConfig) -> Result<SocketAddr, Error> {
    if let Some(text) = &given.broker_addr {
        return address("--broker-addr", text);
    }
    let ip = |key| raw.written(key).and_then(|ip| ip.parse::<IpAddr>().ok());
    // An advertised address that is not loopback says that others shall connect.
    let implied = || match ip("brokerIP1") {
        Some(told) if !told.is_loopback() => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let port = raw.written("listenPort").and_then(|port| port.parse().ok());
    Ok(SocketAddr::new(
        ip("bindAddress").unwrap_or_else(implied),
        port.unwrap_or(10911),
    ))
}

/// `brokerIP1`, else the address listened on; on all addresses, the first that is not loopback.
pub(super) fn advertised(listen: IpAddr, raw: &RawConfig) -> Result<IpAddr, Error> {
    match raw
        .written("brokerIP1")
        .and_then(|ip| ip.parse::<IpAddr>().ok())
    {
        Some(ip) if ip.is_unspecified() => Err(Error::Unspecified(ip)),
        Some(ip) => Ok(ip),
        None if listen.is_unspecified() => {
            Ok(interfaces::first_public().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)))
        }
        None => Ok(listen),
    }
}

pub(super) fn namesrvs(
    role: Role,
    given: &Given,
    raw: &RawConfig,
    notes: &mut Vec<String>,
) -> Vec<String> {
    let of_file = raw.written("namesrvAddr");
    let of_environment = given.namesrvs_of_environment.as_deref();
    let text = given.namesrvs.as_deref().or(of_file);
    let text = match (text, of_environment, role) {
        (Some(text), _, _) => text,
        (None, Some(text), Role::Broker | Role::Gateway) => text,
        (None, Some(text), Role::Standalone) => {
            // The variable is there for clients; a standalone brings its own name server.
            notes.push(format!(
                "NAMESRV_ADDR={text} is not used: a standalone registers with its own name server"
            ));
            ""
        }
        _ => "",
    };
    split(text)
}

/// The parts of a `;` list that are not empty.
pub(super) fn split(text: &str) -> Vec<String> {
    let parts = text.split(';').map(str::trim);
    parts
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

/// `HOST:PORT` of the command line; a name is looked up, and its IPv4 address preferred.
pub(super) fn address(option: &'static str, text: &str) -> Result<SocketAddr, Error> {
    let wrong = |what: String| Error::Address {
        option,
        text: text.to_owned(),
        what,
    };
    let usable = text
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !usable {
        return Err(wrong(
            "is not HOST:PORT, such as 127.0.0.1:10911 (port 0 picks a free one)".to_owned(),
        ));
    }
    let found: Vec<SocketAddr> = text
        .to_socket_addrs()
        .map_err(|error| wrong(error.to_string()))?
        .collect();
    let first = found
        .iter()
        .find(|address| address.is_ipv4())
        .or(found.first());
    first
        .copied()
        .ok_or_else(|| wrong("has no address".to_owned()))
}

/// Whether a name server's address is on this machine, as far as its name tells.
pub(super) fn is_local(namesrv: &str) -> bool {
    match namesrv.to_socket_addrs() {
        Ok(mut addresses) => addresses.all(|address| address.ip().is_loopback()),
        Err(_) => false,
    }
}
