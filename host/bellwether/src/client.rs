//! The HTTP client of the command line: one host, one key, retries that cannot do anything twice.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bellwether_kernel::{Randomness, SystemRandomness};
use clap::Args;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Method, Response, StatusCode, Url};
use serde_json::Value;

use crate::failure::{Failure, Problem};

/// Where a host is looked for, unless somebody says otherwise.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:8780";

/// A person is told at once what a host says that would be asked again only later than this.
const A_PERSONS_WAIT: Duration = Duration::from_secs(5);

/// Long work waits at most so long before it tries again, whatever `Retry-After` says.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How long a connection may take to open. A request may take as long as the host lets it.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// Where the host is, who asks, and how the answer is printed.
#[derive(Args, Clone, Debug)]
pub(crate) struct Connection {
    /// The host's URL
    #[arg(
        long,
        env = "BELLWETHER_URL",
        default_value = DEFAULT_URL,
        global = true,
        help_heading = "Connection"
    )]
    pub(crate) url: String,
    /// The key to ask with; better set in the environment, where other users do not see it
    #[arg(long, env = "BELLWETHER_KEY", hide_env_values = true, global = true, help_heading = "Connection")]
    pub(crate) access_key: Option<String>,
    /// Trust this certificate, and those it signed, besides what the system trusts: a PEM file
    #[arg(long, env = "BELLWETHER_CA", value_name = "FILE", global = true, help_heading = "Connection")]
    ca: Option<PathBuf>,
    /// Print JSON for programs; errors too, on the error stream
    #[arg(long, global = true, help_heading = "Connection")]
    pub(crate) json: bool,
}

impl Connection {
    /// A client for a command of a person: gives up soon.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        self.client_with(Patience { attempts: 4, waits_for_a_host: false })
    }

    /// A client for long work: waits for a host that restarts.
    pub(crate) fn patient_client(&self) -> Result<Client, Failure> {
        self.client_with(Patience { attempts: 8, waits_for_a_host: true })
    }

    fn client_with(&self, patience: Patience) -> Result<Client, Failure> {
        Client::new(&self.url, self.access_key.as_deref(), self.ca.as_deref(), patience)
    }
}

/// How often a request is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Tries in all, at least 1.
    pub(crate) attempts: u32,
    /// Whether a refused connection is tried again too, and a host that asks for much time gets it.
    pub(crate) waits_for_a_host: bool,
}

impl Patience {
    /// Whether the request is sent again after this answer.
    fn bears(&self, response: &Response) -> bool {
        let soon = retry_after(response).is_none_or(|wait| wait <= A_PERSONS_WAIT);
        is_passing(response) && (soon || self.waits_for_a_host)
    }
}

/// What a request carries.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// Nothing.
    None,
    /// JSON.
    Json(Value),
    /// Bytes of this media type.
    Bytes(&'static str, Vec<u8>),
}

/// The items of a list, gathered from its pages.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listing {
    /// The items.
    pub(crate) items: Vec<Value>,
    /// Whether there are more than were asked for.
    pub(crate) more: bool,
}

/// A client of one host.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    key: Option<HeaderValue>,
    patience: Patience,
}

impl Client {
    /// A client of the host at `url`, asking with `key`, that trusts what is signed by the certificates in the file `ca`.
    pub(crate) fn new(
        url: &str,
        key: Option<&str>,
        ca: Option<&Path>,
        patience: Patience,
    ) -> Result<Self, Failure> {
        let wrong = |reason: String| {
            Failure::Usage(format!(
                "the URL {url:?} is not one of a host ({reason}): use one such as {DEFAULT_URL}"
            ))
        };
        let base = Url::parse(url).map_err(|error| wrong(error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(wrong("it must begin with http:// or https://".to_owned()));
        }
        let key = key.map(str::trim).filter(|key| !key.is_empty()).map(|key| {
            let mut value = HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| {
                Failure::Usage("the key holds characters no key has: copy it again, `bw_` and all".to_owned())
            })?;
            value.set_sensitive(true);
            Ok::<_, Failure>(value)
        });
        let builder = || {
            let agent = concat!("bellwether/", env!("CARGO_PKG_VERSION"));
            // Elsewhere the key would be left out, and a write become a read.
            let builder = reqwest::Client::builder().redirect(Policy::none());
            builder.connect_timeout(CONNECT_TIME).user_agent(agent)
        };
        let trusted = ca.map(certificates).transpose()?.unwrap_or_default();
        let http = builder()
            .tls_certs_merge(trusted.clone())
            .build()
            // A system that trusts nobody, as in a container of this binary alone, asks over plain HTTP all the same.
            .or_else(|_| builder().tls_certs_only(trusted).build())
            .map_err(|error| match ca {
                Some(ca) => Failure::Usage(format!("{}: {}", ca.display(), innermost(&error))),
                None => Failure::Failed(error.into()),
            })?;
        Ok(Self { http, base, key: key.transpose()?, patience })
    }

