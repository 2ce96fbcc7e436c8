//! Messages on loan.

use std::time::Duration;

use ffi::slab::{Frame, write_received};
use napi_derive::napi;
use posthouse_client::{Filter, Lease, Leased, Receive, SimpleConsumer as Inner};
use serde_json::json;

use crate::client::Client;
use crate::error::{Result, thrown};
use crate::port::Calls;
use crate::value::{Value, Wanted, millis, wrong};

/// A consumer of messages on loan.
#[napi]
pub struct SimpleConsumer {
    calls: Calls,
    inner: Inner,
    wanted: Vec<(String, Filter)>,
}

/// Of several topics, one is waited for at a time: this long.
const TURN: Duration = Duration::from_millis(500);

#[napi]
impl SimpleConsumer {
    /// A consumer of a group.
    #[napi(constructor)]
    pub fn new(client: &Client, group: String, wanted: Vec<Wanted>) -> Result<SimpleConsumer> {
        let inner = client.inner().get().map_err(thrown)?;
        Ok(SimpleConsumer {
            calls: client.calls().clone(),
            inner: inner.simple_consumer(&group).map_err(thrown)?,
            wanted: wanted.into_iter().map(Wanted::parts).collect(),
        })
    }

    /// The next messages. Behind each one's properties lies its lease.
    #[napi]
    pub fn receive(&self, call: u32, max: u32, wait_ms: f64, invisible_ms: f64) {
        let (inner, wanted) = (self.inner.clone(), self.wanted.clone());
        let receive = Receive {
            max,
            wait: millis(wait_ms),
            invisible: millis(invisible_ms),
            ..Receive::default()
        };
        self.calls.start(call, async move {
            let leased = next(&inner, &wanted, receive).await?;
            ffi::Result::Ok(Value::Messages(frame(&leased)))
        });
    }

    /// These leases' messages are done; whether all of them are: one that is not out on its lease any more comes again.
    #[napi]
    pub fn ack(&self, call: u32, leases: Vec<String>) {
        let inner = self.inner.clone();
        self.calls.start(call, async move {
            let leases = leases.iter().map(|lease| parse(lease));
            let leases: Vec<Lease> = leases.collect::<ffi::Result<_>>()?;
            // All are told, whatever becomes of one.
            let outcomes: std::result::Result<Vec<bool>, _> =
                inner.ack_all(&leases).await.into_iter().collect();
            let all = outcomes?.into_iter().all(|done| done);
            ffi::Result::Ok(Value::Json(json!(all)))
        });
    }

    /// Lends a message for so long from now; returns the new lease.
    #[napi]
    pub fn extend(&self, call: u32, lease: String, invisible_ms: f64) {
        let inner = self.inner.clone();
        self.calls.start(call, async move {
            let lease = inner.extend(&parse(&lease)?, millis(invisible_ms)).await?;
            ffi::Result::Ok(Value::Json(json!(lease.to_string())))
        });
    }
}

fn parse(lease: &str) -> ffi::Result<Lease> {
    lease
        .parse()
        .map_err(|_| wrong("this message is not on loan: a simple consumer did not receive it"))
}

/// The next messages of any of the topics.
async fn next(
    inner: &Inner,
    wanted: &[(String, Filter)],
    receive: Receive,
) -> ffi::Result<Vec<Leased>> {
    let until = tokio::time::Instant::now() + receive.wait;
    let mut waits = Duration::ZERO;
    loop {
        for (topic, filter) in wanted {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            let one = Receive {
                wait: if wanted.len() == 1 {
                    left
                } else {
                    left.min(waits)
                },
                filter: filter.clone(),
                ..receive.clone()
            };
            let leased = inner.receive(topic, &one).await?;
            if !leased.is_empty() {
                return Ok(leased);
            }
        }
        if until <= tokio::time::Instant::now() {
            return Ok(Vec::new());
        }
        waits = TURN;
    }
}

/// The messages; the id of each is where its lease begins in the slab, and how long that is.
fn frame(leased: &[Leased]) -> Frame {
    let mut frame = write_received(leased.iter().map(|one| (0, &one.message)));
    let numbers = ffi::slab::META;
    for (at, one) in leased.iter().enumerate() {
        let lease = one.lease.to_string();
        let id = at * numbers + ffi::slab::Field::Id as usize;
        frame.meta[id] = frame.slab.len() as u32;
        frame.meta[id + 1] = lease.len() as u32;
        frame.slab.extend_from_slice(lease.as_bytes());
    }
    frame
}
