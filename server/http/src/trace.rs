//! Whose trace a publish is a part of (W3C `traceparent`): kept with the message, as RocketMQ keeps it.

use hyper::HeaderMap;
use hyper::header::HeaderName;

/// The property in which a CloudEvent says its own.
pub(crate) const OF_EVENT: &str = "CE_traceparent";
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Version, trace, parent and flags of version 00, with dashes between.
const LENGTH: usize = 55;

/// The trace that a request is a part of. What is none is no mistake of the message's: it is passed over, as
/// the standard wants.
pub(crate) fn of(headers: &HeaderMap) -> Option<String> {
    let mut given = headers.get_all(&TRACEPARENT).iter();
    let text = given.next()?.to_str().ok()?;
    (given.next().is_none() && is_one(text)).then(|| text.to_owned())
}

/// Whether this is a `traceparent`. Those of later versions may have more behind.
fn is_one(text: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let is_hex = |part: &&str, length: usize| part.len() == length && part.bytes().all(digit);
    let mut parts = text.split('-');
    let version = parts.next().filter(|part| is_hex(part, 2));
    let ids = [32, 16].map(|length| parts.next().filter(|part| is_hex(part, length)));
    let flags = parts.next().filter(|part| is_hex(part, 2));
    // No id is all zeros.
    let named = |id: &Option<&str>| id.is_some_and(|id| id.bytes().any(|byte| byte != b'0'));
    let whole = match version {
        None | Some("ff") => false,
        Some("00") => text.len() == LENGTH,
        Some(_) => text.len() <= 255 && text.bytes().all(|byte| byte.is_ascii_graphic()),
    };
    whole && flags.is_some() && ids.iter().all(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_told_from_what_is_none() {
        let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        for one in [
            format!("00-{trace}-{parent}-01"),
            format!("00-{trace}-{parent}-00"),
            format!("cc-{trace}-{parent}-01-what-the-future-will-be-like"),
        ] {
            assert!(is_one(&one), "{one}");
        }
        for none in [
            String::new(),
            format!("00-{trace}-{parent}"),
            format!("00-{trace}-{parent}-1"),
            format!("00-{trace}-{parent}-01-more"),
            format!("ff-{trace}-{parent}-01"),
            format!("00-{}-{parent}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{}-{parent}-01", trace.to_uppercase()),
            format!("cc-{trace}-{parent}-01-\u{1}"),
        ] {
            assert!(!is_one(&none), "{none}");
        }
    }
}