    /// The host's URL.
    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    /// Reads one thing.
    pub(crate) async fn get(&self, path: &[&str], query: &[(&str, String)]) -> Result<Value, Failure> {
        let response = self.send(Method::GET, self.address(path, query), &Body::None, None).await?;
        read_json(response).await
    }

    /// Reads a list, page by page, up to `limit` items. Whether there are more, one more tells: that a filtered list has a
    /// next page says only that there is more to look through.
    pub(crate) async fn list(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        limit: usize,
    ) -> Result<Listing, Failure> {
        let mut listing = Listing::default();
        let mut cursor: Option<String> = None;
        let wanted = limit.saturating_add(1);
        loop {
            let mut query = query.to_vec();
            query.push(("limit", (wanted - listing.items.len()).clamp(1, 1000).to_string()));
            query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
            let mut page = self.get(path, &query).await?;
            if let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) {
                listing.items.extend(items);
            }
            cursor = page.get("next").and_then(Value::as_str).map(str::to_owned);
            if cursor.is_none() || listing.items.len() >= wanted {
                listing.more = listing.items.len() > limit;
                listing.items.truncate(limit);
                return Ok(listing);
            }
        }
    }

    /// Changes something, once however often it has to be tried.
    pub(crate) async fn write(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Body,
    ) -> Result<Value, Failure> {
        let mut bytes = [0; 16];
        SystemRandomness.fill(&mut bytes);
        self.write_once(method, path, query, body, &data_encoding::HEXLOWER.encode(&bytes)).await
    }

    /// Changes something under an `Idempotency-Key` of the caller's.
    pub(crate) async fn write_once(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Body,
        idempotency_key: &str,
    ) -> Result<Value, Failure> {
        let response = self.send(method, self.address(path, query), &body, Some(idempotency_key)).await?;
        read_json(response).await
    }

    /// Opens a stream of bytes.
    pub(crate) async fn download(&self, path: &[&str]) -> Result<Response, Failure> {
        self.send(Method::GET, self.address(path, &[]), &Body::None, None).await
    }

    fn address(&self, path: &[&str], query: &[(&str, String)]) -> Url {
        let mut url = self.base.clone();
        url.path_segments_mut().expect("a base URL was checked to have a path").pop_if_empty().extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// Sends a request until it succeeds, is refused for good or patience ends.
    async fn send(
        &self,
        method: Method,
        url: Url,
        body: &Body,
        idempotency_key: Option<&str>,
    ) -> Result<Response, Failure> {
        let mut attempt = 1;
        loop {
            let last = attempt >= self.patience.attempts;
            let mut request = self.http.request(method.clone(), url.clone());
            if let Some(key) = &self.key {
                request = request.header(AUTHORIZATION, key.clone());
            }
            if let Some(key) = idempotency_key {
                request = request.header("idempotency-key", key);
            }
            request = match body {
                Body::None => request,
                Body::Json(value) => request.json(value),
                Body::Bytes(media_type, bytes) => {
                    request.header("content-type", *media_type).body(bytes.clone())
                }
            };
            let wait = match request.send().await {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) if !last && self.patience.bears(&response) => {
                    retry_after(&response).unwrap_or(backoff(attempt)).min(LONGEST_WAIT)
                }
                Ok(response) => {
                    if let Some(elsewhere) = leads_to(&response, &self.base) {
                        let base = &self.base;
                        return Err(Failure::Usage(format!(
                            "{base} leads to {elsewhere}: if the host is there, set --url (or BELLWETHER_URL) to that"
                        )));
                    }
                    let (status, key_was_sent) = (response.status().as_u16(), self.key.is_some());
                    let body = response.bytes().await.unwrap_or_default();
                    return Err(Failure::Refused(Box::new(Problem::read(status, &body, key_was_sent))));
                }
                Err(error)
                    if last
                        || error.is_builder()
                        || (error.is_connect() && !self.patience.waits_for_a_host) =>
                {
                    let mut reason = innermost(&error);
                    // What a socket that speaks TLS does with a request in clear.
                    if self.base.scheme() == "http" && !error.is_connect() && !error.is_timeout() {
                        reason += "; no HTTP came back: if TLS is spoken there, its URL begins with https://";
                    }
                    return Err(Failure::Unreachable { url: self.base.to_string(), reason });
                }
                Err(_) => backoff(attempt),
            };
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }
}

/// Where an answer sends whoever asked a host at `base`, without the path that was asked for.
fn leads_to(response: &Response, base: &Url) -> Option<Url> {
    let location = response.headers().get(LOCATION).filter(|_| response.status().is_redirection())?;
    let asked = response.url();
    let mut to = asked.join(location.to_str().ok()?).ok()?;
    let below = asked.path().strip_prefix(base.path().trim_end_matches('/')).unwrap_or(asked.path());
    let root = to.path().strip_suffix(below).map(str::to_owned);
    if let Some(root) = root {
        to.set_path(&root);
        to.set_query(None);
    }
    Some(to)
}

