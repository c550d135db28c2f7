//! What an operator may set about the front.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// What an operator may set about the front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontSettings {
    /// The largest body of a request, in bytes. By default 1 MiB: some ten thousand samples.
    pub body_limit_bytes: usize,
    /// The same of a request to a dialect by somebody who proves who he is. By default 8 MiB: what vendors' clients send
    /// unpacked.
    pub dialect_body_limit_bytes: usize,
    /// The largest component that may be uploaded, in bytes. By default 64 MiB: one that carries
    /// Python has about 20 MiB, and 40 with some libraries.
    pub component_limit_bytes: usize,
    /// How long a request may take, in seconds, its body's arrival included. By default 30. A request that asks to
    /// wait for a run may take that much longer.
    pub request_seconds: u64,
    /// How long an upload of a component may take, in seconds, its compilation included, and whatever else may have to
    /// compile one: to go back to a version, to try one, to change grants or limits. By default 300.
    pub install_seconds: u64,
    /// How many requests are worked on at once; one more is answered 503 with `Retry-After`. By default 1024.
    pub concurrent_requests: usize,
    /// How many requests one key may make. By default as many as it likes.
    pub rate_limit: Option<RateLimit>,
    /// Whether the sockets the front is served on speak TLS. By default not.
    pub tls: bool,
    /// The networks whose `x-request-id`, [`original_uri_header`](Self::original_uri_header) and `x-forwarded-host`
    /// are believed: reverse proxies in front of this host. By default none.
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which a trusted proxy passes the path and query as its client sent them, which is what a signed
    /// request was signed over. By default `x-original-uri`.
    pub original_uri_header: String,
    /// The URL callers reach this host at, without a path's last slash: webhook URLs begin with it. Without it they
    /// are relative.
    pub public_url: Option<String>,
    /// Host names that belong to a dialect alone, by the dialect's name: `threatconnect = ["tc.example.com"]`. Every
    /// dialect is at `/<name>/…` besides.
    pub dialect_hosts: BTreeMap<String, Vec<String>>,
    /// Who may read `/metrics`. By default anybody.
    pub metrics_access: MetricsAccess,
}

impl Default for FrontSettings {
    fn default() -> Self {
        Self {
            body_limit_bytes: 1 << 20,
            dialect_body_limit_bytes: 8 << 20,
            component_limit_bytes: 64 << 20,
            request_seconds: 30,
            install_seconds: 300,
            concurrent_requests: 1024,
            rate_limit: None,
            tls: false,
            trusted_proxies: Vec::new(),
            original_uri_header: "x-original-uri".to_owned(),
            public_url: None,
            dialect_hosts: BTreeMap::new(),
            metrics_access: MetricsAccess::Open,
        }
    }
}

impl FrontSettings {
    /// How long a request may take.
    #[must_use]
    pub fn request_time(&self) -> Duration {
        Duration::from_secs(self.request_seconds)
    }

    /// How long an upload of a component may take.
    #[must_use]
    pub fn install_time(&self) -> Duration {
        Duration::from_secs(self.install_seconds)
    }

    /// Whether `peer` is a proxy that is believed.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted_proxies.iter().any(|network| network.contains(&peer))
    }

    /// The URL of a webhook.
    #[must_use]
    pub fn webhook_url(&self, token: &str) -> String {
        format!("{}/hooks/{token}", self.public_url.as_deref().unwrap_or_default().trim_end_matches('/'))
    }
}

/// How many requests one key may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests per second in the long run.
    pub per_second: NonZeroU32,
    /// Requests at once, after a pause.
    pub burst: NonZeroU32,
}

/// Who may read `/metrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricsAccess {
    /// Anybody.
    #[default]
    Open,
    /// The operator, with a key.
    Operator,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_networks_named_are_trusted() {
        let trusted = ["10.0.0.0/8", "192.168.1.7/32"].map(|network| network.parse().unwrap()).to_vec();
        let settings = FrontSettings { trusted_proxies: trusted, ..FrontSettings::default() };
        for (peer, trusted) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("192.168.1.7", true),
            ("192.168.1.8", false),
            ("11.0.0.1", false),
        ] {
            assert_eq!(settings.trusts(peer.parse().unwrap()), trusted, "{peer}");
        }
    }

    #[test]
    fn a_webhook_url_begins_with_the_public_url() {
        let mut settings = FrontSettings::default();
        assert_eq!(settings.webhook_url("t"), "/hooks/t");
        settings.public_url = Some("https://bell.example.com/".to_owned());
        assert_eq!(settings.webhook_url("t"), "https://bell.example.com/hooks/t");
    }
}
