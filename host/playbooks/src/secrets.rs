//! Keeps secrets out of what is recorded.
//!
//! An app declares an input secret. What such an input is given, and whatever its template reads it from, is masked in
//! the run's record: at its own place whatever it is, and in every other text it is found in. Where a later step, or
//! the same run after a restart, needs the value again, the whole of what it came with is kept sealed beside the
//! masked record. What is secret is known for as long as the run is: the values themselves are kept sealed with it, and
//! go with what it hands on to a run within it, to the run it lies within, and to one that repeats it. So a value stays
//! masked after the named secret it came from was replaced or deleted.

mod forms;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;

pub(crate) use bellwether_kernel::value::MASK;
use serde_json::Value as Json;

use crate::compile::is_within;
use crate::template::Variables;
use forms::{Found, Search};

/// Bytes of secrets in one record; a single one may have more.
const RECORD: usize = 256 * 1024;

/// The secrets of one run, or of one call, as far as they are known.
#[derive(Clone, Default)]
pub struct Secrets {
    /// What is looked for, by the character it begins with.
    texts: BTreeMap<char, Vec<String>>,
    /// Which of those characters are of ASCII: a bit for each.
    beginnings: u128,
    /// What was learned, in that order, of which `texts` are the forms.
    learned: Vec<String>,
    /// How many of those are recorded with the run.
    recorded: usize,
}

/// Says how many there are, and none of them.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("learned", &self.learned.len()).finish_non_exhaustive()
    }
}

impl Secrets {
    /// Learns every text and number in `value`.
    pub fn learn(&mut self, value: &Json) {
        match value {
            Json::Null | Json::Bool(_) => {}
            Json::Number(number) => self.learn_text(&number.to_string()),
            Json::String(text) => self.learn_text(text),
            Json::Array(items) => items.iter().for_each(|item| self.learn(item)),
            Json::Object(fields) => fields.values().for_each(|field| self.learn(field)),
        }
    }

    fn learn_text(&mut self, text: &str) {
        let mut is_new = false;
        // A short one is masked at its own place alone: searched for, it would mask half a log.
        for form in forms::texts(text) {
            let Some(first) = form.chars().next() else { continue };
            let known = self.texts.entry(first).or_default();
            if !known.contains(&form) {
                known.push(form);
                is_new = true;
            }
            if first.is_ascii() {
                self.beginnings |= 1 << u32::from(first);
            }
        }
        if is_new {
            self.learned.push(text.to_owned());
        }
    }

    /// Whether none is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.learned.is_empty()
    }

    /// Everything learned.
    pub(crate) fn all(&self) -> Json {
        Json::from(self.learned.as_slice())
    }

    /// The same for another run, with which none is recorded yet.
    pub(crate) fn for_another(&self) -> Self {
        Self { recorded: 0, ..self.clone() }
    }

    /// How many of those known are recorded with the run.
    pub(crate) fn recorded(&self) -> usize {
        self.recorded
    }

    /// What is not recorded with the run yet, as much of it as one record takes, which counts as recorded from here on.
    pub(crate) fn record(&mut self) -> Option<Json> {
        let mut bytes = 0;
        let fits = |text: &&String| {
            let first = bytes == 0;
            bytes += text.len();
            first || bytes <= RECORD
        };
        let new: Vec<&String> = self.learned[self.recorded..].iter().take_while(fits).collect();
        self.recorded += new.len();
        (!new.is_empty()).then(|| new.into_iter().map(String::as_str).collect())
    }

    /// These, all of which were read from where they are recorded.
    pub(crate) fn into_recorded(self) -> Self {
        Self { recorded: self.learned.len(), ..self }
    }

    /// Takes back that more than the first `recorded` are recorded: what was to record them was not committed.
    pub(crate) fn unrecord(&mut self, recorded: usize) {
        self.recorded = recorded;
    }

    /// `text` with every secret in it masked: all of it, where it is made to be slow to search.
    pub(crate) fn mask_text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let Some(found) = self.find(text) else { return Cow::Borrowed(MASK) };
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        let (mut masked, mut shown) = (String::with_capacity(text.len()), 0);
        for Range { start, end } in found {
            masked.push_str(&text[shown..start]);
            masked.push_str(MASK);
            shown = end;
        }
        masked.push_str(&text[shown..]);
        Cow::Owned(masked)
    }

    /// Where secrets are in `text`, in order, those that overlap as one; `None` where looking for them takes too long.
    fn find(&self, text: &str) -> Option<Vec<Range<usize>>> {
        let mut found: Vec<Range<usize>> = Vec::new();
        if self.texts.is_empty() || forms::is_short(text) {
            return Some(found);
        }
        let mut searches: HashMap<&str, Search> = HashMap::new();
        for (start, _) in text.char_indices() {
            for (first, _) in forms::readings(&text[start..]) {
                if first.is_ascii() && self.beginnings & (1 << u32::from(first)) == 0 {
                    continue;
                }
                for secret in self.texts.get(&first).into_iter().flatten() {
                    match searches.entry(secret).or_default().at(text, start, secret) {
                        Found::Nothing => {}
                        Found::TooSlow => return None,
                        Found::Until(end) => match found.last_mut() {
                            Some(last) if start < last.end => last.end = last.end.max(end),
                            _ => found.push(start..end),
                        },
                    }
                }
            }
        }
        Some(found)
    }

    /// Masks every secret in `text`.
    pub fn mask_in(&self, text: &mut String) {
        if let Cow::Owned(masked) = self.mask_text(text) {
            *text = masked;
        }
    }

    /// Masks every secret in `value`, in names of fields too.
    pub(crate) fn mask(&self, value: &mut Json) {
        if self.texts.is_empty() {
            return;
        }
        match value {
            Json::Null | Json::Bool(_) => {}
            Json::Number(number) => {
                let number = number.to_string();
                let known = number.chars().next().and_then(|first| self.texts.get(&first));
                if known.is_some_and(|known| known.contains(&number)) {
                    *value = MASK.into();
                }
            }
            Json::String(text) => self.mask_in(text),
            Json::Array(items) => items.iter_mut().for_each(|item| self.mask(item)),
            Json::Object(fields) => {
                for (name, mut field) in std::mem::take(fields) {
                    self.mask(&mut field);
                    fields.insert(self.mask_text(&name).into_owned(), field);
                }
            }
        }
    }

    /// Learns what `variables` lead to in `value`, whose own path is `root`, and masks it there and, with every
    /// other secret known, elsewhere. Gives whether anything was masked.
    pub(crate) fn take(&mut self, root: &str, value: &mut Json, variables: &Variables) -> bool {
        let is_led_to = |variable: &String| {
            is_within(root, variable) || variable.strip_prefix(root).is_some_and(|path| path.starts_with('.'))
        };
        if self.texts.is_empty() && !variables.iter().any(is_led_to) {
            return false;
        }
        let before = value.clone();
        for variable in variables {
            if is_within(root, variable) {
                self.learn(value);
                *value = MASK.into();
            } else if let Some(path) = variable.strip_prefix(root).and_then(|path| path.strip_prefix('.'))
                && let Some(part) = lead(value, path)
            {
                self.learn(part);
                *part = MASK.into();
            }
        }
        self.mask(value);
        *value != before
    }
}

