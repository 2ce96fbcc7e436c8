//! Who may speak to us at all: checks that come before routing.
//!
//! Nobody has to prove who they are, so a web page must not be able to reach us through its reader's
//! browser: neither by pointing a name of its own at 127.0.0.1 (`Host`), nor by posting a form (`Origin`,
//! `Sec-Fetch-Site`). And what proxies before us might read differently (no `Host` or two, encoded
//! slashes, dot segments) is refused rather than guessed.

use std::borrow::Cow;
use std::net::IpAddr;

use hyper::header::{HOST, HeaderMap, HeaderName, ORIGIN};
use hyper::http::request::Parts;
use hyper::{Method, Uri, Version};

use crate::options::Options;
use crate::problem::{self, Fault, Problem};

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
static SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Whether a request may go on to its operation.
///
/// # Errors
/// What stands against it.
pub(crate) fn check(head: &Parts, options: &Options) -> Result<(), Problem> {
    size(head, options)?;
    let host = host(head)?;
    if !is_ours(host_name(host), &options.hosts) {
        let detail = "the Host must be an IP address, localhost, or a name of http.hosts";
        return Err(Problem::new(&problem::MISDIRECTED).detail(detail));
    }
    origin(head, host, options)?;
    path(head.uri.path())
}

fn size(head: &Parts, options: &Options) -> Result<(), Problem> {
    let limits = &options.limits;
    let target = head
        .uri
        .path_and_query()
        .map_or(0, |path| path.as_str().len());
    if target > limits.target {
        let detail = format!("at most {} bytes", limits.target);
        return Err(Problem::new(&problem::URI_TOO_LONG).detail(detail));
    }
    let bytes = |(name, value): (&HeaderName, &hyper::header::HeaderValue)| {
        name.as_str().len() + value.len() + 4
    };
    let all: usize = head.headers.iter().map(bytes).sum();
    if all > limits.header_bytes || head.headers.len() > limits.headers {
        let detail = format!(
            "at most {} headers, and {} bytes in all",
            limits.headers, limits.header_bytes
        );
        return Err(Problem::new(&problem::HEADERS_TOO_LARGE).detail(detail));
    }
    Ok(())
}

/// The one host that a request names.
fn host(head: &Parts) -> Result<&str, Problem> {
    let wrong = |detail: &str| Problem::new(&problem::INVALID_HOST).detail(detail);
    let mut given = head.headers.get_all(HOST).iter();
    let header = given.next();
    if given.next().is_some() {
        return Err(wrong("more than one Host header"));
    }
    let header = header.map(|host| host.to_str().unwrap_or_default());
    let authority = head.uri.authority().map(|authority| authority.as_str());
    match (header, authority) {
        // HTTP/2 names it in the request's pseudo header, HTTP/1 in the absolute form of a target.
        (None, Some(host)) if head.version == Version::HTTP_2 => Ok(host),
        (Some(header), Some(host)) if header == host => Ok(host),
        (Some(_), Some(_)) => Err(wrong("the Host header and the request's target differ")),
        (Some(host), None) if !host.is_empty() && !host.contains('@') => Ok(host),
        _ => Err(wrong("a request needs one Host header")),
    }
}

