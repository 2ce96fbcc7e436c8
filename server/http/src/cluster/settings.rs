//! A broker's settings: shown, and changed where the broker lets them be changed while it runs.
//!
//! Names are RocketMQ's, written as JSON is here: `transactionCheckMax` is `transaction_check_max`. A name that
//! comes is read either way.

use std::collections::BTreeMap;

use hyper::StatusCode;
use hyper::header::{ETAG, HeaderValue};
use posthouse_client::Error;
use posthouse_client::code::response::SYSTEM_BUSY;
use serde_json::{Map, Value};

use crate::body::Response;
use crate::call::{Call, json_answer};
use crate::etag;
use crate::json::{self, At, Faults, Kind};
use crate::parameters::Parameters;
use crate::problem::{self, Fault, Problem};

/// The most settings of a request.
const MOST: usize = 1_000;
/// The longest value of a setting, in characters.
const LONGEST: usize = 4_096;

/// By RocketMQ's names.
type Settings = BTreeMap<String, String>;

/// The settings of a broker.
pub(super) async fn get(call: Call) -> Result<Response, Problem> {
    Parameters::new(call.query(), &[], &[]).finish()?;
    let admin = call.node.client.admin();
    Ok(answer(&admin.broker_config(call.parameter(0)).await?))
}

/// Changes what the request says.
pub(super) async fn patch(mut call: Call) -> Result<Response, Problem> {
    Parameters::new(call.query(), &[], &[]).finish()?;
    let wanted = call.patch(read).await?;
    let broker = call.parameter(0).to_owned();
    let _turn = call.node.turns.of(&format!("broker {broker}")).await;
    let admin = call.node.client.admin();
    let settings = admin.broker_config(&broker).await?;
    call.if_match(&tag(&settings))?;
    let changes = changes(&settings, &wanted)?;
    if changes.is_empty() {
        return Ok(answer(&settings));
    }
    let pairs = changes.iter().map(|change| (change.key, &*change.value));
    match admin.set_broker_config(&broker, pairs).await {
        Ok(()) => Ok(answer(&admin.broker_config(&broker).await?)),
        Err(Error::Refused(refusal)) if refusal.code != SYSTEM_BUSY => {
            let faults = faults(&changes, &refusal.remark);
            Err(Problem::new(&problem::INVALID_SETTING).faults(faults))
        }
        Err(error) => Err(error.into()),
    }
}

/// A setting that is to be another one.
struct Change<'a> {
    key: &'a str,
    /// As the request names it.
    name: &'a str,
    value: String,
}

/// What is wrong with which change. Posthouse's brokers say it, a line for each; of any other it is all of them.
fn faults(changes: &[Change<'_>], remark: &str) -> Vec<Fault> {
    let said = |change: &Change<'_>| {
        let mut lines = remark.lines();
        lines.find_map(|line| line.strip_prefix(change.key)?.strip_prefix(": "))
    };
    let named = changes.iter().any(|change| said(change).is_some());
    let fault = |change: &Change<'_>| {
        let detail = match said(change) {
            None if named => return None,
            None => "the broker does not let it be changed while it runs",
            Some(said) => said,
        };
        let place = At::Root.member(change.name).pointer();
        Some(Fault::pointer(place, detail))
    };
    changes.iter().filter_map(fault).collect()
}

fn changes<'a>(
    settings: &'a Settings,
    wanted: &'a [(String, String)],
) -> Result<Vec<Change<'a>>, Problem> {
    let (mut changes, mut faults) = (Vec::new(), Vec::new());
    for (name, value) in wanted {
        let own = settings.iter().find(|(key, _)| is_same(key, name));
        match own.filter(|(key, _)| !is_secret(key)) {
            Some((_, own)) if own == value => {}
            Some((key, _)) => changes.push(Change {
                key,
                name,
                value: value.clone(),
            }),
            None => {
                let known: Vec<String> = settings.keys().map(|key| snake(key)).collect();
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let detail = match json::nearest(name, &known) {
                    Some(near) => {
                        format!("the broker has no such setting; did you mean \"{near}\"?")
                    }
                    None => "the broker has no such setting".to_owned(),
                };
                faults.push(Fault::pointer(At::Root.member(name).pointer(), detail));
            }
        }
    }
    match faults.is_empty() {
        true => Ok(changes),
        false => Err(Problem::new(&problem::INVALID_SETTING).faults(faults)),
    }
}

