//! What the command line, the environment and the file mean together: addresses, folders, refusals.
//!
//! The rules that protect people are here. Listeners stay on loopback unless told otherwise; leaving
//! it without authentication wants `--insecure`; an address that nobody can reach is never told to a
//! name server; what asks for replication, which does not exist yet, is refused and not served half.

mod addresses;
mod broker;
mod http;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use namesrv::Settings;

use addresses::{is_local, namesrv_listen, split};
pub use broker::{Broker, BrokerRole, RECORD_OVERHEAD};
pub use http::Http;

use crate::keys::{self, Side};
use crate::raw_config::{self, RawConfig};

/// What runs in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Name server and broker.
    Standalone,
    /// The name server alone.
    Namesrv,
    /// A broker that registers with name servers elsewhere.
    Broker,
    /// HTTP in front of a cluster that runs elsewhere.
    Gateway,
}

impl Role {
    /// The command's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Standalone => "standalone",
            Role::Namesrv => "namesrv",
            Role::Broker => "broker",
            Role::Gateway => "gateway",
        }
    }

    /// Whether a broker runs.
    pub fn has_broker(self) -> bool {
        matches!(self, Role::Standalone | Role::Broker)
    }

    /// Whether a name server runs.
    pub fn has_namesrv(self) -> bool {
        matches!(self, Role::Standalone | Role::Namesrv)
    }

    /// Whether HTTP is served.
    pub fn has_http(self) -> bool {
        matches!(self, Role::Standalone | Role::Gateway)
    }
}

/// What the command line and the environment said; `None` where they were silent.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// `--data`
    pub data: Option<PathBuf>,
    /// `--namesrv-addr`
    pub namesrv_addr: Option<String>,
    /// `--broker-addr`
    pub broker_addr: Option<String>,
    /// `--http-addr`
    pub http_addr: Option<String>,
    /// `--metrics-addr`
    pub metrics_addr: Option<String>,
    /// `--token-secret-file`
    pub token_secret_file: Option<PathBuf>,
    /// The variable POSTHOUSE_ACCESS_KEY
    pub access_key: Option<String>,
    /// The variable POSTHOUSE_SECRET_KEY
    pub secret_key: Option<Secret>,
    /// `-n`, or else the variable NAMESRV_ADDR
    pub namesrvs: Option<String>,
    /// The variable NAMESRV_ADDR
    pub namesrvs_of_environment: Option<String>,
    /// `--insecure`
    pub insecure: bool,
    /// `--dev`
    pub dev: bool,
}

/// What is shown nowhere, logs of a start included.
#[derive(Clone)]
pub struct Secret(pub String);

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(text)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Everything a start needs.
#[derive(Clone, Debug)]
pub struct Config {
    /// What runs.
    pub role: Role,
    /// The data folder.
    pub data: PathBuf,
    /// Whether `--insecure` was given.
    pub insecure: bool,
    /// The name server's part.
    pub namesrv: Namesrv,
    /// The broker's part.
    pub broker: Broker,
    /// The part of HTTP.
    pub http: Http,
    /// After this long a silent connection is closed.
    pub max_idle: Duration,
    /// Threads that serve a broker's connections.
    pub io_threads: usize,
    /// Lines for the user that stop nothing.
    pub notes: Vec<String>,
    raw: RawConfig,
}

/// The name server's part.
#[derive(Clone, Debug)]
pub struct Namesrv {
    /// Where it listens; port 0 picks one.
    pub listen: SocketAddr,
    /// Its key-value file.
    pub kv_path: PathBuf,
    /// Where settings changed at run time are kept.
    pub config_path: PathBuf,
    /// Further keys that may not be changed at run time.
    pub black_list: Vec<String>,
    /// What may.
    pub settings: Settings,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is wrong.
    #[error(transparent)]
    File(#[from] raw_config::Error),
    /// An address on the command line is wrong.
    #[error("{option} {text}: {what}")]
    Address {
        /// Which option.
        option: &'static str,
        /// What was given.
        text: String,
        /// What is wrong with it.
        what: String,
    },
    /// A segment that cannot hold the longest record.
    #[error(
        "mappedFileSizeCommitLog={segment} is less than the longest record: at least {least} with maxMessageSize={body}"
    )]
    Segment {
        /// The segment's bytes.
        segment: u32,
        /// What it must hold.
        least: u32,
        /// The longest body.
        body: u32,
    },
    /// A user's name without its secret, or the reverse.
    #[error("there is {0} but no {1}: a gateway signs with both, or with none")]
    HalfUser(&'static str, &'static str),
    /// A gateway without a cluster.
    #[error(
        "a gateway needs a cluster: give its name servers with -n HOST:PORT, NAMESRV_ADDR, or namesrvAddr in the file"
    )]
    NoCluster,
    /// `brokerIP1` cannot be told to anybody.
    #[error("brokerIP1={0}: no client can connect to this address; give one of this machine's own")]
    Unspecified(IpAddr),
}

