//! The sockets: bound and served before the host is ready, until it stops.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::Context as _;
use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use bellwether_front::Doorway;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinSet;

use crate::client::DEFAULT_URL;
use crate::settings::Settings;

/// How long a connection may take to send the head of a request, and how long it may say nothing at first: it holds
/// a socket for that long and asks for nothing.
const HEAD_TIME: Duration = Duration::from_secs(30);

/// A socket that is bound.
pub(super) struct Bound {
    listener: TcpListener,
    /// Where it is: with the port that was taken for port 0.
    pub(super) address: SocketAddr,
}

/// Takes the address; nobody is answered before it is served.
pub(super) fn bind(address: SocketAddr) -> anyhow::Result<Bound> {
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"));
    let listener =
        listener.map_err(|error| match error.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
            Some(ErrorKind::AddrInUse) => {
                error.context("the port is taken: stop who has it, or choose another with --listen")
            }
            Some(ErrorKind::PermissionDenied) => {
                error.context("the port needs a privilege this process does not have")
            }
            _ => error,
        })?;
    let address = listener.local_addr().context("a bound socket has an address")?;
    Ok(Bound { listener, address })
}

/// The URL at which a command on this machine reaches a host with these settings that listens at `addresses`: where the
/// command line looks by itself, if it is there.
pub(super) fn url(settings: &Settings, addresses: &[SocketAddr]) -> String {
    let tls = settings.tls.certificate.is_some();
    let scheme = if tls { "https" } else { "http" };
    let urls = addresses.iter().map(|address| format!("{scheme}://{}", reached_at(*address)));
    match &settings.public_url {
        // A certificate is for a name, which nothing else tells.
        Some(url) if tls => url.clone(),
        _ => urls.min_by_key(|url| url != DEFAULT_URL).unwrap_or_else(|| DEFAULT_URL.to_owned()),
    }
}

/// Where to connect for what listens at `address`: "every address" is none of them.
fn reached_at(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            Ipv4Addr::LOCALHOST.into()
        } else {
            Ipv6Addr::LOCALHOST.into()
        });
    }
    address
}

/// Lets the process open as many files as it is allowed to: most systems begin with 1,024, for the sake of programs
/// that use `select`, and every connection is one.
pub(super) fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => tracing::debug!(from = current, to = maximum, "raised the limit of open files"),
        Err(error) => tracing::warn!(%error, limit = current, "the limit of open files cannot be raised"),
    }
}

/// Serves `router` on `bound` until `handle` ends it.
pub(super) fn serve(
    tasks: &mut JoinSet<std::io::Result<()>>,
    bound: Bound,
    tls: Option<RustlsConfig>,
    handle: Handle<SocketAddr>,
    door: Doorway,
) -> anyhow::Result<()> {
    // Answers are small and whole: waiting to fill a packet only makes them late.
    let mut server = axum_server::from_tcp(bound.listener)
        .context("the socket does not serve")?
        .handle(handle)
        .first_request_timeout(HEAD_TIME)
        .acceptor(NoDelayAcceptor::new());
    server.http_builder().http1().header_read_timeout(HEAD_TIME);
    match tls {
        Some(config) => {
            let server = server.map(|inner| RustlsAcceptor::new(config).acceptor(inner));
            tasks.spawn(server.serve(door));
        }
        None => {
            tasks.spawn(server.serve(door));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Tls;

    #[test]
    fn a_command_on_this_machine_is_told_where_the_host_listens() {
        let told = |settings: &Settings, addresses: &[&str]| {
            let addresses: Vec<SocketAddr> =
                addresses.iter().map(|address| address.parse().unwrap()).collect();
            url(settings, &addresses)
        };
        let plain = Settings::default();
        for (addresses, expected) in [
            (&["127.0.0.1:8780"][..], DEFAULT_URL),
            (&["0.0.0.0:8780"], DEFAULT_URL),
            (&["10.0.0.7:80", "127.0.0.1:8780"], DEFAULT_URL),
            (&["127.0.0.1:9000"], "http://127.0.0.1:9000"),
            (&["10.0.0.7:80", "127.0.0.1:9000"], "http://10.0.0.7:80"),
            (&["[::]:9000"], "http://[::1]:9000"),
        ] {
            assert_eq!(told(&plain, addresses), expected, "{addresses:?}");
        }
        let mut secured = Settings::default();
        secured.tls.certificate = Some("a.pem".into());
        assert_eq!(told(&secured, &["127.0.0.1:8780"]), "https://127.0.0.1:8780");
        secured.public_url = Some("https://metrics.example.com".to_owned());
        assert_eq!(told(&secured, &["127.0.0.1:8780"]), "https://metrics.example.com");
        let behind = Settings { tls: Tls::default(), ..secured };
        assert_eq!(told(&behind, &["127.0.0.1:8780"]), DEFAULT_URL, "its proxy may not be there yet");
    }

    #[test]
    fn a_taken_port_is_told_with_what_to_do() {
        let first = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let refused = bind(first.address).map(|bound| bound.address).unwrap_err();
        let text = format!("{refused:#}");
        assert!(text.contains("--listen") && text.contains(&first.address.to_string()), "{text}");
    }
}
