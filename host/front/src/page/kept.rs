//! What was filled in when nobody was signed in any more: it is kept until somebody has signed in again, and sent then if they
//! say so.
//!
//! It is kept by the page itself, sealed: what was typed may be secret, and is not shown to whoever looks at the page, nor does
//! it come into an address.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{Method, header};
use maud::{Markup, html};

use super::frame::{Frame, problem};
use super::sealed::{open, seal};
use super::session;
use super::start::FORM;
use crate::extract::read_body_of;
use crate::problem::{Problem, ProblemKind};
use crate::services::{Services, Shared};

/// The field that holds it.
pub(super) const KEPT: &str = "kept";
/// Bytes of a form that is kept, as many as any of the pages takes, as a field: sealed, and in four characters for three bytes.
pub(super) const SEALED: usize = FORM / 3 * 4 + (64 << 10);
/// What it is sealed for.
const PURPOSE: &str = "form of the pages";
/// How long it is kept, in milliseconds.
const LASTS: i64 = 3_600_000;
const OVER: &str = "The session is over, so nothing was done yet. What you filled in is kept for an hour: sign in to send it";
/// Where nothing came, or not in time.
const EMPTY: &str = "The session is over, so nothing was done: sign in, and fill it in again";
const TOO_OLD: &str = "What was filled in is kept for an hour, and that is over: fill it in again";

/// A form, and where it goes.
struct Kept {
    to: String,
    form: Vec<u8>,
}

impl Kept {
    fn sealed(&self, services: &Services) -> String {
        let text = [self.to.as_bytes(), b"\n", &self.form].concat();
        seal(services, PURPOSE, services.parts.clock.now().saturating_add(LASTS), &text)
    }

    /// Nothing where it was not sealed here, or too long ago.
    fn opened(services: &Services, text: &str) -> Option<Self> {
        let (_, _, mut to) = open(services, PURPOSE, text)?;
        let line = to.iter().position(|byte| *byte == b'\n')?;
        let form = to.split_off(line + 1);
        to.truncate(line);
        Some(Self { to: String::from_utf8(to).ok()?, form })
    }
}

/// Asks who sends a form and is nobody to sign in, and keeps it; of whoever is signed in, takes one that was kept.
pub(super) async fn keep(State(services): State<Shared>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    match taken(&services, request).await {
        Ok(request) => next.run(request).await,
        Err(answer) => answer,
    }
}

/// The request with the form that is meant, or what its sender is answered instead.
async fn taken(services: &Services, request: Request) -> Result<Request, Response> {
    let (mut parts, body) = request.into_parts();
    let is_known = async || session::of(services, &parts.headers).await.is_some();
    let read = read_body_of(is_known, &parts.headers, body, SEALED).await;
    let form = read.map_err(IntoResponse::into_response)?;
    let to = parts.uri.path_and_query().map_or("/", |to| to.as_str());
    let kept = form.strip_prefix(b"kept=").map(|text| std::str::from_utf8(text).unwrap_or_default());
    if session::of(services, &parts.headers).await.is_none() {
        let kept = match kept {
            Some(kept) => Some(kept.to_owned()),
            None if form.is_empty() => None,
            None => Some(Kept { to: to.to_owned(), form: form.to_vec() }.sealed(services)),
        };
        let problem = Problem::new(ProblemKind::Unauthenticated, if kept.is_some() { OVER } else { EMPTY });
        return Err(Frame::new(session::TITLE, None).refused(&problem, &session::form(to, kept.as_deref())));
    }
    let form = match kept {
        None => form,
        Some(kept) => match Kept::opened(services, kept).filter(|kept| kept.to == to) {
            Some(kept) => kept.form.into(),
            None => return Err(Problem::invalid(TOO_OLD).into_response()),
        },
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    Ok(Request::from_parts(parts, Body::from(form)))
}

/// Offers whoever has signed in to send what was kept, or to go to the page it was filled in on.
pub(super) fn offered(services: &Services, kept: &str, page: &str) -> Markup {
    let Some(opened) = Kept::opened(services, kept) else {
        return html! { (problem(TOO_OLD)) p { a href=(page) { "Go on" } } };
    };
    html! {
        p { "What you filled in before was not sent yet." }
        form method="post" action=(opened.to) {
            input type="hidden" name=(KEPT) value=(kept);
            button { "Send it now" }
        }
        p { "Or " a href=(page) { "go to the page" } " and fill it in anew." }
    }
}
