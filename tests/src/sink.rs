//! A receiver on the loopback that keeps what it is sent, and when it came.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde_json::Value;

/// Bytes of the largest request that is taken.
const MOST: usize = 4 << 20;

/// A request that was received.
#[derive(Clone, Debug)]
pub struct Taken {
    /// When all of it was there.
    pub at: Instant,
    /// `POST`
    pub method: String,
    /// With the query.
    pub path: String,
    /// In the order they came, names in lower case.
    pub headers: Vec<(String, String)>,
    /// As it came.
    pub body: Vec<u8>,
}

impl Taken {
    /// The body, which is JSON.
    ///
    /// # Errors
    /// If it is not.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("{} takes JSON: {}", self.path, String::from_utf8_lossy(&self.body)))
    }

    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// What a request to a path is answered: a status and a body.
pub type Answer = fn(&str) -> (u16, &'static str);

/// Listens until the process ends.
pub struct Sink {
    /// Where: `http://127.0.0.1:40123`.
    pub url: String,
    taken: Receiver<Taken>,
}

impl Sink {
    /// Begins to listen.
    ///
    /// # Errors
    /// If there is no free port.
    pub fn start(answer: Answer) -> Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}", listener.local_addr()?);
        let (sender, taken) = channel();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                axum::serve(listener, Router::new().fallback(take).with_state((sender, answer))).await
            })
        });
        Ok(Self { url, taken })
    }

    /// The next request, or an error if none comes for so long.
    ///
    /// # Errors
    /// If none comes.
    pub fn next(&self, patience: Duration) -> Result<Taken> {
        self.taken.recv_timeout(patience).with_context(|| format!("no request within {patience:?}"))
    }

    /// What came already.
    pub fn rest(&self) -> Vec<Taken> {
        self.taken.try_iter().collect()
    }
}

async fn take(
    State((sender, answer)): State<(Sender<Taken>, Answer)>,
    request: Request,
) -> (StatusCode, [(&'static str, &'static str); 1], &'static str) {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, MOST).await.map(|bytes| bytes.to_vec()).unwrap_or_default();
    let path = parts.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    let header = |(name, value): (&axum::http::HeaderName, &axum::http::HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let headers = parts.headers.iter().map(header).collect();
    let (status, text) = answer(&path);
    // Nobody may be left who wants to know.
    let _ = sender.send(Taken { at: Instant::now(), method: parts.method.to_string(), path, headers, body });
    let kind = if text.starts_with('{') { "application/json" } else { "text/plain" };
    (StatusCode::from_u16(status).unwrap_or_default(), [("content-type", kind)], text)
}
