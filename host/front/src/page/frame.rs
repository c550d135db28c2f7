//! What every page stands in: its head, where it leads, who is signed in; and what pages are made of.
//!
//! A page holds its one style sheet itself, loads nothing, runs nothing, and its forms go nowhere else.

use axum::response::{IntoResponse, Response};
use bellwether_access::Principal;
use bellwether_kernel::Timestamp;
use http::{HeaderValue, header};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::Serialize;
use serde_json::Value;

use super::query;
use crate::problem::Problem;

const STYLE: &str = include_str!("style.css");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'self'; \
    frame-ancestors 'none'";
/// After how long a page is loaded again that shows what goes on, in seconds.
const AGAIN: u8 = 2;

/// A page, and for whom.
pub(super) struct Frame<'a> {
    title: &'a str,
    /// The page that led here, by its title.
    section: &'a str,
    who: Option<&'a Principal>,
    goes_on: bool,
}

impl<'a> Frame<'a> {
    pub(super) fn new(title: &'a str, who: Option<&'a Principal>) -> Self {
        Self { title, section: title, who, goes_on: false }
    }

    /// It shows one of what the page of this title lists.
    pub(super) fn within(self, section: &'a str) -> Self {
        Self { section, ..self }
    }

    /// What it shows goes on: it is loaded again by itself.
    pub(super) fn going_on(self, goes_on: bool) -> Self {
        Self { goes_on, ..self }
    }

    /// The page under its title.
    pub(super) fn titled(&self, body: &Markup) -> Response {
        self.whole(&html! { h1 { (self.title) } (body) })
    }

    /// What came of a request: the page, or why there is none, with the status the API has for that, so that what watches
    /// requests sees refusals as such.
    pub(super) fn answer(&self, shown: Result<Markup, Problem>) -> Response {
        shown.map_or_else(|problem| self.refused(&problem, &html! {}), |body| self.titled(&body))
    }

    /// Why something was not done, above what it may be tried again with.
    pub(super) fn refused(&self, refused: &Problem, again: &Markup) -> Response {
        let (page, body) = self.titled(&html! { (problem(refused.detail())) (again) }).into_parts();
        // The problem goes with it, for the log.
        let mut response = refused.clone().into_response();
        response.headers_mut().extend(page.headers);
        *response.body_mut() = body;
        response
    }

    /// The page, below why something was not done; or why there is no page.
    pub(super) fn shown(&self, refused: Option<&Problem>, body: Result<Markup, Problem>) -> Response {
        match (refused, body) {
            (Some(refused), Ok(body)) => self.refused(refused, &body),
            (_, body) => self.answer(body),
        }
    }

    /// The page as it is.
    pub(super) fn whole(&self, body: &Markup) -> Response {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    @if self.goes_on { meta http-equiv="refresh" content=(AGAIN); }
                    title { @if self.title != "Bellwether" { (self.title) " · " } "Bellwether" }
                    style { (PreEscaped(STYLE)) }
                }
                body { main {
                    (self.head())
                    (body)
                } }
            }
        };
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
            (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
            // Where no scheme of fetch metadata is sent, a form is known as this page's by its origin.
            (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        (headers, straight(page.into_string())).into_response()
    }

    fn head(&self) -> Markup {
        html! {
            nav {
                @for (path, name) in [("/", "Bellwether"), ("/alerts", "Alerts"), ("/monitors", "Monitors"), ("/series", "Metrics"), ("/start", "Playbooks"), ("/runs", "Runs"), ("/plugins", "Plugins")] {
                    @let current = if name == self.title { "page" } else { "true" };
                    a href=(path) aria-current=[(name == self.section).then_some(current)] { (name) }
                }
                @if let Some(who) = self.who {
                    form.inline method="post" action="/sign-out" {
                        span.soft { (who.organisation_name) ", " (who.key_name) }
                        button { "Sign out" }
                    }
                } @else if self.title != super::session::TITLE {
                    a.aside href="/sign-in" { "Sign in" }
                }
            }
        }
    }
}

