//! This machine's addresses: which one to tell clients when the broker listens on all of them.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

/// The address that packets to the outside leave from; else the first address that is not loopback.
pub fn first_public() -> Option<IpAddr> {
    of_default_route().or_else(|| {
        let table = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
        local_addresses(&table)
            .into_iter()
            .find(|ip| is_public(*ip))
            .map(IpAddr::V4)
    })
}

/// Connecting a UDP socket sends nothing; it only asks the routing table.
fn of_default_route() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // An address of the documentation range: it need not exist, only be routed.
    socket.connect((Ipv4Addr::new(198, 51, 100, 1), 9)).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}

fn is_public(ip: Ipv4Addr) -> bool {
    !ip.is_loopback() && !ip.is_unspecified() && !ip.is_link_local()
}

/// The addresses that Linux's routing table marks `host LOCAL`, in its order.
fn local_addresses(table: &str) -> Vec<Ipv4Addr> {
    let mut last = None;
    let mut found = Vec::new();
    for line in table.lines() {
        if let Some((_, address)) = line.split_once("|-- ") {
            last = address.trim().parse::<Ipv4Addr>().ok();
        } else if line.contains("/32 host LOCAL") {
            found.extend(last.take());
        }
    }
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_are_read_from_the_routing_table() {
        let table = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     \
                     +-- 127.0.0.0/8 2 0 2\n        |-- 127.0.0.1\n           /32 host LOCAL\n     \
                     |-- 172.17.0.0\n        /16 link UNICAST\n     |-- 172.17.0.2\n        /32 host LOCAL\n";
        let found = local_addresses(table);
        assert_eq!(found, [Ipv4Addr::LOCALHOST, Ipv4Addr::new(172, 17, 0, 2)]);
        assert!(!is_public(found[0]) && is_public(found[1]));
    }
}
