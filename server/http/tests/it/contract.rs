//! `openapi/openapi.yaml` against the router, and against every answer of these tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, OnceLock};

use http_door::{COMMON, KINDS, Operation, openapi, operations};
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::door::Answer;

const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];

/// Every operation of the document, by path and method.
fn documented() -> BTreeMap<(String, String), &'static Value> {
    let mut all = BTreeMap::new();
    for (path, item) in openapi()["paths"].as_object().unwrap() {
        for method in METHODS {
            if let Some(operation) = item.get(method) {
                all.insert((path.clone(), method.to_uppercase()), operation);
            }
        }
    }
    all
}

fn slugs(value: &Value) -> BTreeSet<&str> {
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|slug| slug.as_str().unwrap()).collect()
}

#[test]
fn the_router_and_the_document_are_one() {
    let documented = documented();
    let served: BTreeMap<(String, String), &Operation> = operations()
        .iter()
        .map(|row| ((row.path.to_owned(), row.method.to_string()), row))
        .collect();
    assert_eq!(
        served.len(),
        operations().len(),
        "an operation is served twice"
    );
    let keys = |map: &BTreeMap<(String, String), _>| map.keys().cloned().collect::<Vec<_>>();
    let only_served: Vec<_> = keys_missing(&served, &documented);
    assert!(
        only_served.is_empty(),
        "served, not documented: {only_served:?}"
    );
    let only_told: Vec<_> = keys_missing(&documented, &served);
    assert!(
        only_told.is_empty(),
        "documented, not served: {only_told:?}"
    );
    let _ = keys(&served);
    for (key, row) in &served {
        let told = documented[key];
        assert_eq!(told["operationId"], row.id, "{key:?}");
        let own: BTreeSet<&str> = row.problems.iter().map(|kind| kind.slug).collect();
        assert_eq!(slugs(&told["x-problems"]), own, "x-problems of {}", row.id);
    }
    let common: BTreeSet<&str> = COMMON.iter().map(|kind| kind.slug).collect();
    assert_eq!(
        slugs(&openapi()["x-problems"]),
        common,
        "x-problems of the document"
    );
}

#[test]
fn the_gateways_table_has_every_operation_once() {
    let table = include_str!("../../../docs/gateway.md");
    let mut told = BTreeSet::new();
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(
            cells.len(),
            3,
            "operations, Apache 5.3.3, Apache 4.9.7: {row}"
        );
        assert!(cells.iter().all(|cell| !cell.is_empty()), "{row}");
        for id in cells[0].split_whitespace() {
            let id = id.trim_matches('`');
            assert!(told.insert(id), "{id} has two rows");
        }
    }
    let served: BTreeSet<&str> = operations().iter().map(|row| row.id).collect();
    let untold: Vec<_> = served.difference(&told).collect();
    assert!(untold.is_empty(), "without a row: {untold:?}");
    let gone: Vec<_> = told.difference(&served).collect();
    assert!(gone.is_empty(), "rows of what is not served: {gone:?}");
}

/// Names a file, in the process that runs the suite once more: where it notes which types of problem it met.
pub const NOTES: &str = "POSTHOUSE_HTTP_SUITE_NOTES";

/// Types of problem that the suite through gateways does not meet, and the tests that do.
const TOLD_ELSEWHERE: &[(&str, &str)] = &[
    ("request-timeout", "slow"),
    ("checker-not-found", "checkers"),
    ("forbidden-url", "checkers"),
    ("webhook-not-confirmed", "checkers"),
    ("broker-timeout", "posthouse: http_without"),
    ("publish-outcome-unknown", "posthouse: http_without"),
    ("transaction-not-found", "posthouse: http_without"),
    ("unsupported-by-broker", "posthouse: http_without"),
    ("internal", "http: router"),
];

