//! What a send costs, as a multiple of what its transport alone costs in the same seconds on the same
//! machine: a ratio of CPU times, which a loaded machine changes little.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

mod http;

/// Held by what runs servers: what is measured is measured alone.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// Two and a half when this was written, on a quiet machine.
const AT_MOST: f64 = 4.0;
const ROUNDS: usize = 12;

#[test]
#[cfg_attr(debug_assertions, ignore = "says something about a release build only")]
fn a_send_costs_a_small_multiple_of_its_transport() {
    let _alone = ALONE.lock();
    // Each is measured beside its transport. A send writes to the page cache and its transport does not, so whoever else
    // uses memory and disk makes it dearer, never cheaper: one round that is undisturbed tells, and what became dearer
    // itself is so in all of them.
    let mut ratio = f64::INFINITY;
    for _ in 0..ROUNDS {
        let (toy, posthouse) = (measure(toy), measure(posthouse));
        println!("the transport {toy} us a message, a send {posthouse} us");
        ratio = ratio.min(posthouse / toy);
        if ratio <= AT_MOST {
            break;
        }
    }
    println!("a send costs {ratio:.2} times its transport");
    assert!(
        ratio <= AT_MOST,
        "{ratio:.2} times: find what became dearer with a profile of `cargo xtask bench --only send-16x16`"
    );
}

/// A process that is killed when it is dropped.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn toy(address: SocketAddr, _: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args(["toy", "--addr", &address.to_string()]);
    command
}

fn posthouse(address: SocketAddr, data: &std::path::Path) -> Command {
    let binary = std::env::var_os("POSTHOUSE_BIN").map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_bench")).with_file_name("posthouse"),
        PathBuf::from,
    );
    let config = data.join("broker.conf");
    std::fs::write(&config, "flushDiskType=ASYNC_FLUSH\n").unwrap();
    let mut command = Command::new(binary);
    let port = address.port();
    command
        .args(["standalone", "--broker-addr", &address.to_string()])
        .args(["--namesrv-addr", &format!("127.0.0.1:{}", port + 3)])
        .args(["--http-addr", &format!("127.0.0.1:{}", port + 4)])
        .args(["--metrics-addr", "off"])
        .arg("--data")
        .arg(data.join("store"))
        .arg("-c")
        .arg(config);
    command
}

/// Starts a server on a port that is free, and waits until it listens.
fn serve(
    server: fn(SocketAddr, &std::path::Path) -> Command,
    data: &std::path::Path,
) -> (SocketAddr, Served) {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut command = server(address, data);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let served = Served(command.spawn().expect("build the server first"));
    let until = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < until, "{command:?} does not listen");
        std::thread::yield_now();
    }
    (address, served)
}

/// The server's CPU time a message, in microseconds.
fn measure(server: fn(SocketAddr, &std::path::Path) -> Command) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let (address, served) = serve(server, folder.path());
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["cell", "--cell", "send-16x16", "--seconds", "1.5"])
        .args(["--warm", "0.5", "--read-back", "0", "--ordered"])
        .args(["--addr", &address.to_string()])
        .args(["--pid", &served.0.id().to_string()])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let mut words = text.split_whitespace().skip_while(|&word| word != "broker");
    words.nth(1).unwrap().parse().unwrap()
}

/// A port whose neighbours that a broker needs are free as well.
fn free_port() -> u16 {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    std::iter::from_fn(|| {
        let any = TcpListener::bind("127.0.0.1:0").unwrap();
        Some(any.local_addr().unwrap().port())
    })
    .take(1_000)
    .find(|&port| {
        [port - 2, port, port + 1, port + 3, port + 4]
            .into_iter()
            .all(free)
    })
    .expect("free ports")
}
