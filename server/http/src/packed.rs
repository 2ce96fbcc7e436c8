//! Answers in gzip or zstd, for callers who ask for it: not streams, not what somebody published as bytes, and not what is
//! so short that it gains nothing.

use std::future::Future;
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::header::{
    ACCEPT_ENCODING, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE,
    HeaderMap, HeaderValue, VARY,
};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use tokio::task::JoinHandle;

use crate::body::{Body, BoxError, Response};

/// What is shorter is answered as it is.
const SHORTEST: u64 = 1024;
/// What is longer is no work for a thread that serves connections.
const AT_ONCE: usize = 8 << 10;

/// How an answer is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Zstd,
}

/// What the caller takes; of several, what it likes best, and zstd rather than gzip.
pub(crate) fn asked(headers: &HeaderMap) -> Option<Coding> {
    let said = headers.get_all(ACCEPT_ENCODING).iter();
    let all = said
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let (mut gzip, mut zstd, mut any) = (None, None, 0.0);
    for one in all {
        let (name, parameters) = one.split_once(';').unwrap_or((one, ""));
        let quality = parameters.trim().strip_prefix("q=").map(str::trim);
        let quality = quality.map_or(1.0, |quality| quality.parse::<f32>().unwrap_or(0.0));
        match name.trim() {
            name if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => {
                gzip = Some(quality);
            }
            name if name.eq_ignore_ascii_case("zstd") => zstd = Some(quality),
            "*" => any = quality,
            _ => {}
        }
    }
    // `*` is whatever is not named; gzip is what everybody knows.
    let (gzip, zstd) = (gzip.unwrap_or(any), zstd.unwrap_or(0.0));
    match (gzip > 0.0, zstd > 0.0) {
        (_, true) if zstd >= gzip => Some(Coding::Zstd),
        (true, _) => Some(Coding::Gzip),
        _ => None,
    }
}

/// The same answer packed, if that is worth it.
pub(crate) fn packed(mut response: Response, coding: Coding) -> Response {
    if !is_worth_it(&response) {
        return response;
    }
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    let name = match coding {
        Coding::Gzip => "gzip",
        Coding::Zstd => "zstd",
    };
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
    headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    let whole = std::mem::replace(response.body_mut(), Body::empty());
    *response.body_mut() = Body::new(Packed::Reading(whole, BytesMut::new(), coding));
    response
}

fn is_worth_it(response: &Response) -> bool {
    let headers = response.headers();
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let kind = kind
        .and_then(|kind| kind.split(';').next())
        .unwrap_or_default();
    let is_text = match kind {
        "text/event-stream" => false,
        "application/json" | "application/yaml" => true,
        kind => kind.starts_with("text/") || kind.ends_with("+json"),
    };
    let length = response.body().size_hint().exact();
    is_text
        && length.is_some_and(|length| length >= SHORTEST)
        && !headers.contains_key(CONTENT_DISPOSITION)
        && !headers.contains_key(CONTENT_ENCODING)
}

/// A body that is packed when the connection asks for it: whoever waits to hear that the caller has the answer
/// hears it no sooner than without.
enum Packed {
    Reading(Body, BytesMut, Coding),
    Packing(JoinHandle<Bytes>),
    Done,
}

impl HttpBody for Packed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            match &mut *self {
                Packed::Reading(body, whole, coding) => match ready!(Pin::new(body).poll_frame(cx))
                {
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            whole.extend_from_slice(&data);
                        }
                    }
                    Some(Err(error)) => {
                        *self = Packed::Done;
                        return Poll::Ready(Some(Err(error)));
                    }
                    None => {
                        let (whole, coding) = (std::mem::take(whole).freeze(), *coding);
                        if whole.len() <= AT_ONCE {
                            *self = Packed::Done;
                            return Poll::Ready(Some(Ok(Frame::data(coding.pack(&whole)))));
                        }
                        let job = tokio::task::spawn_blocking(move || coding.pack(&whole));
                        *self = Packed::Packing(job);
                    }
                },
                Packed::Packing(job) => {
                    let packed = ready!(Pin::new(job).poll(cx)).map_err(Into::into);
                    *self = Packed::Done;
                    return Poll::Ready(Some(packed.map(Frame::data)));
                }
                Packed::Done => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Packed::Done)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Coding {
    fn pack(self, whole: &[u8]) -> Bytes {
        match self {
            Coding::Gzip => gzip(whole),
            Coding::Zstd => compress_to_vec(whole, CompressionLevel::Fastest).into(),
        }
    }
}

fn gzip(whole: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(whole.len() / 4), Compression::fast());
    // Memory takes whatever is written.
    let _ = encoder.write_all(whole);
    encoder.finish().unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_packed_as_its_caller_likes_best() {
        let (gzip, zstd) = (Some(Coding::Gzip), Some(Coding::Zstd));
        for (said, is) in [
            ("gzip", gzip),
            ("GZIP", gzip),
            ("br, x-gzip;q=0.1", gzip),
            ("*", gzip),
            ("*;q=0", None),
            ("gzip;q=0, *", None),
            ("gzip; q=0.000", None),
            ("deflate, br", None),
            ("", None),
            ("zstd", zstd),
            ("gzip, deflate, br, zstd", zstd),
            ("Zstd;q=0.5, gzip", gzip),
            ("zstd;q=0.5, gzip;q=0.4", zstd),
            ("zstd;q=0, gzip", gzip),
            ("zstd;q=0", None),
            ("zstd, *;q=0", zstd),
            ("zstd;q=odd", None),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(said))]);
            assert_eq!(asked(&headers), is, "{said}");
        }
        assert_eq!(asked(&HeaderMap::new()), None);
    }
}