/// `name` of `name:port`; an IPv6 address without its brackets.
fn host_name(host: &str) -> &str {
    if let Some((address, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address;
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

fn is_ours(name: &str, hosts: &[String]) -> bool {
    let named = |host: &String| host.eq_ignore_ascii_case(name);
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || hosts.iter().any(named)
}

/// The origin that may read what we answer, other than our own.
pub(crate) fn allowed_origin<'h>(headers: &'h HeaderMap, options: &Options) -> Option<&'h str> {
    let origin = headers.get(ORIGIN)?.to_str().ok()?;
    let allowed = |allowed: &String| allowed == origin || allowed == "*";
    options.origins.iter().any(allowed).then_some(origin)
}

fn origin(head: &Parts, host: &str, options: &Options) -> Result<(), Problem> {
    let foreign = || {
        let detail = "a web page of another origin may not call this server unless http.cors.origins names it";
        Problem::new(&problem::ORIGIN_NOT_ALLOWED).detail(detail)
    };
    let headers = &head.headers;
    if let Some(origin) = headers.get(ORIGIN) {
        let own = origin
            .to_str()
            .ok()
            .and_then(|origin| origin.split_once("://"));
        let is_own = own.is_some_and(|(_, own)| own.eq_ignore_ascii_case(host));
        return match is_own || allowed_origin(headers, options).is_some() {
            true => Ok(()),
            false => Err(foreign()),
        };
    }
    let says = |name: &HeaderName, what: &str| headers.get(name).is_some_and(|value| value == what);
    // A link from elsewhere to one of our pages for people is how the web works.
    let visits =
        head.method == Method::GET && says(&SEC_FETCH_MODE, "navigate") && is_page(&head.uri);
    match says(&SEC_FETCH_SITE, "cross-site") && !visits {
        true => Err(foreign()),
        false => Ok(()),
    }
}

fn is_page(uri: &Uri) -> bool {
    matches!(uri.path(), "/" | "/docs") || uri.path().starts_with("/problems/")
}

/// A path is decoded once, and means the same to everybody.
fn path(path: &str) -> Result<(), Problem> {
    let wrong = |what: &str| {
        let fault = Fault::parameter("path", what);
        Err(Problem::new(&problem::INVALID_PATH).faults(vec![fault]))
    };
    // Most paths have nothing to decode, and no dots.
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'%' | b'.');
    if path.bytes().all(plain) {
        return Ok(());
    }
    for segment in path.split('/') {
        let decoded = match segment.contains('%') {
            true => decode(segment).map(Cow::Owned),
            false => Some(Cow::Borrowed(segment.as_bytes())),
        };
        let Some(decoded) = decoded else {
            return wrong("% is followed by two hexadecimal digits");
        };
        if decoded.iter().any(|byte| *byte < b' ' || *byte == 0x7f) || decoded.contains(&b'/') {
            return wrong("no control characters and no encoded slash");
        }
        if matches!(&*decoded, b"." | b"..") {
            return wrong("no . and .. segments");
        }
        if std::str::from_utf8(&decoded).is_err() {
            return wrong("UTF-8 expected");
        }
    }
    Ok(())
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| (byte? as char).to_digit(16);
                let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            plain => plain,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    fn checked(target: &str, headers: &[(&str, &str)]) -> Option<&'static str> {
        let mut request = Request::builder().method("POST").uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let options = Options {
            hosts: vec!["mq.example".to_owned()],
            origins: vec!["https://shop.example".to_owned()],
            ..Options::default()
        };
        check(&head, &options)
            .err()
            .map(|problem| problem.kind().slug)
    }

    const LOCAL: (&str, &str) = ("host", "127.0.0.1:8090");

    #[test]
    fn a_host_is_an_address_localhost_or_configured() {
        for host in [
            "127.0.0.1:8090",
            "[::1]:8090",
            "[::1]",
            "10.1.2.3",
            "LocalHost:1",
            "mq.example",
        ] {
            assert_eq!(checked("/", &[("host", host)]), None, "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example:8090",
            "127.0.0.1.nip.io",
        ] {
            assert_eq!(
                checked("/", &[("host", host)]),
                Some("misdirected-request"),
                "{host}"
            );
        }
        let none: &[(&str, &str)] = &[];
        for hosts in [none, &[("host", "")], &[LOCAL, LOCAL]] {
            assert_eq!(checked("/", hosts), Some("invalid-host"), "{hosts:?}");
        }
        let differ = checked("http://evil.example/", &[LOCAL]);
        assert_eq!(differ, Some("invalid-host"));
    }

    #[test]
    fn a_web_page_of_another_origin_is_kept_out() {
        let from = |origin| checked("/v1/topics/t/messages:raw", &[LOCAL, ("origin", origin)]);
        assert_eq!(from("http://127.0.0.1:8090"), None);
        assert_eq!(from("https://shop.example"), None);
        for foreign in ["http://127.0.0.1:3000", "https://evil.example", "null", ""] {
            assert_eq!(from(foreign), Some("origin-not-allowed"), "{foreign}");
        }
        let site = |site| checked("/v1/topics", &[LOCAL, ("sec-fetch-site", site)]);
        assert_eq!(site("same-origin"), None);
        assert_eq!(site("none"), None);
        assert_eq!(site("cross-site"), Some("origin-not-allowed"));
    }

    #[test]
    fn a_path_has_one_reading() {
        for good in [
            "/",
            "/v1/topics/%25RETRY%25g",
            "/v1/topics/a%7Cb",
            "/v1/%C3%A4",
        ] {
            assert_eq!(checked(good, &[LOCAL]), None, "{good}");
        }
        for bad in [
            "/a%2fb",
            "/a/../b",
            "/%2e%2e/x",
            "/./x",
            "/a%00",
            "/a%0a",
            "/%zz",
            "/%f",
            "/%ff",
        ] {
            assert_eq!(checked(bad, &[LOCAL]), Some("invalid-path"), "{bad}");
        }
    }

    #[test]
    fn what_is_too_long_is_said_so() {
        let long = format!("/{}", "a".repeat(9_000));
        assert_eq!(checked(&long, &[LOCAL]), Some("uri-too-long"));
        let value = "v".repeat(17_000);
        assert_eq!(
            checked("/", &[LOCAL, ("x-long", &value)]),
            Some("headers-too-large")
        );
    }
}
