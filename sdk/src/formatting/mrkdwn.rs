//! Slack's own markup.

use std::borrow::Cow;

use super::Markup;
use super::markup::replaced;

/// Slack's mrkdwn. Mentions and links are escaped; for its marks `*_~` there is no escape (Slack: Formatting text for app
/// surfaces), but within code they are none. So a word that has one is shown as code, as names with underscores often are.
/// A backtick, which would end that, becomes another one.
///
/// ```
/// use bellwether_sdk::formatting::{Markup, Mrkdwn};
///
/// assert_eq!(Mrkdwn.text("<!channel> & co"), "&lt;!channel&gt; &amp; co");
/// assert_eq!(Mrkdwn.text("*all* of http_errors{a:<b>}: 2"), "`*all*` of `http_errors{a:&lt;b&gt;}:` 2");
/// assert_eq!(Mrkdwn.strong("All of a_b fail"), "*All of* `a_b` *fail*");
/// assert_eq!(Mrkdwn.link("a|b", "https://a.example/?b=1&c=|"), "<https://a.example/?b=1&amp;c=%7C|a¦b>");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Mrkdwn;

impl Markup for Mrkdwn {
    fn text(&self, text: &str) -> String {
        written(text, str::to_owned)
    }

    fn strong(&self, text: &str) -> String {
        written(text, |plain| format!("*{plain}*"))
    }

    fn link(&self, label: &str, url: &str) -> String {
        let url = url.replace('|', "%7C").replace('<', "%3C").replace('>', "%3E");
        // A link is no place for code: what looks alike stands for the marks.
        let alike = |character| match character {
            '|' => Some("¦"),
            '*' => Some("∗"),
            '_' => Some("ˍ"),
            '~' => Some("∼"),
            '`' => Some(BACKTICK),
            _ => None,
        };
        format!("<{}|{}>", escaped(&url), escaped(&replaced(label, alike)))
    }
}

/// What looks like a backtick and is none.
const BACKTICK: &str = "ˋ";

/// Words that have a mark as code, the others between them as `plain` writes what is escaped.
fn written(text: &str, plain: impl Fn(&str) -> String) -> String {
    let text = text.replace('`', BACKTICK);
    let mut written = String::with_capacity(text.len());
    let mut write = |words: &str, is_marked: bool| {
        // What stands around words is outside of their marks, or they would be none.
        let bare = words.trim_matches(SPACES);
        let Some(at) = words.find(bare).filter(|_| !bare.is_empty()) else {
            written.push_str(words);
            return;
        };
        written.push_str(&words[..at]);
        written.push_str(&if is_marked { format!("`{}`", escaped(bare)) } else { plain(&escaped(bare)) });
        written.push_str(&words[at + bare.len()..]);
    };
    let (mut begins_line, mut plain_from, mut at) = (true, 0, 0);
    for word in text.split_inclusive(SPACES) {
        let end = at + word.len();
        // What begins a line as a quotation does is one, escaped or not.
        if word.contains(MARKS) || begins_line && word.starts_with('>') {
            write(&text[plain_from..at], false);
            write(word, true);
            plain_from = end;
        }
        begins_line = word.ends_with('\n') || begins_line && word == " ";
        at = end;
    }
    write(&text[plain_from..], false);
    written
}

/// Where words end.
const SPACES: [char; 2] = [' ', '\n'];

/// What there is no escape for.
const MARKS: [char; 3] = ['*', '_', '~'];

fn escaped(text: &str) -> Cow<'_, str> {
    let escape = |character| match character {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        _ => None,
    };
    if text.contains(['&', '<', '>']) { Cow::Owned(replaced(text, escape)) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_word_with_a_mark_is_code_and_the_spaces_around_it_stay() {
        for (text, plain, strong) in [
            ("", "", ""),
            ("  ", "  ", "  "),
            ("a b", "a b", "*a b*"),
            ("a_b", "`a_b`", "`a_b`"),
            (" *a\n b*  c ", " `*a`\n `b*`  c ", " `*a`\n `b*`  *c* "),
            ("> quoted\n >5", "`&gt;` quoted\n `&gt;5`", "`&gt;` *quoted*\n `&gt;5`"),
            ("a > b `c`", "a &gt; b ˋcˋ", "*a &gt; b ˋcˋ*"),
            ("2 * 3", "2 `*` 3", "*2* `*` *3*"),
        ] {
            assert_eq!((&*Mrkdwn.text(text), &*Mrkdwn.strong(text)), (plain, strong), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_mark_stands_outside_of_code(text in "[a*_~`<>& \n]{0,30}") {
            let written = Mrkdwn.text(&text);
            for (at, part) in written.split('`').enumerate() {
                prop_assert!(at % 2 == 1 || !part.contains(['*', '_', '~', '<', '>']), "{written:?}");
            }
            prop_assert_eq!(written.matches('`').count() % 2, 0, "{:?}", written);
        }
    }
}
