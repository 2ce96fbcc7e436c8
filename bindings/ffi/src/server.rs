//! A name server and a broker in this process, and who shares them.
//!
//! A folder has one server at a time. Clients of `embedded:PATH` share one that ends with the last of them;
//! a second server that is asked for by name is refused, and told of the first.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use posthouse::Embedded;
use posthouse_client::{Entrance, Transport};

use crate::error::{Code, Error, Result};
use crate::runtime::Parents;

/// How an embedded server is started.
#[derive(Clone, Debug, Default)]
pub struct EmbeddedOptions {
    /// Its folder; `None`: in memory.
    pub path: Option<PathBuf>,
    /// How much it keeps in memory, bytes; `None`: 256 MiB.
    pub memory_bytes: Option<u64>,
    /// Where it listens, `host:port`; `None`: nowhere.
    pub listen: Option<String>,
    /// Whether its clock is moved by hand.
    pub manual_clock: bool,
    /// Settings by RocketMQ's names.
    pub settings: Vec<(String, String)>,
}

/// A running embedded server.
pub struct Server {
    inner: Parents<Mutex<Option<posthouse::Server>>>,
    doors: Parents<Vec<Entrance>>,
    path: Option<PathBuf>,
    listening: Option<String>,
}

/// What is in flight at the end may take this long.
const GRACE: Duration = Duration::from_secs(2);

/// The servers of this process that have a folder. Held while one starts or ends, so that nobody finds a
/// folder that is half free.
static FOLDERS: Mutex<Option<HashMap<PathBuf, Weak<Server>>>> = Mutex::new(None);

type Folders<'a> = MutexGuard<'a, Option<HashMap<PathBuf, Weak<Server>>>>;

