//! The keys that tokens are signed with: a file that only its owner reads, one key a line.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::chance;

/// Bytes of a key.
pub(super) const LENGTH: usize = 32;
/// One that signs, and one that is still, or already, believed.
const MOST: usize = 2;

/// What tokens are signed with. Nodes with the same secret serve each other's tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    keys: Vec<[u8; LENGTH]>,
}

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read or made.
    #[error("the token secret {0} cannot be had")]
    Io(PathBuf, #[source] io::Error),
    /// Others may read the file.
    #[error(
        "the token secret {0} has the mode {1:o}: nobody but its owner may read it (chmod 600)"
    )]
    Mode(PathBuf, u32),
    /// The file has no keys in it.
    #[error("the token secret {0} is not one or two lines of 64 hexadecimal digits each")]
    Format(PathBuf),
    /// The system gave no random bytes.
    #[error("the system has no random bytes")]
    Chance(#[source] io::Error),
}

impl Secret {
    /// A secret of this process alone: what it signs is worth nothing when it ends.
    ///
    /// # Errors
    /// [`Error::Chance`].
    pub fn fresh() -> Result<Secret, Error> {
        let key = chance::bytes().map_err(Error::Chance)?;
        Ok(Secret { keys: vec![key] })
    }

    /// Reads a file: one line of 64 hexadecimal digits is the key that signs; a second one is believed too.
    ///
    /// # Errors
    /// If the file cannot be read, is not one, or others than its owner may read it.
    pub fn load(path: &Path) -> Result<Secret, Error> {
        let io = |error| Error::Io(path.to_owned(), error);
        let mut file = File::open(path).map_err(io)?;
        let mode = file.metadata().map_err(io)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(Error::Mode(path.to_owned(), mode));
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(io)?;
        Secret::parse(&text).ok_or_else(|| Error::Format(path.to_owned()))
    }

    /// Reads a file; makes it first, with a new key, if there is none. It is whole or not there at all.
    ///
    /// # Errors
    /// As [`Secret::load`], or if it cannot be made.
    pub fn load_or_create(path: &Path) -> Result<Secret, Error> {
        match Secret::load(path) {
            Err(Error::Io(_, error)) if error.kind() == io::ErrorKind::NotFound => {}
            loaded => return loaded,
        }
        let secret = Secret::fresh()?;
        secret
            .create(path)
            .map_err(|error| Error::Io(path.to_owned(), error))?;
        Secret::load(path)
    }

    /// Writes it beside its place and moves it there, on disk before its name is.
    fn create(&self, path: &Path) -> io::Result<()> {
        let beside = path.with_extension("new");
        let _ = fs::remove_file(&beside);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)?;
        for key in &self.keys {
            let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(file, "{digits}")?;
        }
        file.sync_all()?;
        fs::rename(&beside, path)?;
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    pub(super) fn parse(text: &str) -> Option<Secret> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let keys: Vec<_> = lines.map(key).collect::<Option<_>>()?;
        (1..=MOST).contains(&keys.len()).then_some(Secret { keys })
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8; LENGTH]> {
        self.keys.iter()
    }
}

/// Keys are not shown.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} token keys", self.keys.len())
    }
}

fn key(line: &str) -> Option<[u8; LENGTH]> {
    let mut key = [0; LENGTH];
    let digits = line.as_bytes();
    if digits.len() != 2 * LENGTH {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_outlives_the_process_and_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token.secret");
        let made = Secret::load_or_create(&path).unwrap();
        assert_eq!(Secret::load_or_create(&path).unwrap(), made);
        assert_ne!(Secret::fresh().unwrap(), made);
        let mode = fs::metadata(&path).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            Secret::load_or_create(&path),
            Err(Error::Mode(_, 0o640))
        ));
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token.secret");
        let good = "0f".repeat(32);
        let three = format!("{good}\n{good}\n{good}\n");
        for text in [
            "",
            "secret",
            &good[1..],
            &format!("{good}0"),
            &"zz".repeat(32),
            &three,
        ] {
            let mut options = OpenOptions::new();
            let mut file = options
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&path)
                .unwrap();
            file.write_all(text.as_bytes()).unwrap();
            assert!(
                matches!(Secret::load_or_create(&path), Err(Error::Format(_))),
                "{text}"
            );
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