/// Why a valid configuration is not started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A slave, by role or id.
    #[error(
        "{0}: a slave copies its master's log, and there is no replication yet; start a master (brokerId=0, brokerRole=ASYNC_MASTER)"
    )]
    Slave(String),
    /// Registering elsewhere with an address that only this machine can reach.
    #[error(
        "namesrvAddr {namesrv} is another machine, but the broker listens on {listen}, which only this machine reaches: \
         give --broker-addr HOST:PORT, or bindAddress or brokerIP1 in the file"
    )]
    RemoteNamesrv {
        /// The first remote name server.
        namesrv: String,
        /// Where the broker listens.
        listen: IpAddr,
    },
    /// Leaving loopback without authentication.
    #[error(
        "{what} would listen on {listen}, and there is no authentication: whoever reaches that address can read, \
         write and delete every message. --insecure says that this is meant"
    )]
    Insecure {
        /// Which listener.
        what: &'static str,
        /// Its address.
        listen: IpAddr,
    },
    /// Leaving loopback where everybody's typo makes a topic.
    #[error("--dev is for this machine alone, and {what} would listen on {listen}")]
    Dev {
        /// Which listener.
        what: &'static str,
        /// Its address.
        listen: IpAddr,
    },
}

impl Config {
    /// Puts everything together.
    pub fn resolve(role: Role, given: &Given, raw: RawConfig) -> Result<Config, Error> {
        let mut notes = raw.notes.clone();
        let data = match (&given.data, raw.written("storePathRootDir")) {
            (Some(data), _) => data.clone(),
            (None, Some(root)) => PathBuf::from(root),
            (None, None) => PathBuf::from("posthouse-data"),
        };
        let namesrv = Namesrv {
            listen: namesrv_listen(role, given, &raw)?,
            kv_path: match raw.written("kvConfigPath") {
                Some(path) => PathBuf::from(path),
                None => data.join("namesrv").join("kvConfig.json"),
            },
            config_path: match raw.written("configStorePath") {
                Some(path) => PathBuf::from(path),
                None => data.join("namesrv").join("namesrv.properties"),
            },
            black_list: split(raw.text("configBlackList")),
            settings: settings(&raw),
        };
        let broker = broker::resolve(role, given, &raw, &mut notes)?;
        let http = http::resolve(role, given, &raw)?;
        if role == Role::Gateway && broker.namesrvs.is_empty() {
            return Err(Error::NoCluster);
        }
        let hidden = role == Role::Standalone
            && !broker.listen.ip().is_loopback()
            && namesrv.listen.ip().is_loopback();
        if hidden {
            notes.push(format!(
                "the name server listens on {} only; --namesrv-addr lets other machines find the broker",
                namesrv.listen.ip()
            ));
        }
        Ok(Config {
            role,
            data,
            insecure: given.insecure,
            namesrv,
            broker,
            http,
            max_idle: Duration::from_secs(
                raw.number("serverChannelMaxIdleTimeSeconds").unsigned_abs(),
            ),
            io_threads: match usize::try_from(raw.number("ioThreads")) {
                Ok(0) | Err(_) => cores().saturating_sub(1).max(1),
                Ok(threads) => threads,
            },
            notes,
            raw,
        })
    }

    /// A standalone on picked loopback ports, without HTTP, for tests and whoever embeds one: `file` is the text
    /// of a configuration file, and may be empty.
    pub fn embedded(data: &Path, file: &str) -> Result<Config, Error> {
        let given = Given {
            data: Some(data.to_owned()),
            namesrv_addr: Some("127.0.0.1:0".to_owned()),
            broker_addr: Some("127.0.0.1:0".to_owned()),
            http_addr: Some("off".to_owned()),
            metrics_addr: Some("off".to_owned()),
            ..Given::default()
        };
        let raw = RawConfig::parse(file.as_bytes(), "embedded", false)?;
        Config::resolve(Role::Standalone, &given, raw)
    }

