//! The name server as one thing: its tables behind their locks, and the steps that its owner runs.

use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use crate::config::{Options, Settings};
use crate::kv::Kv;
use crate::route::Routes;

/// Monotonic time since some fixed moment, handed in.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// A name server. Cheap to share behind an `Arc`; owns no thread.
pub struct NameServer {
    pub(crate) clock: Clock,
    pub(crate) started: Duration,
    pub(crate) kv: Arc<Kv>,
    /// Why the last change of settings is not on disk, if it is not.
    pub(crate) config_trouble: Arc<Mutex<Option<String>>>,
    options: RwLock<Options>,
    routes: RwLock<Routes>,
}

impl NameServer {
    /// A name server with empty routes and the key-value table that is kept in a file.
    pub fn new(options: Options, clock: Clock) -> NameServer {
        NameServer {
            started: clock(),
            kv: Arc::new(Kv::open(options.kv_path.clone())),
            config_trouble: Arc::new(Mutex::new(None)),
            options: RwLock::new(options),
            routes: RwLock::new(Routes::default()),
            clock,
        }
    }

    /// Removes brokers that were not heard in time, and has their connections closed. Returns when to
    /// call again (`scanNotActiveBrokerInterval`).
    pub fn scan(&self, mut close: impl FnMut(u64)) -> Duration {
        let now = self.now();
        for connection in self.routes_mut().expire(now) {
            close(connection);
        }
        self.settings().scan_interval
    }

    /// Reads the tables.
    pub fn routes(&self) -> RwLockReadGuard<'_, Routes> {
        self.routes.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn routes_mut(&self) -> RwLockWriteGuard<'_, Routes> {
        self.routes.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn options(&self) -> RwLockReadGuard<'_, Options> {
        self.options.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn options_mut(&self) -> RwLockWriteGuard<'_, Options> {
        self.options.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn settings(&self) -> Settings {
        self.options().settings.clone()
    }

    pub(crate) fn now(&self) -> Duration {
        (self.clock)()
    }
}
