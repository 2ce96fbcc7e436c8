//! The name server's settings: what 319 shows and 318 changes while it runs.
//!
//! The keys are those of Apache's `NamesrvConfig` and `NettyServerConfig`, in the order in which 5.3.3
//! prints them. Only what is in effect when it is read can be changed; a key that decides where files lie
//! cannot (CVE-2023-37582 was that). A change is checked whole before any of it counts.

use std::path::PathBuf;
use std::time::Duration;

use remoting::body::properties;

/// What a name server is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `rocketmqHome`: shown, not used.
    pub home: String,
    /// `bindAddress`: shown.
    pub bind_address: String,
    /// `listenPort`: shown.
    pub listen_port: u16,
    /// `kvConfigPath`: where the key-value table is kept; None keeps it in memory.
    pub kv_path: Option<PathBuf>,
    /// `configStorePath`: where a change of settings is kept; None keeps it in memory.
    pub config_path: Option<PathBuf>,
    /// `configBlackList`: further keys that 318 refuses, beside those that are always refused.
    pub black_list: Vec<String>,
    /// What may change.
    pub settings: Settings,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            home: String::new(),
            bind_address: "127.0.0.1".to_owned(),
            listen_port: 9876,
            kv_path: None,
            config_path: None,
            black_list: Vec::new(),
            settings: Settings::default(),
        }
    }
}

/// What may change while the name server runs. The field's Apache name stands before its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `orderMessageEnable` (false): routes carry the order of queues from the key-value table.
    pub order_messages: bool,
    /// `returnOrderTopicConfigToBroker` (true): a registering broker is told which topics are ordered.
    pub return_order_topics: bool,
    /// `enableAllTopicList` (true): 206 is answered.
    pub all_topic_list: bool,
    /// `enableTopicList` (true): 224 and the unit lists are answered.
    pub topic_list: bool,
    /// `supportActingMaster` (false): a slave that acts as master is shown as one.
    pub acting_masters: bool,
    /// `deleteTopicWithBrokerRegistration` (false): topics that a registration does not bring are dropped.
    pub drop_missing_topics: bool,
    /// `needWaitForService` (false): routes are answered only some time after the start.
    pub wait_for_service: bool,
    /// `waitSecondsForService` (45): that time.
    pub wait: Duration,
    /// `scanNotActiveBrokerInterval` (5,000 ms): how often expired brokers are looked for.
    pub scan_interval: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            order_messages: false,
            return_order_topics: true,
            all_topic_list: true,
            topic_list: true,
            acting_masters: false,
            drop_missing_topics: false,
            wait_for_service: false,
            wait: Duration::from_secs(45),
            scan_interval: Duration::from_secs(5),
        }
    }
}

/// Why settings were not changed. The texts of the first two are Apache's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not a properties text.
    #[error("string2Properties error")]
    Unreadable,
    /// A key that decides where files lie, or that the operator listed.
    #[error("Can not update config in black list.")]
    BlackListed,
    /// A key that is not there, or that is only read at the start.
    #[error("{0} cannot be changed while the name server runs")]
    NotChangeable(String),
    /// A value that is not one for its key.
    #[error("{0} must be {1}")]
    BadValue(String, &'static str),
}

/// Keys that 318 always refuses.
const BLACK_LIST: [&str; 4] = [
    "configBlackList",
    "configStorePath",
    "kvConfigPath",
    "rocketmqHome",
];

/// Keys of Apache that mean nothing here, with its defaults: tools that read 319 find them.
const WITHOUT_EFFECT: [(&str, &str); 25] = [
    ("clientRequestThreadPoolNums", "8"),
    ("clientRequestThreadPoolQueueCapacity", "50000"),
    ("clusterTest", "false"),
    ("defaultThreadPoolNums", "16"),
    ("defaultThreadPoolQueueCapacity", "10000"),
    ("enableControllerInNamesrv", "false"),
    ("enableShutdownGracefully", "false"),
    ("notifyMinBrokerIdChanged", "false"),
    ("productEnvName", "center"),
    ("serverAsyncSemaphoreValue", "64"),
    ("serverCallbackExecutorThreads", "0"),
    ("serverChannelMaxIdleTimeSeconds", "120"),
    ("serverNettyWorkerGroupEnable", "true"),
    ("serverOnewaySemaphoreValue", "256"),
    ("serverPooledByteBufAllocatorEnable", "true"),
    ("serverSelectorThreads", "3"),
    ("serverSocketBacklog", "1024"),
    ("serverSocketRcvBufSize", "0"),
    ("serverSocketSndBufSize", "0"),
    ("serverWorkerThreads", "8"),
    ("shutdownWaitTimeSeconds", "30"),
    ("unRegisterBrokerQueueCapacity", "3000"),
    ("useEpollNativeSelector", "false"),
    ("writeBufferHighWaterMark", "0"),
    ("writeBufferLowWaterMark", "0"),
];

