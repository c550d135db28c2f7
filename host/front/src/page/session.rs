//! Who is signed in to the pages: a cookie that only this host can make and read. It names a key, which is asked again at
//! each request: what the key may not do any more, its sessions may not.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use bellwether_access::{AuditScope, Caller, Principal, Role, Sealed};
use bellwether_kernel::Timestamp;
use cookie::time::Duration;
use cookie::{Cookie, SameSite};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use maud::{Markup, html};
use serde::Deserialize;

use super::frame::Frame;
use super::kept::{self, KEPT};
use super::sealed::{open, seal};
use super::{field, filled_in, query};
use crate::envelope::origin;
use crate::extract::{Query, enough, read_body_of, recognised};
use crate::problem::{Problem, ProblemKind};
use crate::services::{Services, Shared};

pub(super) const TITLE: &str = "Sign in";
/// What the cookie is called over HTTPS, where no other host or port can set one of this name, and else.
const COOKIES: [&str; 2] = ["__Host-bellwether", "bellwether"];
/// What the cookie is sealed for.
const PURPOSE: &str = "session of the pages";
/// How long a session lasts: a day's work.
const LASTS: Duration = Duration::hours(12);
/// Bytes of a filled-in form, with the address of the page it leads to and what is kept until then.
const FORM: usize = (64 << 10) + kept::SEALED;

/// Whoever is signed in; a request by nobody is asked to sign in, and comes back.
pub(crate) struct SignedIn(pub(super) Arc<Principal>);

impl SignedIn {
    /// Whether it may do more than read.
    pub(super) fn writes(&self) -> Result<(), Problem> {
        enough(&self.0, Role::Write)
    }
}

impl FromRequestParts<Shared> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, services: &Shared) -> Result<Self, Response> {
        let Some(principal) = of(services, &parts.headers).await else {
            let next = parts.uri.path_and_query().map_or("/", |next| next.as_str());
            return Err(Redirect::to(&format!("/sign-in?{}", query([("next", next)]))).into_response());
        };
        let known = recognised(services, &principal.key, Some(principal.organisation));
        known.map_err(|problem| Frame::new("Bellwether", Some(&principal)).answer(Err(problem)))?;
        Ok(Self(principal))
    }
}

/// A session whose time is not over.
struct Session {
    sealed: Sealed,
    ends: Timestamp,
    principal: Arc<Principal>,
}

impl Session {
    /// What a cookie says, if its key works and its organisation is not suspended.
    fn opened(services: &Services, text: &str) -> Option<Self> {
        let (sealed, ends, key) = open(services, PURPOSE, text)?;
        let key = std::str::from_utf8(&key).ok()?.parse().ok()?;
        let principal = services.access().principal(&key).ok()?;
        services.access().check_not_suspended(principal.organisation).ok()?;
        Some(Self { sealed, ends, principal })
    }

    /// Those of a request.
    fn all<'a>(services: &'a Services, headers: &'a HeaderMap) -> impl Iterator<Item = Self> + 'a {
        // Whoever else shares the host's name may have set one that does not open.
        COOKIES.into_iter().flat_map(move |name| {
            let ours = cookies(headers).filter(move |cookie| cookie.name() == name);
            ours.filter_map(|cookie| Self::opened(services, cookie.value()))
        })
    }
}

/// Who a request's cookie says is signed in, if its key works, its time is not over, and nobody signed out of it.
pub(super) async fn of(services: &Services, headers: &HeaderMap) -> Option<Arc<Principal>> {
    for Session { sealed, ends, principal } in Session::all(services, headers) {
        match services.access().was_left(&sealed, ends).await {
            Ok(false) => return Some(principal),
            Ok(true) => {}
            Err(error) => tracing::warn!(%error, "whether somebody signed out could not be read"),
        }
    }
    None
}

/// Takes the cookie out of what others than the pages are told of a request.
pub(crate) fn withhold(headers: &mut HeaderMap) {
    without(headers, &COOKIES);
}

/// Leaves of a request over HTTPS the cookie that nobody but this host can have set: of the other, a host beside it in the
/// same domain may have made somebody else's session of whoever asks.
pub(super) fn keep_to_own(headers: &mut HeaderMap) {
    without(headers, &COOKIES[1..]);
}

