//! The outside, as a test writes it: what requests are answered, and which were sent.

use std::collections::VecDeque;

use super::{MemoryHost, prepare};
use crate::host::HttpClient;
use crate::http::{HttpError, Request, Response};

/// Answers that wait for their request, and the requests so far.
#[derive(Debug, Default)]
pub(super) struct Outside {
    sent: Vec<Request>,
    next: VecDeque<Result<Response, HttpError>>,
    /// By method and how the URL begins, each answered as often as it is asked.
    standing: Vec<(String, String, Result<Response, HttpError>)>,
}

/// An answer with this status and body.
#[must_use]
pub fn response(status: u16, body: impl Into<Vec<u8>>) -> Response {
    Response { status, headers: Vec::new(), body: body.into() }
}

impl MemoryHost {
    /// What the next request to the outside is answered that has no answer yet, wherever it goes.
    pub fn answer(&self, answer: Result<Response, HttpError>) {
        self.outside.borrow_mut().next.push_back(answer);
    }

    /// What every request of that method to a URL that begins so is answered, however often it is sent. Of several
    /// that match, the longest beginning answers; answers given with [`Self::answer`] come first.
    pub fn answer_to(&self, method: &str, beginning: &str, answer: Result<Response, HttpError>) {
        self.outside.borrow_mut().standing.push((method.to_owned(), beginning.to_owned(), answer));
    }

    /// The requests sent to the outside so far; what the host refuses is not.
    #[must_use]
    pub fn sent(&self) -> Vec<Request> {
        self.outside.borrow().sent.clone()
    }
}

/// A request nobody wrote an answer for finds no connection. What one call may send in all is not counted: where a call
/// ends is not seen here.
impl HttpClient for MemoryHost {
    fn send(&self, request: Request) -> Result<Response, HttpError> {
        prepare::check(&request)?;
        let mut outside = self.outside.borrow_mut();
        let answer = outside.next.pop_front().unwrap_or_else(|| {
            let matching = outside.standing.iter().filter(|(method, beginning, _)| {
                *method == request.method && request.url.starts_with(beginning)
            });
            matching.max_by_key(|(_, beginning, _)| beginning.len()).map_or_else(
                || {
                    let Request { method, url, .. } = &request;
                    Err(HttpError::Connection(format!("no answer was given for {method} {url}")))
                },
                |(.., answer)| answer.clone(),
            )
        });
        outside.sent.push(request);
        answer.and_then(|answer| prepare::check_answer(&answer).map(|()| answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_meet_their_answers_in_order() {
        let host = MemoryHost::new();
        host.answer(Ok(response(202, "")));
        host.answer(Err(HttpError::Timeout));
        assert_eq!(host.send(Request::get("https://a.example/")).map(|answer| answer.status), Ok(202));
        assert_eq!(host.send(Request::get("https://a.example/")), Err(HttpError::Timeout));
        assert!(matches!(host.send(Request::get("https://a.example/")), Err(HttpError::Connection(_))));
        assert_eq!(host.sent().len(), 3);
    }

    #[test]
    fn what_the_host_refuses_takes_no_answer_and_is_not_sent() {
        let host = MemoryHost::new();
        host.answer(Ok(response(200, "")));
        let refused = host.send(Request::get("https://a.example/").header("Content-Length", "3"));
        assert_eq!(refused, Err(HttpError::Invalid("the header content-length is the host's to set".into())));
        assert!(host.sent().is_empty());
        assert_eq!(host.send(Request::get("https://a.example/")).map(|answer| answer.status), Ok(200));
        host.answer(Ok(response(200, vec![0; (4 << 20) + 1])));
        let large = host.send(Request::get("https://a.example/"));
        assert_eq!(large, Err(HttpError::TooLarge("the answer's body is larger than 4 MiB".into())));
    }

    #[test]
    fn the_longest_beginning_answers_again_and_again() {
        let host = MemoryHost::new();
        host.answer_to("GET", "https://a.example/", Ok(response(200, "all")));
        host.answer_to("GET", "https://a.example/users/", Ok(response(200, "users")));
        host.answer_to("POST", "https://a.example/", Err(HttpError::Timeout));
        let body = |request| host.send(request).map(|answer| answer.body);
        for _ in 0..2 {
            assert_eq!(body(Request::get("https://a.example/users/7")), Ok(b"users".to_vec()));
            assert_eq!(body(Request::get("https://a.example/")), Ok(b"all".to_vec()));
        }
        assert_eq!(body(Request::post("https://a.example/")), Err(HttpError::Timeout));
        assert!(body(Request::get("https://b.example/")).is_err());
    }
}
