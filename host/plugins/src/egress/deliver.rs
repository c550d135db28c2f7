//! Requests of deliveries: the same way out as plugins', held against what their channel names.

use async_trait::async_trait;
use bellwether_access::Destination;
use bellwether_alerts::{FilledRequest, HttpAnswer, HttpSender, SendError};
use http::Method;
use reqwest::Url;
use tokio::time::{Instant, timeout_at};

use super::prepare::prepare;
use super::{Egress, EgressError, Incoming, Outgoing, failure, texts};
use crate::{Plugins, limits};

/// Bytes read of an answer: twice what is kept of it, so that a secret in it which the cut divides is seen whole, and masked.
const READ: usize = 2 * bellwether_alerts::limits::ANSWER;

impl Egress {
    /// Sends a request if one of `hosts` permits it. Of the answer [`READ`] bytes are read, and
    /// of one that says it was taken what comes is enough.
    pub(crate) async fn deliver(
        &self,
        hosts: &[Destination],
        request: Outgoing,
    ) -> Result<Incoming, EgressError> {
        let deadline = Instant::now() + limits::HTTP_TIME;
        if let (Ok(url), Ok(method)) = (request.url.parse::<Url>(), request.method.parse::<Method>())
            && !hosts.iter().any(|host| host.permits(&method, &url))
        {
            let origin = url.origin().ascii_serialization();
            let text = format!("the channel's hosts do not cover {method} {origin}; add {origin} to them");
            return Err(EgressError::Forbidden(text));
        }
        let request = prepare(hosts, request)?;
        self.private.check(&request.url)?;
        let late = |_| EgressError::Timeout;
        let mut response = timeout_at(deadline, self.sent(request)).await.map_err(late)??;
        let (status, headers) = (response.status().as_u16(), texts(response.headers()));
        let mut body = Vec::new();
        while body.len() < READ {
            let chunk = timeout_at(deadline, response.chunk()).await.map_err(late);
            match chunk.and_then(|chunk| chunk.map_err(|error| failure(&error))) {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                // It was taken, whatever becomes of the rest of the answer: sent again, it would be told twice.
                Err(_) if response.status().is_success() => break,
                Err(error) => return Err(error),
            }
        }
        body.truncate(READ);
        Ok(Incoming { status, headers, body })
    }
}

#[async_trait]
impl HttpSender for Plugins {
    async fn send(&self, request: FilledRequest, hosts: &[Destination]) -> Result<HttpAnswer, SendError> {
        let FilledRequest { method, url, headers, body } = request;
        let request = Outgoing { method, url, headers, body, timeout: None };
        match self.egress().deliver(hosts, request).await {
            Ok(Incoming { status, headers, body }) => {
                Ok(HttpAnswer { status, headers, body, retry_after: None })
            }
            Err(EgressError::Timeout) => {
                let seconds = limits::HTTP_TIME.as_secs();
                Err(SendError::Lost(format!("no answer came within {seconds} seconds")))
            }
            Err(EgressError::Connection(text)) => Err(SendError::Lost(text)),
            Err(
                EgressError::Invalid(text)
                | EgressError::Forbidden(text)
                | EgressError::TooLarge(text)
                | EgressError::Budget(text),
            ) => Err(SendError::Refused(text)),
        }
    }
}