    /// What stands against starting with this, most important first.
    pub fn refusals(&self) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        let broker = &self.broker;
        if self.role.has_broker() {
            if broker.role == BrokerRole::Slave {
                refusals.push(Refusal::Slave("brokerRole=SLAVE".to_owned()));
            } else if broker.id > 0 {
                refusals.push(Refusal::Slave(format!("brokerId={}", broker.id)));
            }
            let remote = broker.namesrvs.iter().find(|namesrv| !is_local(namesrv));
            if let Some(namesrv) = remote.filter(|_| broker.listen.ip().is_loopback()) {
                refusals.push(Refusal::RemoteNamesrv {
                    namesrv: namesrv.clone(),
                    listen: broker.listen.ip(),
                });
            }
        }
        let mut listener = |runs: bool, what, listen: IpAddr| {
            if !runs || listen.is_loopback() {
                return;
            }
            if self.http.dev {
                refusals.push(Refusal::Dev { what, listen });
            } else if !self.insecure {
                refusals.push(Refusal::Insecure { what, listen });
            }
        };
        listener(self.role.has_broker(), "the broker", broker.listen.ip());
        listener(
            self.role.has_namesrv(),
            "the name server",
            self.namesrv.listen.ip(),
        );
        for (what, listen) in [
            ("HTTP", self.http.public),
            ("the metrics port", self.http.management),
        ] {
            if let Some(listen) = listen {
                listener(true, what, listen.ip());
            }
        }
        refusals
    }

    /// The configuration in force, as `key=value`, sorted: keys with an effect, and those the file
    /// has that have none. What GET_BROKER_CONFIG answers and `-p` prints.
    pub fn properties(&self) -> Vec<(String, String)> {
        let own = [
            ("storePathRootDir", self.data.display().to_string()),
            (
                "configStorePath",
                self.namesrv.config_path.display().to_string(),
            ),
            (
                "http.drainDelay",
                self.http.drain_delay.as_millis().to_string(),
            ),
            ("kvConfigPath", self.namesrv.kv_path.display().to_string()),
            ("namesrvAddr", self.broker.namesrvs.join(";")),
            ("bindAddress", self.listen().ip().to_string()),
            ("listenPort", self.listen().port().to_string()),
            ("brokerIP1", self.broker.advertised.to_string()),
            ("brokerIP2", self.broker.ha_address.0.to_string()),
            (
                "haListenPort",
                self.broker
                    .ha_address
                    .1
                    .unwrap_or(self.broker.listen.port().saturating_add(1))
                    .to_string(),
            ),
        ];
        // That there is one is shown; it is not.
        let hidden = match self.http.user {
            Some(_) => "***".to_owned(),
            None => String::new(),
        };
        let user = self.http.user.as_ref().map(|user| user.name.clone());
        let own = own.into_iter().chain([
            ("accessKey", user.unwrap_or_default()),
            ("secretKey", hidden),
        ]);
        let own: Vec<(&str, String)> = own.collect();
        let value = |name: &str| match own.iter().find(|(key, _)| *key == name) {
            Some((_, value)) => value.clone(),
            None => self.raw.text(name).to_owned(),
        };
        let effective = keys::EFFECTIVE
            .iter()
            .filter(|key| self.reads(key.side))
            .map(|key| (key.name.to_owned(), value(key.name)));
        let quiet = self
            .raw
            .quiet()
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut all: Vec<(String, String)> = effective.chain(quiet).collect();
        all.sort();
        all
    }

    fn reads(&self, side: Side) -> bool {
        match side {
            Side::Broker => self.role.has_broker(),
            Side::Namesrv => self.role.has_namesrv(),
            Side::Both => self.role != Role::Gateway,
            Side::Http => self.role.has_http(),
            Side::Gateway => self.role == Role::Gateway,
        }
    }

    /// The address that `bindAddress` and `listenPort` speak of in this role.
    fn listen(&self) -> SocketAddr {
        match self.role {
            Role::Namesrv => self.namesrv.listen,
            Role::Standalone | Role::Broker | Role::Gateway => self.broker.listen,
        }
    }
}

fn settings(raw: &RawConfig) -> Settings {
    let number = |name| u64::try_from(raw.number(name)).unwrap_or(0);
    Settings {
        order_messages: raw.flag("orderMessageEnable"),
        return_order_topics: raw.flag("returnOrderTopicConfigToBroker"),
        all_topic_list: raw.flag("enableAllTopicList"),
        topic_list: raw.flag("enableTopicList"),
        acting_masters: raw.flag("supportActingMaster"),
        drop_missing_topics: raw.flag("deleteTopicWithBrokerRegistration"),
        wait_for_service: raw.flag("needWaitForService"),
        wait: Duration::from_secs(number("waitSecondsForService")),
        scan_interval: Duration::from_millis(number("scanNotActiveBrokerInterval")),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Where a relative `-c` path is looked for: as given, then below ROCKETMQ_HOME.
pub fn locate(file: &Path, rocketmq_home: Option<&Path>) -> PathBuf {
    let home = rocketmq_home.filter(|_| file.is_relative() && !file.exists());
    let below = |home: &Path| [home.join(file), home.join("conf").join(file)];
    let found = home.and_then(|home| below(home).into_iter().find(|path| path.exists()));
    found.unwrap_or_else(|| file.to_owned())
}

#[cfg(test)]
mod tests;