/// What `path` leads to, or, where a part of it is no object, the whole of that part.
fn lead<'a>(value: &'a mut Json, path: &str) -> Option<&'a mut Json> {
    path.split('.').try_fold(value, |value, name| match value {
        Json::Object(fields) => fields.get_mut(name),
        other => Some(other),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn take(mut value: Json, variables: &[&str]) -> (Json, bool) {
        let variables = variables.iter().map(|variable| (*variable).to_owned()).collect();
        let masked = Secrets::default().take("steps.login", &mut value, &variables);
        (value, masked)
    }

    #[test]
    fn what_a_secret_input_reads_is_masked_where_it_is_and_wherever_it_is_repeated() {
        let cases: [(Json, &[&str], Json); 9] = [
            (json!({"a": "abcdef"}), &["steps.login.a"], json!({"a": MASK})),
            (
                json!({"a": {"b": "abcdef", "c": "x"}}),
                &["steps.login.a.b"],
                json!({"a": {"b": MASK, "c": "x"}}),
            ),
            (
                json!({"a": "abcdef", "b": ["<abcdef>"]}),
                &["steps.login.a"],
                json!({"a": MASK, "b": ["<•••>"]}),
            ),
            (json!({"a": "ab", "b": "abc"}), &["steps.login.a"], json!({"a": MASK, "b": "abc"})),
            (
                json!({"a": 123456, "b": 123456, "c": "123456"}),
                &["steps.login.a"],
                json!({"a": MASK, "b": MASK, "c": MASK}),
            ),
            // A method or a field of something that is no object: the whole of it is meant.
            (json!({"a": "abcdef"}), &["steps.login.a.upper"], json!({"a": MASK})),
            (json!({"a": "x"}), &["steps.login"], json!(MASK)),
            (json!({"a": "x"}), &["steps"], json!(MASK)),
            (
                json!({"a": "abcdef"}),
                &["steps.login.b", "steps.other.a", "steps.log", "trigger"],
                json!({"a": "abcdef"}),
            ),
        ];
        for (value, variables, expected) in cases {
            let changed = value != expected;
            assert_eq!(take(value, variables), (expected, changed), "{variables:?}");
        }
    }

    #[test]
    fn a_secret_that_holds_another_is_masked_whole() {
        let mut secrets = Secrets::default();
        secrets.learn(&json!(["pass", "passphrase", true, null]));
        assert_eq!(secrets.mask_text("my passphrase, my pass"), "my •••, my •••");
    }

    #[test]
    fn secrets_that_overlap_are_masked_whole() {
        let mut secrets = Secrets::default();
        secrets.learn(&json!(["abcdef", "defghi"]));
        assert_eq!(secrets.mask_text("<abcdefghi><defghi><abcdefabcdef>"), "<•••><•••><••••••>");
    }

    #[test]
    fn a_secret_is_masked_however_others_write_it() {
        let mut secrets = Secrets::default();
        secrets.learn(&json!("s\"cret/1 2"));
        for written in [
            "s\"cret/1 2",
            r#"s\"cret/1 2"#,
            r#"s\u0022cret\/1\u00202"#,
            "s%22cret%2F1%202",
            "s%22cret%2f1+2",
            "s%22cret/1%202",
            "s&quot;cret&#x2f;1 2",
            "s&#34;cret/1 2",
            "cyJjcmV0LzEgMg==",
            "cyJjcmV0LzEgMg",
            "cyJjcmV0LzEgMg%3D%3D",
        ] {
            assert_eq!(secrets.mask_text(&format!("<{written}>")), "<•••>", "{written}");
        }
        for other in
            ["s\"cret/1", "s%22cret%2", "S\"CRET/1 2", "s&amp;cret/1 2", "\\u00", "%", "&#x;", "\\ud83d\\u"]
        {
            assert_eq!(secrets.mask_text(other), other);
        }
        let mut secrets = Secrets::default();
        secrets.learn(&json!("pä<&>😀'?>"));
        for written in [
            r"p\u00e4<&>\ud83d\ude00'?>",
            r"p\u00E4\u003c\u0026\u003E\uD83D\uDE00\u0027?\u003e",
            "p%C3%A4%3C%26%3E%F0%9F%98%80%27%3F%3E",
            "p%c3%a4%3c%26%3e%f0%9f%98%80'%3f%3e",
            "pä&lt;&amp;&gt;😀&#x27;?&gt;",
            "p&#228;&lt;&amp;&gt;&#128512;&#39;?&gt;",
            "p&#xe4;&lt;&amp;&gt;&#X1F600;&apos;?&gt;",
            "cMOkPCY+8J+YgCc/Pg==",
            "cMOkPCY-8J-YgCc_Pg",
        ] {
            assert_eq!(secrets.mask_text(&format!("<{written}>")), "<•••>", "{written}");
        }
    }

    /// How a character of a secret is written.
    fn written(character: char, form: u8) -> String {
        let units = |upper: bool| {
            let mut buffer = [0; 2];
            let units = character.encode_utf16(&mut buffer).iter();
            units
                .map(|unit| if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") })
                .collect()
        };
        let bytes = |upper: bool| {
            let mut buffer = [0; 4];
            let bytes = character.encode_utf8(&mut buffer).bytes();
            bytes.map(|byte| if upper { format!("%{byte:02X}") } else { format!("%{byte:02x}") }).collect()
        };
        match form {
            0 => character.to_string(),
            1 => units(false),
            2 => units(true),
            3 => bytes(false),
            4 => bytes(true),
            5 => format!("&#{};", u32::from(character)),
            6 => format!("&#x{:x};", u32::from(character)),
            7 if character == ' ' => "+".into(),
            7 => character.to_string(),
            _ => {
                let json = Json::from(character.to_string()).to_string();
                json[1..json.len() - 1].to_owned()
            }
        }
    }

    proptest! {
        #[test]
        fn no_text_shows_a_secret_however_it_is_written(
            secret in "[a-c%&+/\\\\\"'<> é漢😀]{4,12}",
            forms in proptest::collection::vec(0u8..9, 12),
            mixed: bool,
            around in "[a-c%&+u0-4;\\\\\" ]{0,8}",
        ) {
            let mut secrets = Secrets::default();
            secrets.learn(&Json::from(secret.as_str()));
            let form = |index: usize| if mixed { forms[index] } else { forms[0] };
            let shown: String =
                secret.chars().enumerate().map(|(index, character)| written(character, form(index))).collect();
            let masked = secrets.mask_text(&format!("{around}{shown}{around}")).into_owned();
            prop_assert!(masked.contains(MASK), "{masked}");
            prop_assert!(!masked.contains(&shown) || around.contains(&shown), "{masked}");
        }
    }

    #[test]
    fn what_is_made_to_be_slow_to_search_is_masked_whole() {
        let mut secrets = Secrets::default();
        secrets.learn(&json!(format!("{}b", "a".repeat(50_000))));
        assert_eq!(secrets.mask_text(&"a".repeat(200_000)), MASK);
        assert_eq!(secrets.mask_text(&format!("{}b", "a".repeat(50_000))), MASK);
        secrets.learn(&json!("\\".repeat(50_000)));
        assert_eq!(secrets.mask_text(&"\\".repeat(100_000)), MASK);
        let text = "an ordinary text ".repeat(1_000);
        assert_eq!(secrets.mask_text(&text), text);
    }
}
