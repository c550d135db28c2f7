//! The markups of channels, as little of each as a story needs.

use std::borrow::Cow;

/// How a channel marks text up.
pub trait Markup {
    /// Text that stays text.
    fn text(&self, text: &str) -> String;

    /// Text that stands out.
    fn strong(&self, text: &str) -> String;

    /// A page, by its label.
    fn link(&self, label: &str, url: &str) -> String;

    /// What an item of a list begins with.
    fn bullet(&self) -> &'static str {
        "• "
    }
}

/// None at all.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Markup for Plain {
    fn text(&self, text: &str) -> String {
        text.to_owned()
    }

    fn strong(&self, text: &str) -> String {
        text.to_owned()
    }

    fn link(&self, label: &str, url: &str) -> String {
        format!("{label}: {url}")
    }

    fn bullet(&self) -> &'static str {
        "- "
    }
}

/// HTML, of which chats take little: `<b>` and `<a>`.
///
/// ```
/// use bellwether_sdk::formatting::{Html, Markup};
///
/// assert_eq!(Html.text("a<b> & \"c\""), "a&lt;b&gt; &amp; &quot;c&quot;");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Html;

impl Markup for Html {
    fn text(&self, text: &str) -> String {
        let escape = |character| match character {
            '&' => Some("&amp;"),
            '<' => Some("&lt;"),
            '>' => Some("&gt;"),
            '"' => Some("&quot;"),
            _ => None,
        };
        replaced(text, escape)
    }

    fn strong(&self, text: &str) -> String {
        format!("<b>{}</b>", self.text(text))
    }

    fn link(&self, label: &str, url: &str) -> String {
        format!(r#"<a href="{}">{}</a>"#, self.text(url), self.text(label))
    }
}

/// Markdown, as Mattermost and Adaptive Cards have it.
///
/// ```
/// use bellwether_sdk::formatting::{Markdown, Markup};
///
/// assert_eq!(Markdown.text("2 * [3]"), r"2 \* \[3\]");
/// assert_eq!(Markdown.text("@all"), "@\u{200b}all");
/// assert_eq!(Markdown.text("1. one\n  - two\n-3.5"), "1\\. one\n  \\- two\n-3.5");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Markdown;

impl Markup for Markdown {
    fn text(&self, text: &str) -> String {
        let escape = |character| match character {
            '\\' => Some(r"\\"),
            '*' => Some(r"\*"),
            '_' => Some(r"\_"),
            '`' => Some(r"\`"),
            '~' => Some(r"\~"),
            '[' => Some(r"\["),
            ']' => Some(r"\]"),
            '|' => Some(r"\|"),
            '#' => Some(r"\#"),
            '<' => Some(r"\<"),
            '>' => Some(r"\>"),
            '!' => Some(r"\!"),
            '@' => Some(QUIET),
            _ => None,
        };
        let lines: Vec<String> =
            text.split('\n').map(|line| no_item(&replaced(line, escape)).into_owned()).collect();
        lines.join("\n")
    }

    fn strong(&self, text: &str) -> String {
        format!("**{}**", self.text(text))
    }

    fn link(&self, label: &str, url: &str) -> String {
        let url = url.replace('(', "%28").replace(')', "%29").replace('<', "%3C").replace('>', "%3E");
        format!("[{}]({url})", self.text(label))
    }

    fn bullet(&self) -> &'static str {
        "- "
    }
}

/// A line of Markdown that begins no list, whatever it begins with.
fn no_item(line: &str) -> Cow<'_, str> {
    let text = line.trim_start();
    let number = text.find(|next: char| !next.is_ascii_digit()).unwrap_or(text.len());
    let marked = match text.as_bytes()[number..] {
        [b'-' | b'+'] | [b'-' | b'+', b' ', ..] => number == 0,
        [b'.' | b')'] | [b'.' | b')', b' ', ..] => number > 0,
        _ => false,
    };
    if !marked {
        return Cow::Borrowed(line);
    }
    let (before, mark) = line.split_at(line.len() - text.len() + number);
    Cow::Owned(format!("{before}\\{mark}"))
}

/// Another markup, for chats that read what is in it anew: nobody is called by what an incident says, and pages are written
/// out, for those that a chat makes no link of.
///
/// ```
/// use bellwether_sdk::formatting::{Html, Markup, WrittenOut};
///
/// assert_eq!(WrittenOut(Html).strong("@ada"), "<b>@\u{200b}ada</b>");
/// assert_eq!(WrittenOut(Html).link("Incident", "http://localhost/?a=1&b=2"), "Incident: http://localhost/?a=1&amp;b=2");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct WrittenOut<M>(pub M);

impl<M: Markup> Markup for WrittenOut<M> {
    fn text(&self, text: &str) -> String {
        self.0.text(&quiet(text))
    }

    fn strong(&self, text: &str) -> String {
        self.0.strong(&quiet(text))
    }

    fn link(&self, label: &str, url: &str) -> String {
        self.0.text(&Plain.link(&quiet(label), url))
    }

    fn bullet(&self) -> &'static str {
        self.0.bullet()
    }
}

/// An `@` that calls nobody: a space of no width stands between it and the name.
const QUIET: &str = "@\u{200b}";

/// Text without markup that calls nobody, for channels that read an `@` in it.
///
/// ```
/// assert_eq!(bellwether_sdk::formatting::quiet("@all"), "@\u{200b}all");
/// ```
#[must_use]
pub fn quiet(text: &str) -> String {
    text.replace('@', QUIET)
}

pub(super) fn replaced(text: &str, escape: impl Fn(char) -> Option<&'static str>) -> String {
    let mut replaced = String::with_capacity(text.len());
    for character in text.chars() {
        match escape(character) {
            Some(escaped) => replaced.push_str(escaped),
            None => replaced.push(character),
        }
    }
    replaced
}
