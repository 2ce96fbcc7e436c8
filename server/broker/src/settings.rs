//! What may be changed while the broker runs (Apache's UPDATE_BROKER_CONFIG).
//!
//! A change outlives the broker: it is a row of [`Table::Settings`], with what the configuration said at that time. A
//! configuration that says something else at a later start was written since then, and counts.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::message::{append, property};
use store::{Retention, Store, Table};

use crate::{Answer, Broker, Error, Options};

/// What values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// `true` or `false`.
    Truth,
    /// A whole number between the two, both allowed.
    Number(i64, i64),
}

use Values::{Number, Truth};

const DAY_MS: i64 = 86_400_000;

/// A name for each, what it is called by RocketMQ, what values it takes, and how much one of its units is here.
macro_rules! settings {
    ($($name:ident $key:literal $values:expr, $unit:literal;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Setting { $($name),* }

        const ALL: &[Setting] = &[$(Setting::$name),*];
        const UNITS: &[i64] = &[$($unit),*];

        /// Every setting that may be changed while a broker runs: its name, and what values it takes.
        pub const CHANGEABLE: &[(&str, Values)] = &[$(($key, $values)),*];
    };
}

settings! {
    RejectTransactions "rejectTransactionMessage" Truth, 1;
    TransactionTimeout "transactionTimeOut" Number(1, DAY_MS), 1;
    TransactionCheckInterval "transactionCheckInterval" Number(1, DAY_MS), 1;
    TransactionCheckMax "transactionCheckMax" Number(1, 10_000), 1;
    Timers "timerWheelEnable" Truth, 1;
    TimerMax "timerMaxDelaySec" Number(1, 315_619_200), 1_000;
    Recall "recallMessageEnable" Truth, 1;
    AutoCreateGroups "autoCreateSubscriptionGroup" Truth, 1;
    LongPolling "longPollingEnable" Truth, 1;
    ShortPolling "shortPollingTimeMills" Number(1, DAY_MS), 1;
    LitePull "litePullMessageEnable" Truth, 1;
    StoreReplies "storeReplyMessageEnable" Truth, 1;
    ServerSideReset "useServerSideResetOffset" Truth, 1;
    NotifyIdsChanged "notifyConsumerIdsChangedEnable" Truth, 1;
    ProtectSystemTopics "validateSystemTopicWhenUpdateTopic" Truth, 1;
    MixedMessageType "enableMixedMessageType" Truth, 1;
    AcceptSendsFrom "startAcceptSendRequestTimeStamp" Number(0, i64::MAX), 1;
    PullCountMax "maxTransferCountOnMessageInMemory" Number(1, 4_096), 1;
    PullBytesMax "maxTransferBytesOnMessageInMemory" Number(1_024, 16_777_216), 1;
    ReservedTime "fileReservedTime" Number(1, 876_000), 3_600_000;
    DiskUsedMax "diskMaxUsedSpaceRatio" Number(10, 95), 1;
    DiskForce "diskSpaceCleanForciblyRatio" Number(30, 95), 1;
    DiskRefuse "diskSpaceWarningLevelRatio" Number(35, 98), 1;
    CleanForcibly "cleanFileForciblyEnable" Truth, 1;
}

const COUNT: usize = ALL.len();

impl Setting {
    fn find(name: &str) -> Option<Setting> {
        ALL.iter().copied().find(|own| own.name() == name)
    }

    fn name(self) -> &'static str {
        CHANGEABLE[self as usize].0
    }

    fn values(self) -> Values {
        CHANGEABLE[self as usize].1
    }

    /// Reads a value as RocketMQ writes it.
    ///
    /// # Errors
    /// What is allowed.
    fn read(self, text: &str) -> Result<i64, String> {
        match (self.values(), text.trim()) {
            (Truth, "true") => Ok(1),
            (Truth, "false") => Ok(0),
            (Truth, _) => Err("true or false expected".to_owned()),
            (Number(from, to), text) => match text.parse::<i64>() {
                Ok(number) if (from..=to).contains(&number) => {
                    Ok(number.saturating_mul(UNITS[self as usize]))
                }
                _ => Err(format!("a whole number from {from} to {to} expected")),
            },
        }
    }

    fn write(self, value: i64) -> String {
        match self.values() {
            Truth => (value != 0).to_string(),
            Number(..) => (value / UNITS[self as usize]).to_string(),
        }
    }

    /// What a broker is opened with.
    fn given(self, options: &Options, kept: &Retention) -> i64 {
        let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        match self {
            Setting::RejectTransactions => options.reject_transactions.into(),
            Setting::TransactionTimeout => ms(options.transaction_timeout),
            Setting::TransactionCheckInterval => ms(options.transaction_check_interval),
            Setting::TransactionCheckMax => options.transaction_check_max.into(),
            Setting::Timers => options.timers.into(),
            Setting::TimerMax => options.timer_max,
            Setting::Recall => options.recall.into(),
            Setting::AutoCreateGroups => options.auto_create_groups.into(),
            Setting::LongPolling => options.long_polling.into(),
            Setting::ShortPolling => ms(options.short_polling),
            Setting::LitePull => options.lite_pull.into(),
            Setting::StoreReplies => options.store_replies.into(),
            Setting::ServerSideReset => options.server_side_reset.into(),
            Setting::NotifyIdsChanged => options.notify_ids_changed.into(),
            Setting::ProtectSystemTopics => options.protect_system_topics.into(),
            Setting::MixedMessageType => options.mixed_message_type.into(),
            Setting::AcceptSendsFrom => options.accept_sends_from,
            Setting::PullCountMax => i64::try_from(options.pull_count_max).unwrap_or(i64::MAX),
            Setting::PullBytesMax => i64::try_from(options.pull_bytes_max).unwrap_or(i64::MAX),
            Setting::ReservedTime => ms(options.half_life),
            Setting::DiskUsedMax => kept.disk_used_max.into(),
            Setting::DiskForce => kept.disk_force.into(),
            Setting::DiskRefuse => kept.disk_refuse.into(),
            Setting::CleanForcibly => kept.clean_forcibly.into(),
        }
    }
}

