//! `posthouse stop`: ends what runs on a data folder, and waits for its end.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::config::Role;
use crate::lock::{self, Holder, Lock};

/// How long an end may take: the grace of a shutdown, and some.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why nothing was stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing runs.
    #[error("no {what} runs on {data}", data = .data.display())]
    NothingRuns {
        /// Which role was asked for.
        what: &'static str,
        /// The folder.
        data: PathBuf,
    },
    /// Name server and broker are one process.
    #[error("process {pid} on {data} is a standalone: name server and broker end together, with `posthouse stop standalone`", data = .data.display())]
    Together {
        /// The process.
        pid: i32,
        /// The folder.
        data: PathBuf,
    },
    /// It did not end in time.
    #[error("process {0} was told to stop and has not ended after {PATIENCE:?}")]
    StillThere(i32),
    /// The system refused.
    #[error("cannot stop what runs on {}", .data.display())]
    Io {
        /// The folder.
        data: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Stops the role, or whatever runs, and returns the processes that ended.
pub fn stop(role: Option<Role>, data: &Path) -> Result<Vec<i32>, Error> {
    let io_error = |source| Error::Io {
        data: data.to_owned(),
        source,
    };
    let holder = |role| Lock::holder(&lock::path(data, role)).map_err(io_error);
    let chosen = choose(role, data, holder(Role::Broker)?, holder(Role::Namesrv)?)?;
    for (pid, files) in &chosen {
        let process = Pid::from_raw(*pid)
            .ok_or_else(|| io_error(io::Error::other("the lock file names no process")))?;
        kill_process(process, Signal::TERM).map_err(|errno| io_error(errno.into()))?;
        wait(*pid, files.clone())?;
    }
    Ok(chosen.into_iter().map(|(pid, _)| pid).collect())
}

/// Which processes to end, each with the lock files it holds.
fn choose(
    role: Option<Role>,
    data: &Path,
    broker: Option<Holder>,
    namesrv: Option<Holder>,
) -> Result<Vec<(i32, Vec<PathBuf>)>, Error> {
    let (broker_file, namesrv_file) = (
        lock::path(data, Role::Broker),
        lock::path(data, Role::Namesrv),
    );
    let together = broker.is_some() && broker == namesrv;
    let one = |holder: Option<Holder>, file: &Path| {
        holder.map(|holder| (holder.pid, vec![file.to_owned()]))
    };
    let chosen: Vec<_> = match (role, broker, namesrv) {
        (Some(Role::Standalone) | None, Some(both), _) if together => {
            vec![(both.pid, vec![broker_file, namesrv_file])]
        }
        (Some(Role::Broker | Role::Namesrv), Some(both), _) if together => {
            return Err(Error::Together {
                pid: both.pid,
                data: data.to_owned(),
            });
        }
        (Some(Role::Standalone | Role::Gateway), ..) => Vec::new(),
        (Some(Role::Broker), broker, _) => one(broker, &broker_file).into_iter().collect(),
        (Some(Role::Namesrv), _, namesrv) => one(namesrv, &namesrv_file).into_iter().collect(),
        // A broker unregisters when it ends, so it goes before its name server.
        (None, broker, namesrv) => one(broker, &broker_file)
            .into_iter()
            .chain(one(namesrv, &namesrv_file))
            .collect(),
    };
    if chosen.is_empty() {
        return Err(Error::NothingRuns {
            what: role.map_or("posthouse", Role::as_str),
            data: data.to_owned(),
        });
    }
    Ok(chosen)
}

/// A process holds its locks until the very end, so free locks mean that it has ended.
fn wait(pid: i32, files: Vec<PathBuf>) -> Result<(), Error> {
    let (ended, end) = mpsc::channel();
    // The thread may outlive the limit below; then this process ends anyway.
    std::thread::spawn(move || {
        let all = files.iter().try_for_each(|file| Lock::wait_free(file));
        ended.send(all)
    });
    match end.recv_timeout(PATIENCE) {
        Ok(Ok(())) => Ok(()),
        _ => Err(Error::StillThere(pid)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(role: Option<Role>, broker: i32, namesrv: i32) -> Result<Vec<i32>, String> {
        let holder = |pid| (pid > 0).then_some(Holder { pid });
        let chosen = choose(role, Path::new("d"), holder(broker), holder(namesrv));
        chosen
            .map(|all| all.into_iter().map(|(pid, _)| pid).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_role_everything_goes_the_broker_first() {
        assert_eq!(chosen(None, 5, 6), Ok(vec![5, 6]));
        assert_eq!(chosen(None, 5, 5), Ok(vec![5]));
        assert_eq!(chosen(None, 0, 6), Ok(vec![6]));
        assert_eq!(chosen(None, 0, 0), Err("no posthouse runs on d".into()));
    }

    #[test]
    fn a_role_is_only_itself() {
        assert_eq!(chosen(Some(Role::Broker), 5, 6), Ok(vec![5]));
        assert_eq!(chosen(Some(Role::Namesrv), 5, 6), Ok(vec![6]));
        assert_eq!(chosen(Some(Role::Standalone), 5, 5), Ok(vec![5]));
        assert_eq!(
            chosen(Some(Role::Standalone), 5, 6),
            Err("no standalone runs on d".into())
        );
        assert_eq!(
            chosen(Some(Role::Broker), 0, 6),
            Err("no broker runs on d".into())
        );
    }

    #[test]
    fn half_of_a_standalone_is_not_stopped() {
        let error = chosen(Some(Role::Broker), 5, 5).unwrap_err();
        assert!(error.contains("posthouse stop standalone"), "{error}");
    }
}