fn folders() -> Folders<'static> {
    FOLDERS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    /// Starts a server.
    ///
    /// # Errors
    /// [`Code::Config`] if its folder has a server in this process or another, or if a setting is wrong.
    pub fn start(options: &EmbeddedOptions) -> Result<Arc<Server>> {
        let Some(path) = &options.path else {
            return Server::new(options, None).map(Arc::new);
        };
        let mut folders = folders();
        let path = absolute(path)?;
        if let Some(first) = find(&mut folders, &path) {
            let text = format!(
                "{} has a server in this process already, {}; connect to it with embedded:{0} or close it",
                path.display(),
                first.describe()
            );
            // Let go as the last one, `first` ends its server, which takes the lock.
            drop(folders);
            return Err(Error::new(Code::Config, text));
        }
        Server::start_in(&mut folders, options, path)
    }

    /// The server of a folder: the one that this process has, or a new one.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn shared(path: &Path) -> Result<Arc<Server>> {
        let mut folders = folders();
        let path = absolute(path)?;
        if let Some(first) = find(&mut folders, &path) {
            return Ok(first);
        }
        Server::start_in(&mut folders, &EmbeddedOptions::default(), path)
    }

    fn start_in(
        folders: &mut Folders<'_>,
        options: &EmbeddedOptions,
        path: PathBuf,
    ) -> Result<Arc<Server>> {
        let server = Arc::new(Server::new(options, Some(path.clone()))?);
        let table = folders.get_or_insert_default();
        table.insert(path, Arc::downgrade(&server));
        Ok(server)
    }

    fn new(options: &EmbeddedOptions, path: Option<PathBuf>) -> Result<Server> {
        let listen = match &options.listen {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| {
                let text = format!("listen={text:?} is not an address such as 127.0.0.1:0");
                Error::new(Code::Config, text)
            })?),
        };
        let defaults = Embedded::default();
        let embedded = Embedded {
            path: path.clone(),
            memory_bytes: options.memory_bytes.unwrap_or(defaults.memory_bytes),
            listen,
            manual_clock: options.manual_clock,
            settings: options.settings.clone(),
        };
        let server = posthouse::Server::embedded(&embedded).map_err(|error| {
            let mut text = error.to_string();
            if let Some(source) = std::error::Error::source(&error) {
                text = format!("{text}: {source}");
            }
            Error::new(Code::Config, text)
        })?;
        let doors = server.doors().into_iter();
        let entrance = |(address, hub, service)| Entrance {
            address,
            hub,
            service,
        };
        let listening = listen.and(server.namesrv_address());
        Ok(Server {
            doors: Parents::new(doors.map(entrance).collect()),
            inner: Parents::new(Mutex::new(Some(server))),
            path,
            listening: listening.map(|address| address.to_string()),
        })
    }

    /// The name server's address for clients inside this process.
    pub(crate) fn name_server(&self) -> String {
        let first = self.doors.first();
        first.map_or_else(String::new, |door| door.address.clone())
    }

    /// How clients inside this process reach it.
    pub(crate) fn transport(&self) -> Transport {
        Transport::Local(self.doors.clone())
    }

    /// The name server's `host:port`, if it listens.
    pub fn namesrv_addr(&self) -> Option<&str> {
        self.listening.as_deref()
    }

    /// Its folder.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// What it is, for people.
    pub fn describe(&self) -> String {
        match &self.listening {
            Some(address) => format!("which listens on {address}"),
            None => "which does not listen".to_owned(),
        }
    }

    /// Moves its clock; see [`posthouse::Server::advance`].
    ///
    /// # Errors
    /// [`Code::Config`] if its clock is the system's; [`Code::Forked`].
    pub fn advance(&self, by: Duration) -> Result<usize> {
        self.check()?;
        let server = self.lock();
        let server = server.as_ref().ok_or_else(|| Error::closed("server"))?;
        match server.advance(by) {
            None => Err(Error::new(
                Code::Config,
                "this server's clock is the system's; start it with a manual clock",
            )),
            Some(moved) => moved.map_err(|error| Error::new(Code::Internal, error.to_string())),
        }
    }

    /// Calls back every delayed message that waits.
    ///
    /// # Errors
    /// If that could not be stored; [`Code::Forked`].
    pub fn recall_all(&self) -> Result<usize> {
        self.check()?;
        let server = self.lock();
        let broker = server.as_ref().and_then(posthouse::Server::broker);
        let broker = broker.ok_or_else(|| Error::closed("server"))?;
        let recalled = broker.broker().recall_all();
        recalled.map_err(|error| Error::new(Code::Internal, error.to_string()))
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.lock().is_none()
    }

    /// Ends it: what is in flight is answered, everything is flushed. A second time, and in a forked child,
    /// it does nothing.
    pub fn close(&self) {
        if self.check().is_err() {
            return;
        }
        // Its folder is free only behind this.
        let mut folders = folders();
        // Closed before, the folder may be another server's now.
        let Some(server) = self.lock().take() else {
            return;
        };
        server.stop(GRACE);
        if let (Some(path), Some(table)) = (&self.path, folders.as_mut()) {
            table.remove(path);
        }
    }

    /// Whether this is the process that it runs in: the threads that serve are not in a child of it.
    pub(crate) fn check(&self) -> Result<()> {
        self.inner.check()
    }

    fn lock(&self) -> MutexGuard<'_, Option<posthouse::Server>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Closed before, it may be dropped under the lock of the folders by who looked for it.
        if self.inner.is_ours() && !self.is_closed() {
            self.close();
        }
    }
}

fn find(folders: &mut Folders<'_>, path: &Path) -> Option<Arc<Server>> {
    let table = folders.as_mut()?;
    table
        .get(path)?
        .upgrade()
        // A child has its parent's table; the parent's server is not for it.
        .filter(|server| server.inner.is_ours() && !server.is_closed())
}

/// One name for a folder, however it is spelled.
fn absolute(path: &Path) -> Result<PathBuf> {
    let made = std::fs::create_dir_all(path).and_then(|()| path.canonicalize());
    made.map_err(|error| Error::new(Code::Config, format!("{}: {error}", path.display())))
}
