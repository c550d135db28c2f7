//! Where requests may be sent, and with which methods: the scope of the `http-client` privilege, and what secrets and
//! channels are bound to.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Method;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::address::is_public;

/// Hosts a plugin may send requests to, with their scheme and port: `https://api.example.com`,
/// `https://*.example.com:8443` (any name below, not the name itself), `https://*` (any public host),
/// `http://10.0.0.7:9200` or `http://localhost:8080`. Before it may stand the methods it is for, in upper case:
/// `GET+POST https://api.example.com`; without them it is for every method.
///
/// Only an address written out, or `localhost`, gives access to one that is not public: a name that leads to such an
/// address does not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// Empty for all.
    methods: Vec<String>,
    secure: bool,
    host: HostRule,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum HostRule {
    /// Any name; no address.
    Any,
    /// Any name that ends in this, which begins with a dot.
    Below(String),
    /// This name.
    Name(String),
    /// This address.
    Address(IpAddr),
}

/// The text does not say where to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a destination, expected a scheme and a host as in https://api.example.com, https://*.example.com:8443 or http://127.0.0.1:9000, with the methods it is for before it as in GET+POST https://api.example.com"
)]
pub struct InvalidDestination(pub String);

/// What leads to a host: a name to be resolved, or an address.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Name(String),
    Address(IpAddr),
}

impl Host {
    /// The host of a URL.
    fn of(url: &Url) -> Option<Self> {
        // The library writes every spelling of an IPv4 address (0x7f.1, 2130706433) as four decimal numbers.
        let text = url.host_str()?;
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        Some(bare.parse().map_or_else(|_| Self::Name(text.trim_end_matches('.').to_owned()), Self::Address))
    }

    /// Whether this is the name every system has for itself.
    fn is_localhost(&self) -> bool {
        matches!(self, Self::Name(name) if name == LOCALHOST)
    }
}

/// The one name that may lead to a loopback address.
pub const LOCALHOST: &str = "localhost";

impl Destination {
    /// Whether a request may be sent under this. What a name resolves to is looked at when it is connected.
    #[must_use]
    pub fn permits(&self, method: &Method, url: &Url) -> bool {
        let method = method.as_str();
        (self.methods.is_empty() || self.methods.iter().any(|own| own == method)) && self.leads_to(url)
    }

    /// The address it is for, if that is written out.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        if let HostRule::Address(address) = &self.host { Some(*address) } else { None }
    }

    /// Whether it is for the name that may lead to a loopback address.
    #[must_use]
    pub fn is_localhost(&self) -> bool {
        matches!(&self.host, HostRule::Name(name) if name == LOCALHOST)
    }

    /// Whether requests of some method may be sent to `url`.
    #[must_use]
    pub fn leads_to(&self, url: &Url) -> bool {
        let secure = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return false,
        };
        let (Some(host), Some(port)) = (Host::of(url), url.port_or_known_default()) else { return false };
        secure == self.secure && port == self.port && self.host.covers(&host)
    }
}

impl HostRule {
    fn covers(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Any, Host::Name(_)) => !host.is_localhost(),
            (Self::Any, Host::Address(address)) => is_public(*address),
            (Self::Below(suffix), Host::Name(name)) => {
                name.len() > suffix.len() && name.ends_with(suffix.as_str())
            }
            (Self::Name(own), Host::Name(name)) => own == name,
            (Self::Address(own), Host::Address(address)) => own == address,
            _ => false,
        }
    }
}

impl FromStr for Destination {
    type Err = InvalidDestination;

    fn from_str(text: &str) -> Result<Self, InvalidDestination> {
        let invalid = || InvalidDestination(text.to_owned());
        let (methods, origin) = match text.rsplit_once(' ') {
            Some((methods, origin)) => (read_methods(methods).ok_or_else(invalid)?, origin),
            None => (Vec::new(), text),
        };
        let (scheme, rest) = origin.split_once("://").ok_or_else(invalid)?;
        // The library does not read stars; a host stands in for "any", and a star before a dot is cut off.
        let (star, rest) = match rest.strip_prefix('*') {
            None => (false, rest.to_owned()),
            Some(below) if below.starts_with('.') => (true, below[1..].to_owned()),
            Some(port) if port.is_empty() || port.starts_with(':') => (true, format!("{ANY}{port}")),
            Some(_) => return Err(invalid()),
        };
        let url: Url = format!("{scheme}://{rest}").parse().map_err(|_| invalid())?;
        let plain = url.path() == "/" && !rest.contains(['/', '?', '#', '@', '*', '\\']);
        let secure = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(invalid()),
        };
        let port = url.port_or_known_default().filter(|port| *port != 0 && plain).ok_or_else(invalid)?;
        let host = match (star, Host::of(&url).ok_or_else(invalid)?) {
            (false, Host::Name(name)) => HostRule::Name(name),
            (false, Host::Address(address)) => HostRule::Address(address),
            (true, Host::Name(name)) if name == ANY => HostRule::Any,
            (true, Host::Name(name)) => HostRule::Below(format!(".{name}")),
            (true, Host::Address(_)) => return Err(invalid()),
        };
        Ok(Self { methods, secure, host, port })
    }
}

