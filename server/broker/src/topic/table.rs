//! The topics in memory, and how a change reaches the log, the readers and the name server: in this
//! order, one change at a time.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use model::flag::Perm;
use model::topic::{DataVersion, FilterType, TopicConfig};
use model::{Mark, QueueId, TopicName};
use store::{Queue, Store, Table};

use super::system;
use crate::hash::Seeded;
use crate::stats::Puts;
use crate::{Error, Options, Registrar, limits, row};

/// One topic as it is served. Never changes: a change puts another one in its place.
pub(crate) struct Topic {
    pub config: TopicConfig,
    /// Whether clients may send to it.
    pub sendable: bool,
    /// Messages stored in it.
    pub put: Arc<Puts>,
    /// Whether it is the broker's own.
    pub system: bool,
    queues: Box<[OnceLock<Arc<Queue>>]>,
}

impl Topic {
    fn new(config: TopicConfig, system: bool, before: Option<&Topic>) -> Topic {
        let count = config.read_queues.max(config.write_queues) as usize;
        let known = before.map_or(&[][..], |topic| &topic.queues);
        let queue = |at: usize| known.get(at).cloned().unwrap_or_default();
        Topic {
            sendable: system::sendable(config.name.as_str()),
            put: before
                .map(|topic| Arc::clone(&topic.put))
                .unwrap_or_default(),
            system,
            queues: (0..count).map(queue).collect(),
            config,
        }
    }

    /// How many queues there are to read or to write.
    pub fn queue_count(&self) -> u32 {
        self.queues.len() as u32
    }

    /// A queue, made in the store if nobody used it yet. `None` if the topic has no such queue.
    pub fn queue(&self, store: &Store, id: u32) -> Option<&Arc<Queue>> {
        let cell = self.queues.get(id as usize)?;
        Some(cell.get_or_init(|| store.queue(&self.config.name, QueueId(id))))
    }
}

impl Topic {
    /// A queue somebody used already.
    pub fn known_queue(&self, id: u32) -> Option<&Arc<Queue>> {
        self.queues.get(id as usize)?.get()
    }
}

thread_local! {
    /// What this thread found last, and in which state of which table.
    static LAST: Cell<Option<(u64, Arc<Topic>)>> = const { Cell::new(None) };
}

/// Numbers the states of all tables of the process.
static STATES: AtomicU64 = AtomicU64::new(0);

fn new_state() -> u64 {
    STATES.fetch_add(1, Ordering::Relaxed)
}

/// All topics.
pub(crate) struct Topics {
    topics: RwLock<HashMap<TopicName, Arc<Topic>, Seeded>>,
    /// Another one as soon as a topic is another one.
    state: AtomicU64,
    /// Held while a change is made; what is inside is the version of the table.
    version: Mutex<DataVersion>,
    system: Vec<TopicName>,
    pub(crate) registrar: Arc<dyn Registrar>,
    permission: Perm,
}

const VERSION_KEY: &[u8] = b"topics";

impl Topics {
    /// The topics of the start, and over them what the store knows.
    pub fn open(
        options: &Options,
        store: &Store,
        registrar: Arc<dyn Registrar>,
        now: i64,
    ) -> Topics {
        let mut topics = HashMap::with_hasher(Seeded::default());
        let rows = store.rows(Table::Topics);
        let stored = rows.iter().filter_map(|(key, value)| {
            let config = row::read_topic(key, value);
            if config.is_none() {
                tracing::error!(key = %String::from_utf8_lossy(key), "a topic's row cannot be read");
            }
            config
        });
        let system = system::names(options);
        for config in system::at_start(options).into_iter().chain(stored) {
            let own = system::is_system(&system, config.name.as_str());
            topics.insert(config.name.clone(), Arc::new(Topic::new(config, own, None)));
        }
        let version = stored_version(store, VERSION_KEY).unwrap_or(DataVersion {
            timestamp: now,
            ..DataVersion::default()
        });
        Topics {
            topics: RwLock::new(topics),
            state: AtomicU64::new(new_state()),
            version: Mutex::new(version),
            system,
            registrar,
            permission: options.permission,
        }
    }

