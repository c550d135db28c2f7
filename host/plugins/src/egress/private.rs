//! Which addresses that are not public an organisation's requests reach: its own plugins', by whatever grant its admin gave
//! them, and its channels'. The operator's plugins reach what the operator granted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::OnceLock;

use bellwether_access::{Destination, LOCALHOST, carried, is_public};
use ipnet::IpNet;
use reqwest::Url;

use super::EgressError;
use crate::grant::{Grant, InvalidGrant};

/// Where clouds tell their machines who they are, credentials with it, outside of what is link-local, each by its vendor's
/// documentation of the instance metadata service: AWS and Google Cloud over IPv6, Alibaba Cloud, what Oracle Cloud
/// answered at before it took a link-local address, and the WireServer of Azure.
const METADATA: [IpAddr; 5] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V4(bellwether_access::AZURE_WIRE_SERVER),
];

/// What the operator lets organisations reach.
#[derive(Debug, Default)]
pub(crate) struct Private {
    /// None until it is said: then every address but those at which a machine is told its credentials.
    networks: OnceLock<Vec<IpNet>>,
}

impl Private {
    /// From now on only these. Only the first are taken.
    pub(crate) fn keep_to(&self, networks: Vec<IpNet>) {
        // A host has one list.
        let _ = self.networks.set(networks);
    }

    /// Refuses a request of an organisation that leads where it may not. A name is not looked at: it leads to public
    /// addresses only.
    pub(super) fn check(&self, url: &Url) -> Result<(), EgressError> {
        let Some(text) = url.host_str() else { return Ok(()) };
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let reaches = match bare.parse() {
            Ok(address) => self.permits(address),
            Err(_) => bare.trim_end_matches('.') != LOCALHOST || self.permits_localhost(),
        };
        if reaches { Ok(()) } else { Err(EgressError::Forbidden(self.why_not(text))) }
    }

    /// Refuses grants of an organisation that lead where it may not.
    pub(crate) fn check_grants(&self, grants: &[Grant]) -> Result<(), InvalidGrant> {
        for grant in grants {
            let Grant::HttpClient { hosts } = grant else { continue };
            if let Some(host) = hosts.iter().find(|host| !self.permits_host(host)) {
                return Err(InvalidGrant {
                    text: grant.to_string(),
                    reason: self.why_not(&host.to_string()),
                });
            }
        }
        Ok(())
    }

    fn permits_host(&self, host: &Destination) -> bool {
        host.address().is_none_or(|address| self.permits(address))
            && (!host.is_localhost() || self.permits_localhost())
    }

    /// The name leads to either.
    fn permits_localhost(&self) -> bool {
        self.permits(Ipv4Addr::LOCALHOST.into()) || self.permits(Ipv6Addr::LOCALHOST.into())
    }

    fn permits(&self, address: IpAddr) -> bool {
        let address = carried(address);
        if is_public(address) {
            return true;
        }
        let Some(networks) = self.networks.get() else {
            let may_be_link_local = match address {
                IpAddr::V4(address) => address.is_link_local(),
                // What is translated within a network (RFC 8215) leads to whichever IPv4 address that network says.
                IpAddr::V6(address) => {
                    address.is_unicast_link_local() || matches!(address.segments(), [0x64, 0xff9b, 1, ..])
                }
            };
            return !may_be_link_local && !METADATA.contains(&address);
        };
        networks.iter().any(|network| network.contains(&address))
    }

    fn why_not(&self, host: &str) -> String {
        let why = if self.networks.get().is_some() {
            "lies in no network of egress.private_networks"
        } else {
            "is, or leads to, an address at which a cloud tells its machines their credentials, which egress.private_networks does not \
             name"
        };
        format!("{host} {why}: the host's setting says what organisations' plugins and channels reach")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reaches(private: &Private, host: &str) -> bool {
        let url = format!("http://{host}/");
        let checked = private.check(&url.parse().unwrap());
        let grant: Grant = format!("http-client=http://{host}").parse().unwrap();
        let granted = private.check_grants(&[grant]);
        assert_eq!(checked.is_ok(), granted.is_ok(), "{host}");
        if let (Err(EgressError::Forbidden(refused)), Err(InvalidGrant { reason, .. })) = (checked, granted) {
            assert!(refused.contains("egress.private_networks"), "{refused}");
            assert!(reason.contains("egress.private_networks"), "{reason}");
            return false;
        }
        true
    }

    #[test]
    fn an_organisation_reaches_no_metadata_of_a_cloud_unless_the_operator_names_its_network() {
        let unset = Private::default();
        for (host, reached) in [
            ("169.254.169.254", false),
            ("2852039166", false),
            ("[::ffff:169.254.169.254]", false),
            ("[64:ff9b::a9fe:a9fe]", false),
            ("[2002:a9fe:a9fe::1]", false),
            ("[::ffff:0:a9fe:a9fe]", false),
            ("[::ffff:0:a00:7]", true),
            ("[64:ff9b:1::a9fe:a9fe]", false),
            ("[64:ff9b:1:a9fe:a9:fe00::]", false),
            ("168.63.129.16", false),
            ("[::ffff:168.63.129.16]", false),
            ("168.63.129.17", true),
            ("[fe80::1]", false),
            ("[fd00:ec2::254]", false),
            ("[fd00:ec2::255]", true),
            ("[fd20:ce::254]", false),
            ("100.100.100.200", false),
            ("100.100.100.201", true),
            ("192.0.0.192", false),
            ("10.0.0.7:9200", true),
            ("127.0.0.1", true),
            ("localhost:8080", true),
            ("8.8.8.8", true),
            ("metadata.example.com", true),
        ] {
            assert_eq!(reaches(&unset, host), reached, "{host}");
        }
        let named = Private::default();
        named.keep_to(vec!["169.254.169.254/32".parse().unwrap()]);
        assert!(reaches(&named, "169.254.169.254") && !reaches(&named, "169.254.169.253"));
    }

    #[test]
    fn an_organisation_reaches_the_private_networks_the_operator_names_and_no_other() {
        let none = Private::default();
        none.keep_to(Vec::new());
        let some = Private::default();
        some.keep_to(vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        for (host, in_none, in_some) in [
            ("10.1.2.3:9200", false, true),
            ("[::ffff:10.1.2.3]", false, true),
            ("192.168.0.1", false, false),
            ("127.0.0.1", false, false),
            ("[::1]", false, true),
            ("localhost", false, true),
            ("8.8.8.8", true, true),
            ("api.example.com", true, true),
        ] {
            assert_eq!((reaches(&none, host), reaches(&some, host)), (in_none, in_some), "{host}");
        }
    }
}