/// Notes the types of problem in an answer or an event, where that is asked for.
pub fn note(text: &str) {
    let Some(path) = std::env::var_os(NOTES) else {
        return;
    };
    let mut notes = String::new();
    for rest in text.split("\"/problems/").skip(1) {
        if let Some((slug, _)) = rest.split_once('"') {
            notes += &format!("{slug}\n");
        }
    }
    if !notes.is_empty() {
        let file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path);
        std::io::Write::write_all(&mut file.unwrap(), notes.as_bytes()).unwrap();
    }
}

/// Holds what a run of the suite noted against the table: each type of problem is met by some test.
pub fn met_all(notes: &str) {
    let met: BTreeSet<&str> = notes.lines().collect();
    let elsewhere: BTreeSet<&str> = TOLD_ELSEWHERE.iter().map(|(slug, _)| *slug).collect();
    let unmet: Vec<&str> = KINDS
        .iter()
        .map(|kind| kind.slug)
        .filter(|slug| !met.contains(slug) && !elsewhere.contains(slug))
        .collect();
    assert!(unmet.is_empty(), "no test meets {unmet:?}");
    let listed: Vec<_> = met.intersection(&elsewhere).collect();
    assert!(listed.is_empty(), "met here: {listed:?} need not be listed");
}

#[test]
fn every_type_of_problem_is_some_operations() {
    let mut told: BTreeSet<&str> = COMMON.iter().map(|kind| kind.slug).collect();
    for row in operations() {
        told.extend(row.problems.iter().map(|kind| kind.slug));
    }
    // Entries of batches and of leases have their own; what has no operation is a path or a method.
    told.extend([
        "method-not-allowed",
        "predecessor-failed",
        "lease-expired",
        "lease-mismatch",
        "invalid-lease",
    ]);
    let nobodys = KINDS.iter().map(|kind| kind.slug);
    let nobodys: Vec<_> = nobodys.filter(|slug| !told.contains(slug)).collect();
    assert!(nobodys.is_empty(), "no operation answers {nobodys:?}");
}

fn keys_missing<A, B>(
    of: &BTreeMap<(String, String), A>,
    from: &BTreeMap<(String, String), B>,
) -> Vec<(String, String)> {
    of.keys()
        .filter(|key| !from.contains_key(key))
        .cloned()
        .collect()
}

#[test]
fn every_type_of_problem_has_a_page_and_one_slug() {
    let mut seen = BTreeSet::new();
    for kind in KINDS {
        assert!(seen.insert(kind.slug), "{} twice", kind.slug);
        let page = crate::door::ask("GET", &format!("/problems/{}", kind.slug)).expect(200);
        assert!(String::from_utf8(page.body).unwrap().contains(kind.title));
    }
    assert_eq!(
        crate::door::ask("GET", "/problems/none").problem(),
        "not-found"
    );
}

#[test]
fn the_pages_load_nothing_from_anywhere_else() {
    for page in ["/", "/docs"] {
        let html = crate::door::send("GET", page, &[("Accept", "text/html")], b"").expect(200);
        let policy = html.header("content-security-policy").to_owned();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        let text = String::from_utf8(html.body).unwrap();
        let parts = text
            .split(['"', '\''])
            .filter(|part| part.ends_with(".css") || part.ends_with(".js"));
        for part in parts {
            assert!(part.starts_with('/') && !part.starts_with("//"), "{part}");
            crate::door::ask("GET", part).expect(200);
        }
        assert!(
            !text.contains("<script>") && !text.contains("<style"),
            "{page}"
        );
    }
}

#[test]
fn the_document_is_served_and_not_sent_twice() {
    for (path, kind) in [
        ("/openapi.json", "application/json"),
        ("/openapi.yaml", "application/yaml"),
    ] {
        let first = crate::door::ask("GET", path).expect(200);
        assert_eq!(first.header("content-type"), kind);
        let tag = first.header("etag");
        let again = crate::door::send("GET", path, &[("If-None-Match", tag)], b"");
        assert_eq!((again.status, again.body.len()), (304, 0));
    }
    let served = crate::door::ask("GET", "/openapi.json").json();
    assert_eq!(&served, openapi());
}

