//! An operation that fails is one request's affair.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::*;
use crate::accept;
use crate::call::json_answer;
use crate::operations::row;
use crate::options::Options;
use crate::token::Secret;

const BUG: &str = "a bug, and what only we may know of it";

async fn has_a_bug(_: Call) -> Result<Response, Problem> {
    panic!("{BUG}")
}

async fn is_fine(_: Call) -> Result<Response, Problem> {
    Ok(json_answer(StatusCode::OK, &json!({"ready": true})))
}

static ROWS: &[Operation] = &[
    row!(GET "/livez" "livez" has_a_bug),
    row!(GET "/readyz" "readyz" is_fine),
];

/// The status, the headers and the body of an answer that says how long it is.
async fn ask(socket: &mut TcpStream, path: &str) -> (u16, String, Value) {
    let text = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: mine\r\n\r\n");
    socket.write_all(text.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    socket.read_exact(&mut body).await.unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn a_bug_costs_one_request_and_tells_nothing_but_its_id() {
    let client = posthouse_client::Client::new(posthouse_client::Config::new("127.0.0.1:1"));
    let options = Options::default();
    let limits = options.limits.clone();
    let node = Arc::new(Node::new(client, &Secret::fresh().unwrap(), options));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (close, closed) = watch::channel(false);
    let door = Door::new(node.clone(), ROWS);
    let serving = tokio::spawn(accept::serve(listener, door, limits, closed));
    let mut socket = TcpStream::connect(at).await.unwrap();
    let (status, head, told) = ask(&mut socket, "/livez").await;
    assert_eq!(status, 500, "{told}");
    assert!(head.contains("application/problem+json"), "{head}");
    let expected = json!({
        "type": "/problems/internal", "title": "Internal error", "status": 500, "code": 50001,
        "retryable": true, "instance": "mine",
    });
    assert_eq!(told, expected);
    // The connection, and everybody else, goes on.
    let (status, _, told) = ask(&mut socket, "/readyz").await;
    assert_eq!((status, told), (200, json!({"ready": true})));
    let counted = node.metrics.text(&[]);
    let line = "rocketmq_http_problems_total{type=\"internal\"} 1\n";
    assert!(counted.contains(line), "{counted}");
    drop(socket);
    close.send_replace(true);
    serving.await.unwrap();
}
