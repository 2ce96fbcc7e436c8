//! The whole table: both brokers, round about, and what each cell must reach.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::admin::Admin;
use crate::brokers::{Broker, Make, fetch_apache};
use crate::cell::{CELLS, Cell, Kind, READ_BACK, Row, Times};
use crate::java;
use crate::load::{Shape, closed};
use crate::meter::anonymous;
use crate::send::{Sending, Wrong};
use crate::template::Template;

/// Time for a broker to come to rest before its memory is looked at.
const REST: Duration = Duration::from_secs(12);

/// The name of the row that has 10,000 topics, for [`Plan::cells`].
const MANY_TOPICS: &str = "many-topics";
/// The name of the row that kills a broker, for [`Plan::cells`].
const RECOVERY: &str = "recovery";

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Our binary.
    pub posthouse: PathBuf,
    /// Where jars and data go.
    pub folder: PathBuf,
    /// Ours alone, or Apache's alone, or both.
    pub broker: Option<String>,
    /// Short rounds, each broker once: to see whether something is broken.
    pub quick: bool,
    /// Cells whose name contains one of these; none means all.
    pub cells: Vec<String>,
}

/// What the issue asks for; compared by eye, because machines differ.
fn bar(name: &str) -> &'static str {
    match name {
        "send-1x1" => "p50 ≤ 80 µs, ≤ 35 µs CPU",
        "send-64x1" | "send-64x1-json" => "≥ 2.2×, ≤ 8.5 µs (7), p99 ≤ 2 ms",
        "send-1x64" => "≥ 8×, ≤ 1.6 µs",
        "send-16x16" => "≥ 10×, ≤ 1.5 µs",
        "send-16x16-json" => "≥ 8×, ≤ 2.0 µs",
        "batch-16x16" => "≤ 0.45 µs",
        "sync-1x1" => "p50 ≤ 260 (220) µs",
        "sync-64x1" => "≥ 3.0× (3.9×)",
        "sync-16x16" => "≥ 8× (10×)",
        "pull-32" => "≤ 0.6 µs",
        "e2e-2k" => "p50 ≤ 0.15 ms, p99 ≤ 1 ms",
        "e2e-20k" => "p50 ≤ 0.26 ms, p99 ≤ 2 ms",
        "delay-level" | "delay-timer" => "p99 late ≤ 20 ms, CPU ≤ 1/5",
        "transaction" | "sql-1" | "sql-50" | "pop" => "≥ 5×",
        "pop-again" => "late ≤ 50 ms",
        "http-json" | "http-raw" => "≤ 16 µs (10)",
        "http-batch" => "≤ 2 µs (1.25)",
        "http-receive" => "≤ 20 µs (10)",
        "http-idle" => "≤ 25 KiB each",
        "http-tails-1k" => "≤ 10 µs (5)",
        "http-tails-10k" | "http-tag-tails" => "≤ 10 µs (5), p99 ≤ 300 ms",
        "beside-http-tails" | "beside-http-bodies" => "p99 ≤ 2× quiet",
        "java-producer" => "≥ 1.3×, CPU ≤ 1/5",
        _ => "",
    }
}

/// Everything that one make did.
#[derive(Default)]
struct Made {
    rows: BTreeMap<&'static str, Vec<Row>>,
    wrong: BTreeMap<&'static str, Wrong>,
    starts: Vec<Duration>,
    recovered: Option<Duration>,
    idle: Option<u64>,
    after: Option<u64>,
    many_topics: Option<Row>,
}

