//! The markups of channels, as little of each as a story needs.

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

/// Slack's mrkdwn. Its marks `*_~` cannot be escaped; mentions and links can.
///
/// ```
/// use bellwether_sdk::formatting::{Markup, Mrkdwn};
///
/// assert_eq!(Mrkdwn.text("<!channel> & co"), "&lt;!channel&gt; &amp; co");
/// assert_eq!(Mrkdwn.link("a|b", "https://a.example/?b=1&c=|"), "<https://a.example/?b=1&amp;c=%7C|a¦b>");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Mrkdwn;

impl Markup for Mrkdwn {
    fn text(&self, text: &str) -> String {
        let escape = |character| match character {
            '&' => Some("&amp;"),
            '<' => Some("&lt;"),
            '>' => Some("&gt;"),
            _ => None,
        };
        replaced(text, escape)
    }

    fn strong(&self, text: &str) -> String {
        // A star within would end what it stands in.
        format!("*{}*", self.text(&text.replace('*', "∗")))
    }

    fn link(&self, label: &str, url: &str) -> String {
        let url = url.replace('|', "%7C").replace('<', "%3C").replace('>', "%3E");
        format!("<{}|{}>", self.text(&url), self.text(&label.replace('|', "¦")))
    }
}

/// Markdown, as Mattermost and Adaptive Cards have it.
///
/// ```
/// use bellwether_sdk::formatting::{Markdown, Markup};
///
/// assert_eq!(Markdown.text("2 * [3] @all"), r"2 \* \[3\] @\u{200b}all".replace(r"\u{200b}", "\u{200b}"));
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
            // Nobody is called by what an incident says: a space of no width behind it.
            '@' => Some("@\u{200b}"),
            _ => None,
        };
        replaced(text, escape)
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

/// Another markup, with pages written out: for those a channel makes no link of.
///
/// ```
/// use bellwether_sdk::formatting::{Html, Markup, WrittenOut};
///
/// assert_eq!(WrittenOut(Html).link("Incident", "http://localhost/?a=1&b=2"), "Incident: http://localhost/?a=1&amp;b=2");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct WrittenOut<M>(pub M);

impl<M: Markup> Markup for WrittenOut<M> {
    fn text(&self, text: &str) -> String {
        self.0.text(text)
    }

    fn strong(&self, text: &str) -> String {
        self.0.strong(text)
    }

    fn link(&self, label: &str, url: &str) -> String {
        self.text(&Plain.link(label, url))
    }

    fn bullet(&self) -> &'static str {
        self.0.bullet()
    }
}

fn replaced(text: &str, escape: impl Fn(char) -> Option<&'static str>) -> String {
    let mut replaced = String::with_capacity(text.len());
    for character in text.chars() {
        match escape(character) {
            Some(escaped) => replaced.push_str(escaped),
            None => replaced.push(character),
        }
    }
    replaced
}