/// Holds an answer against the contract: status, media type, body, problem, headers.
pub fn check(method: &str, target: &str, answer: &Answer) {
    let path = target.split('?').next().unwrap();
    if path == "/metrics" {
        return; // not of the contract: it is the operators'
    }
    // Hyper's own answers to what is no HTTP, to other methods, and to a cached document have no body.
    if answer.status == 304 || method == "OPTIONS" {
        return;
    }
    for always in ["x-request-id", "x-content-type-options"] {
        assert!(
            answer.headers.contains_key(always),
            "{always} is missing: {answer:?}"
        );
    }
    let asked = if method == "HEAD" { "GET" } else { method };
    let found = documented()
        .into_iter()
        .find(|((template, method), _)| method == asked && fits(template, path));
    let Some((_, operation)) = found else {
        assert!(
            [400, 403, 404, 405, 414, 421, 431].contains(&answer.status),
            "{answer:?}"
        );
        valid("#/components/schemas/Problem", &answer.json(), answer);
        return;
    };
    let id = operation["operationId"].as_str().unwrap();
    let response = response(operation, answer.status)
        .unwrap_or_else(|| panic!("{id} does not document {}: {answer:?}", answer.status));
    for (name, header) in response["headers"].as_object().into_iter().flatten() {
        let required = resolve(header)["required"] == json!(true);
        let given = answer.headers.contains_key(&name.to_ascii_lowercase());
        assert!(
            given || !required,
            "{id} {}: {name} is missing",
            answer.status
        );
    }
    let Some(content) = response["content"].as_object() else {
        assert!(answer.body.is_empty(), "{id} documents no body: {answer:?}");
        return;
    };
    let kind = answer.header("content-type").split(';').next().unwrap();
    let media = content.get(kind).or(content.get("*/*"));
    let media = media.unwrap_or_else(|| panic!("{id} {} is no {kind}", answer.status));
    if method == "HEAD" {
        return;
    }
    if kind.ends_with("json") {
        valid_schema(&media["schema"], &answer.json(), answer);
    }
    if kind == "application/problem+json" {
        let problem = answer.problem();
        let own = slugs(&operation["x-problems"]);
        let common = slugs(&openapi()["x-problems"]);
        // A port that does not serve an operation says what it says of any unknown path.
        let unserved = problem == "not-found";
        let listed = unserved || own.contains(&*problem) || common.contains(&*problem);
        assert!(listed, "{id} does not list {problem}");
    }
}

/// Whether a path is one of a template's.
fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) =
        (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template
            .iter()
            .zip(&path)
            .all(|(part, given)| part == given || (part.starts_with('{') && !given.is_empty()))
}

fn response(operation: &'static Value, status: u16) -> Option<&'static Value> {
    let responses = &operation["responses"];
    let exact = responses.get(status.to_string());
    let class = responses.get(format!("{}XX", status / 100));
    exact.or(class).map(resolve)
}

fn resolve(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(reference) => openapi().pointer(&reference[1..]).unwrap(),
        None => value,
    }
}

/// Holds what came in a stream against a schema of the contract.
pub fn valid_as(schema: &str, value: &Value) {
    valid_schema(
        &json!({ "$ref": format!("#/components/schemas/{schema}") }),
        value,
        value,
    );
}

fn valid(reference: &str, value: &Value, answer: &Answer) {
    valid_schema(&json!({ "$ref": reference }), value, answer);
}

fn valid_schema(schema: &Value, value: &Value, answer: &impl std::fmt::Debug) {
    static VALIDATORS: OnceLock<Mutex<BTreeMap<String, Validator>>> = OnceLock::new();
    let mut validators = VALIDATORS
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let validator = validators.entry(schema.to_string()).or_insert_with(|| {
        let mut whole = schema.clone();
        whole["components"] = openapi()["components"].clone();
        jsonschema::draft202012::new(&whole).unwrap()
    });
    let wrong: Vec<String> = validator
        .iter_errors(value)
        .map(|error| format!("{} at {}", error, error.instance_path))
        .collect();
    drop(validators);
    assert!(wrong.is_empty(), "{wrong:#?}\n{answer:?}");
}
