//! Consumer groups: which there are and how they are configured.

pub(crate) mod forbidden;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use model::group::GroupConfig;
use model::topic::DataVersion;
use model::{GroupName, Mark};
use store::{Store, Table};

use forbidden::Forbidden;

use crate::hash::Seeded;
use crate::settings::Setting;
use crate::topic::table::stored_version;
use crate::{Answer, AskedFor, Broker, Caller, Error, limits, row};

/// The groups every broker has (Apache `SubscriptionGroupManager.init`). Tools pull with the first.
const AT_START: &[&str] = &[
    "TOOLS_CONSUMER",
    "FILTERSRV_CONSUMER",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PULL",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
    "CID_RMQ_SYS_TRANS",
];

const VERSION_KEY: &[u8] = b"groups";

/// All groups' configurations.
pub(crate) struct Groups {
    groups: RwLock<HashMap<GroupName, Arc<GroupConfig>, Seeded>>,
    pub(crate) forbidden: Forbidden,
    /// Held while a change is made; what is inside is the version of the table.
    version: Mutex<DataVersion>,
}

impl Groups {
    /// The groups of the start, and over them what the store knows.
    pub fn open(store: &Store, now: i64) -> Groups {
        let at_start = AT_START
            .iter()
            .filter_map(|name| GroupName::parse(name).ok());
        let mut groups: HashMap<GroupName, Arc<GroupConfig>, Seeded> = at_start
            .map(|name| (name.clone(), Arc::new(GroupConfig::new(name))))
            .collect();
        for (key, value) in store.rows(Table::Groups) {
            match row::read_group(&key, &value) {
                Some(config) => {
                    groups.insert(config.name.clone(), Arc::new(config));
                }
                None => {
                    tracing::error!(key = %String::from_utf8_lossy(&key), "a group's row cannot be read");
                }
            }
        }
        let version = stored_version(store, VERSION_KEY).unwrap_or(DataVersion {
            timestamp: now,
            ..DataVersion::default()
        });
        Groups {
            groups: RwLock::new(groups),
            forbidden: Forbidden::open(store),
            version: Mutex::new(version),
        }
    }

    fn lock_version(&self) -> MutexGuard<'_, DataVersion> {
        self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A group by its name as it came.
    pub fn find(&self, name: &str) -> Option<Arc<GroupConfig>> {
        let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner);
        groups.get(name).cloned()
    }

    /// All groups, by name, and the version that belongs to them.
    pub fn all(&self) -> (Vec<Arc<GroupConfig>>, DataVersion) {
        let version = self.lock_version();
        let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Arc<GroupConfig>> = groups.values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        (all, *version)
    }

    /// Makes a group if it is missing. The mark is of the change, if there was one.
    pub fn ensure(
        &self,
        store: &Store,
        now: i64,
        name: &GroupName,
    ) -> Result<(Arc<GroupConfig>, Option<Mark>), Error> {
        if let Some(there) = self.find(name.as_str()) {
            return Ok((there, None));
        }
        let new = Arc::new(GroupConfig::new(name.clone()));
        let mark = self.put(store, now, vec![Arc::clone(&new)])?;
        tracing::info!(group = %name, "group created by its first consumer");
        Ok((new, Some(mark)))
    }

    /// Puts groups in place: in the log, then for readers.
    pub fn put(
        &self,
        store: &Store,
        now: i64,
        configs: Vec<Arc<GroupConfig>>,
    ) -> Result<Mark, Error> {
        let mut version = self.lock_version();
        let there = self
            .groups
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len();
        if there + configs.len() > limits::GROUPS {
            return Err(Error::Busy("there are too many groups"));
        }
        let next = version.next(now);
        let version_row = row::version(next);
        let rows: Vec<Vec<u8>> = configs.iter().map(|config| row::group(config)).collect();
        let mut changes: Vec<store::Change<'_>> = (configs.iter().zip(&rows))
            .map(|(config, row)| {
                (
                    Table::Groups,
                    config.name.as_str().as_bytes(),
                    Some(&row[..]),
                )
            })
            .collect();
        changes.push((Table::Values, VERSION_KEY, Some(&version_row)));
        let mark = store.put(&changes)?;
        *version = next;
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        groups.extend(
            configs
                .into_iter()
                .map(|config| (config.name.clone(), config)),
        );
        Ok(mark)
    }

    fn remove(&self, store: &Store, now: i64, name: &str) -> Result<Mark, Error> {
        let mut version = self.lock_version();
        let next = version.next(now);
        let mark = store.put(&[
            (Table::Groups, name.as_bytes(), None),
            (Table::Values, VERSION_KEY, Some(&row::version(next))),
        ])?;
        *version = next;
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        groups.remove(name);
        Ok(mark)
    }
}