/// What holds now.
#[derive(Debug)]
pub(crate) struct Settings {
    /// What the broker was opened with.
    given: [i64; COUNT],
    now: [AtomicI64; COUNT],
    /// Held by whoever changes some; how often that was done.
    changes: Mutex<i64>,
}

impl Settings {
    /// What the broker is opened with, and what was changed while it ran before.
    pub fn open(store: &Store, options: &Options) -> Settings {
        let kept = store.retention();
        let given: [i64; COUNT] = std::array::from_fn(|at| ALL[at].given(options, &kept));
        let settings = Settings {
            given,
            now: given.map(AtomicI64::new),
            changes: Mutex::default(),
        };
        for (key, row) in store.rows(Table::Settings) {
            let name = String::from_utf8_lossy(&key);
            let Some(setting) = Setting::find(&name) else {
                tracing::warn!(%name, "what was changed while the broker ran is no setting of this release");
                continue;
            };
            let said = setting.write(given[setting as usize]);
            match read_row(setting, &row) {
                Some((value, before)) if before == said => {
                    settings.set(store, setting, value);
                    let value = setting.write(value);
                    tracing::info!(%name, value, configured = said, "changed while the broker ran, and still so");
                }
                _ => {
                    tracing::warn!(%name, value = said, "configured anew since it was changed while the broker ran");
                    if let Err(error) = store.put(&[(Table::Settings, &key, None)]) {
                        tracing::warn!(%name, %error, "the change that counts no more is kept");
                    }
                }
            }
        }
        settings
    }

    pub fn is(&self, setting: Setting) -> bool {
        self.number(setting) != 0
    }

    /// Times are in milliseconds.
    pub fn number(&self, setting: Setting) -> i64 {
        self.now[setting as usize].load(Ordering::Relaxed)
    }

    pub fn size(&self, setting: Setting) -> usize {
        usize::try_from(self.number(setting)).unwrap_or(0)
    }

    /// How often something was changed since the start.
    pub fn changes(&self) -> i64 {
        *self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is not as the broker was opened: names and values.
    pub fn changed(&self) -> impl Iterator<Item = (&'static str, String)> {
        let own = ALL.iter().copied();
        let own = own.filter(|own| self.number(*own) != self.given[*own as usize]);
        own.map(|own| (own.name(), own.write(self.number(own))))
    }

    fn set(&self, store: &Store, setting: Setting, value: i64) {
        self.now[setting as usize].store(value, Ordering::Relaxed);
        let mut kept = store.retention();
        let per_cent = u8::try_from(value).unwrap_or(100);
        match setting {
            Setting::ReservedTime => {
                kept.reserved_time = Duration::from_millis(value.unsigned_abs());
            }
            Setting::DiskUsedMax => kept.disk_used_max = per_cent,
            Setting::DiskForce => kept.disk_force = per_cent,
            Setting::DiskRefuse => kept.disk_refuse = per_cent,
            Setting::CleanForcibly => kept.clean_forcibly = value != 0,
            _ => return,
        }
        store.set_retention(kept);
    }
}

/// The value, and what was configured when it was changed.
fn read_row(setting: Setting, row: &[u8]) -> Option<(i64, String)> {
    let text = std::str::from_utf8(row).ok()?;
    let value = setting.read(property(text, "value")?).ok()?;
    Some((value, property(text, "configured")?.to_owned()))
}

impl Broker {
    /// Changes settings while the broker runs: all of these, or none.
    ///
    /// # Errors
    /// [`Error::Settings`], with what is wrong with each; [`Error::Store`].
    pub fn change_settings<'s>(
        &self,
        changes: impl Iterator<Item = (&'s str, &'s str)>,
    ) -> Result<Answer<()>, Error> {
        let (mut wanted, mut wrong) = (Vec::new(), Vec::new());
        for (name, text) in changes {
            match Setting::find(name) {
                Some(setting) => match setting.read(text) {
                    Ok(value) => wanted.push((setting, value)),
                    Err(allowed) => wrong.push(format!("{name}: {allowed}")),
                },
                None => wrong.push(format!(
                    "{name}: only read when the broker starts, if it is a setting at all"
                )),
            }
        }
        if !wrong.is_empty() {
            return Err(Error::Settings(wrong));
        }
        let settings = &self.settings;
        let changes = settings.changes.lock();
        let mut changes = changes.unwrap_or_else(PoisonError::into_inner);
        let row = |(setting, value): &(Setting, i64)| {
            let given = settings.given[*setting as usize];
            let mut text = String::new();
            append(&mut text, "value", &setting.write(*value));
            append(&mut text, "configured", &setting.write(given));
            (setting.name().as_bytes(), (*value != given).then_some(text))
        };
        let rows: Vec<_> = wanted.iter().map(row).collect();
        let rows = rows.iter().map(|(name, text)| {
            let text = text.as_ref().map(String::as_bytes);
            (Table::Settings, *name, text)
        });
        let mark = self.store.put(&rows.collect::<Vec<_>>())?;
        for (setting, value) in wanted {
            settings.set(&self.store, setting, value);
            let (name, value) = (setting.name(), setting.write(value));
            tracing::info!(name, value, "changed while the broker runs");
        }
        *changes += 1;
        Ok(Answer::After(mark, ()))
    }
}