/// Runs the plan and prints the table.
pub fn run(plan: &Plan) -> Result<bool, Wrong> {
    let ours = Make::Posthouse(plan.posthouse.clone());
    let mut rounds = Vec::new();
    match plan.broker.as_deref() {
        Some("posthouse") => rounds.push(ours),
        Some("apache") => rounds.push(fetch_apache(&plan.folder.join("apache"))?),
        Some(other) => return Err(Wrong(format!("--broker posthouse or apache, not {other}"))),
        None => {
            let theirs = fetch_apache(&plan.folder.join("apache"))?;
            rounds = vec![ours.clone(), theirs.clone()];
            if !plan.quick {
                rounds.extend([theirs, ours]);
            }
        }
    }
    let mut made: BTreeMap<&str, Made> = BTreeMap::new();
    let mut toys = Toys::new();
    let before_and_behind = plan.broker.as_deref() != Some("apache");
    if before_and_behind {
        transport(plan, &mut toys)?;
    }
    for (number, make) in rounds.iter().enumerate() {
        let name = make.name();
        eprintln!("round {} of {}: {name}", number + 1, rounds.len());
        round(plan, make, made.entry(name).or_default())?;
    }
    for make in &rounds {
        let made = made.entry(make.name()).or_default();
        if made.recovered.is_none() && wanted(plan, RECOVERY) {
            eprintln!("kill -9 and recovery: {}", make.name());
            made.recovered = Some(recovery(plan, make)?);
        }
    }
    if before_and_behind && !plan.quick {
        transport(plan, &mut toys)?;
    }
    print(&made, &toys);
    Ok(made.values().all(|made| made.wrong.is_empty()))
}

fn times(plan: &Plan) -> Times {
    let (warm, time) = if plan.quick { (0.5, 2.0) } else { (2.0, 8.0) };
    Times {
        warm: Duration::from_secs_f64(warm),
        time: Duration::from_secs_f64(time),
        one_write: false,
        read_back: READ_BACK,
        streams: None,
    }
}

/// What shares a broker and its store. Each has one of its own: together they would fill a small machine's disk.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Phase {
    /// Remoting, flushed behind the answers.
    Remoting,
    /// HTTP, flushed behind the answers.
    Http,
    /// Flushed before the answers.
    Sync,
}

impl Phase {
    fn has(self, cell: &Cell) -> bool {
        self == match (cell.sync, cell.is_http()) {
            (true, _) => Phase::Sync,
            (false, true) => Phase::Http,
            (false, false) => Phase::Remoting,
        }
    }
}

fn round(plan: &Plan, make: &Make, made: &mut Made) -> Result<(), Wrong> {
    let ours = matches!(make, Make::Posthouse(_));
    for phase in [Phase::Remoting, Phase::Http, Phase::Sync] {
        let cells: Vec<_> = CELLS
            .iter()
            .filter(|cell| wanted(plan, cell.name) && phase.has(cell))
            .filter(|cell| !cell.is_http() || ours)
            .collect();
        let topics = phase == Phase::Remoting && ours && wanted(plan, MANY_TOPICS);
        if cells.is_empty() && !topics {
            continue;
        }
        let data = plan.folder.join("data").join(make.name());
        let begun = Instant::now();
        let mut broker = Broker::start(make, &data, phase == Phase::Sync)?;
        broker.wait_for_send()?;
        if phase == Phase::Remoting {
            made.starts.push(begun.elapsed());
            thread::sleep(Duration::from_secs(2));
            made.idle = made.idle.or_else(|| broker.pid().and_then(anonymous));
        }
        if !ours {
            warm_up(
                &broker,
                Duration::from_secs(if plan.quick { 10 } else { 60 }),
            )?;
        }
        for cell in cells {
            measure(plan, cell, &broker, made)?;
            // What is dirty is written before the next cell, so that they do not pay for each other.
            let _ = std::process::Command::new("sync").status();
        }
        if phase != Phase::Sync {
            thread::sleep(REST);
            made.after = made.after.max(broker.pid().and_then(anonymous));
        }
        if topics {
            many_topics(&broker, times(plan), made)?;
        }
    }
    Ok(())
}

fn measure(plan: &Plan, cell: &Cell, broker: &Broker, made: &mut Made) -> Result<(), Wrong> {
    let row = match cell.kind {
        Kind::JavaProducer => {
            let apache = plan.folder.join("apache");
            fetch_apache(&apache)?;
            java::produce(broker, &apache, times(plan), plan.quick)
        }
        _ => cell.run(broker.target(), times(plan)),
    };
    match row {
        Ok(row) => {
            crate::print_row(cell, &row);
            made.rows.entry(cell.name).or_default().push(row);
        }
        Err(wrong) => {
            println!("{:24} wrong: {wrong}", cell.name);
            made.wrong.insert(cell.name, wrong);
        }
    }
    Ok(())
}

/// What the transport alone did: a machine's state is as good as this. By the names of cells.
type Toys = BTreeMap<&'static str, Vec<Row>>;