impl Options {
    /// The settings as 319 shows them: `key=value` lines, sorted.
    pub fn text(&self) -> String {
        let path = |path: &Option<PathBuf>| match path {
            Some(path) => path.display().to_string(),
            None => String::new(),
        };
        let mut entries: Vec<(&str, String)> = WITHOUT_EFFECT
            .iter()
            .map(|(key, value)| (*key, (*value).to_owned()))
            .collect();
        let mut black_list = BLACK_LIST.map(str::to_owned).to_vec();
        black_list.extend(self.black_list.iter().cloned());
        entries.extend([
            ("bindAddress", self.bind_address.clone()),
            ("configBlackList", black_list.join(";")),
            ("configStorePath", path(&self.config_path)),
            ("kvConfigPath", path(&self.kv_path)),
            ("listenPort", self.listen_port.to_string()),
            ("rocketmqHome", self.home.clone()),
        ]);
        entries.extend(self.settings.entries());
        entries.sort_unstable();
        let mut text = Vec::new();
        let entries = entries.iter().map(|(key, value)| (*key, value.as_str()));
        properties::write_plain(entries, &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The settings after the changes in a properties text. Nothing counts if one of them is refused.
    pub fn changed(&self, text: &str) -> Result<Settings, ConfigError> {
        let changes = properties::parse(text.as_bytes()).map_err(|_| ConfigError::Unreadable)?;
        let refused =
            |key: &str| BLACK_LIST.contains(&key) || self.black_list.iter().any(|k| k == key);
        if changes.iter().any(|change| refused(&change.key)) {
            return Err(ConfigError::BlackListed);
        }
        let mut settings = self.settings.clone();
        for change in &changes {
            settings.set(&change.key, &change.value)?;
        }
        Ok(settings)
    }
}

impl Settings {
    fn entries(&self) -> [(&'static str, String); 9] {
        let ms = |time: Duration| time.as_millis().to_string();
        [
            ("orderMessageEnable", self.order_messages.to_string()),
            (
                "returnOrderTopicConfigToBroker",
                self.return_order_topics.to_string(),
            ),
            ("enableAllTopicList", self.all_topic_list.to_string()),
            ("enableTopicList", self.topic_list.to_string()),
            ("supportActingMaster", self.acting_masters.to_string()),
            (
                "deleteTopicWithBrokerRegistration",
                self.drop_missing_topics.to_string(),
            ),
            ("needWaitForService", self.wait_for_service.to_string()),
            ("waitSecondsForService", self.wait.as_secs().to_string()),
            ("scanNotActiveBrokerInterval", ms(self.scan_interval)),
        ]
    }

    /// Sets one key by its Apache name.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), ConfigError> {
        let truth = || match value.trim() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(ConfigError::BadValue(key.to_owned(), "true or false")),
        };
        let number = |from: u64, what| match value.trim().parse() {
            Ok(number) if (from..=86_400_000).contains(&number) => Ok(number),
            _ => Err(ConfigError::BadValue(key.to_owned(), what)),
        };
        match key {
            "orderMessageEnable" => self.order_messages = truth()?,
            "returnOrderTopicConfigToBroker" => self.return_order_topics = truth()?,
            "enableAllTopicList" => self.all_topic_list = truth()?,
            "enableTopicList" => self.topic_list = truth()?,
            "supportActingMaster" => self.acting_masters = truth()?,
            "deleteTopicWithBrokerRegistration" => self.drop_missing_topics = truth()?,
            "needWaitForService" => self.wait_for_service = truth()?,
            "waitSecondsForService" => {
                self.wait = Duration::from_secs(number(0, "a number of seconds")?);
            }
            "scanNotActiveBrokerInterval" => {
                self.scan_interval = Duration::from_millis(number(10, "10 ms to a day")?);
            }
            _ => return Err(ConfigError::NotChangeable(key.to_owned())),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_whole_or_not_at_all() {
        let options = Options::default();
        let text = "orderMessageEnable=true\nwaitSecondsForService=46\n";
        let settings = options.changed(text).unwrap();
        assert!(settings.order_messages);
        assert_eq!(settings.wait, Duration::from_secs(46));
        let bad = options.changed("orderMessageEnable=true\nenableTopicList=yes");
        assert_eq!(
            bad,
            Err(ConfigError::BadValue(
                "enableTopicList".into(),
                "true or false"
            ))
        );
    }

    #[test]
    fn keys_that_decide_where_files_lie_cannot_be_changed() {
        let mut options = Options::default();
        options.black_list.push("enableTopicList".into());
        for key in BLACK_LIST.into_iter().chain(["enableTopicList"]) {
            let text = format!("orderMessageEnable=true\n{key}=/x");
            assert_eq!(
                options.changed(&text),
                Err(ConfigError::BlackListed),
                "{key}"
            );
        }
        assert_eq!(
            options.changed("listenPort=1"),
            Err(ConfigError::NotChangeable("listenPort".into()))
        );
        assert_eq!(options.changed("\\u12"), Err(ConfigError::Unreadable));
    }

    #[test]
    fn every_changeable_key_is_shown_and_takes_what_is_shown() {
        let options = Options::default();
        let text = options.text();
        for (key, value) in options.settings.entries() {
            assert!(text.contains(&format!("\n{key}={value}\n")), "{key}");
            Settings::default().set(key, &value).unwrap();
        }
    }
}
