//! From a request to its operation, and what every answer carries.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use hyper::body::{Body as _, Incoming};
use hyper::header::{ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, HeaderName, HeaderValue, VARY};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use crate::body::{Body, Response};
use crate::call::Call;
use crate::cors;
use crate::guard;
use crate::line::Line;
use crate::media;
use crate::node::Node;
use crate::operations::{Answer, COMMON, Operation};
use crate::packed;
use crate::parameters::percent_decode;
use crate::problem::{self, Fault, Kind, Problem};
use crate::request_id::{RequestId, X_REQUEST_ID};
use crate::timed::Timed;

static MQ_DRAINING: HeaderName = HeaderName::from_static("mq-draining");

/// The label of an answer that no operation gave.
const NO_OPERATION: &str = "none";

/// Operations that look at `Accept` themselves, or have nothing to show.
const OWN_TYPES: [&str; 6] = [
    "receiveMessages",
    "browseMessages",
    "getMessage",
    "tailTopic",
    "streamGroup",
    "streamChecks",
];

/// Answers requests of one port.
#[derive(Clone)]
pub(crate) struct Door {
    node: Arc<Node>,
    resources: Arc<matchit::Router<Resource>>,
}

/// What can be done at one path.
struct Resource {
    operations: Vec<&'static Operation>,
    /// The methods of its operations.
    allow: HeaderValue,
}

impl Door {
    pub(crate) fn new(node: Arc<Node>, operations: &'static [Operation]) -> Door {
        let resources = Arc::new(resources(operations));
        Door { node, resources }
    }

    /// Answers one request, whatever it is. What can be said at once is said here: a connection keeps room for the
    /// future, and the request has none in it.
    pub(crate) fn answer(
        self,
        request: hyper::Request<Incoming>,
        line: Arc<Line>,
    ) -> impl Future<Output = Response> + Send {
        let started = Instant::now();
        let (head, body) = request.into_parts();
        let id = RequestId::of(&head.headers);
        let options = &self.node.options;
        let packs = packed::asked(&head.headers);
        let cross = guard::allowed_origin(&head.headers, options).map(str::to_owned);
        let refused = guard::check(&head, options).and_then(|()| plain_body(&head));
        let begun = match refused {
            Err(problem) => Err((NO_OPERATION, problem.answer(Some(id.as_str())))),
            Ok(()) if cross.is_some() && cors::is_preflight(&head) => {
                Err((NO_OPERATION, cors::preflight()))
            }
            Ok(()) => {
                let body = Timed::new(body, &options.limits);
                self.begin(head, body, &id, line)
            }
        };
        let begun = begun.map_err(Box::new);
        async move {
            let (operation, mut response) = match begun {
                Ok(running) => (running.operation.id, running.end(&id).await),
                Err(refused) => *refused,
            };
            if let Some(coding) = packs {
                response = packed::packed(response, coding);
            }
            self.sign(&mut response, id, cross.as_deref());
            self.note(operation, &response, started);
            response
        }
    }

    /// Begins the operation that this path and method have; or the answer, and whose it is.
    #[allow(clippy::result_large_err)] // not an error, but the answer; boxed where it is kept
    fn begin(
        &self,
        head: Parts,
        body: Timed,
        id: &RequestId,
        line: Arc<Line>,
    ) -> Result<Running, (&'static str, Response)> {
        let Ok(found) = self.resources.at(head.uri.path()) else {
            let detail = "no operation has this path; /openapi.json lists all of them";
            let problem = Problem::new(&problem::NOT_FOUND).detail(detail);
            return Err((NO_OPERATION, problem.answer(Some(id.as_str()))));
        };
        let method = match head.method {
            Method::HEAD => &Method::GET,
            ref method => method,
        };
        let mut operations = found.value.operations.iter();
        let Some(operation) = operations.find(|own| own.method == *method) else {
            return Err((NO_OPERATION, other_method(found.value, &head.method, id)));
        };
        if shows_json(operation)
            && let Err(problem) = media::takes_json(&head.headers)
        {
            return Err((operation.id, problem.answer(Some(id.as_str()))));
        }
        // Whatever cannot be decoded was refused before.
        let decoded = |value| percent_decode(value).unwrap_or_default().into_owned();
        let path = found.params.iter().map(|(_, value)| decoded(value));
        let path = path.collect();
        let head_only = head.method == Method::HEAD;
        let call = Call::new(self.node.clone(), path, id.clone(), line, head, body);
        Ok(Running {
            operation,
            work: (operation.run)(call),
            head_only,
        })
    }

    /// What every answer carries.
    fn sign(&self, response: &mut Response, id: RequestId, cross: Option<&str>) {
        let headers = response.headers_mut();
        headers.insert(X_REQUEST_ID.clone(), id.into());
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

    fn note(&self, operation: &'static str, response: &Response, started: Instant) {
        let metrics = &self.node.metrics;
        metrics.answered(operation, response.status().as_u16(), started.elapsed());
        if let Some(kind) = response.extensions().get::<&'static Kind>() {
            metrics.problem(kind.slug);
        }
    }
}

/// Whether an operation answers in JSON and nothing else: refused before it does anything.
fn shows_json(operation: &Operation) -> bool {
    operation.path.starts_with("/v1/")
        && operation.method != Method::DELETE
        && !OWN_TYPES.contains(&operation.id)
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

/// Operations by their paths.
fn resources(operations: &'static [Operation]) -> matchit::Router<Resource> {
    let mut by_path: BTreeMap<&'static str, Vec<&'static Operation>> = BTreeMap::new();
    for operation in operations {
        by_path.entry(operation.path).or_default().push(operation);
    }
    let mut resources = matchit::Router::new();
    for (path, operations) in by_path {
        let inserted = resources.insert(path, Resource::new(operations));
        // The table is ours, and read by every test that starts a server.
        assert!(inserted.is_ok(), "{path} cannot be told from another path");
    }
    resources
}

impl Resource {
    fn new(operations: Vec<&'static Operation>) -> Resource {
        let mut methods: Vec<&str> = operations.iter().map(|own| own.method.as_str()).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.push("OPTIONS");
        let allow = HeaderValue::try_from(methods.join(", "));
        Resource {
            operations,
            allow: allow.unwrap_or(HeaderValue::from_static("OPTIONS")),
        }
    }
}

fn other_method(resource: &Resource, method: &Method, id: &RequestId) -> Response {
    let allow = resource.allow.clone();
    if *method == Method::OPTIONS {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().insert(ALLOW, allow);
        return response;
    }
    let problem = Problem::new(&problem::METHOD_NOT_ALLOWED).header(ALLOW, allow);
    problem.answer(Some(id.as_str()))
}

/// An operation that is under way.
struct Running {
    operation: &'static Operation,
    work: Answer,
    head_only: bool,
}

impl Running {
    /// What it comes to.
    async fn end(self, id: &RequestId) -> Response {
        let operation = self.operation;
        let mut response = match caught(self.work).await {
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
        if self.head_only {
            without_body(&mut response);
        }
        response
    }
}

/// An answer to `HEAD`: what `GET` would say, and how long that is, but not it.
fn without_body(response: &mut Response) {
    let body = std::mem::replace(response.body_mut(), Body::empty());
    if let Some(length) = body.size_hint().exact().filter(|length| *length > 0) {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
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

#[cfg(test)]
mod tests;
