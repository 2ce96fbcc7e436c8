//! Apache's Java client with 64 threads that send, against either broker (`apache/Producer.java`).
//!
//! What is counted is what the queues grew by; the CPU is the broker's.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use crate::admin::Admin;
use crate::brokers::{Broker, java};
use crate::cell::{Row, Times};
use crate::load::{Measured, histogram};
use crate::meter::Meter;
use crate::send::Wrong;

const TOPIC: &str = "java-producer";
const QUEUES: u32 = 8;
/// A JVM needs as long before it sends what it can.
const WARM: Duration = Duration::from_secs(20);

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs it from the folder of Apache's jars.
pub fn produce(broker: &Broker, apache: &Path, times: Times, quick: bool) -> Result<Row, Wrong> {
    let mut admin = Admin::connect(broker.address())?;
    admin.create_topic(TOPIC, QUEUES)?;
    let mut command = java(apache, &["-Xms512m", "-Xmx512m"]);
    command
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("apache/Producer.java"))
        .args([&broker.namesrv(), TOPIC, "64", "1024"])
        .stdin(Stdio::null());
    let log = File::create(broker.folder().join("java-producer.log"))?;
    command.env("HOME", broker.folder());
    command.stdout(log.try_clone()?).stderr(log);
    let mut running = Running(command.spawn()?);
    let ends = |admin: &mut Admin| -> Result<u64, Wrong> {
        (0..QUEUES).map(|queue| admin.end(TOPIC, queue)).sum()
    };
    let warm = if quick { WARM / 2 } else { WARM };
    thread::sleep(warm);
    let before: u64 = ends(&mut admin)?;
    let meter = Meter::begin(broker.pid());
    thread::sleep(times.time);
    let used = meter.end();
    let messages = ends(&mut admin)? - before;
    if messages == 0 || running.0.try_wait()?.is_some() {
        let text = std::fs::read_to_string(broker.folder().join("java-producer.log"));
        let text = text.unwrap_or_default();
        return Err(Wrong(format!("the Java producer sends nothing: {text}")));
    }
    Ok(Row {
        measured: Measured {
            messages,
            latency: histogram(),
            used,
            span: None,
        },
        refused: 0,
        behind: Duration::ZERO,
        told: None,
    })
}
