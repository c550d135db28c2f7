//! The one way out: requests of plugins and of deliveries, held against their grant, and against what an address is when it is
//! connected.

mod deliver;
mod outlet;
mod prepare;
mod private;
#[cfg(test)]
mod tests;

use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bellwether_access::{LOCALHOST, is_public};
use http::{HeaderMap, HeaderValue};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Response, redirect, retry};
use tokio::time::{Instant, timeout_at};

use crate::limits;
pub(crate) use outlet::{Outlet, Spent};
use prepare::{Prepared, prepare};
use private::Private;

/// Sends plugins' requests. The client behind it is made on the first request: reading the system's certificates
/// takes time and memory most hosts never need.
pub(crate) struct Egress {
    client: OnceLock<Result<Client, String>>,
    names: Arc<dyn Resolve>,
    /// Which private networks organisations reach.
    pub(crate) private: Private,
}

impl Default for Egress {
    fn default() -> Self {
        Self { client: OnceLock::new(), names: Arc::new(SystemNames), private: Private::default() }
    }
}

/// A request as a plugin gave it.
pub(crate) struct Outgoing {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) timeout: Option<Duration>,
}

/// An answer of any status.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum EgressError {
    Invalid(String),
    Forbidden(String),
    Timeout,
    Connection(String),
    TooLarge(String),
    /// The call has used up what it may send and get.
    Budget(String),
}

impl Egress {
    /// Sends a request, if the grant behind `outlet` permits it and the call has not `spent` what it may, and gives
    /// its answer. Redirects are answers: who follows one sends another request, which is held against the grant
    /// again.
    pub(crate) async fn send(
        &self,
        outlet: &Outlet,
        spent: &Spent,
        request: Outgoing,
    ) -> Result<Incoming, EgressError> {
        let time = request.timeout.unwrap_or(limits::HTTP_TIME).min(limits::HTTP_TIME_MAXIMUM);
        let deadline = Instant::now() + time;
        spent.request()?;
        let request = prepare(&outlet.granted, request)?;
        if outlet.of_organisation {
            self.private.check(&request.url)?;
        }
        spent.bytes(request.body.len())?;
        let _slot = outlet.slot(spent, deadline).await?;
        let exchange = self.exchange(spent, request);
        timeout_at(deadline, exchange).await.map_err(|_| EgressError::Timeout)?
    }

    /// Connects and gives the answer's head.
    async fn sent(&self, request: Prepared) -> Result<Response, EgressError> {
        let client = || client(PublicNames(Arc::clone(&self.names))).map_err(|error| describe(&error));
        let client = self.client.get_or_init(client).as_ref().map_err(|error| {
            EgressError::Connection(format!("the host's HTTP client does not work: {error}"))
        })?;
        let sent = client
            .request(request.method, request.url)
            .headers(request.headers)
            .body(request.body)
            .send()
            .await;
        sent.map_err(|error| failure(&error))
    }

    async fn exchange(&self, spent: &Spent, request: Prepared) -> Result<Incoming, EgressError> {
        let mut response = self.sent(request).await?;
        let too_large = || {
            let most = limits::HTTP_ANSWER >> 20;
            EgressError::TooLarge(format!("the answer's body is larger than {most} MiB"))
        };
        if response.content_length().is_some_and(|length| length > limits::HTTP_ANSWER as u64) {
            return Err(too_large());
        }
        let status = response.status().as_u16();
        let headers = texts(response.headers());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
            if body.len() + chunk.len() > limits::HTTP_ANSWER {
                return Err(too_large());
            }
            spent.bytes(chunk.len())?;
            body.extend_from_slice(&chunk);
        }
        Ok(Incoming { status, headers, body })
    }
}

fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

fn client(names: PublicNames) -> Result<Client, reqwest::Error> {
    // The library takes the process's default; installing ours again does nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .user_agent(concat!("bellwether/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        // A proxy from the environment would connect in the host's place, past the check of the address.
        .no_proxy()
        .connect_timeout(limits::HTTP_CONNECT)
        .dns_resolver(names)
        .pool_max_idle_per_host(limits::HTTP_IDLE)
        .build()
}

/// Resolves names to public addresses only, so that a name under somebody else's control does not lead into the
/// host's own network. The addresses given back are those connected to: there is no second look-up to differ.
struct PublicNames(Arc<dyn Resolve>);

impl Resolve for PublicNames {
    fn resolve(&self, name: Name) -> Resolving {
        let text = name.as_str().to_owned();
        let found = self.0.resolve(name);
        Box::pin(async move {
            let found: Vec<SocketAddr> = found.await?.collect();
            let permitted = permitted(&text, &found);
            if permitted.is_empty() {
                return Err(NotPublic(text).into());
            }
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}

/// The names as this machine resolves them.
struct SystemNames;

impl Resolve for SystemNames {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(Box::new(found.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}

/// Which of the addresses a name leads to may be connected to. A request to `localhost` gets here only if the grant
/// names it.
fn permitted(name: &str, found: &[SocketAddr]) -> Vec<SocketAddr> {
    let allowed = |address: &&SocketAddr| match name {
        LOCALHOST => address.ip().is_loopback(),
        _ => is_public(address.ip()),
    };
    found.iter().filter(allowed).copied().collect()
}

/// The name leads nowhere a plugin may go.
#[derive(Debug, thiserror::Error)]
#[error("{0} leads to no public address; a private one must be granted by its address")]
struct NotPublic(String);

fn failure(error: &reqwest::Error) -> EgressError {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(refused) = inner.downcast_ref::<NotPublic>() {
            return EgressError::Forbidden(refused.to_string());
        }
        cause = inner.source();
    }
    if error.is_timeout() {
        return EgressError::Timeout;
    }
    if is_cut(error) {
        return EgressError::Connection("the connection was closed before an answer came".to_owned());
    }
    EgressError::Connection(describe(error))
}

/// Whether there was a connection and the other end closed it in place of an answer, or within one.
fn is_cut(error: &reqwest::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let mut cause = error.source().filter(|_| !error.is_connect());
    while let Some(inner) = cause {
        let is_cut = match inner.downcast_ref::<std::io::Error>() {
            Some(error) => {
                matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
            }
            // The HTTP library's own word for it, which has no other form here.
            None => inner.to_string() == "connection closed before message completed",
        };
        if is_cut {
            return true;
        }
        cause = inner.source();
    }
    false
}

/// An error with its causes, without the URL the plugin knows itself.
fn describe(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    if text.is_empty() { error.to_string() } else { text }
}
