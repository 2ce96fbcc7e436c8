//! Lists in pages: the parameters, the token that leads on, the answer.
//!
//! A token is the last name that was shown and until when it is good, signed. A list is in the order of
//! names, so nothing is kept between pages, and what comes or goes meanwhile moves nothing.

use hyper::header::{HeaderValue, LINK};
use hyper::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::body::Response;
use crate::call::{Call, json_answer};
use crate::clock;
use crate::node::Node;
use crate::parameters::Parameters;
use crate::problem::{self, Problem};
use crate::token::Kind;

const MOST: u64 = 100;
const USUAL: u64 = 50;
/// The page that a request asks for.
pub(crate) struct Page {
    after: Option<String>,
    limit: usize,
}

impl Page {
    /// Reads `limit` and `page_token`, and finishes the parameters.
    ///
    /// # Errors
    /// `invalid-parameter`, `invalid-page-token`, `page-token-expired`.
    pub(crate) fn asked(parameters: &mut Parameters<'_>, node: &Node) -> Result<Page, Problem> {
        let limit = parameters.number("limit", 1..=MOST).unwrap_or(USUAL);
        parameters.finish()?;
        let mut after = None;
        if let Some(token) = parameters.text("page_token") {
            let invalid = || {
                let detail = "this is no page_token that this cluster has handed out";
                Problem::new(&problem::INVALID_PAGE_TOKEN).detail(detail)
            };
            let read = node.tokens.read(Kind::Page, token).ok_or_else(invalid)?;
            let (until, name) = read.split_first_chunk().ok_or_else(invalid)?;
            if i64::from_be_bytes(*until) <= clock::wall_ms() {
                return Err(expired());
            }
            after = Some(String::from_utf8(name.to_vec()).map_err(|_| invalid())?);
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(Page { after, limit })
    }

    /// The names of this page, in order, and the token of the next one.
    pub(crate) fn take(
        &self,
        mut names: Vec<String>,
        node: &Node,
    ) -> (Vec<String>, Option<String>) {
        names.sort_unstable();
        names.dedup();
        if let Some(after) = &self.after {
            names.retain(|name| name > after);
        }
        let more = names.len() > self.limit;
        names.truncate(self.limit);
        let last = names.last().filter(|_| more);
        let token = last.map(|last| {
            let payload = [&until(node).to_be_bytes(), last.as_bytes()].concat();
            node.tokens.sign(Kind::Page, &payload)
        });
        (names, token)
    }
}

/// Until when a token is good that is handed out now.
pub(crate) fn until(node: &Node) -> i64 {
    let time = node.options.limits.page_time.as_millis();
    clock::wall_ms().saturating_add(i64::try_from(time).unwrap_or(i64::MAX))
}

/// A token was good, and is not any more.
pub(crate) fn expired() -> Problem {
    let detail = "begin again without page_token";
    Problem::new(&problem::PAGE_TOKEN_EXPIRED).detail(detail)
}

/// A page of a list.
pub(crate) fn answer(call: &Call, items: Vec<Value>, next: Option<String>) -> Response {
    let list = json!({"items": items, "next_page_token": next});
    let mut response = json_answer(StatusCode::OK, &list);
    if let Some(next) = next {
        link(call, &next, response.headers_mut());
    }
    response
}

/// Says where the next page is.
pub(crate) fn link(call: &Call, next: &str, headers: &mut HeaderMap) {
    let pairs = call.query().split('&').filter(|pair| !pair.is_empty());
    let kept = pairs.filter(|pair| !pair.starts_with("page_token="));
    let query: String = kept.map(|pair| format!("{pair}&")).collect();
    let link = format!("<?{query}page_token={next}>; rel=\"next\"");
    if let Ok(link) = HeaderValue::try_from(link) {
        headers.insert(LINK, link);
    }
}
