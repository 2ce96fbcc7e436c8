//! The key-value table that operators keep in a name server: 100, 101, 102, 219.
//!
//! Its one use by clients is the order of ordered topics. A change counts in memory at once; it is
//! written to `kvConfig.json` as a whole, beside the old file and renamed over it, so that a crash leaves
//! the one or the other. A file that is not readable is put aside, never overwritten.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::file;

/// The namespace in which brokers and clients look for the order of a topic's queues.
pub const ORDER_TOPIC_CONFIG: &str = "ORDER_TOPIC_CONFIG";

/// The most that all namespaces, keys and values may hold: an answer must fit a frame of 16 MiB.
const MAX_BYTES: usize = 8 << 20;

/// The table has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key-value table is full: it holds at most {MAX_BYTES} bytes")]
pub struct Full;

type Table = BTreeMap<String, BTreeMap<String, String>>;

/// What `kvConfig.json` holds (Apache `KVConfigSerializeWrapper`).
#[derive(Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Kept {
    config_table: Table,
}

/// The body of 219 and of a registration's answer (Apache `KVTable`).
#[derive(Serialize)]
struct Listed<'a> {
    table: &'a BTreeMap<String, String>,
}

/// The table and its file.
#[derive(Debug)]
pub struct Kv {
    path: Option<PathBuf>,
    table: Mutex<Table>,
    /// Held while the file is written, so that the newest table is written last. Why the last try failed.
    written: Mutex<Option<String>>,
}

impl Kv {
    /// Reads the table from `path`; without a path it lives in memory only. A file that cannot be
    /// understood is renamed to `….bad`, and the table starts empty.
    pub fn open(path: Option<PathBuf>) -> Kv {
        let table = path.as_deref().map(load).unwrap_or_default();
        Kv {
            path,
            table: Mutex::new(table),
            written: Mutex::new(None),
        }
    }

    /// The value of a key.
    pub fn find(&self, namespace: &str, key: &str) -> Option<String> {
        self.table().get(namespace)?.get(key).cloned()
    }

    /// Sets a key. [`Kv::persist`] makes it last.
    pub fn put(&self, namespace: &str, key: &str, value: &str) -> Result<(), Full> {
        let mut table = self.table();
        let keys = |keys: &BTreeMap<String, String>| -> usize {
            keys.iter()
                .map(|(key, value)| key.len() + value.len())
                .sum()
        };
        let held: usize = table
            .iter()
            .map(|(name, kept)| name.len() + keys(kept))
            .sum();
        if held + namespace.len() + key.len() + value.len() > MAX_BYTES {
            return Err(Full);
        }
        let keys = table.entry(namespace.to_owned()).or_default();
        keys.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    /// Removes a key; its namespace stays. [`Kv::persist`] makes it last.
    pub fn delete(&self, namespace: &str, key: &str) {
        if let Some(keys) = self.table().get_mut(namespace) {
            keys.remove(key);
        }
    }

    /// A namespace as the JSON body `{"table":{…}}`.
    pub fn list(&self, namespace: &str) -> Option<Vec<u8>> {
        let table = self.table();
        let listed = Listed {
            table: table.get(namespace)?,
        };
        serde_json::to_vec(&listed).ok()
    }

    /// A namespace's keys and values.
    pub fn namespace(&self, namespace: &str) -> BTreeMap<String, String> {
        self.table().get(namespace).cloned().unwrap_or_default()
    }

    /// Writes the table to its file and waits for the disk. May block.
    pub fn persist(&self) {
        let Some(path) = &self.path else {
            return;
        };
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = Kept {
            config_table: self.table().clone(),
        };
        let result = serde_json::to_vec(&kept).map_err(std::io::Error::from);
        let result = result.and_then(|bytes| file::replace(path, &bytes));
        *written = result
            .err()
            .map(|error| format!("{}: {error}", path.display()));
        if let Some(trouble) = &*written {
            tracing::error!(trouble, "the key-value table was not written");
        }
    }

    /// Why the table's file is older than the table, if it is.
    pub fn trouble(&self) -> Option<String> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.clone()
    }

    /// Whether there is a file to write.
    pub fn has_file(&self) -> bool {
        self.path.is_some()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn load(path: &Path) -> Table {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Table::default(),
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "the key-value table was not read");
            return Table::default();
        }
    };
    read(&bytes).unwrap_or_else(|| {
        let aside = file::with_suffix(path, ".bad");
        let moved = std::fs::rename(path, &aside);
        tracing::error!(path = %path.display(), aside = %aside.display(), ?moved,
            "the key-value table is not readable and was put aside");
        Table::default()
    })
}

/// Understands a table's file: entries that are not text are left out, an empty file is an empty table.
fn read(bytes: &[u8]) -> Option<Table> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Some(Table::default());
    }
    let root: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let mut table = Table::new();
    for (namespace, keys) in root.as_object()?.get("configTable")?.as_object()? {
        let entries = table.entry(namespace.clone()).or_default();
        for (key, value) in keys.as_object().into_iter().flatten() {
            let value = match value {
                serde_json::Value::String(text) => text.clone(),
                serde_json::Value::Number(number) => number.to_string(),
                serde_json::Value::Bool(truth) => truth.to_string(),
                _ => continue,
            };
            entries.insert(key.clone(), value);
        }
    }
    Some(table)
}

#[cfg(test)]
mod tests;
