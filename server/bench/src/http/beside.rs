//! Sends over remoting, alone and then while the HTTP door works: whether one is held up by the other.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use remoting::Serialize;

use crate::admin::Admin;
use crate::cell::{QUEUES, Row, SIZE, Target, Times};
use crate::load::{Measured, Shape, closed};
use crate::send::{Sending, Wrong};
use crate::template::Template;

use super::tails::Streams;
use super::{Asking, BYTES, request};

const BODY: usize = 4 << 20;
/// From one body to the next: 200 MiB a second, so that it is not the disk that is measured.
const PAUSE: Duration = Duration::from_millis(20);

/// While messages go to streams, the next when all have the one before.
#[allow(clippy::too_many_arguments)] // what a cell is given, and one more
pub(super) fn tails(
    admin: &mut Admin,
    address: SocketAddr,
    topic: &str,
    count: usize,
    run: u64,
    shape: Shape,
    target: Target,
    times: Times,
) -> Result<Row, Wrong> {
    let followed = format!("{topic}-followed");
    admin.create_topic(&followed, QUEUES)?;
    let mut streams = Streams::open(address, &followed, times.streams.unwrap_or(count), None)?;
    let load = |until: &AtomicBool| {
        while !until.load(Ordering::Relaxed) {
            streams.rounds(Duration::ZERO)?;
        }
        Ok(format!("{} messages to all streams", streams.round))
    };
    both(topic, run, shape, target, load)
}

/// While 4 MiB bodies are posted.
pub(super) fn bodies(
    admin: &mut Admin,
    address: SocketAddr,
    topic: &str,
    run: u64,
    shape: Shape,
    target: Target,
) -> Result<Row, Wrong> {
    let large = format!("{topic}-large");
    admin.create_topic(&large, QUEUES)?;
    let path = format!("/v1/topics/{large}/messages:raw");
    let post = request("POST", &path, BYTES, &vec![b'x'; BODY]);
    let load = |until: &AtomicBool| {
        let mut asking = Asking::connect(address)?;
        let mut count = 0;
        while !until.load(Ordering::Relaxed) {
            let begun = Instant::now();
            asking.expect(201, &post)?;
            count += 1;
            thread::sleep(PAUSE.saturating_sub(begun.elapsed()));
        }
        Ok(format!("{count} bodies of 4 MiB"))
    };
    both(topic, run, shape, target, load)
}

/// Measures sends alone, and again beside the other load, which says what it did.
fn both(
    topic: &str,
    run: u64,
    shape: Shape,
    target: Target,
    other: impl FnOnce(&AtomicBool) -> Result<String, Wrong>,
) -> Result<Row, Wrong> {
    let send = || {
        let template = Template::send(topic, SIZE, Serialize::Binary);
        let mut load = Sending::new(template, QUEUES, shape.connections, run);
        let measured = closed(target.address, shape, Instant::now(), target.pid, &mut load)?;
        match load.errors.first_key_value() {
            Some((code, _)) => Err(Wrong(format!("a send had code {code}"))),
            None => Ok((measured, load.refused)),
        }
    };
    let (quiet, _) = send()?;
    let until = AtomicBool::new(false);
    let (beside, did) = thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let sent = send();
            until.store(true, Ordering::Relaxed);
            sent
        });
        let did = other(&until);
        (sending.join(), did)
    });
    let did = did?;
    let beside = beside.unwrap_or_else(|_| Err(Wrong("the sends panicked".to_owned())));
    let (measured, refused) = beside?;
    let p99 = |measured: &Measured| measured.latency.value_at_quantile(0.99) as f64 / 1e6;
    let (quiet, loud) = (p99(&quiet), p99(&measured));
    let times = loud / quiet.max(1e-6);
    Ok(Row {
        refused,
        told: Some(format!("p99 {times:.1}× the quiet {quiet:.2} ms; {did}")),
        ..Row::of(measured)
    })
}