/// Sends to [`crate::toy`], a process for each cell: its queues know no topics.
fn transport(plan: &Plan, toys: &mut Toys) -> Result<(), Wrong> {
    let data = plan.folder.join("data/toy");
    let times = Times {
        read_back: 0,
        ..times(plan)
    };
    for cell in CELLS.iter().filter(|cell| wanted(plan, cell.name)) {
        if cell.kind == Kind::Send && !cell.sync {
            let toy = Broker::start(&Make::Toy, &data, false)?;
            toy.wait(toy.address())?;
            let row = cell.run(toy.target(), times)?;
            print!("transport alone: ");
            crate::print_row(cell, &row);
            toys.entry(cell.name).or_default().push(row);
        }
    }
    Ok(())
}

fn wanted(plan: &Plan, name: &str) -> bool {
    let named = plan.cells.iter().any(|part| name.contains(part));
    plan.cells.is_empty() || named
}

/// A JVM needs a minute of load before it shows what it can do.
fn warm_up(broker: &Broker, time: Duration) -> Result<(), Wrong> {
    let mut admin = Admin::connect(broker.address())?;
    admin.create_topic("warm-up", 8)?;
    let template = Template::send("warm-up", 1024, remoting::Serialize::Json);
    let mut sending = Sending::new(template, 8, 16, 0);
    let shape = Shape {
        connections: 16,
        outstanding: 8,
        one_write: false,
        warm: Duration::ZERO,
        time,
    };
    closed(broker.address(), shape, Instant::now(), None, &mut sending)?;
    Ok(())
}

/// 10,000 topics of 4 queues with a message in each topic, then 64 × 1 again.
fn many_topics(broker: &Broker, times: Times, made: &mut Made) -> Result<(), Wrong> {
    let mut admin = Admin::connect(broker.address())?;
    let begun = Instant::now();
    for number in 0..10_000 {
        let topic = format!("many-{number}");
        admin.create_topic(&topic, 4)?;
        let code = admin.send_one(&topic)?;
        if code != 0 {
            return Err(Wrong(format!("a send to {topic} had code {code}")));
        }
    }
    eprintln!(
        "10,000 topics made in {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    let cell = Cell::find("send-64x1").ok_or_else(|| Wrong("no such cell".to_owned()))?;
    let row = cell.run(broker.target(), times)?;
    crate::print_row(&cell, &row);
    made.many_topics = Some(row);
    Ok(())
}

/// Fills 5 GiB of log, kills, starts again: until a send is accepted.
fn recovery(plan: &Plan, make: &Make) -> Result<Duration, Wrong> {
    let data = plan.folder.join("data").join(make.name());
    let mut broker = Broker::start(make, &data, false)?;
    broker.wait_for_send()?;
    let mut admin = Admin::connect(broker.address())?;
    let wanted: u64 = if plan.quick { 400_000 } else { 4_400_000 };
    admin.create_topic("recovery", 8)?;
    let mut acked = 0;
    while acked < wanted {
        let template = Template::send("recovery", 1024, remoting::Serialize::Binary);
        let mut sending = Sending::new(template, 8, 4, 0);
        let shape = Shape {
            connections: 4,
            outstanding: 16,
            one_write: false,
            warm: Duration::ZERO,
            time: Duration::from_millis(500),
        };
        closed(broker.address(), shape, Instant::now(), None, &mut sending)?;
        acked += sending.acked;
    }
    drop(admin);
    broker.kill()?;
    let begun = Instant::now();
    broker.start_again()?;
    broker.wait_for_send()?;
    let took = begun.elapsed();
    let mut admin = Admin::connect(broker.address())?;
    admin.until_end("recovery", 8, acked)?;
    Ok(took)
}

fn print(made: &BTreeMap<&str, Made>, toys: &Toys) {
    let makes: Vec<_> = made.keys().copied().collect();
    println!();
    print!("| Cell |");
    for make in &makes {
        print!(" {make}: rate | CPU | p50 / p99 / max |");
    }
    println!(" transport alone | ratio | bar |");
    println!("|---|{}---|---|---|", "---|---|---|".repeat(makes.len()));
    for cell in &CELLS {
        if !made
            .values()
            .any(|made| made.rows.contains_key(cell.name) || made.wrong.contains_key(cell.name))
        {
            continue;
        }
        print!("| {} |", cell.title);
        for make in makes.iter().filter_map(|make| made.get(make)) {
            match (make.rows.get(cell.name), make.wrong.get(cell.name)) {
                (_, Some(_)) => print!(" wrong | | |"),
                (Some(rows), None) => print_cell(rows),
                (None, None) => print!(" – | | |"),
            }
        }
        let alone = toys.get(cell.name).map_or(String::new(), |rows| {
            let of = |what: &dyn Fn(&Row) -> f64| median(rows.iter().map(what).collect());
            let (rate, us) = (
                of(&|row| row.measured.rate()),
                of(&|row| row.measured.broker_us()),
            );
            format!("{rate:.0}/s, {us:.2} µs")
        });
        println!(" {alone} | {} | {} |", ratio(made, cell), bar(cell.name));
    }
    println!();
    for (make, made) in made {
        let starts: Vec<_> = made
            .starts
            .iter()
            .map(|s| format!("{:.3} s", s.as_secs_f64()))
            .collect();
        let mib =
            |bytes: Option<u64>| bytes.map_or("–".to_owned(), |b| format!("{} MiB", b >> 20));
        println!(
            "- {make}: start to first accepted send {}",
            starts.join(", ")
        );
        if let Some(recovered) = made.recovered {
            println!(
                "- {make}: kill -9 under 5 GiB of log to first accepted send {:.2} s",
                recovered.as_secs_f64()
            );
        }
        println!(
            "- {make}: anonymous memory {} idle, {} when it had rested for {REST:?} after the cells",
            mib(made.idle),
            mib(made.after)
        );
        let all = || made.rows.values().flatten();
        let refused: u64 = all().map(|row| row.refused).sum();
        let behind = all().map(|row| row.behind).max().unwrap_or_default();
        println!(
            "- {make}: {refused} refused as busy; queues' ends at most {:.1} ms behind the acknowledgements",
            behind.as_secs_f64() * 1e3
        );
        if let Some(row) = &made.many_topics {
            println!(
                "- {make}: with 10,000 topics, 64 × 1 {:.0}/s at {:.2} µs",
                row.measured.rate(),
                row.measured.broker_us()
            );
        }
        for (cell, wrong) in &made.wrong {
            println!("- {make}: {cell} was wrong: {wrong}");
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2] + values[n / 2 - 1]) / 2.0,
    }
}

