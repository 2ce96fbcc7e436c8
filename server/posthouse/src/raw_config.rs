//! What was written: the entries of a configuration file, each known by name and valid by kind.
//!
//! Apache ignores a key it does not know and keeps the default when a value does not parse; both have
//! cost people data. Here both are errors that say what would be right, all of them at once. What the
//! values mean together is decided in [`crate::config`].

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use remoting::body::properties;

use crate::keys::{self, Kind, Known};

/// A file's entries by proper name.
#[derive(Clone, Default)]
pub struct RawConfig {
    effective: BTreeMap<&'static str, String>,
    quiet: BTreeMap<&'static str, String>,
    /// Lines for the user: keys without effect, and unknown ones if that is allowed.
    pub notes: Vec<String>,
}

impl fmt::Debug for RawConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut effective = self.effective.clone();
        if let Some(secret) = effective.get_mut(SECRET) {
            "***".clone_into(secret);
        }
        f.debug_struct("RawConfig")
            .field("effective", &effective)
            .field("quiet", &self.quiet)
            .field("notes", &self.notes)
            .finish()
    }
}

/// The key whose value is shown nowhere.
const SECRET: &str = "secretKey";

/// Why a file is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The path as given.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It holds a secret, and others may read it.
    #[error(
        "{path} has a secretKey and is open to others than its owner (mode {mode:o}): chmod 600 it"
    )]
    Open {
        /// The path as given.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is not a `.properties` file.
    #[error("{file}: {error}")]
    Syntax {
        /// The file's name.
        file: String,
        /// Where and why.
        error: properties::SyntaxError,
    },
    /// Names or values that are wrong, one a line.
    #[error("{}", list(.0))]
    Entries(Vec<Problem>),
}

/// One wrong entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `file:line`.
    pub at: String,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

fn list(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n")
}

impl RawConfig {
    /// Reads a file. `lenient`: an unknown key is a note instead of an error.
    pub fn read(path: &Path, lenient: bool) -> Result<RawConfig, Error> {
        let unreadable = |source| Error::Unreadable {
            path: path.to_owned(),
            source,
        };
        let mut file = File::open(path).map_err(unreadable)?;
        let mode = file.metadata().map_err(unreadable)?.mode() & 0o777;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(unreadable)?;
        let raw = RawConfig::parse(&bytes, &path.display().to_string(), lenient)?;
        if raw.written(SECRET).is_some() && mode & 0o077 != 0 {
            let path = path.to_owned();
            return Err(Error::Open { path, mode });
        }
        Ok(raw)
    }

    /// Reads a file's bytes; `file` names it in messages.
    pub fn parse(bytes: &[u8], file: &str, lenient: bool) -> Result<RawConfig, Error> {
        let entries = properties::parse(bytes).map_err(|error| Error::Syntax {
            file: file.to_owned(),
            error,
        })?;
        let mut raw = RawConfig::default();
        let mut problems = Vec::new();
        for entry in entries {
            let at = format!("{file}:{}", entry.line);
            if let Err(what) = raw.take(&entry, &at, lenient) {
                problems.push(Problem { at, what });
            }
        }
        if problems.is_empty() {
            Ok(raw)
        } else {
            Err(Error::Entries(problems))
        }
    }

    fn take(&mut self, entry: &properties::Entry, at: &str, lenient: bool) -> Result<(), String> {
        let (written, value) = (&entry.key, entry.value.trim());
        match keys::find(written) {
            Some(Known::Effective(key)) => {
                check(key.kind, value)
                    .map_err(|allowed| format!("{written}={value}: {allowed}"))?;
                self.effective.insert(key.name, value.to_owned());
            }
            Some(Known::Quiet(name, kind, why)) => {
                check(kind, value).map_err(|allowed| format!("{written}={value}: {allowed}"))?;
                if let Some(why) = keys::refusal(name, value) {
                    return Err(format!("{written}={value}: {why}"));
                }
                self.notes
                    .push(format!("{at}: {written} has no effect: {why}"));
                self.quiet.insert(name, value.to_owned());
            }
            None => {
                let unknown = format!(
                    "there is no key {written}; the nearest is {}",
                    keys::nearest(written)
                );
                if !lenient {
                    return Err(unknown);
                }
                self.notes.push(format!("{at}: {unknown}; ignored"));
            }
        }
        Ok(())
    }

