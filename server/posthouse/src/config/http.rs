//! Where HTTP listens, and how it behaves.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::addresses::{address, split};
use super::{Error, Given, Role, Secret};
use crate::keys;
use crate::raw_config::RawConfig;

/// How long the port stays open at the end when others than this machine may use it, so that their
/// balancers notice.
const DRAIN: Duration = Duration::from_secs(5);

/// The part of HTTP.
#[derive(Clone, Debug)]
pub struct Http {
    /// Where everybody is served; `None`: nowhere.
    pub public: Option<SocketAddr>,
    /// Where operators are; `None`: nowhere.
    pub management: Option<SocketAddr>,
    /// The keys that tokens are signed with; `None`: the data folder's, or made at the start.
    pub token_secret_file: Option<PathBuf>,
    /// Whether `--dev` was given: topics and groups are made by their first use.
    pub dev: bool,
    /// `http.hosts`
    pub hosts: Vec<String>,
    /// `http.cors.origins`
    pub origins: Vec<String>,
    /// `http.drainDelay`
    pub drain_delay: Duration,
    /// `http.sse.retry`
    pub sse_retry: Duration,
    /// `http.sse.heartbeat`
    pub sse_heartbeat: Duration,
    /// `http.sse.maxAge`
    pub sse_max_age: Duration,
    /// What follows `http.limit.` in their names, and what they are.
    pub limits: BTreeMap<&'static str, u64>,
    /// `http.webhook.trustedHosts`
    pub webhook_hosts: Vec<String>,
    /// `http.webhook.authorities`
    pub webhook_authorities: Option<PathBuf>,
    /// `accessKey` and `secretKey`: whom a gateway speaks for; `None`: nobody.
    pub user: Option<User>,
}

/// A user of the cluster behind a gateway.
#[derive(Clone, Debug)]
pub struct User {
    /// Its name.
    pub name: String,
    /// What requests are signed with.
    pub secret: Secret,
}

pub(super) fn resolve(role: Role, given: &Given, raw: &RawConfig) -> Result<Http, Error> {
    let public = match role.has_http() {
        true => listen("--http-addr", given.http_addr.as_deref(), 8090)?,
        false => None,
    };
    let millis = |name| Duration::from_millis(raw.number(name).unsigned_abs());
    let drain_delay = match raw.written("http.drainDelay") {
        Some(_) => millis("http.drainDelay"),
        None if public.is_none_or(|public| public.ip().is_loopback()) => Duration::ZERO,
        None => DRAIN,
    };
    Ok(Http {
        public,
        management: listen("--metrics-addr", given.metrics_addr.as_deref(), 8091)?,
        token_secret_file: given.token_secret_file.clone(),
        dev: given.dev,
        hosts: split(raw.text("http.hosts")),
        origins: split(raw.text("http.cors.origins")),
        drain_delay,
        sse_retry: millis("http.sse.retry"),
        sse_heartbeat: millis("http.sse.heartbeat"),
        sse_max_age: millis("http.sse.maxAge"),
        limits: limits(raw),
        webhook_hosts: split(raw.text("http.webhook.trustedHosts")),
        webhook_authorities: raw.written("http.webhook.authorities").map(PathBuf::from),
        user: match role {
            Role::Gateway => user(given, raw)?,
            _ => None,
        },
    })
}

fn limits(raw: &RawConfig) -> BTreeMap<&'static str, u64> {
    let named = keys::EFFECTIVE.iter().filter_map(|key| {
        let name = key.name.strip_prefix("http.limit.")?;
        Some((name, raw.number(key.name).unsigned_abs()))
    });
    named.collect()
}

impl Http {
    /// How much `http.limit.NAME` is.
    pub fn limit(&self, name: &str) -> u64 {
        self.limits.get(name).copied().unwrap_or_default()
    }
}

/// The environment goes before the file; both halves or none.
fn user(given: &Given, raw: &RawConfig) -> Result<Option<User>, Error> {
    let name = given.access_key.as_deref().or(raw.written("accessKey"));
    let written = || raw.written("secretKey").map(|text| Secret(text.to_owned()));
    let secret = given.secret_key.clone().or_else(written);
    match (name, secret) {
        (None, None) => Ok(None),
        (Some(name), Some(secret)) => Ok(Some(User {
            name: name.to_owned(),
            secret,
        })),
        (Some(_), None) => Err(Error::HalfUser("accessKey", "secretKey")),
        (None, Some(_)) => Err(Error::HalfUser("secretKey", "accessKey")),
    }
}

fn listen(
    option: &'static str,
    given: Option<&str>,
    default: u16,
) -> Result<Option<SocketAddr>, Error> {
    match given {
        Some("off") => Ok(None),
        Some(text) => address(option, text).map(Some),
        None => Ok(Some(SocketAddr::new(
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            default,
        ))),
    }
}
