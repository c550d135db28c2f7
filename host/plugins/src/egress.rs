//! The one way out: requests of plugins, held against their grant, and against what an address is when it is
//! connected.

use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url, redirect, retry};
use tokio::time::timeout;

use crate::destination::{Destination, LOCALHOST, is_public};
use crate::limits;

/// Sends plugins' requests. The client behind it is made on the first request: reading the system's certificates
/// takes time and memory most hosts never need.
#[derive(Default)]
pub(crate) struct Egress {
    client: OnceLock<Result<Client, String>>,
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
}

/// Headers that speak about the connection, which is the host's.
const RESERVED: [HeaderName; 9] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
];

impl Egress {
    /// Sends a request if one of `granted` permits it, and gives its answer. Redirects are answers.
    pub(crate) async fn send(
        &self,
        granted: &[Destination],
        request: Outgoing,
    ) -> Result<Incoming, EgressError> {
        let limit = request.timeout.unwrap_or(limits::HTTP_TIME).min(limits::HTTP_TIME);
        let request = prepare(granted, request)?;
        timeout(limit, self.exchange(request)).await.map_err(|_| EgressError::Timeout)?
    }

    async fn exchange(&self, request: Prepared) -> Result<Incoming, EgressError> {
        let client = self.client.get_or_init(|| client().map_err(|error| describe(&error))).as_ref();
        let client = client.map_err(|error| {
            EgressError::Connection(format!("the host's HTTP client does not work: {error}"))
        })?;
        let sent = client
            .request(request.method, request.url)
            .headers(request.headers)
            .body(request.body)
            .send()
            .await;
        let mut response = sent.map_err(|error| failure(&error))?;
        let too_large = || {
            EgressError::TooLarge(format!(
                "the answer's body is larger than {} MiB",
                limits::HTTP_ANSWER >> 20
            ))
        };
        if response.content_length().is_some_and(|length| length > limits::HTTP_ANSWER as u64) {
            return Err(too_large());
        }
        let status = response.status().as_u16();
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers =
            response.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
            if body.len() + chunk.len() > limits::HTTP_ANSWER {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Incoming { status, headers, body })
    }
}

/// A request that may be sent.
#[derive(Debug)]
struct Prepared {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Vec<u8>,
}

fn prepare(granted: &[Destination], request: Outgoing) -> Result<Prepared, EgressError> {
    let invalid = EgressError::Invalid;
    let method = Method::from_bytes(request.method.as_bytes())
        .map_err(|_| invalid(format!("{:?} is not a method", request.method)))?;
    if method == Method::CONNECT || method == Method::TRACE {
        return Err(invalid(format!("the method {method} is not sent")));
    }
    let url: Url = request
        .url
        .parse()
        .map_err(|error| invalid(format!("{:?} is not an absolute URL: {error}", request.url)))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid(format!("{:?} is not an http or https URL", request.url)));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("credentials in a URL are not sent; use the Authorization header".to_owned()));
    }
    if !granted.iter().any(|destination| destination.permits(&url)) {
        let origin = url.origin().ascii_serialization();
        return Err(EgressError::Forbidden(format!(
            "the plugin's grant does not cover {origin}; who runs it can add http-client={origin}"
        )));
    }
    if request.headers.len() > limits::HTTP_HEADERS {
        return Err(invalid(format!(
            "{} headers are too many, at most {} are sent",
            request.headers.len(),
            limits::HTTP_HEADERS
        )));
    }
    let mut headers = HeaderMap::with_capacity(request.headers.len());
    for (name, value) in request.headers {
        let header = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| invalid(format!("{name:?} is not a header's name")))?;
        if RESERVED.contains(&header) {
            return Err(invalid(format!("the header {header} is the host's to set")));
        }
        let value = HeaderValue::from_str(&value)
            .map_err(|_| invalid(format!("the value of the header {header} holds control characters")))?;
        headers.append(header, value);
    }
    Ok(Prepared { method, url, headers, body: request.body })
}

fn client() -> Result<Client, reqwest::Error> {
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
        .dns_resolver(PublicNames)
        .build()
}

/// Resolves names to public addresses only, so that a name under somebody else's control does not lead into the
/// host's own network. The addresses given back are those connected to: there is no second look-up to differ.
struct PublicNames;

