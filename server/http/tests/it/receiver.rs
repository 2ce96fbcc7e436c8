//! A receiver of webhooks: a server on a port of its own that says what it is told to, and what it was asked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver as Asked, Sender, channel};

use serde_json::Value;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned, crypto};

use crate::door::LIMIT;

/// What it was asked.
#[derive(Debug)]
pub struct Call {
    pub method: String,
    pub target: String,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Call {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// What it says: the whole answer.
pub type Says = dyn Fn(&Call) -> String + Send + Sync;

/// A receiver.
pub struct Receiver {
    pub port: u16,
    asked: Asked<Call>,
}

impl Receiver {
    pub fn new(says: impl Fn(&Call) -> String + Send + Sync + 'static) -> Receiver {
        Receiver::on(TcpListener::bind("127.0.0.1:0").unwrap(), says)
    }

    /// On a port that is taken already.
    pub fn on(
        listener: TcpListener,
        says: impl Fn(&Call) -> String + Send + Sync + 'static,
    ) -> Receiver {
        Receiver::with(listener, Arc::new(says), |stream| Some(Box::new(stream)))
    }

    /// One that shows a certificate of `localhost`.
    pub fn secured(says: impl Fn(&Call) -> String + Send + Sync + 'static) -> Receiver {
        let own = include_bytes!("../testdata/receiver.pem");
        let key = include_bytes!("../testdata/receiver.key");
        let provider = Arc::new(crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(own).unwrap()],
                PrivateKeyDer::from_pem_slice(key).unwrap(),
            );
        let config = Arc::new(config.unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Receiver::with(listener, Arc::new(says), move |stream| {
            let secured = ServerConnection::new(config.clone()).ok()?;
            Some(Box::new(StreamOwned::new(secured, stream)))
        })
    }

    fn with(
        listener: TcpListener,
        says: Arc<Says>,
        open: impl Fn(TcpStream) -> Option<Box<dyn Stream>> + Send + 'static,
    ) -> Receiver {
        let port = listener.local_addr().unwrap().port();
        let (tell, asked) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                stream.set_read_timeout(Some(LIMIT)).unwrap();
                let Some(stream) = open(stream) else {
                    continue;
                };
                let (says, tell) = (says.clone(), tell.clone());
                std::thread::spawn(move || serve(stream, &*says, &tell));
            }
        });
        Receiver { port, asked }
    }

    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://localhost:{}/check?a=b", self.port)
    }

    /// The next call.
    pub fn next(&self) -> Call {
        self.asked.recv_timeout(LIMIT).unwrap()
    }

    /// The calls that have come and were not looked at.
    pub fn rest(&self) -> Vec<Call> {
        self.asked.try_iter().collect()
    }
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// Whoever only knocks asks nothing.
fn serve(mut stream: Box<dyn Stream>, says: &Says, tell: &Sender<Call>) {
    let mut reader = BufReader::new(&mut stream);
    let mut line = String::new();
    if !reader.read_line(&mut line).is_ok_and(|read| read > 0) {
        return;
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length");
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    let call = Call {
        method,
        target,
        headers,
        body,
    };
    let answer = says(&call);
    let _ = tell.send(call);
    // Who asked may be gone.
    let _ = stream.write_all(answer.as_bytes());
    let _ = stream.flush();
}

/// The answer with this resolution.
pub fn resolution(word: &str) -> String {
    answer(200, &format!("{{\"resolution\":\"{word}\"}}"))
}

/// An answer with this status and body.
pub fn answer(status: u16, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}