/// `GET+POST`: at least one method, each once, none that is never sent.
fn read_methods(text: &str) -> Option<Vec<String>> {
    let mut methods: Vec<String> = Vec::new();
    for method in text.split('+') {
        let word = (1..=METHOD).contains(&method.len())
            && method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
        if !word || NEVER_SENT.contains(&method) || methods.iter().any(|taken| taken == method) {
            return None;
        }
        methods.push(method.to_owned());
    }
    Some(methods)
}

/// Characters of a method: the longest one registered, `UPDATEREDIRECTREF`, has 17.
const METHOD: usize = 20;

/// Methods no plugin sends: a tunnel would carry what the host cannot look into, a trace gives back what the host adds.
pub const NEVER_SENT: [&str; 2] = ["CONNECT", "TRACE"];

/// Stands in for "any host" while a destination is read: a name nobody can have.
const ANY: &str = "any.invalid";

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, default) = if self.secure { ("https", 443) } else { ("http", 80) };
        if !self.methods.is_empty() {
            write!(f, "{} ", self.methods.join("+"))?;
        }
        write!(f, "{scheme}://")?;
        match &self.host {
            HostRule::Any => f.write_str("*")?,
            HostRule::Below(suffix) => write!(f, "*{suffix}")?,
            HostRule::Name(name) => f.write_str(name)?,
            HostRule::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
            HostRule::Address(IpAddr::V4(address)) => write!(f, "{address}")?,
        }
        if self.port != default {
            write!(f, ":{}", self.port)?;
        }
        Ok(())
    }
}

impl Serialize for Destination {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Destination {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(destination: &str, url: &str) -> bool {
        destination.parse::<Destination>().unwrap().permits(&Method::GET, &url.parse().unwrap())
    }

    #[test]
    fn a_destination_permits_its_scheme_host_and_port_and_nothing_else() {
        for (destination, url, permitted) in [
            ("https://api.example.com", "https://api.example.com/v1?x=1", true),
            ("https://api.example.com", "https://API.example.com:443/", true),
            ("https://api.example.com", "https://api.example.com./", true),
            ("https://api.example.com", "http://api.example.com/", false),
            ("https://api.example.com", "https://api.example.com:8443/", false),
            ("https://api.example.com", "https://api.example.com.evil.test/", false),
            ("https://api.example.com", "https://user@evil.test/api.example.com", false),
            ("https://api.example.com", "https://api.example.com@evil.test/", false),
            ("https://*.example.com:8443", "https://a.b.example.com:8443/", true),
            ("https://*.example.com:8443", "https://example.com:8443/", false),
            ("https://*.example.com:8443", "https://badexample.com:8443/", false),
            ("https://*", "https://anything.test/", true),
            ("https://*", "https://8.8.8.8/", true),
            ("https://*", "https://10.1.2.3/", false),
            ("https://*", "https://localhost/", false),
            ("http://*:8080", "http://0x7f.1:8080/", false),
            ("http://*:8080", "http://[::ffff:10.0.0.1]:8080/", false),
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000/x", true),
            ("http://127.0.0.1:9000", "http://2130706433:9000/x", true),
            ("http://127.0.0.1:9000", "http://127.0.0.2:9000/x", false),
            ("http://127.0.0.1:9000", "http://localhost:9000/x", false),
            ("http://localhost:9000", "http://localhost:9000/x", true),
            ("http://[::1]:9000", "http://[0:0::1]:9000/x", true),
            ("http://10.0.0.1", "ftp://10.0.0.1/", false),
        ] {
            assert_eq!(permits(destination, url), permitted, "{destination} for {url}");
        }
    }

    #[test]
    fn a_destination_permits_its_methods_and_no_other() {
        let url: Url = "https://api.example.com/".parse().unwrap();
        for (destination, method, permitted) in [
            ("https://api.example.com", "PROPFIND", true),
            ("GET https://api.example.com", "GET", true),
            ("GET+POST https://api.example.com", "POST", true),
            ("GET+POST https://api.example.com", "DELETE", false),
            ("GET https://api.example.com", "HEAD", false),
            ("GET https://api.example.com", "get", false),
            ("GET https://other.example.com", "GET", false),
        ] {
            let destination: Destination = destination.parse().unwrap();
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(destination.permits(&method, &url), permitted, "{method} under {destination}");
        }
    }

    #[test]
    fn what_is_not_a_destination_is_refused() {
        for text in [
            "",
            "api.example.com",
            "https://",
            "ftp://example.com",
            "https://example.com/path",
            "https://a@b.test",
            "https://example.com?x",
            "https://*example.com",
            "https://a.*.com",
            "https://example.com:0",
            "https://example.com:99999",
            "https://*.10.0.0.1",
            "http://*/x",
            "get https://example.com",
            "GET,POST https://example.com",
            "GET+ https://example.com",
            "GET+GET https://example.com",
            "CONNECT https://example.com",
            " https://example.com",
            "GET  https://example.com",
            "GET https://example.com ",
        ] {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_destination_is_read_back_as_written() {
        for text in [
            "https://api.example.com",
            "https://*.example.com:8443",
            "https://*",
            "http://*:81",
            "http://[::1]:9000",
            "http://10.0.0.7:9200",
            "http://localhost",
            "GET+POST https://api.example.com",
            "PROPFIND http://[::1]:9000",
        ] {
            let destination: Destination = text.parse().unwrap();
            assert_eq!(destination.to_string(), text);
        }
        assert_eq!(
            "HTTPS://API.Example.com:443".parse::<Destination>().unwrap().to_string(),
            "https://api.example.com"
        );
    }
}
