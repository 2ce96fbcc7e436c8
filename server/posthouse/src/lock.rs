//! The file that keeps a second process out of a data folder, and tells `stop` whom to end.
//!
//! `store.lock` holds the process id of whoever has the folder's log (the store takes it); a name
//! server, which may share the folder with a broker, has `namesrv.lock`. The system's own lock on the file decides,
//! not its content: after a `kill -9` the file stays and the folder is free.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::fs::{FlockOperation, flock};

use crate::config::Role;

/// A held lock; dropping it frees the folder.
#[derive(Debug)]
pub struct Lock {
    file: Arc<Mutex<Option<File>>>,
}

/// The lock files that this process has open.
static OPEN: Mutex<Vec<Weak<Mutex<Option<File>>>>> = Mutex::new(Vec::new());

/// For a child after `fork`: closes the lock files that it inherited, without unlocking them. They are its
/// parent's, who must neither lose its folder now nor leave it locked when it ends. Whoever holds one of
/// our mutexes at the moment of the fork is not in the child, so none is waited for.
pub fn close_in_child() {
    let Ok(mut open) = OPEN.try_lock() else {
        return;
    };
    for lock in open.drain(..).filter_map(|lock| lock.upgrade()) {
        if let Ok(mut file) = lock.try_lock() {
            file.take();
        }
    }
}

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The process.
    pub pid: i32,
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has it.
    #[error("{path} is in use by process {pid}; stop it with `posthouse stop --data {path}`, or give another --data", path = .data.display(), pid = .holder.pid)]
    Held {
        /// The folder.
        data: PathBuf,
        /// The other process.
        holder: Holder,
    },
    /// The folder or file cannot be used.
    #[error("cannot lock {}", .path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The lock file of a role's folder.
pub fn path(data: &Path, role: Role) -> PathBuf {
    data.join(match role {
        Role::Namesrv => "namesrv.lock",
        // A gateway keeps nothing, and takes no lock.
        Role::Standalone | Role::Broker | Role::Gateway => "store.lock",
    })
}

impl Lock {
    /// Takes the lock of `data`, creating the folder, and writes this process into it.
    pub fn take(data: &Path, file: &Path) -> Result<Lock, Error> {
        let io_error = |source| Error::Io {
            path: file.to_owned(),
            source,
        };
        std::fs::create_dir_all(data).map_err(io_error)?;
        let mut locked = open(file).map_err(io_error)?;
        match flock(&locked, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(Error::Held {
                    data: data.to_owned(),
                    holder: read(&mut locked).map_err(io_error)?,
                });
            }
            Err(errno) => return Err(io_error(errno.into())),
        }
        let text = format!("{}\n", std::process::id());
        let written = locked
            .set_len(0)
            .and_then(|()| locked.rewind())
            .and_then(|()| locked.write_all(text.as_bytes()));
        written.map_err(io_error)?;
        let file = Arc::new(Mutex::new(Some(locked)));
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|lock| lock.strong_count() > 0);
        open.push(Arc::downgrade(&file));
        Ok(Lock { file })
    }

    /// The holder of a lock file, if a process holds it.
    pub fn holder(file: &Path) -> io::Result<Option<Holder>> {
        let mut opened = match File::open(file) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match flock(&opened, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(None),
            Err(rustix::io::Errno::WOULDBLOCK) => read(&mut opened).map(Some),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits, without limit, until nobody holds a lock file.
    pub fn wait_free(file: &Path) -> io::Result<()> {
        match File::open(file) {
            Ok(opened) => Ok(flock(&opened, FlockOperation::LockShared)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = file.take() {
            // Closing would do, but for a child that inherited the file and has not closed it.
            let _ = flock(&file, FlockOperation::Unlock);
        }
    }
}

fn open(file: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(file)
}

/// The holder writes right after it locks: an empty file is one that has just been taken.
fn read(file: &mut File) -> io::Result<Holder> {
    let mut text = String::new();
    file.take(256).read_to_string(&mut text)?;
    Ok(Holder {
        pid: text.trim().parse().unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_holder_and_says_who_it_is() {
        let data = tempfile::tempdir().unwrap();
        let file = path(data.path(), Role::Broker);
        assert_eq!(Lock::holder(&file).unwrap(), None);
        let lock = Lock::take(data.path(), &file).unwrap();
        let holder = Lock::holder(&file).unwrap().unwrap();
        assert_eq!(holder.pid, i32::try_from(std::process::id()).unwrap());
        let error = Lock::take(data.path(), &file).unwrap_err().to_string();
        assert!(
            error.contains(&format!("in use by process {}", holder.pid)),
            "{error}"
        );
        drop(lock);
        assert_eq!(Lock::holder(&file).unwrap(), None);
        Lock::wait_free(&file).unwrap();
        Lock::take(data.path(), &file).unwrap();
    }

    #[test]
    fn a_name_server_and_a_broker_may_share_a_folder() {
        let data = tempfile::tempdir().unwrap();
        let _broker = Lock::take(data.path(), &path(data.path(), Role::Broker)).unwrap();
        Lock::take(data.path(), &path(data.path(), Role::Namesrv)).unwrap();
    }
}
