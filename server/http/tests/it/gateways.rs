//! The suite once more, from the other side of three gateways: one secret, one balancer that gives each connection to
//! the next of them, one broker behind. What a caller does in steps, each step is another gateway's.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use http_door::{Options, Ports, Secret, Server};
use posthouse_client::{Client, Config};

use crate::{contract, door};

/// Set in the process that runs the suite through gateways.
const THROUGH: &str = "POSTHOUSE_HTTP_SUITE_THROUGH_GATEWAYS";

/// What cannot run there, by the beginning or the whole of its name.
const ELSEWHERE: &[(&str, &str)] = &[
    ("gateways::", "it is what runs the others"),
    ("slow::", "its servers are its own"),
    (
        "checkers::",
        "the server behind calls URLs too, and what it signs is of another secret",
    ),
    (
        "subscriptions::what_many_want_of_a_group_at_once_is_all_kept",
        "brokers compare nothing: of changes of one group at two gateways at once, one may be lost (docs/gateway.md)",
    ),
];

/// Whether the suite runs through gateways.
pub fn in_front() -> bool {
    std::env::var_os(THROUGH).is_some()
}

/// The balancer's address.
pub fn address() -> SocketAddr {
    static FRONT: OnceLock<(SocketAddr, [Server; 3])> = OnceLock::new();
    let (address, _) = FRONT.get_or_init(|| {
        let secret = Secret::fresh().unwrap();
        let gateways = [(); 3].map(|()| gateway(&secret));
        let doors = gateways.each_ref().map(|own| own.address().unwrap());
        (balance(doors), gateways)
    });
    *address
}

/// A gateway as `posthouse gateway` is one: it knows the name server's address and nothing else.
fn gateway(secret: &Secret) -> Server {
    let port = || Some(TcpListener::bind("127.0.0.1:0").unwrap());
    let ports = Ports {
        public: port(),
        management: port(),
    };
    let options = Options {
        role: "gateway",
        ..door::options()
    };
    let client = Client::new(Config::new(&door::name_server()));
    Server::start(ports, options, secret, client).unwrap()
}

/// Gives each connection to the next door. It ends with the process.
fn balance(doors: [SocketAddr; 3]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let callers = listener.incoming().map_while(Result::ok);
        for (caller, door) in callers.zip(doors.into_iter().cycle()) {
            std::thread::spawn(move || {
                let door = TcpStream::connect(door).unwrap();
                let (there, back) = (caller.try_clone().unwrap(), door.try_clone().unwrap());
                std::thread::spawn(move || pass(there, door));
                pass(back, caller);
            });
        }
    });
    address
}

/// Passes on what comes, and its end: an orderly one is one for the other side too, a broken one breaks both.
fn pass(mut from: TcpStream, mut to: TcpStream) {
    let how = match std::io::copy(&mut from, &mut to) {
        Ok(_) => Shutdown::Write,
        Err(_) => Shutdown::Both,
    };
    let _ = to.shutdown(how);
    let _ = from.shutdown(Shutdown::Read);
}

#[test]
#[allow(clippy::disallowed_methods)] // it starts itself once more
fn the_suite_passes_through_three_gateways_behind_a_balancer() {
    if in_front() {
        return;
    }
    let mut suite = Command::new(std::env::current_exe().unwrap());
    let notes = tempfile::NamedTempFile::new().unwrap();
    suite.env(THROUGH, "1").env(contract::NOTES, notes.path());
    suite.stdin(Stdio::null());
    for (name, _) in ELSEWHERE {
        suite.args(["--skip", name]);
    }
    let output = suite.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said
        .lines()
        .rev()
        .find(|line| line.starts_with("test result"));
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{why}");
    contract::met_all(&std::fs::read_to_string(notes.path()).unwrap());
    eprintln!("through gateways: {}", last.unwrap_or_default());
}