/// Names and values, as the broker writes them.
fn read(body: &[u8]) -> Result<Vec<(String, String)>, Problem> {
    let (mut faults, top) = (Faults::default(), At::Root);
    let mut wanted = Vec::new();
    let members = faults.object(top, json::parse(body)?);
    for (name, value) in members.into_iter().flatten() {
        let text = match value.kind() {
            Kind::String => value.as_str().map(|text| text.into_owned()),
            Kind::Bool | Kind::Number => Some(value.raw().to_owned()),
            _ => None,
        };
        let plain = text
            .filter(|text| text.chars().count() <= LONGEST && !text.chars().any(char::is_control));
        match plain {
            Some(text) => wanted.push((name.into_owned(), text)),
            None => faults.add(
                top.member(&name),
                "a string up to 4096 characters without control characters, a number, true or false expected",
            ),
        }
    }
    if wanted.len() > MOST {
        faults.add(top, format!("at most {MOST} settings"));
    }
    faults.check()?;
    Ok(wanted)
}

fn answer(settings: &Settings) -> Response {
    let shown = settings.iter().filter(|(key, _)| !is_secret(key));
    let shown: Map<String, Value> = shown.map(|(key, text)| (snake(key), value(text))).collect();
    let mut response = json_answer(StatusCode::OK, &Value::Object(shown));
    response.headers_mut().insert(ETAG, tag(settings));
    response
}

fn tag(settings: &Settings) -> HeaderValue {
    etag::of(settings)
}

/// A text as what it is.
fn value(text: &str) -> Value {
    match (text, text.parse::<i64>()) {
        ("true", _) => Value::Bool(true),
        ("false", _) => Value::Bool(false),
        (_, Ok(number)) if number.to_string() == text && number.unsigned_abs() < 1 << 53 => {
            number.into()
        }
        _ => text.into(),
    }
}

/// What is nobody's business here.
fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["secret", "password", "credential", "accesskey"]
        .iter()
        .any(|word| key.contains(word))
}

fn is_same(key: &str, name: &str) -> bool {
    let plain = |text: &str| text.replace('_', "").to_ascii_lowercase();
    plain(key) == plain(name)
}

/// `brokerIP1` is `broker_ip1`.
fn snake(key: &str) -> String {
    let chars: Vec<char> = key.chars().collect();
    let mut out = String::with_capacity(key.len() + 8);
    for (at, &own) in chars.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| chars.get(at));
        let begins = own.is_ascii_uppercase()
            && before.is_some_and(|before| {
                let behind = chars.get(at + 1).is_some_and(char::is_ascii_lowercase);
                before.is_ascii_lowercase()
                    || before.is_ascii_digit()
                    || (before.is_ascii_uppercase() && behind)
            });
        if begins {
            out.push('_');
        }
        out.push(own.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_named_as_json_is() {
        for (key, name) in [
            ("transactionCheckMax", "transaction_check_max"),
            ("brokerIP1", "broker_ip1"),
            ("enableHTTPDoor", "enable_http_door"),
            ("http.drainDelay", "http.drain_delay"),
            ("useTLS", "use_tls"),
        ] {
            assert_eq!(snake(key), name);
            assert!(is_same(key, name) && is_same(key, key));
        }
    }

    #[test]
    fn values_are_what_they_are() {
        assert_eq!(value("15"), Value::from(15));
        assert_eq!(value("true"), Value::Bool(true));
        for text in ["", "007", "+1", "1.5", "9007199254740993", "a"] {
            assert_eq!(value(text), Value::from(text));
        }
    }

    #[test]
    fn secrets_stay_where_they_are() {
        let settings = |pairs: &[(&str, &str)]| -> Settings {
            let own = pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            own.collect()
        };
        let own = settings(&[
            ("secretKey", "x"),
            ("innerClientAuthenticationCredentials", "{}"),
        ]);
        let wanted = [("secret_key".to_owned(), "y".to_owned())];
        assert!(changes(&own, &wanted).is_err());
        assert!(is_secret("innerClientAuthenticationCredentials"));
    }
}
