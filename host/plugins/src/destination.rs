//! Where a plugin may send requests: the scope of the `http-client` privilege, and which addresses are public.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use reqwest::Url;
use serde::{Deserialize, Serialize};

/// Hosts a plugin may send requests to, with their scheme and port: `https://api.example.com`,
/// `https://*.example.com:8443` (any name below, not the name itself), `https://*` (any public host),
/// `http://10.0.0.7:9200` or `http://localhost:8080`.
///
/// Only an address written out, or `localhost`, gives access to one that is not public: a name that leads to such an
/// address does not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
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
    "{0:?} is not a destination, expected a scheme and a host as in https://api.example.com, https://*.example.com:8443 or http://127.0.0.1:9000"
)]
pub struct InvalidDestination(pub String);

/// What leads to a host: a name to be resolved, or an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Name(String),
    Address(IpAddr),
}

impl Host {
    /// The host of a URL.
    pub(crate) fn of(url: &Url) -> Option<Self> {
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
pub(crate) const LOCALHOST: &str = "localhost";

impl Destination {
    /// Whether a request to `url` may be sent under this. What a name resolves to is looked at when it is connected.
    #[must_use]
    pub fn permits(&self, url: &Url) -> bool {
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
        let (scheme, rest) = text.split_once("://").ok_or_else(invalid)?;
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
        Ok(Self { secure, host, port })
    }
}

/// Stands in for "any host" while a destination is read: a name nobody can have.
const ANY: &str = "any.invalid";

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, default) = if self.secure { ("https", 443) } else { ("http", 80) };
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

/// Whether anybody on the internet may have this address. Everything the IANA special-purpose registries do not call
/// globally reachable is not, nor is an IPv6 address that carries an IPv4 one which is not.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0                              // "this network", RFC 791
        || a >= 240                            // reserved, RFC 1112, and broadcast
        || (a, b & 0xc0) == (100, 64)          // shared address space, RFC 6598
        || (a, b, c) == (192, 0, 0)            // protocol assignments, RFC 6890
        || (a, b, c) == (192, 88, 99)          // 6to4 relays, RFC 7526
        || (a, b & 0xfe) == (198, 18)) // benchmarks, RFC 2544
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // Unspecified, loopback and IPv4-compatible (RFC 4291 section 2.5.5.1, deprecated).
        [0, 0, 0, 0, 0, 0, ..] => false,
        // IPv4-mapped: leads to the IPv4 address.
        [0, 0, 0, 0, 0, 0xffff, high, low] => embedded(high, low),
        // Translated by NAT64 (RFC 6052), and its local use (RFC 8215).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x64, 0xff9b, 1, ..] => false,
        // 6to4 carries the IPv4 address (RFC 3056).
        [0x2002, high, low, ..] => embedded(high, low),
        // Teredo, benchmarking and what else 2001::/23 holds, and documentation.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        // Only 2000::/3 is handed out for global use; unique-local, link-local, site-local and multicast lie outside.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn permits(destination: &str, url: &str) -> bool {
        destination.parse::<Destination>().unwrap().permits(&url.parse().unwrap())
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
        ] {
            let destination: Destination = text.parse().unwrap();
            assert_eq!(destination.to_string(), text);
        }
        assert_eq!(
            "HTTPS://API.Example.com:443".parse::<Destination>().unwrap().to_string(),
            "https://api.example.com"
        );
    }

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        for (address, public) in [
            ("8.8.8.8", true),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("10.0.0.1", false),
            ("100.64.0.1", false),
            ("100.128.0.1", true),
            ("127.0.0.1", false),
            ("169.254.169.254", false),
            ("172.16.0.1", false),
            ("172.32.0.1", true),
            ("192.0.0.8", false),
            ("192.0.2.1", false),
            ("192.168.1.1", false),
            ("198.19.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("2606:4700::1111", true),
            ("::", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:8.8.8.8", true),
            ("::7f00:1", false),
            ("64:ff9b::a00:1", false),
            ("64:ff9b::808:808", true),
            ("2002:7f00:1::", false),
            ("2001::1", false),
            ("2001:db8::1", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("fd00::1", false),
            ("ff02::1", false),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
        }
    }

    proptest! {
        #[test]
        fn an_ipv4_address_is_no_more_public_inside_an_ipv6_one(bits: u32) {
            let inner = Ipv4Addr::from(bits);
            prop_assert_eq!(is_public(IpAddr::V6(inner.to_ipv6_mapped())), is_public(IpAddr::V4(inner)));
        }
    }
}
