//! Where log lines go: to the standard error stream, for people or as JSON, or into two files.
//!
//! With `--log-dir` the name server's lines are in `namesrv.log` and the rest in `broker.log`, as
//! RocketMQ's users expect; a file that is full is renamed to `.1`, and so on up to [`KEPT`]. Nothing
//! logs a message at a time, so a lock around a file is fast enough.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::Metadata;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// A file's size at which it is rotated, in bytes.
const FULL: u64 = 64 << 20;
/// Rotated files that are kept, a name.
const KEPT: u32 = 9;

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// Starts logging for the whole process. `level` is a level or a filter as in RUST_LOG, which holds
/// where `level` is silent; the default is `info`.
pub fn start(format: Format, level: Option<&str>, folder: Option<&Path>) -> io::Result<()> {
    let filter = match (level, std::env::var("RUST_LOG")) {
        (Some(level), _) => level.to_owned(),
        (None, Ok(filter)) if !filter.is_empty() => filter,
        _ => "info".to_owned(),
    };
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| io::Error::other(format!("log level: {error}")))?;
    let output = match folder {
        Some(folder) => Output::open(folder)?,
        None => Output::Stderr,
    };
    let to_people = matches!(output, Output::Stderr) && io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(output)
        .with_ansi(to_people);
    let started = match format {
        Format::Human => builder.try_init(),
        Format::Json => builder.json().try_init(),
    };
    started.map_err(io::Error::other)
}

enum Output {
    Stderr,
    Files { namesrv: Shared, broker: Shared },
}

impl Output {
    fn open(folder: &Path) -> io::Result<Output> {
        std::fs::create_dir_all(folder)?;
        Ok(Output::Files {
            namesrv: Shared::open(folder.join("namesrv.log"), FULL)?,
            broker: Shared::open(folder.join("broker.log"), FULL)?,
        })
    }
}

impl<'a> MakeWriter<'a> for Output {
    type Writer = Box<dyn Write + 'a>;

    fn make_writer(&'a self) -> Self::Writer {
        match self {
            Output::Stderr => Box::new(io::stderr()),
            Output::Files { broker, .. } => Box::new(broker.clone()),
        }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Self::Writer {
        match self {
            Output::Files { namesrv, .. } if meta.target().starts_with("namesrv") => {
                Box::new(namesrv.clone())
            }
            _ => self.make_writer(),
        }
    }
}

/// A file that renames itself away when it is full.
struct Rotating {
    path: PathBuf,
    file: File,
    size: u64,
    full: u64,
}

impl Rotating {
    fn open(path: PathBuf, full: u64) -> io::Result<Rotating> {
        let file = append(&path)?;
        let size = file.metadata()?.len();
        Ok(Rotating {
            path,
            file,
            size,
            full,
        })
    }

    fn rotate(&mut self) -> io::Result<()> {
        let numbered = |n: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{n}"));
            PathBuf::from(name)
        };
        for n in (1..KEPT).rev() {
            if numbered(n).exists() {
                std::fs::rename(numbered(n), numbered(n + 1))?;
            }
        }
        std::fs::rename(&self.path, numbered(1))?;
        self.file = append(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

impl Write for Rotating {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let length = line.len() as u64;
        if self.size > 0 && self.size + length > self.full {
            self.rotate()?;
        }
        let written = self.file.write(line)?;
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[derive(Clone)]
struct Shared(Arc<Mutex<Rotating>>);

impl Shared {
    fn open(path: PathBuf, full: u64) -> io::Result<Shared> {
        Ok(Shared(Arc::new(Mutex::new(Rotating::open(path, full)?))))
    }
}

impl Write for Shared {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_moves_aside_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broker.log");
        let mut log = Shared::open(path.clone(), 10).unwrap();
        for n in 0..15 {
            log.write_all(format!("line {n:03}\n").as_bytes()).unwrap();
        }
        let read = |suffix: &str| std::fs::read_to_string(format!("{}{suffix}", path.display()));
        assert_eq!(read("").unwrap(), "line 014\n");
        assert_eq!(read(".1").unwrap(), "line 013\n");
        assert_eq!(read(".9").unwrap(), "line 005\n");
        assert!(read(".10").is_err());
    }

    #[test]
    fn a_restart_goes_on_in_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("namesrv.log");
        for line in ["one\n", "two\n"] {
            Rotating::open(path.clone(), 100)
                .unwrap()
                .write_all(line.as_bytes())
                .unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), "one\ntwo\n");
    }
}
