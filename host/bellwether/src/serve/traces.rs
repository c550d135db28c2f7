//! Spans for others to look at: sent to an OpenTelemetry collector, in OTLP over HTTP, a batch at a time and off the
//! path of what they tell of.

use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;

/// How long a collector may take for a batch.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends spans to a collector until it is told to end.
pub(super) struct Traces(SdkTracerProvider);

impl Traces {
    /// To the collector at `endpoint`, its whole URL. Must be called within the runtime, whose threads send.
    pub(super) fn start(endpoint: &str) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().timeout(PATIENCE).build();
        let client = Client {
            client: client.context("the traces' HTTP client does not start")?,
            runtime: Handle::current(),
        };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(endpoint)
            .with_timeout(PATIENCE)
            .build()
            .context("the traces' exporter does not start")?;
        let resource = Resource::builder().with_service_name("bellwether").build();
        Ok(Self(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build()))
    }

    /// What makes the spans.
    pub(super) fn tracer(&self) -> SdkTracer {
        self.0.tracer("bellwether")
    }

    /// Sends what is still there.
    pub(super) async fn end(self) {
        // It waits for its own thread, which needs the runtime's.
        let ended = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(PATIENCE)).await;
        if let Ok(Err(error)) = ended {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

/// The exporter's thread has no runtime, so this one's sends for it.
#[derive(Debug)]
struct Client {
    client: reqwest::Client,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sent = self.runtime.spawn(async move {
            let mut answer = client.execute(request.try_into()?).await?;
            let headers = std::mem::take(answer.headers_mut());
            let mut response = Response::builder().status(answer.status()).body(answer.bytes().await?)?;
            *response.headers_mut() = headers;
            Ok::<_, HttpError>(response)
        });
        sent.await?
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// A collector that takes one request and gives it back as it came.
    async fn collector() -> (String, tokio::task::JoinHandle<Vec<u8>>) {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}/v1/traces", socket.local_addr().expect("bound"));
        let taken = tokio::spawn(async move {
            let (mut connection, _) = socket.accept().await.expect("a caller");
            let (mut request, mut part) = (Vec::new(), [0; 4096]);
            let whole = |request: &[u8]| {
                let text = String::from_utf8_lossy(request).to_lowercase();
                let (head, _) = text.split_once("\r\n\r\n")?;
                let length = head.lines().find_map(|line| line.strip_prefix("content-length:"))?;
                let body = request.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
                Some(request.len() >= body + length.trim().parse::<usize>().ok()?)
            };
            while whole(&request) != Some(true) {
                let read = connection.read(&mut part).await.expect("a request");
                assert!(read > 0, "the request ends early");
                request.extend_from_slice(&part[..read]);
            }
            let answer =
                "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
            connection.write_all(answer.as_bytes()).await.expect("answered");
            request
        });
        (endpoint, taken)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn spans_arrive_at_the_collector_with_their_fields() {
        // Another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (endpoint, taken) = collector().await;
        let traces = Traces::start(&endpoint).expect("started");
        let layer = tracing_opentelemetry::layer().with_tracer(traces.tracer());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            drop(tracing::info_span!("plugin_call", plugin = "probe").entered());
        });
        traces.end().await;
        let request = taken.await.expect("the collector was called");
        let holds = |text: &str| request.windows(text.len()).any(|part| part == text.as_bytes());
        for text in ["POST /v1/traces", "plugin_call", "probe", "bellwether"] {
            assert!(holds(text), "{text} is not in the request");
        }
    }
}