    /// A topic by its name as it came.
    pub fn find(&self, name: &str) -> Option<Arc<Topic>> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.get(name).cloned()
    }

    /// The same for a moment. Messages of a topic come together, and for all but the first of them no lock
    /// is taken and nobody's count of users is touched.
    pub fn with<T>(&self, name: &str, look: impl FnOnce(Option<&Arc<Topic>>) -> T) -> T {
        let state = self.state.load(Ordering::Acquire);
        let same =
            |(of, topic): &(u64, Arc<Topic>)| *of == state && topic.config.name.as_str() == name;
        let last = LAST.take().filter(same);
        let found = last.or_else(|| Some((state, self.find(name)?)));
        let result = look(found.as_ref().map(|(_, topic)| topic));
        if found.is_some() {
            LAST.set(found);
        }
        result
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<TopicName, Arc<Topic>, Seeded>> {
        let topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        self.state.store(new_state(), Ordering::Release);
        topics
    }

    /// Whether the name belongs to the broker.
    pub fn is_system(&self, name: &str) -> bool {
        system::is_system(&self.system, name)
    }

    /// The names that belong to the broker.
    pub fn system_names(&self) -> &[TopicName] {
        &self.system
    }

    /// All topics, by name, and the version that belongs to them.
    pub fn all(&self) -> (Vec<Arc<Topic>>, DataVersion) {
        let (mut all, version) = {
            let version = self.changing();
            let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
            (topics.values().cloned().collect::<Vec<_>>(), *version)
        };
        all.sort_by(|a, b| a.config.name.cmp(&b.config.name));
        (all, version)
    }

    /// Samples the topics' counters.
    pub fn sample(&self, now: Duration) {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        for topic in topics.values() {
            topic.put.sample(now);
        }
    }

    /// Begins a change; nobody else changes topics until [`Change`] is dropped.
    pub fn change<'a>(&'a self, store: &'a Store, now: i64) -> Change<'a> {
        Change {
            topics: self,
            store,
            now,
            version: self.changing(),
        }
    }

    fn changing(&self) -> MutexGuard<'_, DataVersion> {
        self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A topic as it is registered. A broker that is not fully open registers what is left of the
    /// topic's permission, and, like Apache, nothing of its other traits.
    pub fn registered(&self, config: &TopicConfig) -> TopicConfig {
        if self.permission.readable() && self.permission.writable() {
            return config.clone();
        }
        TopicConfig {
            perm: Perm(config.perm.0 & self.permission.0),
            sys_flag: 0,
            order: false,
            filter: FilterType::SingleTag,
            ..config.clone()
        }
    }
}

/// The version a table was stored with.
pub(crate) fn stored_version(store: &Store, key: &[u8]) -> Option<DataVersion> {
    let rows = store.rows(Table::Values);
    let (_, value) = rows.iter().find(|(found, _)| found == key)?;
    row::read_version(value)
}

/// A change of topics in progress.
pub(crate) struct Change<'a> {
    topics: &'a Topics,
    store: &'a Store,
    now: i64,
    version: MutexGuard<'a, DataVersion>,
}

impl Change<'_> {
    /// Puts topics in place: in the log, then for readers, then for the name server.
    pub fn put(mut self, configs: Vec<TopicConfig>) -> Result<Mark, Error> {
        if self.topics.len() + configs.len() > limits::TOPICS {
            return Err(Error::Busy("there are too many topics"));
        }
        let next = self.version.next(self.now);
        let version = row::version(next);
        let rows: Vec<Vec<u8>> = configs.iter().map(row::topic).collect();
        let mut changes: Vec<store::Change<'_>> = (configs.iter().zip(&rows))
            .map(|(config, row)| {
                (
                    Table::Topics,
                    config.name.as_str().as_bytes(),
                    Some(&row[..]),
                )
            })
            .collect();
        changes.push((Table::Values, VERSION_KEY, Some(&version)));
        let mark = self.store.put(&changes).map_err(Error::from)?;
        *self.version = next;
        let registered: Vec<TopicConfig> = configs
            .iter()
            .map(|config| self.topics.registered(config))
            .collect();
        {
            let mut topics = self.topics.write();
            for config in configs {
                let before = topics.get(&config.name).cloned();
                let own = self.topics.is_system(config.name.as_str());
                let topic = Topic::new(config, own, before.as_deref());
                topics.insert(topic.config.name.clone(), Arc::new(topic));
            }
        }
        self.topics.registrar.changed(&registered, next);
        Ok(mark)
    }

    /// Takes a topic away with its queues: from the readers first.
    pub fn remove(mut self, name: &TopicName) -> Result<(Mark, Option<Arc<Topic>>), Error> {
        let next = self.version.next(self.now);
        let version = row::version(next);
        self.store.drop_topic(name).map_err(Error::from)?;
        let mark = self.store.put(&[
            (Table::Topics, name.as_str().as_bytes(), None),
            (Table::Values, VERSION_KEY, Some(&version)),
        ])?;
        *self.version = next;
        let mut topics = self.topics.write();
        let gone = topics.remove(name.as_str());
        drop(topics);
        self.topics.registrar.removed(name, next);
        Ok((mark, gone))
    }
}

impl Topics {
    fn len(&self) -> usize {
        self.topics
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }
}