impl Resolve for PublicNames {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let permitted = permitted(name.as_str(), &found);
            if permitted.is_empty() {
                return Err(NotPublic(name.as_str().to_owned()).into());
            }
            Ok(Box::new(permitted.into_iter()) as Addrs)
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
    if error.is_timeout() { EgressError::Timeout } else { EgressError::Connection(describe(error)) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn request(url: &str) -> Outgoing {
        Outgoing {
            method: "GET".into(),
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: None,
        }
    }

    fn granted(texts: &[&str]) -> Vec<Destination> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// Answers one connection with `answer` and gives what it received.
    async fn serve_once(answer: &'static [u8]) -> (u16, tokio::task::JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut received = vec![0; 4096];
            let length = stream.read(&mut received).await.unwrap();
            received.truncate(length);
            stream.write_all(answer).await.unwrap();
            stream.shutdown().await.unwrap();
            received
        });
        (port, served)
    }

    #[test]
    fn a_request_outside_the_grant_is_never_prepared() {
        let granted = granted(&["https://api.example.com", "https://*"]);
        for url in [
            "http://api.example.com/",
            "https://127.0.0.1/",
            "https://[::ffff:10.0.0.1]/",
            "https://localhost/",
            "https://169.254.169.254/",
        ] {
            assert!(matches!(prepare(&granted, request(url)), Err(EgressError::Forbidden(_))), "{url}");
        }
        assert!(prepare(&granted, request("https://api.example.com/x")).is_ok());
        assert!(matches!(prepare(&[], request("https://api.example.com/")), Err(EgressError::Forbidden(_))));
    }

    #[test]
    fn what_is_no_request_is_told_apart_from_what_is_forbidden() {
        let granted = granted(&["https://*"]);
        let with = |change: fn(&mut Outgoing)| {
            let mut request = request("https://api.example.com/");
            change(&mut request);
            prepare(&granted, request).map(drop)
        };
        for (what, change) in [
            ("method", (|request| request.method = "GE T".into()) as fn(&mut Outgoing)),
            ("CONNECT", |request| request.method = "CONNECT".into()),
            ("relative", |request| request.url = "/x".into()),
            ("scheme", |request| request.url = "file:///etc/passwd".into()),
            ("credentials", |request| request.url = "https://a:b@api.example.com/".into()),
            ("header name", |request| request.headers.push(("a b".into(), "c".into()))),
            ("header value", |request| request.headers.push(("a".into(), "b\r\nc: d".into()))),
            ("reserved header", |request| request.headers.push(("Host".into(), "internal".into()))),
            ("too many headers", |request| request.headers = vec![("a".into(), "b".into()); 101]),
        ] {
            assert!(matches!(with(change), Err(EgressError::Invalid(_))), "{what}");
        }
    }

    #[test]
    fn a_name_leads_to_public_addresses_only_and_localhost_to_itself() {
        let addresses: Vec<SocketAddr> = ["8.8.8.8:0", "10.0.0.1:0", "127.0.0.1:0", "[::1]:0", "[fd00::1]:0"]
            .map(|text| text.parse().unwrap())
            .into();
        assert_eq!(permitted("rebound.example.com", &addresses), ["8.8.8.8:0".parse().unwrap()]);
        assert_eq!(
            permitted("localhost", &addresses),
            ["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()]
        );
    }

    #[tokio::test]
    async fn an_answer_comes_back_and_a_redirect_is_one() {
        let answer =
            b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 2\r\n\r\nhi";
        let (port, served) = serve_once(answer).await;
        let mut request = request(&format!("http://127.0.0.1:{port}/a?b=c"));
        request.method = "POST".into();
        request.headers.push(("X-Test".into(), "yes".into()));
        request.body = b"body".to_vec();
        let grant = granted(&[&format!("http://127.0.0.1:{port}")]);
        let answer = Egress::default().send(&grant, request).await.unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (302, &b"hi"[..]));
        assert!(answer.headers.contains(&("location".into(), "http://169.254.169.254/".into())));
        let received = String::from_utf8(served.await.unwrap()).unwrap();
        assert!(
            received.starts_with("POST /a?b=c HTTP/1.1\r\n") && received.contains("x-test: yes"),
            "{received}"
        );
    }

    #[tokio::test]
    async fn localhost_is_reached_when_granted_by_name() {
        let (port, _served) = serve_once(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        let grant = granted(&[&format!("http://localhost:{port}")]);
        let answer =
            Egress::default().send(&grant, request(&format!("http://localhost:{port}/"))).await.unwrap();
        assert_eq!(answer.status, 204);
    }

    #[tokio::test]
    async fn a_body_beyond_the_limit_is_refused_whether_announced_or_not() {
        let announced = b"HTTP/1.1 200 OK\r\ncontent-length: 9999999\r\n\r\n";
        let (port, _served) = serve_once(announced).await;
        let grant = granted(&[&format!("http://127.0.0.1:{port}")]);
        let refused = Egress::default().send(&grant, request(&format!("http://127.0.0.1:{port}/"))).await;
        assert!(matches!(refused, Err(EgressError::TooLarge(_))), "{refused:?}");

        let mut endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        endless.resize(limits::HTTP_ANSWER + 100, b'x');
        let (port, _served) = serve_once(endless.leak()).await;
        let grant = granted(&[&format!("http://127.0.0.1:{port}")]);
        let refused = Egress::default().send(&grant, request(&format!("http://127.0.0.1:{port}/"))).await;
        assert!(matches!(refused, Err(EgressError::TooLarge(_))), "{refused:?}");
    }

    #[tokio::test]
    async fn nobody_there_and_nobody_answering_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let grant = granted(&[&format!("http://127.0.0.1:{port}")]);
        let mut silent = request(&format!("http://127.0.0.1:{port}/"));
        silent.timeout = Some(Duration::from_millis(50));
        assert_eq!(Egress::default().send(&grant, silent).await.unwrap_err(), EgressError::Timeout);
        drop(listener);
        let gone = Egress::default().send(&grant, request(&format!("http://127.0.0.1:{port}/"))).await;
        assert!(matches!(gone, Err(EgressError::Connection(_))), "{gone:?}");
    }
}