fn without(headers: &mut HeaderMap, names: &[&str]) {
    if !headers.contains_key(header::COOKIE) {
        return;
    }
    let others = cookies(headers).filter(|cookie| !names.contains(&cookie.name()));
    let others = others.map(|cookie| cookie.to_string()).collect::<Vec<_>>().join("; ");
    headers.remove(header::COOKIE);
    if let Some(others) = HeaderValue::try_from(others).ok().filter(|others| !others.is_empty()) {
        headers.insert(header::COOKIE, others);
    }
}

/// Takes out of what others than the pages answer what would change the pages' cookie, or how browsers come to the host: they
/// share its name.
pub(crate) fn withhold_answer(headers: &mut HeaderMap) {
    headers.remove(header::STRICT_TRANSPORT_SECURITY);
    headers.remove("clear-site-data");
    let header::Entry::Occupied(set) = headers.entry(header::SET_COOKIE) else { return };
    let (_, all) = set.remove_entry_mult();
    let all: Vec<_> = all.filter(|set| !sets_session(set)).collect();
    for set in all {
        headers.append(header::SET_COOKIE, set);
    }
}

/// Whether a browser that is answered this would send a cookie of the pages' name. One without a name is sent as its value,
/// which may look like a name and a value.
fn sets_session(set: &HeaderValue) -> bool {
    let text = String::from_utf8_lossy(set.as_bytes());
    let pair = text.split(';').next().unwrap_or_default();
    let pair = pair.trim_start_matches(|sign: char| sign == '=' || sign.is_ascii_whitespace());
    COOKIES.contains(&pair.split('=').next().unwrap_or_default().trim())
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = Cookie<'_>> {
    let all = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    all.flat_map(Cookie::split_parse).filter_map(Result::ok)
}

/// Whether a request came over HTTPS, as far as is known.
pub(super) fn is_secure(services: &Services, request: &Request) -> bool {
    origin(services, request).is_some_and(|(scheme, _)| scheme == "https")
}

/// Where to go on.
#[derive(Default, Deserialize)]
pub(crate) struct Onwards {
    #[serde(default)]
    next: String,
}

/// Asks for a key.
pub(crate) async fn ask(
    State(services): State<Shared>,
    Query(onwards): Query<Onwards>,
    request: Request,
) -> Response {
    match of(&services, request.headers()).await {
        Some(_) => Redirect::to(here(&onwards.next)).into_response(),
        None => Frame::new(TITLE, None).titled(&form(&onwards.next, None)),
    }
}

/// Signs in whoever has a key of an organisation, and goes on.
pub(crate) async fn sign_in(State(services): State<Shared>, request: Request) -> Result<Response, Problem> {
    let is_secure = is_secure(&services, &request)
        || request.headers().get(header::ORIGIN).is_some_and(|from| from.as_bytes().starts_with(b"https:"));
    let (parts, body) = request.into_parts();
    // Whose form it is, its key tells.
    let filled = read_body_of(async || false, &parts.headers, body, FORM).await?;
    let filled = filled_in(&filled);
    let (next, kept) = (field(&filled, "next"), Some(field(&filled, KEPT)).filter(|kept| !kept.is_empty()));
    let principal = match known(&services, field(&filled, "key")) {
        Ok(principal) => principal,
        Err(problem) => return Ok(Frame::new(TITLE, None).refused(&problem, &form(next, kept))),
    };
    let (scope, key) = (AuditScope::Organisation(principal.organisation), principal.key.as_str());
    services.audit(scope, key, "key.sign-in", key, &[]).await;
    let lasts = i64::try_from(LASTS.whole_milliseconds()).unwrap_or(i64::MAX);
    let ends = services.parts.clock.now().saturating_add(lasts);
    let sealed = seal(&services, PURPOSE, ends, key.as_bytes());
    let session = cookie(sealed, LASTS, is_secure);
    let onwards = match kept {
        Some(kept) => {
            Frame::new("Signed in", Some(&principal)).titled(&kept::offered(&services, kept, here(next)))
        }
        None => Redirect::to(here(next)).into_response(),
    };
    Ok(([session], onwards).into_response())
}

/// Forgets who was signed in, and takes no copy of the cookie from now on.
pub(crate) async fn sign_out(State(services): State<Shared>, request: Request) -> Response {
    let forgotten = [true, false].map(|is_secure| cookie(String::new(), Duration::ZERO, is_secure));
    for Session { sealed, ends, .. } in Session::all(&services, request.headers()) {
        if let Err(error) = services.access().leave_session(&sealed, ends).await {
            let page = Frame::new("Signed out here alone", None).answer(Err(error.into()));
            return (AppendHeaders(forgotten), page).into_response();
        }
    }
    (AppendHeaders(forgotten), Redirect::to("/")).into_response()
}

