//! The door itself: its ports, the thread that serves them, and its orderly end.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use posthouse_client::Client;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::accept;
use crate::checkers;
use crate::node::Node;
use crate::operations::{management, operations};
use crate::options::Options;
use crate::router::Door;
use crate::token::Secret;

/// Sockets that listen already; what is `None` is not served.
#[derive(Debug, Default)]
pub struct Ports {
    /// For everybody: the operations of the contract.
    pub public: Option<TcpListener>,
    /// For operators: health and metrics.
    pub management: Option<TcpListener>,
}

/// An open door.
pub struct Server {
    public: Option<SocketAddr>,
    management: Option<SocketAddr>,
    node: Arc<Node>,
    end: watch::Sender<Option<Duration>>,
    thread: JoinHandle<()>,
}

impl Server {
    /// Opens the door for a client's cluster, on a thread of its own. Tokens are signed with `secret`.
    ///
    /// # Errors
    /// What the system refuses: then nothing is served.
    pub fn start(
        ports: Ports,
        options: Options,
        secret: &Secret,
        client: Client,
    ) -> std::io::Result<Server> {
        let address = |port: &Option<TcpListener>| match port {
            Some(port) => {
                port.set_nonblocking(true)?;
                port.local_addr().map(Some)
            }
            None => Ok(None),
        };
        let (public, management) = (address(&ports.public)?, address(&ports.management)?);
        let node = Arc::new(Node::new(client, secret, options));
        let (end, ended) = watch::channel(None);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let served = node.clone();
        let thread = std::thread::Builder::new()
            .name("http-io".to_owned())
            .spawn(move || {
                if let Err(error) = runtime.block_on(serve(ports, served, ended)) {
                    tracing::error!(%error, "HTTP is not served any more");
                }
            })?;
        Ok(Server {
            public,
            management,
            node,
            end,
            thread,
        })
    }

    /// Where everybody is served.
    pub fn address(&self) -> Option<SocketAddr> {
        self.public
    }

    /// Where operators are served.
    pub fn management_address(&self) -> Option<SocketAddr> {
        self.management
    }

    /// Says that it ends, stays open for [`Options::drain_delay`], ends streams and whatever waits for
    /// messages, answers what is under way, and returns when nothing is, or after `grace` more.
    pub fn stop(self, grace: Duration) {
        self.node.drain();
        self.end.send_replace(Some(grace));
        if self.thread.join().is_err() {
            tracing::error!("the HTTP thread panicked");
        }
    }
}

async fn serve(
    ports: Ports,
    node: Arc<Node>,
    mut ended: watch::Receiver<Option<Duration>>,
) -> std::io::Result<()> {
    let mut open = JoinSet::new();
    let (close, closed) = watch::channel(false);
    if ports.public.is_some() && node.options.needs_cluster {
        open.spawn(checkers::keep(node.clone()));
    }
    let ports = [
        (ports.public, operations()),
        (ports.management, management()),
    ];
    for (port, operations) in ports {
        let Some(port) = port else {
            continue;
        };
        let listener = tokio::net::TcpListener::from_std(port)?;
        let door = Door::new(node.clone(), operations);
        let limits = node.options.limits.clone();
        open.spawn(accept::serve(listener, door, limits, closed.clone()));
    }
    let grace = ended
        .wait_for(Option::is_some)
        .await
        .map_or(None, |grace| *grace);
    tokio::time::sleep(node.options.drain_delay).await;
    node.end();
    close.send_replace(true);
    let all = async { while open.join_next().await.is_some() {} };
    if tokio::time::timeout(grace.unwrap_or_default(), all)
        .await
        .is_err()
    {
        tracing::warn!("HTTP requests were cut off: they took too long to end");
    }
    node.client.shutdown().await;
    Ok(())
}
