//! The door itself: a listener, one thread that serves it, and its orderly end.
//!
//! We accept ourselves, since `axum::serve` has no time limit for a header that never ends.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawPathParams, Request, State};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use posthouse_client::Client;
use tokio::sync::watch;

use crate::call::Call;
use crate::operations::{Operation, operations};
use crate::problem::{self, Problem};

/// How the door is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens.
    pub address: SocketAddr,
    /// How long a peer may take for its header.
    pub header_timeout: Duration,
}

impl Options {
    /// The defaults at this address.
    pub fn new(address: SocketAddr) -> Options {
        Options {
            address,
            header_timeout: Duration::from_secs(10),
        }
    }
}

/// Why the door cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be had.
    #[error("cannot listen on {0} for HTTP")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// The system refused a thread or a timer.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// What lives as long as the server, for every request.
pub(crate) struct Node {
    #[expect(dead_code, reason = "the first operations need no cluster")]
    pub client: Client,
    draining: AtomicBool,
}

impl Node {
    pub(crate) fn is_ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed)
    }
}

/// An open door.
pub struct Server {
    address: SocketAddr,
    node: Arc<Node>,
    end: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Server {
    /// Opens the door for a client's cluster. `client` is made on the door's own thread.
    ///
    /// # Errors
    /// [`Error`]: then nothing listens.
    pub fn start(options: Options, client: Client) -> Result<Server, Error> {
        let listen = |error| Error::Listen(options.address, error);
        let listener = TcpListener::bind(options.address).map_err(listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let node = Arc::new(Node {
            client,
            draining: AtomicBool::new(false),
        });
        let (end, ended) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let served = node.clone();
        let thread = std::thread::Builder::new()
            .name("http-io".to_owned())
            .spawn(move || runtime.block_on(serve(listener, options, served, ended)))?;
        Ok(Server {
            address,
            node,
            end,
            thread,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, ends what is open, and returns when nothing is, or after `grace`.
    pub fn stop(self, _grace: Duration) {
        self.node.draining.store(true, Ordering::Relaxed);
        self.end.send_replace(true);
        if self.thread.join().is_err() {
            tracing::error!("the HTTP thread panicked");
        }
    }
}

async fn serve(
    listener: TcpListener,
    options: Options,
    node: Arc<Node>,
    mut ended: watch::Receiver<bool>,
) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "HTTP cannot be served");
            return;
        }
    };
    let router = router(node);
    let mut http = Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout);
    http.http2().timer(TokioTimer::new());
    let open = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = ended.changed() => break,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors, most likely: the others go on, and this passes.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        let serving = http.serve_connection(TokioIo::new(stream), service);
        let serving = open.watch(serving.into_owned());
        tokio::spawn(async move {
            // A peer that breaks off is its own affair.
            let _ = serving.await;
        });
    }
    open.shutdown().await;
}

fn router(node: Arc<Node>) -> Router {
    let mut router = Router::new();
    for operation in operations() {
        router = router.route(operation.path, route(operation));
    }
    router
        .fallback(|| async { Problem::new(&problem::NOT_FOUND) })
        .method_not_allowed_fallback(|| async { Problem::new(&problem::METHOD_NOT_ALLOWED) })
        .with_state(node)
}

fn route(operation: &'static Operation) -> MethodRouter<Arc<Node>> {
    let filter = MethodFilter::try_from(operation.method.clone()).unwrap_or(MethodFilter::GET);
    on(
        filter,
        move |State(node): State<Arc<Node>>, params: RawPathParams, request: Request| async move {
            answer(operation, node, params, request).await
        },
    )
}

async fn answer(
    operation: &'static Operation,
    node: Arc<Node>,
    params: RawPathParams,
    request: Request<Body>,
) -> Response {
    let path = params.iter().map(|(_, value)| value.to_owned()).collect();
    let (head, body) = request.into_parts();
    let query = head.uri.query().unwrap_or_default().to_owned();
    let call = Call::new(node, path, query, head.headers, body);
    match (operation.run)(call).await {
        Ok(response) => response,
        Err(problem) => problem.answer(None),
    }
}
