//! That the cells of the HTTP door find no fault with a real server: few streams, short.

use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::{ALONE, posthouse, serve};

#[test]
fn the_cells_of_http_do_what_they_say() {
    let _alone = ALONE.lock();
    let folder = tempfile::tempdir().unwrap();
    let (address, served) = serve(posthouse, folder.path());
    let http = std::net::SocketAddr::from(([127, 0, 0, 1], address.port() + 4));
    let until = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(http).is_err() {
        assert!(Instant::now() < until, "HTTP is not served");
        std::thread::yield_now();
    }
    for (cell, told) in [
        ("http-idle", "KiB each"),
        ("http-json", ""),
        ("http-raw", ""),
        ("http-batch", ""),
        ("http-receive", ""),
        ("http-tails-1k", " messages"),
        ("http-tag-tails", " messages"),
        ("beside-http-tails", " messages to all streams"),
        ("beside-http-bodies", " bodies of 4 MiB"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_bench"))
            .args(["cell", "--cell", cell, "--seconds", "1", "--warm", "0"])
            .args(["--streams", "20", "--ordered"])
            .args(["--addr", &address.to_string()])
            .args(["--http-addr", &http.to_string()])
            .args(["--pid", &served.0.id().to_string()])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}");
        assert!(text.contains(told), "{text}");
        let rate = text.split_whitespace().nth(1).unwrap();
        assert!(rate.parse::<f64>().unwrap() > 0.0, "{text}");
    }
}
