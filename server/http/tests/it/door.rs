//! A server of these tests, and a caller that writes every byte itself.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use http_door::{Options, Ports, Secret};
use posthouse::config::Config;
use posthouse_client::{Client, Config as ClientConfig, Entrance, Transport};
use serde_json::Value;

use crate::{contract, gateways};

/// No wait of these tests is longer.
pub const LIMIT: Duration = Duration::from_secs(30);

/// The server that most tests share.
fn shared() -> &'static Mutex<(posthouse::Server, tempfile::TempDir)> {
    static SERVER: OnceLock<Mutex<(posthouse::Server, tempfile::TempDir)>> = OnceLock::new();
    SERVER.get_or_init(|| {
        let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let file = "flushDiskType=ASYNC_FLUSH\ntransactionCheckInterval=1000\nhttp.sse.retry=50\n";
        let authorities = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testdata/ca.pem");
        let webhooks = format!(
            "http.webhook.trustedHosts=localhost\nhttp.webhook.authorities={authorities}\n"
        );
        let mut config = Config::embedded(data.path(), &(file.to_owned() + &webhooks)).unwrap();
        config.http.public = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        config.http.management = config.http.public;
        let server = posthouse::Server::start(&config).unwrap();
        Mutex::new((server, data))
    })
}

/// Where the shared server serves everybody, or gateways in front of it do.
pub fn address() -> SocketAddr {
    if gateways::in_front() {
        return gateways::address();
    }
    shared().lock().unwrap().0.http().address().unwrap()
}

/// Where the shared server serves operators.
pub fn management() -> SocketAddr {
    shared()
        .lock()
        .unwrap()
        .0
        .http()
        .management_address()
        .unwrap()
}

/// The options of the shared server, as far as tests see them.
pub fn options() -> Options {
    Options {
        sse_retry: Duration::from_millis(50),
        ..Options::default()
    }
}

/// The shared server's name server.
pub fn name_server() -> String {
    let shared = shared().lock().unwrap();
    let namesrv = shared.0.namesrv().unwrap();
    namesrv.address().to_string()
}

/// A client of the shared server's cluster.
pub fn client() -> Client {
    Client::new(ways())
}

fn ways() -> ClientConfig {
    let shared = shared().lock().unwrap();
    let (namesrv, broker) = (shared.0.namesrv().unwrap(), shared.0.broker().unwrap());
    let entrance = |address: String, (hub, service)| Entrance {
        address,
        hub,
        service,
    };
    let name_server = namesrv.address().to_string();
    let ways = vec![
        entrance(name_server.clone(), namesrv.inside()),
        entrance(broker.advertised().to_string(), broker.inside()),
    ];
    ClientConfig::new(&name_server).transport(Transport::Local(ways))
}

/// Another door to the shared cluster, with options of its own.
pub fn own(options: Options) -> http_door::Server {
    to(client(), options, &Secret::fresh().unwrap())
}

/// One of several doors to the shared cluster: what one leases the others know.
pub fn beside(secret: &Secret) -> http_door::Server {
    to(client(), Options::default(), secret)
}

/// A server of its own in memory, which gives up its oldest messages when it is full, and a door to it.
pub fn small() -> (posthouse::Server, http_door::Server) {
    let embedded = posthouse::Embedded {
        memory_bytes: 64 << 20,
        listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        ..posthouse::Embedded::default()
    };
    let server = posthouse::Server::embedded(&embedded).unwrap();
    let name_server = server.namesrv().unwrap().address().to_string();
    let door = to(
        Client::new(ClientConfig::new(&name_server)),
        Options::default(),
        &Secret::fresh().unwrap(),
    );
    (server, door)
}

/// A door to a cluster that nobody reaches.
pub fn away() -> http_door::Server {
    to(
        Client::new(ClientConfig::new("127.0.0.1:1")),
        Options::default(),
        &Secret::fresh().unwrap(),
    )
}

fn to(client: Client, options: Options, secret: &Secret) -> http_door::Server {
    let port = || Some(TcpListener::bind("127.0.0.1:0").unwrap());
    let ports = Ports {
        public: port(),
        management: port(),
    };
    http_door::Server::start(ports, options, secret, client).unwrap()
}

/// A name that no other test has.
pub fn fresh(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// What a caller got.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// By lower-case name; of several, the last.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The slug of its problem.
    pub fn problem(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{self:?}"
        );
        let json = self.json();
        let kind = json["type"].as_str().unwrap();
        kind.strip_prefix("/problems/").unwrap().to_owned()
    }

    /// Fails unless the status is this one.
    pub fn expect(self, status: u16) -> Answer {
        let body = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{body}");
        self
    }
}

/// Asks the shared server, without a body.
pub fn ask(method: &str, target: &str) -> Answer {
    send(method, target, &[], b"")
}

/// Asks the shared server with JSON.
pub fn ask_json(method: &str, target: &str, body: &Value) -> Answer {
    let headers = [("Content-Type", "application/json")];
    send(method, target, &headers, body.to_string().as_bytes())
}

/// Asks the shared server.
pub fn send(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    send_to(address(), method, target, headers, body)
}

/// Asks a server, and holds its answer against the contract.
pub fn send_to(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut text = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("host"))
    {
        text += &format!("Host: {address}\r\n");
    }
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() || method == "POST" {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    text += "\r\n";
    let mut socket = connect(address);
    // The server may answer, and close, before it has read everything.
    let _ = socket.write_all(&[text.as_bytes(), body].concat());
    let answer = read(&mut socket, method == "HEAD");
    contract::check(method, target, &answer);
    answer
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket
}

/// The answer on a connection that closes behind it.
pub fn read(socket: &mut TcpStream, head_only: bool) -> Answer {
    let mut bytes = Vec::new();
    let end = socket.read_to_end(&mut bytes);
    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let at = at.unwrap_or_else(|| panic!("{end:?}: {}", String::from_utf8_lossy(&bytes)));
    let head = String::from_utf8(bytes[..at].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let headers: BTreeMap<String, String> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let rest = &bytes[at + 4..];
    let body = match headers.get("transfer-encoding").map(String::as_str) {
        Some("chunked") => unchunk(rest),
        _ => rest.to_vec(),
    };
    if let Some(length) = headers.get("content-length").filter(|_| !head_only) {
        assert_eq!(length.parse::<usize>().unwrap(), body.len());
    }
    let body = match headers.get("content-encoding").map(String::as_str) {
        Some("gzip") if !body.is_empty() => {
            let mut plain = Vec::new();
            let mut packed = flate2::read::GzDecoder::new(&body[..]);
            packed.read_to_end(&mut plain).unwrap();
            plain
        }
        Some("zstd") if !body.is_empty() => {
            let mut plain = Vec::new();
            let mut packed = ruzstd::decoding::StreamingDecoder::new(&body[..]).unwrap();
            packed.read_to_end(&mut plain).unwrap();
            plain
        }
        _ => body,
    };
    if !headers
        .get("content-type")
        .is_some_and(|kind| kind.starts_with("text/html"))
    {
        contract::note(&String::from_utf8_lossy(&body));
    }
    Answer {
        status: status.parse().unwrap(),
        headers,
        body,
    }
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(at) = rest.windows(2).position(|two| two == b"\r\n") {
        let length = std::str::from_utf8(&rest[..at]).unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            break;
        }
        body.extend_from_slice(&rest[at + 2..at + 2 + length]);
        rest = &rest[at + 2 + length + 2..];
    }
    body
}
