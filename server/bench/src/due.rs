//! Messages that are due later, and how late they come: sent in advance, all due within one second, and
//! received by a consumer that waits with long polls. The lateness of each counts from when it was due,
//! on the one clock of this machine.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::e2e::EndToEnd;
use crate::load::{Measured, Poll, now_ns};
use crate::meter::Meter;
use crate::send::{Sending, Wrong};
use crate::template::OPAQUE;

/// How messages are told when to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Delay level 1: a second after they are sent.
    Level,
    /// At a time (`TIMER_DELIVER_MS`).
    Timer,
}

/// A millisecond, which is how exactly a time can be told.
const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
/// Timers are sent at this pace: Apache refuses them when they come faster.
const TIMERS_A_SECOND: u64 = 5_000;

/// Sends so many messages that are due within one second, and waits for all of them.
#[allow(clippy::too_many_arguments)]
pub fn run(
    address: SocketAddr,
    topic: &str,
    queues: u32,
    due: Due,
    messages: u64,
    run: u64,
    pid: Option<u32>,
    sending: &mut Sending,
) -> Result<Measured, Wrong> {
    // What is due at once comes in any order.
    let mut all = EndToEnd::new(address, topic, queues, run, sending, false)?;
    let mut poll = Poll::new()?;
    all.watch(&mut poll)?;
    let meter = Meter::begin(pid);
    let start = now_ns(all.begun) + 20 * MS;
    let step = match due {
        Due::Level => SECOND / messages,
        Due::Timer => SECOND / TIMERS_A_SECOND,
    };
    // The second in which timers are due begins when all are sent, and a second more.
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    let wall_ns = wall.unwrap_or_default().as_nanos() as u64 - now_ns(all.begun);
    let first_due = (wall_ns + start + messages * step) / MS * MS + SECOND;
    for number in 0..messages {
        let send_at = start + number * step;
        while now_ns(all.begun) < send_at {
            let left = send_at.saturating_sub(now_ns(all.begun));
            all.turn(&mut poll, Duration::from_nanos(left))?;
        }
        let stamp = match due {
            Due::Level => send_at + SECOND,
            Due::Timer => {
                let at = (first_due + number * (SECOND / messages)) / MS;
                all.sending.number(at);
                at * MS - wall_ns
            }
        };
        all.sending
            .write(0, OPAQUE + number as i32, stamp, &mut all.producer.out);
        all.producer.flush()?;
    }
    let until = now_ns(all.begun) + 60 * SECOND;
    while all.delivered + all.sending.refused < messages && now_ns(all.begun) < until {
        all.turn(&mut poll, Duration::from_millis(50))?;
    }
    let used = meter.end();
    if let Some((code, times)) = all.sending.errors.iter().next() {
        return Err(Wrong(format!("{times} sends had code {code}")));
    }
    if all.delivered + all.sending.refused != messages {
        let text = format!("{messages} sent, {} delivered", all.delivered);
        return Err(Wrong(text));
    }
    if all.early > 0 {
        return Err(Wrong(format!("{} came before they were due", all.early)));
    }
    let span = all.last.saturating_sub(all.first.unwrap_or_default());
    let measured = Measured {
        messages: all.delivered,
        latency: all.latency.clone(),
        used,
        span: Some(Duration::from_nanos(span)),
    };
    match all.trouble() {
        Some(wrong) => Err(wrong),
        None => Ok(measured),
    }
}
