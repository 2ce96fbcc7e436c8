//! Runs a command of the command line, from the first line of output to the exit code.
//!
//! A server starts on a thread of its own while this one listens for signals: the first asks for an
//! orderly end, the second ends at once. During the start there is nothing to put in order, since
//! nothing was answered yet.

use std::error::Error as StdError;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use remoting::body::properties;

use crate::cli::{Command, Run};
use crate::clock::RealClock;
use crate::config::{self, Config, Role};
use crate::raw_config::RawConfig;
use crate::server::{Server, StartError};
use crate::{banner, memory, stop, telemetry};

/// What is in flight at the end may take this long, for HTTP and again for remoting; the rest is for the disk.
const GRACE: Duration = Duration::from_millis(2_500);
/// An end takes no longer, once the HTTP port has stayed open for as long as balancers need.
const LIMIT: Duration = Duration::from_millis(9_500);
/// The exit code after a second signal, as after SIGINT in a shell.
const INTERRUPTED: i32 = 130;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Stop(#[from] stop::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("cannot write log files to {}", .0.display())]
    Logs(PathBuf, #[source] std::io::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("what was in flight could not be ended within {0:?}")]
    Late(Duration),
}

/// Runs the command and says how it went.
pub fn run(command: Command) -> ExitCode {
    let done = match command {
        Command::Run(run) => start(&run),
        Command::Check(data) => check(&data),
        Command::Rebuild(data) => rebuild(&data),
        Command::Stop(role, data) => end(role, &data),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("posthouse: {}", with_sources(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and what caused it, in one line each cause.
fn with_sources(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(&format!(": {source}"));
        cause = source.source();
    }
    text
}

fn start(run: &Run) -> Result<ExitCode, Error> {
    let raw = match &run.config {
        Some(file) => {
            let path = config::locate(file, run.rocketmq_home.as_deref());
            RawConfig::read(&path, run.lenient).map_err(config::Error::from)?
        }
        None => RawConfig::default(),
    };
    let config = Config::resolve(run.role, &run.given, raw)?;
    if run.print {
        print(&config)?;
    }
    let refusals = config.refusals();
    if !refusals.is_empty() {
        return Err(StartError::Refused(refusals).into());
    }
    if run.print {
        return Ok(ExitCode::SUCCESS);
    }
    let logs = run.log_dir.as_deref();
    telemetry::start(run.log_format, run.log_level.as_deref(), logs)
        .map_err(|error| Error::Logs(logs.unwrap_or(Path::new("stderr")).to_owned(), error))?;
    log_panics();
    for note in &config.notes {
        tracing::warn!("{note}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(config))
}

/// A panic costs one request, but its text belongs where the other lines are.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let trace = std::backtrace::Backtrace::capture();
        tracing::error!(%panic, %trace, "a panic");
    }));
}

fn print(config: &Config) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for (key, value) in config.properties() {
        writeln!(out, "{}", properties::write(&key, &value))?;
    }
    Ok(())
}

/// The signals that end a server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn serve(config: Config) -> Result<ExitCode, Error> {
    let mut signals = Signals {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
    };
    crate::machine::raise_descriptors();
    let limit = LIMIT + config.http.drain_delay;
    let starting = in_thread("start", move || Server::start(&config))?;
    let server = tokio::select! {
        started = starting => started.map_err(std::io::Error::other)??,
        // Nothing was answered yet, so there is nothing to put in order.
        () = signals.next() => std::process::exit(0),
    };
    // Standard output may be closed; a server runs on without its banner.
    let _ = writeln!(std::io::stdout(), "{}", banner::text(&server));
    tokio::select! {
        () = signals.next() => {}
        () = memory::give_back_at_rest() => {}
    }
    tracing::info!("ending: no new connections, and what is in flight is answered");
    let ending = in_thread("end", move || server.stop(GRACE))?;
    tokio::select! {
        ended = ending => {
            ended.map_err(std::io::Error::other)?;
            tracing::info!("ended");
            Ok(ExitCode::SUCCESS)
        }
        () = signals.next() => std::process::exit(INTERRUPTED),
        () = tokio::time::sleep(limit) => Err(Error::Late(limit)),
    }
}

fn in_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<oneshot::Receiver<T>> {
    let (done, result) = oneshot::channel();
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(move || done.send(work()))?;
    Ok(result)
}

fn end(role: Option<Role>, data: &Path) -> Result<ExitCode, Error> {
    for pid in stop::stop(role, data)? {
        println!("process {pid} has ended");
    }
    Ok(ExitCode::SUCCESS)
}

fn check(data: &Path) -> Result<ExitCode, Error> {
    let report = store::check::check(
        store::Options::default(),
        disk(data)?,
        Arc::new(RealClock::new()),
    )?;
    println!(
        "log: {} records, {} bytes, verified",
        report.records, report.bytes
    );
    for (from, to) in &report.recovery.quarantined {
        println!("log: damaged from {from} to {to}");
    }
    for at in &report.damaged {
        println!("log: damaged at {at}");
    }
    println!("queues: {}, with {} entries", report.queues, report.entries);
    for what in &report.named {
        println!("queues: {what}");
    }
    println!("queues: {} contradictions to the log", report.wrong);
    println!("waiting: {} delayed or half messages", report.pending);
    println!("tables: {} rows", report.rows);
    println!("key index: {} bytes of the log to go", report.keys_behind);
    println!(
        "{}",
        if report.is_sound() {
            "sound"
        } else {
            "damaged"
        }
    );
    Ok(ExitCode::from(u8::from(!report.is_sound())))
}

fn rebuild(data: &Path) -> Result<ExitCode, Error> {
    let found = store::check::rebuild(
        store::Options::default(),
        disk(data)?,
        Arc::new(RealClock::new()),
    )?;
    println!(
        "queues, key index and what waits were built from {} bytes of log",
        found.scanned
    );
    Ok(ExitCode::SUCCESS)
}

fn disk(data: &Path) -> Result<Arc<dyn store::Disk>, Error> {
    // A folder that is not there has no store; do not make one.
    std::fs::metadata(data.join("store.lock"))?;
    Ok(Arc::new(store::disk::real::Real::new(data)?))
}
