//! From a request to its operation, and what every answer carries.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawPathParams, Request, State};
use axum::response::Response;
use axum::routing::MethodRouter;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_ENCODING, HeaderName, HeaderValue, VARY};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use tower_service::Service;

use crate::cors;
use crate::guard;
use crate::node::Node;
use crate::operations::{COMMON, Operation};
use crate::problem::{self, Fault, Kind, Problem};
use crate::request_id::{RequestId, X_REQUEST_ID};
use crate::timed::Timed;

static MQ_DRAINING: HeaderName = HeaderName::from_static("mq-draining");

/// The label of an answer that no operation gave.
const NO_OPERATION: &str = "none";

/// Which operation answered, in an answer's extensions.
#[derive(Clone, Copy)]
struct OperationId(&'static str);

/// Answers requests of one port.
#[derive(Clone)]
pub(crate) struct Door {
    node: Arc<Node>,
    router: Router,
}

impl Door {
    pub(crate) fn new(node: Arc<Node>, operations: &'static [Operation]) -> Door {
        let router = router(node.clone(), operations);
        Door { node, router }
    }

    /// Answers one request, whatever it is.
    pub(crate) async fn answer(mut self, request: hyper::Request<Incoming>) -> Response {
        let started = Instant::now();
        let (head, body) = request.into_parts();
        let id = RequestId::of(&head.headers);
        let options = &self.node.options;
        let cross = guard::allowed_origin(&head.headers, options).map(str::to_owned);
        let refused = guard::check(&head, options).and_then(|()| plain_body(&head));
        let preflight = cross.is_some() && cors::is_preflight(&head);
        let mut response = match refused {
            Err(problem) => problem.answer(Some(id.as_str())),
            Ok(()) if preflight => cors::preflight(),
            Ok(()) => {
                let body = Body::new(Timed::new(body, &options.limits));
                let mut request = Request::from_parts(head, body);
                request.extensions_mut().insert(id.clone());
                // A router is always ready, and never fails.
                let Ok(response) = self.router.call(request).await;
                response
            }
        };
        self.sign(&mut response, id, cross.as_deref());
        self.note(&response, started);
        response
    }

    /// What every answer carries.
    fn sign(&self, response: &mut Response, id: RequestId, cross: Option<&str>) {
        let headers = response.headers_mut();
        headers.insert(X_REQUEST_ID.clone(), id.0);
        let fixed = [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
        ];
        for (name, value) in fixed {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        if let Some(origin) = cross.and_then(|origin| HeaderValue::from_str(origin).ok()) {
            cors::allow(headers, origin);
        } else if !self.node.options.origins.is_empty() {
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
        if self.node.is_draining() {
            headers.insert(MQ_DRAINING.clone(), HeaderValue::from_static("1"));
        }
    }

    fn note(&self, response: &Response, started: Instant) {
        let operation = response.extensions().get::<OperationId>();
        let operation = operation.map_or(NO_OPERATION, |operation| operation.0);
        let metrics = &self.node.metrics;
        metrics.answered(operation, response.status().as_u16(), started.elapsed());
        if let Some(kind) = response.extensions().get::<&'static Kind>() {
            metrics.problem(kind.slug);
        }
    }
}

/// A decompression bomb is not worth the bytes saved.
fn plain_body(head: &Parts) -> Result<(), Problem> {
    let encoding = head.headers.get(CONTENT_ENCODING);
    match encoding.is_none_or(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        true => Ok(()),
        false => Err(
            Problem::new(&problem::UNSUPPORTED_ENCODING).faults(vec![Fault::header(
                "Content-Encoding",
                "bodies are taken as they are",
            )]),
        ),
    }
}

fn router(node: Arc<Node>, operations: &'static [Operation]) -> Router {
    let mut router = Router::new();
    let mut paths: Vec<&'static str> = operations.iter().map(|operation| operation.path).collect();
    paths.dedup();
    paths.sort_unstable();
    paths.dedup();
    for path in paths {
        let rows: Vec<&'static Operation> = operations
            .iter()
            .filter(|operation| operation.path == path)
            .collect();
        router = router.route(path, resource(rows));
    }
    let nothing = |request: Request| async move {
        let detail = "no operation has this path; /openapi.json lists all of them";
        problem_answer(Problem::new(&problem::NOT_FOUND).detail(detail), &request)
    };
    router.fallback(nothing).with_state(node)
}

/// All methods of one path.
fn resource(rows: Vec<&'static Operation>) -> MethodRouter<Arc<Node>> {
    let mut methods: Vec<&str> = rows.iter().map(|row| row.method.as_str()).collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods.push("OPTIONS");
    let allow =
        HeaderValue::try_from(methods.join(", ")).unwrap_or(HeaderValue::from_static("OPTIONS"));
    let serve = move |State(node): State<Arc<Node>>, params: RawPathParams, request: Request| {
        let method = match request.method() {
            &Method::HEAD => &Method::GET,
            method => method,
        };
        let row = rows.iter().find(|row| row.method == *method).copied();
        let allow = allow.clone();
        async move {
            match row {
                Some(operation) => run(operation, node, params, request).await,
                None => other_method(allow, &request),
            }
        }
    };
    axum::routing::any(serve)
}

fn other_method(allow: HeaderValue, request: &Request) -> Response {
    if request.method() == Method::OPTIONS {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().insert(ALLOW, allow);
        return response;
    }
    let problem = Problem::new(&problem::METHOD_NOT_ALLOWED).header(ALLOW, allow);
    problem_answer(problem, request)
}

fn problem_answer(problem: Problem, request: &Request) -> Response {
    let id = request.extensions().get::<RequestId>();
    problem.answer(id.map(RequestId::as_str))
}

async fn run(
    operation: &'static Operation,
    node: Arc<Node>,
    params: RawPathParams,
    mut request: Request,
) -> Response {
    let path = params.iter().map(|(_, value)| value.to_owned()).collect();
    let id = request.extensions_mut().remove::<RequestId>();
    let id = id.unwrap_or_else(|| RequestId::of(request.headers()));
    let head_only = request.method() == Method::HEAD;
    let call = crate::call::Call::new(node, path, id.clone(), request);
    let mut response = match caught((operation.run)(call)).await {
        Ok(Ok(response)) => response,
        Ok(Err(problem)) => {
            debug_assert!(
                told(operation, problem.kind()),
                "{} does not list {}",
                operation.id,
                problem.kind().slug
            );
            problem.answer(Some(id.as_str()))
        }
        Err(()) => Problem::new(&problem::INTERNAL).answer(Some(id.as_str())),
    };
    response.extensions_mut().insert(OperationId(operation.id));
    if head_only {
        *response.body_mut() = Body::empty();
    }
    response
}

/// Whether the contract says that an operation may answer so.
fn told(operation: &Operation, kind: &'static Kind) -> bool {
    let mut listed = COMMON.iter().chain(operation.problems);
    listed.any(|listed| std::ptr::eq(*listed, kind))
}

/// A panic costs one request; what it said is logged by the process's hook.
async fn caught<T>(mut work: Pin<Box<dyn Future<Output = T> + Send>>) -> Result<T, ()> {
    std::future::poll_fn(move |cx| {
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
            Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_) => Poll::Ready(Err(())),
        }
    })
    .await
}
