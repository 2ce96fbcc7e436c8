//! What is told of a batch: one result for each entry, in their order.

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use posthouse_client::SentTogether;

use super::{Batch, Done, Entry};
use crate::body::{Body, Response};
use crate::media;
use crate::problem::{self, Problem};
use crate::publish::answer;
use crate::write::{self, Object};

/// What a result takes, mostly.
const RESULT: usize = 260;

pub(super) fn shown(batch: &Batch, now: i64) -> Response {
    let entries = &batch.entries;
    let requests: Vec<Shared> = (batch.together.iter())
        .map(|sent| Shared::of(sent, now))
        .collect();
    let mut out = String::with_capacity(64 + entries.len() * RESULT);
    let mut failed = 0;
    let mut durability = None;
    let mut whole = Object::new(&mut out);
    let results = whole.value("results");
    results.push('[');
    for (place, entry) in entries.iter().enumerate() {
        if place > 0 {
            results.push(',');
        }
        let mut object = Object::new(results);
        object.number("index", place as u64);
        object.optional("id", entry.id.as_deref());
        let sent = match &entry.done {
            Some(Done::Together(request, at)) => {
                let (shared, sent) = (&requests[*request], &batch.together[*request]);
                shared.show(&mut object, sent, *at);
                Some(sent.all())
            }
            Some(Done::Alone(sent)) => {
                object.number("status", answer::status(sent).as_u16().into());
                if sent.replayed {
                    object.value("replayed").push_str("true");
                }
                answer::sent(&mut object, sent, entry.kind, entry.deliver_at, || now);
                Some(&**sent)
            }
            done => {
                failed += 1;
                let failure: &Problem = match done {
                    Some(Done::Failed(problem)) => problem,
                    _ => &not_told(entry),
                };
                let told = failure.to_json(None).to_string();
                object.number("status", failure.kind().status.into());
                object.value("problem").push_str(&told);
                None
            }
        };
        if let Some(sent) = sent {
            let told = sent.durability.as_deref().unwrap_or(answer::UNKNOWN);
            // What is not the same for all is said of none.
            let same = durability.is_none_or(|before| before == told);
            durability = Some(if same { told } else { answer::UNKNOWN });
        }
        object.end();
    }
    results.push(']');
    whole.number("failed", failed);
    whole.end();
    let mut response = Response::new(Body::from(out));
    if failed > 0 {
        *response.status_mut() = StatusCode::MULTI_STATUS;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media::JSON));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(answer::DURABILITY.clone(), answer::durability(durability));
    response
}

/// Of an entry of which nothing was told.
fn not_told(entry: &Entry) -> Problem {
    match entry.under_way {
        true => Problem::new(&problem::PUBLISH_OUTCOME_UNKNOWN),
        false => Problem::unavailable("the time was over before it was sent"),
    }
}

/// What the results of messages that were sent together have in common, written once.
struct Shared {
    /// Up to the id.
    id: String,
    /// From there to the offset.
    offset: String,
    /// Behind that.
    rest: String,
}

impl Shared {
    fn of(sent: &SentTogether, now: i64) -> Shared {
        let all = sent.all();
        let (mut id, mut offset, mut rest) = (String::new(), String::from("\""), String::new());
        let mut object = Object::behind(&mut id);
        object.number("status", answer::status(all).as_u16().into());
        object.value("message_id").push('"');
        let mut object = Object::behind(&mut offset);
        object.queue("queue", &all.queue);
        object.value("offset");
        answer::stored(&mut Object::behind(&mut rest), all, || now);
        Shared { id, offset, rest }
    }

    fn show(&self, object: &mut Object<'_>, sent: &SentTogether, at: usize) {
        let out = object.members();
        out.push_str(&self.id);
        // Digits and letters: nothing of it is escaped.
        out.push_str(sent.id(at));
        out.push_str(&self.offset);
        write::number(out, sent.queue_offset(at));
        out.push_str(&self.rest);
    }
}
