//! Which media types a request sends and takes.

use hyper::HeaderMap;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};

use crate::problem::{self, Fault, Problem};

pub(crate) const JSON: &str = "application/json";
pub(crate) const BYTES: &str = "application/octet-stream";

/// The body is JSON, in UTF-8.
///
/// # Errors
/// `unsupported-media-type`.
pub(crate) fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let plain = |kind: &HeaderValue| kind == JSON;
    match headers.get(CONTENT_TYPE).is_some_and(plain) || is_json_with(headers) {
        true => Ok(()),
        false => {
            let fault = Fault::header("Content-Type", "application/json in UTF-8 expected");
            Err(Problem::new(&problem::UNSUPPORTED_MEDIA_TYPE).faults(vec![fault]))
        }
    }
}

/// The body is JSON, in capitals or not, and whatever its parameters are.
fn is_json_with(headers: &HeaderMap) -> bool {
    content_type(headers).is_some_and(|(kind, utf8)| kind == JSON && utf8)
}

/// The body's type without its parameters, and whether its charset is UTF-8 or not said.
pub(crate) fn content_type(headers: &HeaderMap) -> Option<(String, bool)> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let mut parts = text.split(';').map(str::trim);
    let kind = parts.next()?.to_ascii_lowercase();
    let charset = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("charset")
            .then(|| value.trim().trim_matches('"').to_owned())
    });
    let utf8 = charset.is_none_or(|charset| charset.eq_ignore_ascii_case("utf-8"));
    Some((kind, utf8))
}

/// The caller takes JSON.
///
/// # Errors
/// `not-acceptable`.
pub(crate) fn takes_json(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get(ACCEPT).map(|said| said.as_bytes()) {
        // What nearly everybody says.
        None | Some(b"*/*" | b"application/json") => Ok(()),
        Some(_) => accepted(headers, &[JSON]).map(drop),
    }
}

/// The first of the types that the caller takes; the first one, if it says nothing.
///
/// # Errors
/// `not-acceptable`.
pub(crate) fn accepted(
    headers: &HeaderMap,
    ours: &[&'static str],
) -> Result<&'static str, Problem> {
    let said: Vec<&str> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    if said.is_empty() {
        return Ok(ours.first().copied().unwrap_or(JSON));
    }
    let wanted: Vec<(&str, f32)> = said
        .iter()
        .flat_map(|value| value.split(','))
        .map(range)
        .collect();
    // Exact types before ranges, then the caller's order of quality, then ours.
    let weight = |kind: &str| {
        let exact = wanted
            .iter()
            .find(|(range, _)| range.eq_ignore_ascii_case(kind));
        let main = kind.split_once('/').map_or(kind, |(main, _)| main);
        let part = |range: &str| range == "*/*" || range.strip_suffix("/*") == Some(main);
        exact
            .or(wanted.iter().find(|(range, _)| part(range)))
            .map_or(0.0, |(_, quality)| *quality)
    };
    let mut best = None;
    for kind in ours {
        let weight = weight(kind);
        if weight > 0.0 && best.is_none_or(|(_, than)| weight > than) {
            best = Some((*kind, weight));
        }
    }
    best.map(|(kind, _)| kind).ok_or_else(|| {
        let fault = Fault::header("Accept", format!("there is {}", ours.join(", ")));
        Problem::new(&problem::NOT_ACCEPTABLE).faults(vec![fault])
    })
}

fn range(text: &str) -> (&str, f32) {
    let (kind, parameters) = text.split_once(';').unwrap_or((text, ""));
    let quality = parameters
        .split(';')
        .find_map(|part| part.trim().strip_prefix("q=")?.parse().ok());
    (kind.trim(), quality.unwrap_or(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: hyper::header::HeaderName, text: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(text))])
    }

    #[test]
    fn parameters_of_a_type_are_no_puzzle() {
        for text in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
        ] {
            assert!(is_json(&headers(CONTENT_TYPE, text)).is_ok(), "{text}");
        }
        for text in [
            "",
            "text/plain",
            "application/json; charset=latin1",
            "application/xml",
        ] {
            assert!(is_json(&headers(CONTENT_TYPE, text)).is_err(), "{text}");
        }
        assert!(is_json(&HeaderMap::new()).is_err());
    }

    #[test]
    fn the_caller_gets_what_it_takes() {
        let ours = [JSON, BYTES];
        for (text, kind) in [
            ("*/*", Some(JSON)),
            ("application/octet-stream", Some(BYTES)),
            (
                "application/json;q=0.5, application/octet-stream",
                Some(BYTES),
            ),
            ("text/html, application/*;q=0.8", Some(JSON)),
            ("application/json;q=0", None),
            ("text/html", None),
            ("", None),
        ] {
            assert_eq!(accepted(&headers(ACCEPT, text), &ours).ok(), kind, "{text}");
        }
        assert_eq!(accepted(&HeaderMap::new(), &ours).ok(), Some(JSON));
    }
}
