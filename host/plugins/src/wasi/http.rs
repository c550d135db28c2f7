//! `wasi:http/outgoing-handler`: the privilege `http-client` in WASI's words. A request is held against the same grant
//! and limits, and leaves by the same way.

use std::convert::Infallible;
use std::sync::Arc;

use bellwether_engine::wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};
use bytes::Bytes;
use http::{HeaderName, Request, Response, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use tokio::sync::Semaphore;

use super::Printed;
use crate::egress::{EgressError, Incoming, Outgoing, Spent};
use crate::host::Scope;
use crate::limits;

/// The way out of one call.
#[derive(Clone)]
pub(super) struct Gate {
    scope: Arc<Scope>,
    /// Whether there is none.
    shut: bool,
    printed: Printed,
    spent: Arc<Spent>,
    /// Requests on their way, and bodies that are being put together for them.
    places: Arc<Semaphore>,
}

/// What the library promises of a request that was sent: nothing more to wait for.
type Sent = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

impl Gate {
    pub(super) fn new(scope: Arc<Scope>, shut: bool, printed: Printed, spent: Arc<Spent>) -> Self {
        Self { scope, shut, printed, spent, places: Arc::new(Semaphore::new(limits::HTTP_AT_ONCE)) }
    }

    async fn send(&self, request: Request<WasiBody>, options: Option<RequestOptions>) -> Result<Sent, Error> {
        let (parts, body) = request.into_parts();
        let origin = format!("{} {}", parts.method, origin(&parts.uri));
        if self.shut {
            return Err(
                self.refused(&origin, EgressError::Forbidden("a pure call sends no requests".to_owned()))
            );
        }
        let _place = self.places.acquire().await.expect("the semaphore is never closed");
        let body = match Limited::new(body, limits::HTTP_BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return Err(Error::HttpRequestBodySize(Some(limits::HTTP_BODY as u64)));
            }
            Err(error) => return Err(Error::InternalError(Some(error.to_string()))),
        };
        let text = |(name, value): (&HeaderName, &http::HeaderValue)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        };
        // How long the body is, the host knows itself.
        let headers = parts.headers.iter().filter(|(name, _)| *name != header::CONTENT_LENGTH).map(text);
        let outgoing = Outgoing {
            method: parts.method.to_string(),
            url: parts.uri.to_string(),
            headers: headers.collect(),
            body: body.into(),
            timeout: options.and_then(|options| options.first_byte_timeout),
        };
        let Scope { shared, outlet, seen, .. } = &*self.scope;
        let sent = outgoing.body.len();
        let answer = shared.egress.send(outlet, &self.spent, outgoing).await;
        seen.requested(sent, answer.as_ref().ok().map(|answer| answer.body.len()));
        let answer = answer.map_err(|error| self.refused(&origin, error))?;
        Ok((response(answer)?, Box::new(std::future::ready(Ok(())))))
    }

    /// An error in WASI's words. They have no room for what is wrong, so the log says it; never a path, which may hold
    /// what is secret.
    fn refused(&self, origin: &str, error: EgressError) -> Error {
        let (reason, error) = match error {
            EgressError::Invalid(text) => (text.clone(), Error::InternalError(Some(text))),
            EgressError::Forbidden(text) => (text, Error::HttpRequestDenied),
            EgressError::Timeout => ("it took too long".to_owned(), Error::HttpResponseTimeout),
            EgressError::Connection(text) => (text, Error::DestinationUnavailable),
            EgressError::TooLarge(text) => (text, Error::HttpResponseBodySize(None)),
            EgressError::Budget(text) => (text.clone(), Error::InternalError(Some(text))),
        };
        self.printed.say(format!("{origin} was not answered: {reason}"));
        error
    }
}

/// Scheme, host and port.
fn origin(uri: &http::Uri) -> String {
    format!(
        "{}://{}",
        uri.scheme_str().unwrap_or("https"),
        uri.authority().map_or("", |authority| authority.as_str())
    )
}

fn response(answer: Incoming) -> Result<Response<WasiBody>, Error> {
    let mut builder = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        builder = builder.header(name, value);
    }
    let body = Full::new(Bytes::from(answer.body)).map_err(|never: Infallible| match never {}).boxed_unsync();
    builder.body(body).map_err(|error| Error::InternalError(Some(error.to_string())))
}