    /// The value of a key with an effect, if the file has one.
    pub fn written(&self, name: &str) -> Option<&str> {
        let value = self.effective.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    /// Keys without effect that the file has, with their values.
    pub fn quiet(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.quiet
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
    }

    /// Keys with an effect that the file has, with their values.
    pub fn all_written(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.effective
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
    }

    /// The value in force: the file's, or the default of the table.
    pub fn text(&self, name: &str) -> &str {
        debug_assert!(
            keys::effective(name).is_some(),
            "{name} is not in the table"
        );
        self.written(name)
            .unwrap_or_else(|| keys::effective(name).map_or("", |key| key.default))
    }

    /// The value in force of a `Bool` key.
    pub fn flag(&self, name: &str) -> bool {
        self.text(name).eq_ignore_ascii_case("true")
    }

    /// The value in force of an `Int` key; its kind's range holds.
    pub fn number(&self, name: &str) -> i64 {
        // Values were checked when they were read, and a test parses every default.
        self.text(name).parse().unwrap_or(0)
    }
}

/// Whether a value is of a kind; the error says what is allowed. An empty value of a key that may be
/// left out stands for "not set".
fn check(kind: Kind, value: &str) -> Result<(), String> {
    match kind {
        Kind::Bool if ["true", "false"].contains(&value.to_ascii_lowercase().as_str()) => Ok(()),
        Kind::Bool => Err("allowed are true and false".to_owned()),
        Kind::Int(least, most) => match value.parse::<i64>() {
            Ok(number) if (least..=most).contains(&number) => Ok(()),
            _ => Err(format!("allowed are whole numbers from {least} to {most}")),
        },
        Kind::Float => match value.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(()),
            _ => Err("allowed are numbers".to_owned()),
        },
        Kind::OneOf(words) if words.contains(&value) => Ok(()),
        Kind::OneOf(words) => Err(format!("allowed are {}", words.join(", "))),
        Kind::Name => model::TopicName::parse(value)
            .map(|_| ())
            .map_err(|error| format!("not a name that topics may contain: {error}")),
        Kind::Ip => match value.parse::<IpAddr>() {
            Ok(_) => Ok(()),
            Err(_) if value.is_empty() => Ok(()),
            Err(_) => Err("allowed is an IP address, such as 192.168.0.10".to_owned()),
        },
        Kind::Addresses => match value.split(';').find(|part| !is_address(part.trim())) {
            Some(part) if !part.trim().is_empty() => Err(format!(
                "{part} is not host:port; allowed are addresses separated by ;"
            )),
            _ => Ok(()),
        },
        Kind::Hours => {
            let hour = |part: &str| part.trim().parse::<u8>().is_ok_and(|hour| hour < 24);
            match value.split(';').all(hour) {
                true => Ok(()),
                false => Err("allowed are hours from 00 to 23, separated by ;".to_owned()),
            }
        }
        Kind::Levels => match ::broker::delay::parse_levels(value) {
            Ok(levels) if !levels.is_empty() => Ok(()),
            Ok(_) => Err("there must be a level".to_owned()),
            Err(entry) => Err(format!(
                "{entry} is not a number with s, m, h or d, up to ten years"
            )),
        },
        Kind::Text => Ok(()),
    }
}

/// `host:port` with a port from 1 to 65535; an IPv6 host stands in brackets.
pub fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let host_ok = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains([':', '/', ' ', '@', ',']),
    };
    host_ok && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests;
