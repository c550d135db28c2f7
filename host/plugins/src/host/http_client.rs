//! `bellwether:host/http-client`: requests within the grant, sent by the host's egress.

use std::time::Duration;

use super::{Call, contract};
use crate::egress::{EgressError, Outgoing};
use contract::http_client::{HeaderResult, Host, HttpError, Request, Response};

impl Host for Call {
    async fn send(&mut self, request: Request) -> Result<Response, HttpError> {
        let outgoing = Outgoing {
            method: request.method,
            url: request.url,
            headers: request.headers.into_iter().map(|header| (header.name, header.value)).collect(),
            body: request.body,
            timeout: request.timeout.map(Duration::from_millis),
        };
        let answer =
            self.scope.shared.egress.send(&self.scope.hosts, outgoing).await.map_err(
                |error| match error {
                    EgressError::Invalid(text) => HttpError::Invalid(text),
                    EgressError::Forbidden(text) => HttpError::Forbidden(text),
                    EgressError::Timeout => HttpError::Timeout,
                    EgressError::Connection(text) => HttpError::Connection(text),
                    EgressError::TooLarge(text) => HttpError::TooLarge(text),
                },
            )?;
        let headers = answer.headers.into_iter().map(|(name, value)| HeaderResult { name, value }).collect();
        Ok(Response { status: answer.status, headers, body: answer.body })
    }
}