/// The certificates in a file.
fn certificates(file: &Path) -> Result<Vec<Certificate>, Failure> {
    let wrong = |why: &dyn std::fmt::Display| {
        Failure::Usage(format!("the certificates to trust, {}: {why}", file.display()))
    };
    let text = std::fs::read(file).map_err(|error| wrong(&error))?;
    let found = Certificate::from_pem_bundle(&text).map_err(|error| wrong(&innermost(&error)))?;
    if found.is_empty() {
        return Err(wrong(&"it holds no certificate, expected PEM with -----BEGIN CERTIFICATE-----"));
    }
    Ok(found)
}

/// Whether the same request may succeed a moment later. A conflict that says when to come back is the same request
/// still at work.
fn is_passing(response: &Response) -> bool {
    match response.status() {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => true,
        // A proxy's word that the host is away. The host's own is of a plugin that failed, and would fail again.
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
            let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            kind.is_none_or(|kind| !kind.starts_with("application/problem+json"))
        }
        StatusCode::CONFLICT => response.headers().contains_key(RETRY_AFTER),
        _ => false,
    }
}

/// 0.2, 0.4, 0.8 … seconds.
fn backoff(attempt: u32) -> Duration {
    Duration::from_millis(100) * 2_u32.saturating_pow(attempt.min(10))
}

/// What the host asks to wait, in whole seconds.
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds: u64 = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// "Connection refused (os error 111)" rather than "error sending request for url".
fn innermost(error: &reqwest::Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

async fn read_json(response: Response) -> Result<Value, Failure> {
    let url = response.url().clone();
    let body = response
        .bytes()
        .await
        .map_err(|error| Failure::Unreachable { url: url.to_string(), reason: innermost(&error) })?;
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&body).map_err(|_| {
        Failure::Failed(anyhow::anyhow!(
            "{url} did not answer JSON: is there a Bellwether host at that address?"
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// How often a host is asked that says each time to come again after so many seconds.
    async fn asked(patience: Patience, after: u32) -> u32 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let count = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&count);
        let host = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let _ = stream.read(&mut [0; 4096]).await.unwrap();
                let answer = format!(
                    "HTTP/1.1 503 Busy\r\nretry-after: {after}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let client = Client::new(&url, None, None, patience).unwrap();
        let refused = client.get(&["v1"], &[]).await.unwrap_err();
        assert!(matches!(&refused, Failure::Refused(problem) if problem.status == 503), "{refused:?}");
        host.abort();
        count.load(Ordering::SeqCst)
    }

    #[tokio::test]
    async fn a_port_that_closes_without_http_is_told_as_one_that_may_speak_tls() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // rustls answers what is no handshake with an alert, others with nothing.
        for answer in [&b"\x15\x03\x03\x00\x02\x02\x32"[..], b""] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 4096]).await.unwrap();
                stream.write_all(answer).await.unwrap();
            });
            let client =
                Client::new(&url, None, None, Patience { attempts: 1, waits_for_a_host: false }).unwrap();
            let failed = client.get(&["v1"], &[]).await.unwrap_err().for_people();
            assert!(failed.contains("begins with https://"), "{failed}");
        }
    }

    #[tokio::test]
    async fn a_host_that_is_elsewhere_is_told_with_its_url_and_not_gone_to() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        for (base, location, told) in [
            ("", "https://bell.example/v1/metrics?limit=1", "leads to https://bell.example/: "),
            ("/bell/", "https://bell.example/v1/metrics?limit=1", "leads to https://bell.example/: "),
            ("", "https://a.example/bell/v1/metrics?limit=1", "leads to https://a.example/bell: "),
            ("", "https://sso.example/login?next=a", "leads to https://sso.example/login?next=a: "),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}{base}", listener.local_addr().unwrap());
            tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 4096]).await.unwrap();
                let answer =
                    format!("HTTP/1.1 308 Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            });
            let patience = Patience { attempts: 1, waits_for_a_host: false };
            let client = Client::new(&url, Some("bw_key"), None, patience).unwrap();
            let failed = client.get(&["v1", "metrics"], &[("limit", "1".to_owned())]).await.unwrap_err();
            assert!(matches!(&failed, Failure::Usage(text) if text.contains(told)), "{failed:?}");
            assert!(failed.for_people().contains("--url"), "{failed:?}");
        }
    }

    #[tokio::test]
    async fn a_person_is_told_at_once_what_a_host_wants_a_minute_for() {
        let patience = Patience { attempts: 4, waits_for_a_host: false };
        assert_eq!(asked(patience, 60).await, 1);
        assert_eq!(asked(patience, 0).await, 4);
    }
}
