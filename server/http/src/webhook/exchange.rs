//! One request and its answer, on a connection of their own.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use http_body_util::{BodyExt, Full, Limited};
use hyper::Request as HttpRequest;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::{Answer, Request, Url};

/// Bytes of an answer's headers.
const HEADERS: usize = 16 << 10;
/// Bytes of an answer's body.
const BODY: usize = 64 << 10;
/// How a CloudEvents receiver says whom it takes calls from.
const ALLOWED_ORIGIN: &str = "webhook-allowed-origin";

/// A connection.
pub(super) enum Stream {
    Plain(TcpStream),
    Secured(Box<TlsStream<TcpStream>>),
}

pub(super) async fn exchange(
    stream: Stream,
    url: &Url,
    request: Request,
) -> Result<Answer, Box<dyn Error + Send + Sync>> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEADERS)
        .handshake(TokioIo::new(stream))
        .await?;
    let mut head = HttpRequest::builder()
        .method(request.method)
        .uri(&url.target)
        .header(HOST, &url.authority)
        .header(USER_AGENT, concat!("posthouse/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close");
    for (name, value) in request.headers {
        head = head.header(name, value);
    }
    let request = head.body(Full::new(request.body))?;
    let asked = async {
        let answer = sender.send_request(request).await?;
        let (head, body) = answer.into_parts();
        let allowed = head.headers.get(ALLOWED_ORIGIN);
        let allowed = allowed.and_then(|origin| origin.to_str().ok());
        Ok(Answer {
            status: head.status,
            allowed_origin: allowed.map(str::to_owned),
            body: Limited::new(body, BODY).collect().await?.to_bytes(),
        })
    };
    // The connection moves the bytes; that it ended, `asked` will notice.
    let mut connection = pin!(connection);
    let driven = async {
        let _ = connection.as_mut().await;
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        answer = asked => answer,
        never = driven => match never {},
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Secured(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Secured(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Secured(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Secured(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
