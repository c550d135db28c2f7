//! `bellwether:host/http-client`: requests within the grant, sent by the host's egress.

use std::sync::Arc;
use std::time::Duration;

use super::{Call, contract};
use crate::egress::{EgressError, Outgoing};
use contract::http_client::{HeaderResult, Host, HttpError, Request, Response};

impl Host for Call {
    async fn send(&mut self, request: Request) -> Result<Response, HttpError> {
        let headers = request.headers.iter().map(|header| header.name.len() + header.value.len());
        let sent = request.body.len();
        self.takes(request.url.len() + headers.sum::<usize>() + sent);
        let outgoing = Outgoing {
            method: request.method,
            url: request.url,
            headers: request.headers.into_iter().map(|header| (header.name, header.value)).collect(),
            body: request.body,
            timeout: request.timeout.map(Duration::from_millis),
        };
        self.act().await.map_err(HttpError::Other)?;
        let (scope, spent) = (Arc::clone(&self.scope), self.spent());
        let answer = scope.shared.egress.send(&scope.outlet, &spent, outgoing).await;
        scope.seen.requested(sent, answer.as_ref().ok().map(|answer| answer.body.len()));
        let answer = answer.map_err(|error| match error {
            EgressError::Invalid(text) => HttpError::Invalid(text),
            EgressError::Forbidden(text) => HttpError::Forbidden(text),
            EgressError::Timeout => HttpError::Timeout,
            EgressError::Connection(text) => HttpError::Connection(text),
            EgressError::TooLarge(text) => HttpError::TooLarge(text),
            EgressError::Budget(text) => HttpError::Other(text),
        })?;
        let headers = answer.headers.into_iter().map(|(name, value)| HeaderResult { name, value }).collect();
        Ok(Response { status: answer.status, headers, body: answer.body })
    }
}
