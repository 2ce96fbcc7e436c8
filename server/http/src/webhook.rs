//! Calls to URLs that users gave. Whoever can name a URL here makes this server speak to it, so a URL leads
//! nowhere that the user could not reach from outside: public addresses over https, unless the operator
//! trusts the host. What is checked is the address that is connected to, each time; nothing is followed.

mod address;
mod exchange;
mod sign;
mod tls;
mod url;

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::{Method, StatusCode};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

pub(crate) use sign::{Signed, secret};
pub(crate) use url::{Refused, Url};

use exchange::Stream;
use tls::Authorities;

/// How long a name may take to be resolved, and a connection to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// Names that are resolved at once.
const NAMES: usize = 64;
/// How long a call may take in all.
pub(crate) const CALL: Duration = Duration::from_secs(10);

/// The way out.
pub(crate) struct Webhooks {
    /// Hosts, in lower case, some with a port, that the operator trusts.
    trusted: Vec<String>,
    authorities: Authorities,
    /// A name that is slow to resolve keeps a thread, also behind the time limit.
    names: Arc<Semaphore>,
}

/// Why a call brought no answer. The texts are for the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// Its address is none that may be called.
    #[error("{0} is no address that may be called")]
    Forbidden(IpAddr),
    /// Nobody was there: nothing was asked.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// It was asked, and gave no answer that could be read, in time.
    #[error("it gave no answer: {0}")]
    Unanswered(String),
}

/// What a receiver said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub allowed_origin: Option<String>,
    pub body: Bytes,
}

/// Whether a receiver wants to be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confirmed {
    Yes,
    /// It answered with this status, or did not name us.
    No(StatusCode),
}

/// What is asked.
pub(crate) struct Request {
    pub method: Method,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
}

impl Webhooks {
    pub(crate) fn new(trusted: &[String], authorities: Option<PathBuf>) -> Webhooks {
        let trusted = trusted.iter().map(|host| host.to_ascii_lowercase());
        Webhooks {
            trusted: trusted.collect(),
            authorities: Authorities::new(authorities),
            names: Arc::new(Semaphore::new(NAMES)),
        }
    }

    /// A URL that may be called, as far as it says by itself.
    ///
    /// # Errors
    /// Why it may not.
    pub(crate) fn parse(&self, text: &str) -> Result<Url, Refused> {
        Url::parse(text, &self.trusted)
    }

    /// Asks once.
    ///
    /// # Errors
    /// [`Failed`]; only behind [`Failed::Unanswered`] may the receiver have the request.
    pub(crate) async fn call(&self, url: &Url, request: Request) -> Result<Answer, Failed> {
        let until = Instant::now() + CALL;
        let stream = self.connect(url).await?;
        let answer = timeout_at(until, exchange::exchange(stream, url, request)).await;
        match answer {
            Ok(answer) => answer.map_err(|error| Failed::Unanswered(error.to_string())),
            Err(_) => Err(Failed::Unanswered(format!("{CALL:?} were over"))),
        }
    }

    /// Asks whether somebody wants to be called by `origin`, as CloudEvents' webhooks do.
    ///
    /// # Errors
    /// [`Failed`].
    pub(crate) async fn confirm(&self, url: &Url, origin: &str) -> Result<Confirmed, Failed> {
        let request = Request {
            method: Method::OPTIONS,
            headers: vec![("webhook-request-origin", origin.to_owned())],
            body: Bytes::new(),
        };
        let answer = self.call(url, request).await?;
        let allowed = answer.allowed_origin.as_deref().map(str::trim);
        let names_us = |own: &str| own == "*" || own.eq_ignore_ascii_case(origin);
        Ok(
            match allowed.is_some_and(names_us) && answer.status.is_success() {
                true => Confirmed::Yes,
                false => Confirmed::No(answer.status),
            },
        )
    }

    /// Whether somebody is there: a connection is made, and closed.
    ///
    /// # Errors
    /// [`Failed`].
    pub(crate) async fn reach(&self, url: &Url) -> Result<(), Failed> {
        self.connect(url).await.map(drop)
    }

    async fn connect(&self, url: &Url) -> Result<Stream, Failed> {
        let limit = || Failed::Unreachable(format!("{CONNECT:?} were over"));
        let connecting = async {
            let stream = tcp(url, &self.names).await?;
            match url.https {
                false => Ok(Stream::Plain(stream)),
                true => {
                    let secured = self.authorities.secure(&url.host, stream).await;
                    secured.map(|stream| Stream::Secured(Box::new(stream)))
                }
            }
        };
        timeout(CONNECT, connecting).await.map_err(|_| limit())?
    }
}

/// A connection to one of the addresses of a host. All of them are looked at before the first is tried: a
/// name that leads here as well as elsewhere is up to something.
async fn tcp(url: &Url, names: &Arc<Semaphore>) -> Result<TcpStream, Failed> {
    let unreachable = |error: io::Error| Failed::Unreachable(error.to_string());
    let addresses = resolve(url, names).await.map_err(unreachable)?;
    let forbidden = |address: &&SocketAddr| !url.trusted && !address::is_public(address.ip());
    if let Some(address) = addresses.iter().find(forbidden) {
        return Err(Failed::Forbidden(address.ip()));
    }
    let mut failed = Failed::Unreachable("its name has no address".to_owned());
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Who is reached from their own address is this machine, whatever its address looks like.
                let here = stream.local_addr().map_err(unreachable)?;
                if !url.trusted && here.ip() == address.ip() {
                    return Err(Failed::Forbidden(address.ip()));
                }
                return Ok(stream);
            }
            Err(error) => failed = unreachable(error),
        }
    }
    Err(failed)
}

async fn resolve(url: &Url, names: &Arc<Semaphore>) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = url.host.parse() {
        return Ok(vec![SocketAddr::new(address, url.port)]);
    }
    let turn = names.clone().acquire_owned().await;
    let turn = turn.map_err(io::Error::other)?;
    let (host, port) = (url.host.clone(), url.port);
    let resolving = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        (&*host, port).to_socket_addrs().map(Iterator::collect)
    });
    resolving.await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests;