/// The page with marks that turn the direction of writing shown as what they are: a tag's value is not to turn the words
/// around it. No page has any of its own.
fn straight(page: String) -> String {
    let turns = |character: char| matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !page.contains(turns) {
        return page;
    }
    let mut told = String::with_capacity(page.len());
    for character in page.chars() {
        if turns(character) { told.extend(character.escape_unicode()) } else { told.push(character) }
    }
    told
}

/// What went wrong, said at once by what reads pages aloud.
pub(super) fn problem(text: &str) -> Markup {
    html! { p.problem role="alert" { (text) } }
}

/// A text as a cell.
pub(super) fn text(text: impl AsRef<str>) -> Markup {
    html! { (text.as_ref()) }
}

/// A time in UTC, to the second.
pub(super) fn moment(time: Timestamp) -> String {
    let text = time.to_string();
    text.split(['.', 'Z']).next().unwrap_or(&text).replace('T', " ")
}

/// The word the API has for a type or a state.
pub(super) fn word(of: impl Serialize) -> String {
    match serde_json::to_value(of) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}

/// A URL of the web as a link; anything else stays a text.
pub(super) fn linked(url: &str) -> Markup {
    let begins =
        |scheme: &str| url.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme));
    match begins("https://") || begins("http://") {
        true => html! { a href=(url) rel="noopener noreferrer" { (url) } },
        false => text(url),
    }
}

/// A table under its heading, or that there is nothing to put into it. Each cell says of which column it is: a narrow screen
/// shows them below each other.
pub(super) fn table<const N: usize>(
    heading: &str,
    columns: [&str; N],
    rows: &[[Markup; N]],
    is_cut: bool,
) -> Markup {
    html! {
        @if !heading.is_empty() { h2 { (heading) } }
        @if rows.is_empty() {
            p.soft { "none" }
        } @else {
            div.wide { table {
                thead { tr { @for column in columns { th scope="col" { (column) } } } }
                tbody { @for row in rows {
                    tr { @for (column, cell) in columns.iter().zip(row) { td data-column=(column) { (cell) } } }
                } }
            } }
        }
        @if is_cut { p.soft { "There are more; the API and the command line list them all." } }
    }
}

/// The way to a list's next page, if there is one: by what was asked for, and where that page begins.
pub(super) fn further(path: &str, asked: &[(&str, &str)], next: Option<String>) -> Markup {
    let Some(next) = next else { return html! {} };
    let asked = asked.iter().copied().filter(|(_, value)| !value.is_empty());
    let query = query(asked.chain([("cursor", next.as_str())]));
    html! { p { a rel="next" href={ (path) "?" (query) } { "Next page" } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_markup_or_turns_the_words_around_it() {
        let shown = straight(text("<b>\"a\"&\u{202e}\u{2067}مرحبا").into_string());
        assert_eq!(shown, "&lt;b&gt;&quot;a&quot;&amp;\\u{202e}\\u{2067}مرحبا");
    }

    #[test]
    fn the_style_loads_nothing() {
        for outside in ["url(", "@import", "<"] {
            assert!(!STYLE.contains(outside), "{outside}");
        }
    }

    #[test]
    fn only_a_url_of_the_web_becomes_a_link() {
        for (url, shown) in [
            (
                "https://wiki.example/?a=1&b=\"",
                "<a href=\"https://wiki.example/?a=1&amp;b=&quot;\" rel=\"noopener noreferrer\">\
                 https://wiki.example/?a=1&amp;b=&quot;</a>",
            ),
            ("HTTP://a", "<a href=\"HTTP://a\" rel=\"noopener noreferrer\">HTTP://a</a>"),
            ("javascript:alert(\"https://a\")", "javascript:alert(&quot;https://a&quot;)"),
            ("httpé", "httpé"),
        ] {
            assert_eq!(linked(url).into_string(), shown);
        }
    }
}