impl Broker {
    /// Creates or changes groups (Apache `UPDATE_AND_CREATE_SUBSCRIPTIONGROUP`). Attributes come as
    /// `+key` and `-key`, as for topics.
    ///
    /// # Errors
    /// [`Error::Attributes`], [`Error::Invalid`], [`Error::Busy`].
    pub fn update_groups(
        &self,
        _caller: &Caller,
        groups: &[GroupConfig],
    ) -> Result<Answer<()>, Error> {
        let mut differ = Vec::new();
        for wanted in groups {
            let before = self.groups.find(wanted.name.as_str());
            // Apache knows no attributes of groups in 5.3.3 except those of POP; none is served here.
            let mut config = wanted.clone();
            config.attributes = before
                .as_ref()
                .map(|group| group.attributes.clone())
                .unwrap_or_default();
            if let Some(key) = wanted.attributes.keys().next() {
                let key = key.trim_start_matches(['+', '-']);
                return Err(Error::Attributes(format!("unsupported key: {key}")));
            }
            let subscriptions = wanted.subscriptions.as_deref().unwrap_or_default();
            if subscriptions.len() > limits::GROUP_SUBSCRIPTIONS {
                return Err(Error::Invalid(format!(
                    "subscriptionDataSet may have {} bytes, not {}",
                    limits::GROUP_SUBSCRIPTIONS,
                    subscriptions.len()
                )));
            }
            if before.is_none_or(|group| *group != config) {
                differ.push(Arc::new(config));
            }
        }
        if differ.is_empty() {
            return Ok(Answer::Ready(()));
        }
        let mark = self.groups.put(&self.store, self.clock.wall(), differ)?;
        Ok(Answer::After(mark, ()))
    }

    /// Deletes a group; with `clean_offsets` its committed offsets as well. Fine if there is none.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn delete_group(
        &self,
        _caller: &Caller,
        group: &str,
        clean_offsets: bool,
    ) -> Result<Answer<()>, Error> {
        if clean_offsets {
            self.offsets.remove_group(group);
        }
        self.forget_popped_group(group);
        self.forget_modes(|_, of| of.as_str() == group);
        if let Ok(name) = GroupName::parse(group) {
            self.groups
                .allow_all(&self.store, self.clock.wall(), &name)?;
        }
        if self.groups.find(group).is_none() {
            return Ok(Answer::After(Mark::REACHED, ()));
        }
        let mark = self.groups.remove(&self.store, self.clock.wall(), group)?;
        self.stats.rare.remove_group(group);
        tracing::info!(group, clean_offsets, "group deleted");
        Ok(Answer::After(mark, ()))
    }

    /// One group's configuration. Where groups are created automatically, asking creates it, as with
    /// Apache, unless only one that exists is asked for.
    ///
    /// # Errors
    /// [`Error::GroupMissing`].
    pub fn group(
        &self,
        _caller: &Caller,
        group: &str,
        existing: bool,
    ) -> Result<Answer<GroupConfig>, Error> {
        if existing && self.groups.find(group).is_none() {
            return Err(Error::GroupMissing {
                group: group.to_owned(),
                asked: AskedFor::Config,
            });
        }
        let (config, mark) = self.find_group(group, AskedFor::Config)?;
        let config = GroupConfig::clone(&config);
        Ok(match mark {
            Some(mark) => Answer::After(mark, config),
            None => Answer::Ready(config),
        })
    }

    /// All groups and the version of the table.
    pub fn groups(&self) -> (Vec<GroupConfig>, DataVersion) {
        let (groups, version) = self.groups.all();
        let configs = groups.iter().map(|group| GroupConfig::clone(group));
        (configs.collect(), version)
    }

    /// A group, made if it is missing and groups are created automatically. A name that cannot be one
    /// is a missing group too, as with Apache.
    pub(crate) fn find_group(
        &self,
        group: &str,
        asked: AskedFor,
    ) -> Result<(Arc<GroupConfig>, Option<Mark>), Error> {
        if let Some(found) = self.groups.find(group) {
            return Ok((found, None));
        }
        match GroupName::parse(group) {
            Ok(name) if self.settings.is(Setting::AutoCreateGroups) => {
                self.groups.ensure(&self.store, self.clock.wall(), &name)
            }
            _ => Err(Error::GroupMissing {
                group: group.to_owned(),
                asked,
            }),
        }
    }
}
