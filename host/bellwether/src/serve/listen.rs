//! The sockets: bound and served before the host is ready, until it stops.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::Context as _;
use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use bellwether_front::Doorway;
use bellwether_kernel::Seldom;
use metrics::{Unit, counter, describe_counter};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinSet;

use crate::client::DEFAULT_URL;
use crate::settings::Settings;

/// How long a connection may take to send the head of its first request: it holds a socket for that long and asks for
/// nothing.
const HEAD_TIME: Duration = Duration::from_secs(30);

const NOT_ACCEPTED: &str = "bellwether_connections_not_accepted_total";

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
        listener.map_err(|error| match error.downcast_ref::<io::Error>().map(io::Error::kind) {
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

/// Has what is counted of sockets described.
pub(super) fn describe() {
    describe_counter!(
        NOT_ACCEPTED,
        Unit::Count,
        "Connections that came to nothing before a request, by what failed: accept or handshake."
    );
}

/// Tells of a connection that came to nothing before a request: nobody else would.
fn not_accepted(peer: Option<&SocketAddr>, error: &io::Error) {
    static ACCEPT: Seldom = Seldom::new();
    static HANDSHAKE: Seldom = Seldom::new();
    let failed = if peer.is_some() { "handshake" } else { "accept" };
    counter!(NOT_ACCEPTED, "failed" => failed).increment(1);
    match peer {
        // As long as it lasts nobody gets in: the process has no file to spare, most often.
        None => {
            if let Some(unsaid) = ACCEPT.happened() {
                tracing::warn!(%error, unsaid, "connections are not accepted");
            }
        }
        // What looks whether the port is open says nothing, and means nothing.
        Some(peer) if error.kind() == ErrorKind::UnexpectedEof => {
            tracing::debug!(%peer, %error, "a connection ended before its TLS began");
        }
        Some(peer) => {
            if let Some(unsaid) = HANDSHAKE.happened() {
                tracing::warn!(%peer, %error, unsaid, "a connection failed before its first request");
            }
        }
    }
}

/// Serves `door` on `bound` until `handle` ends it; a connection that says nothing for `idle` after a request is closed.
pub(super) fn serve(
    tasks: &mut JoinSet<io::Result<()>>,
    bound: Bound,
    tls: Option<RustlsConfig>,
    handle: Handle<SocketAddr>,
    idle: Duration,
    door: Doorway,
) -> anyhow::Result<()> {
    // Answers are small and whole: waiting to fill a packet only makes them late.
    let mut server = axum_server::from_tcp(bound.listener)
        .context("the socket does not serve")?
        .handle(handle)
        .first_request_timeout(HEAD_TIME)
        .accept_error_handler(not_accepted)
        .acceptor(NoDelayAcceptor::new());
    // It runs from the end of one request to the end of the next one's head.
    server.http_builder().http1().header_read_timeout(idle);
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
    use bellwether_front::Progress;
    use bellwether_kernel::SystemRandomness;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;
    use crate::settings::Tls;

    #[tokio::test]
    async fn a_connection_outlasts_what_proxies_keep_it_for_between_two_requests() {
        let bound = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let (address, idle) = (bound.address, Duration::from_secs(Settings::default().http.idle_seconds));
        let mut tasks = JoinSet::new();
        let door = Doorway::new(&Progress::default(), &SystemRandomness);
        serve(&mut tasks, bound, None, Handle::new(), idle, door).unwrap();
        let mut connection = TcpStream::connect(address).await.unwrap();
        let mut asked = async || {
            connection.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"}") {
                let mut part = [0; 1024];
                let length = connection.read(&mut part).await.unwrap();
                assert!(length > 0, "the connection was closed");
                answer.extend(&part[..length]);
            }
            String::from_utf8(answer).unwrap()
        };
        assert!(asked().await.starts_with("HTTP/1.1 200"));
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(121)).await;
        tokio::time::resume();
        assert!(asked().await.starts_with("HTTP/1.1 200"));
        tasks.abort_all();
    }

    #[test]
    fn connections_that_come_to_nothing_are_counted_by_what_failed() {
        let recorder = bellwether_front::prometheus().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            describe();
            let peer = SocketAddr::from(([10, 0, 0, 7], 4000));
            not_accepted(None, &io::Error::other("too many open files"));
            not_accepted(Some(&peer), &ErrorKind::UnexpectedEof.into());
            not_accepted(Some(&peer), &io::Error::other("certificate expired"));
        });
        let shown = recorder.handle().render();
        for line in [r#"{failed="accept"} 1"#, r#"{failed="handshake"} 2"#] {
            assert!(shown.contains(&format!("{NOT_ACCEPTED}{line}")), "{line} is not in\n{shown}");
        }
    }

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