impl WasiHttpHooks for Gate {
    /// The host sets it.
    fn set_host_header(&mut self) -> bool {
        false
    }

    /// One at a time and small: what is written to a request that is never sent stays in the host's memory, and a call
    /// may hold many of those.
    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        1
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        limits::HTTP_CHUNK
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        let gate = self.clone();
        Box::new(async move { gate.send(request, options).await })
    }
}

#[cfg(test)]
mod tests {
    use bellwether_kernel::SystemClock;
    use http_body_util::Empty;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::wasi::tests::scope;

    fn request(url: &str, body: impl Into<Bytes>) -> Request<WasiBody> {
        let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
        Request::post(url).header("x-test", "yes").header("content-length", "4").body(body).unwrap()
    }

    fn gate(scope: Arc<Scope>, shut: bool) -> Gate {
        Gate::new(
            scope,
            shut,
            Printed::new(Arc::new(SystemClock), &limits::Limits::default()),
            Arc::default(),
        )
    }

    fn said(gate: &Gate) -> Vec<String> {
        gate.printed.take().into_iter().map(|line| line.message).collect()
    }

    #[tokio::test]
    async fn a_request_leaves_by_the_hosts_way_and_its_answer_comes_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut received = String::new();
            while !received.ends_with("body") {
                received.push(char::from(stream.read_u8().await.unwrap()));
            }
            stream.write_all(b"HTTP/1.1 418 T\r\nx-a: b\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
            received
        });
        let (_house, scope) = scope(&[&format!("http-client={url}")]).await;
        let (answer, _) =
            gate(scope, false).send(request(&format!("{url}/p?q"), "body"), None).await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()["x-a"]), (418, &"b".parse().unwrap()));
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "hi");
        let received = served.await.unwrap();
        assert!(
            received.starts_with("POST /p?q HTTP/1.1\r\n") && received.contains("x-test: yes"),
            "{received}"
        );
        assert!(received.contains("user-agent: bellwether/"), "{received}");
    }

    #[tokio::test]
    async fn what_is_not_granted_is_denied_and_the_log_says_what_is_missing_but_no_path() {
        let (_house, granted) = scope(&["http-client=http://127.0.0.1:1"]).await;
        let (_other_house, nothing) = scope(&[]).await;
        for (scope, shut, reason) in [
            (Arc::clone(&granted), false, "the plugin's grant does not cover"),
            (nothing, false, "the plugin's grant does not cover"),
            (granted, true, "a pure call sends no requests"),
        ] {
            let gate = gate(scope, shut);
            let url = if shut { "http://127.0.0.1:1/secret" } else { "http://127.0.0.1:2/secret" };
            let refused = gate.send(request(url, ""), None).await;
            assert!(matches!(refused, Err(Error::HttpRequestDenied)));
            let said = said(&gate);
            assert!(said.len() == 1 && said[0].contains(reason) && !said[0].contains("secret"), "{said:?}");
        }
    }

    #[tokio::test]
    async fn bodies_that_are_never_sent_hold_no_more_of_the_host_than_a_call_may_hand_over() {
        let (_house, scope) = scope(&[]).await;
        let mut gate = gate(scope, false);
        // The library keeps one more than it is told.
        let queued = (gate.p2_outgoing_body_buffer_chunks() + 1) * gate.p2_outgoing_body_chunk_size();
        let most = queued * bellwether_engine::limits::HANDLES;
        assert!(most as u64 <= bellwether_engine::limits::HOST_BYTES, "{most}");
    }

    #[tokio::test]
    async fn a_body_beyond_the_limit_is_not_put_together() {
        let (_house, scope) = scope(&["http-client=http://127.0.0.1:1"]).await;
        let gate = gate(scope, false);
        let refused = gate.send(request("http://127.0.0.1:1/", vec![0; limits::HTTP_BODY + 1]), None).await;
        assert!(matches!(refused, Err(Error::HttpRequestBodySize(Some(_)))));
        let empty = Empty::new().map_err(|never: Infallible| match never {}).boxed_unsync();
        let unreachable = gate.send(Request::get("http://127.0.0.1:1/").body(empty).unwrap(), None).await;
        assert!(matches!(unreachable, Err(Error::DestinationUnavailable)));
    }
}
