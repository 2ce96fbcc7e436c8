//! Where a client connects: from an argument, a URL, or the environment.

use std::path::PathBuf;

use crate::client::Access;
use crate::error::{Code, Error, Result};

/// Where a client connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To name servers.
    Remote {
        /// `host:port` of each.
        servers: Vec<String>,
        /// With what requests are signed.
        credentials: Option<Access>,
        /// What topics and groups are prefixed with.
        namespace: Option<String>,
        /// Whether connections are encrypted.
        tls: bool,
    },
    /// To a server in this process: in a folder, or private and in memory.
    Embedded(Option<PathBuf>),
}

pub use posthouse_client::Transport;

/// The address if nobody says another.
const DEFAULT: &str = "127.0.0.1:9876";

impl Target {
    /// What the user gave, or else `POSTHOUSE_URL`, or else `NAMESRV_ADDR`, or else `127.0.0.1:9876`.
    ///
    /// # Errors
    /// [`Code::Config`], naming what is wrong.
    pub fn resolve(given: Option<&str>) -> Result<Target> {
        let of = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let (text, from) = match given {
            Some(given) => (given.to_owned(), "the URL"),
            None => match (of("POSTHOUSE_URL"), of("NAMESRV_ADDR")) {
                (Some(url), _) => (url, "POSTHOUSE_URL"),
                (None, Some(address)) => (address, "NAMESRV_ADDR"),
                (None, None) => (DEFAULT.to_owned(), "the default"),
            },
        };
        Target::parse(&text).map_err(|error| Error {
            message: format!("{from} {:?}: {}", shown(&text), error.message),
            ..error
        })
    }

    /// Reads `rocketmq://[ak:sk@]host:port[,host:port][/namespace][?tls=1]`, `host:port[;host:port]`, or
    /// `embedded:[path]`.
    ///
    /// # Errors
    /// [`Code::Config`], naming what is wrong.
    pub fn parse(text: &str) -> Result<Target> {
        if let Some(path) = text.strip_prefix("embedded:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return Ok(Target::Embedded(
                (!path.is_empty()).then(|| PathBuf::from(path)),
            ));
        }
        let wrong = |what: String| Error::new(Code::Config, what);
        let rest = match text.split_once("://") {
            Some(("rocketmq", rest)) => rest,
            Some((scheme, _)) => {
                return Err(wrong(format!(
                    "{scheme}:// is neither rocketmq:// nor embedded:"
                )));
            }
            None => text,
        };
        // First, for a secret may have any character.
        let (keys, rest) = match rest.rsplit_once('@') {
            Some((keys, rest)) => (Some(keys), rest),
            None => (None, rest),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, namespace) = rest.split_once('/').unwrap_or((rest, ""));
        let credentials = match keys.map(|keys| keys.split_once(':')) {
            None => None,
            Some(Some((key, secret))) => Some(Access {
                key: key.to_owned(),
                secret: secret.to_owned(),
                token: None,
            }),
            Some(None) => return Err(wrong("credentials are access-key:secret-key@".to_owned())),
        };
        let mut tls = false;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=').unwrap_or((pair, "1")) {
                ("tls", "1" | "true") => tls = true,
                ("tls", "0" | "false") => tls = false,
                (name, value) => {
                    return Err(wrong(format!("{name}={value} is no setting of a URL")));
                }
            }
        }
        let hosts = hosts.split([',', ';']).map(str::trim);
        let servers: Vec<String> = hosts
            .filter(|host| !host.is_empty())
            .map(str::to_owned)
            .collect();
        if servers.is_empty() {
            return Err(wrong("it names no host:port".to_owned()));
        }
        for server in &servers {
            let port = server.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
            if !matches!(port, Some(Ok(1..))) {
                return Err(wrong(format!("{server} is not host:port")));
            }
        }
        Ok(Target::Remote {
            servers,
            credentials,
            namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
            tls,
        })
    }
}

/// A URL as it may be told: its secret may not.
pub(crate) fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    match rest.rsplit_once('@') {
        None => url.to_owned(),
        Some((keys, hosts)) => {
            let behind = url.get(scheme.len()..url.len() - rest.len());
            let key = keys.split_once(':').map_or("", |(key, _)| key);
            format!("{scheme}{}{key}:***@{hosts}", behind.unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_an_address_is_read() {
        let remote = |servers: &[&str]| Target::Remote {
            servers: servers.iter().map(|server| (*server).to_owned()).collect(),
            credentials: None,
            namespace: None,
            tls: false,
        };
        let parse = |text| Target::parse(text).unwrap();
        let two = remote(&["10.0.0.1:9876", "10.0.0.2:9876"]);
        assert_eq!(parse("10.0.0.1:9876;10.0.0.2:9876"), two);
        let full = Target::Remote {
            servers: vec!["a:1".to_owned(), "b:2".to_owned()],
            credentials: Some(Access {
                key: "ak".to_owned(),
                secret: "s@?/k".to_owned(),
                token: None,
            }),
            namespace: Some("eu-west".to_owned()),
            tls: true,
        };
        assert_eq!(parse("rocketmq://ak:s@?/k@a:1,b:2/eu-west?tls=1"), full);
        assert_eq!(parse("embedded:"), Target::Embedded(None));
        let path = Target::Embedded(Some("/tmp/x".into()));
        assert_eq!(parse("embedded:/tmp/x"), path);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("http://a:1", "http"),
            ("a", "host:port"),
            ("a:0", "host:port"),
            ("a:1?x=1", "x=1"),
            ("rocketmq://", "host:port"),
            ("rocketmq://ak@a:1", "access-key"),
        ] {
            let error = Target::parse(text).unwrap_err();
            assert_eq!(error.code, Code::Config);
            assert!(error.message.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn no_secret_is_told() {
        for text in ["rocketmq://ak:hid/d?n:@@a:1?x=1", "rocketmq://hidden@a:1"] {
            let error = Target::resolve(Some(text)).unwrap_err();
            assert!(error.message.starts_with("the URL"), "{error}");
            assert!(!error.message.contains("hid"), "{error}");
        }
        assert_eq!(shown("rocketmq://ak:x@a:1/b"), "rocketmq://ak:***@a:1/b");
        assert_eq!(shown("rocketmq://a:1"), "rocketmq://a:1");
        assert_eq!(shown("embedded:/tmp"), "embedded:/tmp");
    }
}