fn cookie(value: String, lasts: Duration, is_secure: bool) -> (HeaderName, String) {
    // A link from a chat leads to an incident; what changes something is kept to the pages' own forms.
    let name = COOKIES[usize::from(!is_secure)];
    let cookie = Cookie::build((name, value)).path("/").http_only(true).same_site(SameSite::Lax);
    (header::SET_COOKIE, cookie.max_age(lasts).secure(is_secure).build().to_string())
}

/// A page of this host: never one of another's. Browsers leave out tabs and read `\` as `/`.
fn here(next: &str) -> &str {
    let is_path = next.starts_with('/') && !next.starts_with("//");
    let is_plain = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_path && is_plain { next } else { "/" }
}

/// Asks for a key, and keeps what was filled in before.
pub(super) fn form(next: &str, kept: Option<&str>) -> Markup {
    html! {
        p { "With a key of your organisation: what it may do, you may do here." }
        form method="post" action="/sign-in" {
            input type="hidden" name="next" value=(next);
            @if let Some(kept) = kept { input type="hidden" name=(KEPT) value=(kept); }
            label {
                "Key " span { "bw_…; one with the role write to change anything" }
                input type="password" name="key" autocomplete="current-password" required autofocus;
            }
            button { "Sign in" }
        }
    }
}

/// Whose key was given.
fn known(services: &Services, key: &str) -> Result<Arc<Principal>, Problem> {
    let Caller::Principal(principal) = services.access().authenticate_token(key)? else {
        let detail = "Use a key of the organisation, not the operator's";
        return Err(Problem::new(ProblemKind::Forbidden, detail));
    };
    recognised(services, &principal.key, Some(principal.organisation))?;
    Ok(principal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_signed_in_goes_on_to_a_page_of_this_host_alone() {
        for (next, onwards) in [
            ("/alerts?incident=1", "/alerts?incident=1"),
            ("", "/"),
            ("//elsewhere.example/", "/"),
            ("/\\elsewhere.example/", "/"),
            ("/\t/elsewhere.example/", "/"),
            ("/ /elsewhere.example/", "/"),
            ("https://elsewhere.example/", "/"),
            ("/a\r\nset-cookie: a=b", "/"),
        ] {
            assert_eq!(here(next), onwards, "{next:?}");
        }
    }

    #[test]
    fn what_others_answer_sets_no_session_and_changes_nothing_of_the_host() {
        for (set, kept) in [
            ("theirs=1; Path=/", true),
            ("bellwether-too=1", true),
            ("theirs=bellwether=1", true),
            ("bellwether=1; Path=/; Domain=example.com", false),
            (" bellwether =1", false),
            ("__Host-bellwether=; Max-Age=0", false),
            ("=bellwether=1", false),
            ("bellwether", false),
            ("= __Host-bellwether=1", false),
        ] {
            let mut headers = HeaderMap::from_iter([
                (header::SET_COOKIE, HeaderValue::from_static(set)),
                (header::SET_COOKIE, HeaderValue::from_static("last=1")),
                (header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=9")),
                (HeaderName::from_static("clear-site-data"), HeaderValue::from_static("\"cookies\"")),
                (header::ETAG, HeaderValue::from_static("\"a\"")),
            ]);
            withhold_answer(&mut headers);
            let left: Vec<_> = headers.get_all(header::SET_COOKIE).iter().collect();
            assert_eq!(left, if kept { vec![set, "last=1"] } else { vec!["last=1"] }, "{set}");
            assert_eq!(headers.len(), left.len() + 1, "{headers:?}");
        }
    }

    #[test]
    fn others_see_every_cookie_but_the_pages_own() {
        for (sent, seen) in [
            ("bellwether=secret", None),
            ("a=1; bellwether=secret; __Host-bellwether=secret; b=2", Some("a=1; b=2")),
            ("a=1", Some("a=1")),
        ] {
            let mut headers = HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_static(sent))]);
            withhold(&mut headers);
            assert_eq!(headers.get(header::COOKIE).map(|seen| seen.to_str().unwrap()), seen, "{sent}");
        }
    }
}