fn print_cell(rows: &[Row]) {
    let of = |what: &dyn Fn(&Row) -> f64| median(rows.iter().map(what).collect());
    let at =
        |quantile: f64| of(&|row| row.measured.latency.value_at_quantile(quantile) as f64 / 1e6);
    print!(
        " {:.0}/s | {:.2} µs | {:.3} / {:.2} / {:.0} ms{} |",
        of(&|row| row.measured.rate()),
        of(&|row| row.measured.broker_us()),
        at(0.5),
        at(0.99),
        at(1.0),
        told(rows),
    );
}

/// What each round told beside its figures.
fn told(rows: &[Row]) -> String {
    let all = rows.iter().filter_map(|row| row.told.as_deref());
    all.map(|told| format!("; {told}")).collect()
}

fn ratio(made: &BTreeMap<&str, Made>, cell: &Cell) -> String {
    let rows = |make: &str| made.get(make).and_then(|made| made.rows.get(cell.name));
    let (Some(ours), Some(theirs)) = (rows("posthouse"), rows("apache")) else {
        return "–".to_owned();
    };
    let of = |rows: &[Row], what: &dyn Fn(&Row) -> f64| median(rows.iter().map(what).collect());
    let cpu =
        of(theirs, &|row| row.measured.broker_us()) / of(ours, &|row| row.measured.broker_us());
    match cell.kind {
        Kind::EndToEnd(_) | Kind::Due(_) | Kind::PopAgain => {
            let p50 = |row: &Row| row.measured.latency.value_at_quantile(0.5) as f64;
            format!(
                "p50 1/{:.1}, CPU 1/{cpu:.1}",
                of(theirs, &p50) / of(ours, &p50)
            )
        }
        _ => {
            let rate =
                of(ours, &|row| row.measured.rate()) / of(theirs, &|row| row.measured.rate());
            format!("{rate:.1}×, CPU 1/{cpu:.1}")
        }
    }
}

/// The folder for jars and data: `target/bench` of the workspace.
pub fn default_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench")
}
