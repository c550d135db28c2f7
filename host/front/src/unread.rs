//! Bodies that are answered before they are read: their rest is taken off the connection all the same, within bounds.
//!
//! A server that answers and closes while its client still sends makes the client's next write fail. A proxy in between
//! then tells 502 in place of the answer, and who is told that sends the same again.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use http::{Version, header};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use tokio::runtime::Handle;

/// Bodies up to this many bytes are left to the connection: they come with their head.
const SMALL: u64 = 32 * 1024;
/// The most that is thrown away of one body, in bytes: the largest component that is taken unless set otherwise.
const MOST: usize = 64 * 1024 * 1024;
/// The longest that the rest of a body is waited for.
const TIME: Duration = Duration::from_secs(10);

/// The request, whose body is read to its end by somebody.
pub(crate) fn taken_whole(request: Request) -> Request {
    // Asked first, as most requests are small.
    if request.body().size_hint().exact().is_some_and(|length| length <= SMALL) {
        return request;
    }
    // Streams of HTTP/2 end each for itself, and who expects to be asked for the body has not sent it.
    if request.version() >= Version::HTTP_2 || request.headers().contains_key(header::EXPECT) {
        return request;
    }
    request.map(|body| Body::new(Whole(Some(body))))
}

/// A body until it has ended.
struct Whole(Option<Body>);

impl HttpBody for Whole {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let frame = Pin::new(body).poll_frame(context);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.0 = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        let unread = self.0.take().filter(|body| !body.is_end_stream());
        let (Some(unread), Ok(runtime)) = (unread, Handle::try_current()) else { return };
        runtime.spawn(async move {
            let mut unread = Limited::new(unread, MOST);
            let all = async { while let Some(Ok(_)) = unread.frame().await {} };
            // Who sends more, or takes longer, finds the connection closed.
            let _ = tokio::time::timeout(TIME, all).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};

    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::{get, post};
    use tower::Layer;

    use super::*;

    /// A server that answers 413 to whatever is posted, without a look at it.
    async fn refusing() -> SocketAddr {
        let router = Router::new()
            .route("/", post(|| async { StatusCode::PAYLOAD_TOO_LARGE }))
            .route("/", get(|| async { "next" }));
        let service = tower::util::MapRequestLayer::new(taken_whole).layer(router);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback_service(service);
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    fn answer(stream: &mut TcpStream) -> String {
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).expect("an answer's head");
            answer.push(byte[0]);
        }
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_sends_a_body_to_its_end_reads_the_refusal_and_goes_on_with_the_connection() {
        let address = refusing().await;
        let sent = tokio::task::spawn_blocking(move || {
            for head in ["Content-Length: 5000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n4C4B40\r\n"] {
                let mut stream = TcpStream::connect(address).unwrap();
                write!(stream, "POST / HTTP/1.1\r\nHost: a\r\n{head}").unwrap();
                for _ in 0..50 {
                    stream.write_all(&[b'x'; 100_000]).expect("the body is taken");
                }
                if head.contains("chunked") {
                    stream.write_all(b"\r\n0\r\n\r\n").unwrap();
                }
                assert!(answer(&mut stream).starts_with("HTTP/1.1 413"));
                stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
                assert!(answer(&mut stream).starts_with("HTTP/1.1 200"));
            }
        });
        sent.await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_waits_to_be_asked_for_a_body_is_not_asked_for_one_that_is_refused() {
        let address = refusing().await;
        let told = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            let head =
                "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5000000\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            answer(&mut stream)
        });
        assert!(told.await.unwrap().starts_with("HTTP/1.1 413"));
    }
}
