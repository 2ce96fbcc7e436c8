//! What a URL may say before anybody is asked where it leads.

use std::net::IpAddr;

use hyper::Uri;

use super::address;

/// The longest.
pub(crate) const LONGEST: usize = 2_048;
/// Where https is served, unless the operator trusts the host at another port.
const PORTS: [u16; 2] = [443, 8443];

/// A URL that may be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    pub https: bool,
    /// A name or an address, without brackets.
    pub host: String,
    pub port: u16,
    /// Host and, if it was said, port, as they were written.
    pub authority: String,
    /// Path and query.
    pub target: String,
    /// Whether the operator trusts the host: then it may be anywhere.
    pub trusted: bool,
}

/// Why a URL may not be called; for its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused(pub &'static str);

impl Url {
    pub(super) fn parse(text: &str, trusted: &[String]) -> Result<Url, Refused> {
        let odd = |c: char| !c.is_ascii_graphic() || "\"<>\\^`{|}".contains(c);
        if text.len() > LONGEST || text.contains(odd) {
            return Err(Refused(
                "an absolute URL expected, up to 2048 ASCII characters; a name in other letters as its A-label (xn--)",
            ));
        }
        if text.contains('#') {
            return Err(Refused("a URL without a fragment expected"));
        }
        let uri: Uri = (text.parse()).map_err(|_| Refused("an absolute URL expected"))?;
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(Refused("an https URL expected")),
        };
        let authority = uri.authority().map(|authority| authority.as_str());
        let authority = authority.unwrap_or_default();
        if authority.contains('@') {
            return Err(Refused("a URL without a user and password expected"));
        }
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        let behind = authority.get(host.len()..).unwrap_or_default();
        let port = match behind.strip_prefix(':') {
            None if behind.is_empty() => Some(if https { 443 } else { 80 }),
            None => None,
            Some(port) => port.parse().ok().filter(|&port| port > 0),
        };
        let (Some(port), false) = (port, host.is_empty()) else {
            return Err(Refused("a host, and a port from 1 to 65535, expected"));
        };
        let with_port = format!("{host}:{port}");
        let is_trusted = trusted.contains(&host) || trusted.contains(&with_port);
        let bare = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let url = Url {
            https,
            host: bare,
            port,
            authority: authority.to_owned(),
            target: target.to_owned(),
            trusted: is_trusted,
        };
        url.check()?;
        Ok(url)
    }

    fn check(&self) -> Result<(), Refused> {
        if self.trusted {
            return Ok(());
        }
        if !self.https {
            return Err(Refused("an https URL expected"));
        }
        if !PORTS.contains(&self.port) {
            return Err(Refused("port 443 or 8443 expected"));
        }
        match self.host.parse::<IpAddr>() {
            Ok(address) if !address::is_public(address) => Err(Refused(
                "an address of the internet expected: neither private nor local",
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Url, Refused> {
        let trusted = ["hooks.internal".to_owned(), "127.0.0.1:9000".to_owned()];
        Url::parse(text, &trusted)
    }

    #[test]
    fn only_https_to_the_internet_is_called_unless_the_host_is_trusted() {
        for text in [
            "",
            "/path",
            "shop.example",
            "ftp://shop.example/",
            "http://shop.example/",
            "https://user@shop.example/",
            "https://user:secret@shop.example/",
            "https://shop.example/#part",
            "https://shop.example:80/",
            "https://shop.example:0/",
            "https://shop.example:99999/",
            "https://shop.example:/",
            "https://shöp.example/",
            "https://shop.example/a b",
            "https://shop.example\\@other/",
            "https:///path",
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://169.254.169.254/latest/meta-data",
            "http://127.0.0.1:9001/",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        for text in [
            "https://shop.example",
            "https://shop.example/",
            "https://SHOP.example:8443/check?a=b",
            "https://1.1.1.1/",
            "https://[2606:4700::1111]:443/x",
            "http://hooks.internal:8080/",
            "https://HOOKS.internal/",
            "http://127.0.0.1:9000/check",
        ] {
            assert!(parse(text).is_ok(), "{text}");
        }
        let url = parse("https://Shop.example:8443/check?a=b").unwrap();
        assert_eq!((&*url.host, url.port), ("shop.example", 8443));
        assert_eq!(url.authority, "Shop.example:8443");
        assert_eq!(url.target, "/check?a=b");
        assert!(!url.trusted);
        assert!(parse("http://127.0.0.1:9000/").unwrap().trusted);
        assert_eq!(
            parse("https://[2606:4700::1111]/").unwrap().host,
            "2606:4700::1111"
        );
    }
}
