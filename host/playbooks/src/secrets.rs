//! Keeps secrets out of what is recorded.
//!
//! An app declares an input secret. What such an input is given, and whatever its template reads it from, is masked in
//! the run's record: at its own place whatever it is, and in every other text it is found in. Where a later step, or
//! the same run after a restart, needs the value again, the whole of what it came with is kept sealed beside the
//! masked record. What is secret is known for as long as the run is: the values themselves are kept sealed with it, and
//! go with what it hands on to a run within it, to the run it lies within, and to one that repeats it. So a value stays
//! masked after the named secret it came from was replaced or deleted.

use std::borrow::Cow;
use std::fmt;

use bellwether_access::Sought;
pub(crate) use bellwether_kernel::value::MASK;
use serde_json::Value as Json;

use crate::compile::is_within;
use crate::template::Variables;

/// Bytes of secrets in one record; a single one may have more.
const RECORD: usize = 256 * 1024;

/// The secrets of one run, or of one call, as far as they are known.
#[derive(Clone, Default)]
pub struct Secrets {
    sought: Sought<()>,
    /// What is sought, in the order it was learned.
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
        // A short one is masked at its own place alone: searched for, it would mask half a log.
        if self.sought.learn(text, &()) {
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
        self.sought.replace(text, |_| MASK)
    }

    /// Masks every secret in `text`.
    pub fn mask_in(&self, text: &mut String) {
        if let Cow::Owned(masked) = self.mask_text(text) {
            *text = masked;
        }
    }

    /// Masks every secret in `value`, in names of fields too.
    pub(crate) fn mask(&self, value: &mut Json) {
        if self.sought.is_empty() {
            return;
        }
        match value {
            Json::Null | Json::Bool(_) => {}
            Json::Number(number) => {
                if self.sought.contains(&number.to_string()) {
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
        if self.sought.is_empty() && !variables.iter().any(is_led_to) {
            return false;
        }
        let before = value.clone();
        for variable in variables {
            if is_within(root, variable) {
                self.learn(value);
                *value = MASK.into();
            } else if let Some(path) = variable.strip_prefix(root).and_then(|path| path.strip_prefix('.')) {
                lead(value, Some(path), &mut |part| {
                    self.learn(part);
                    *part = MASK.into();
                });
            }
        }
        self.mask(value);
        *value != before
    }
}

/// Does `found` with what `path` leads to, in a list with what it leads to in each item; where a part of it is neither
/// object nor list, with the whole of that part.
fn lead(value: &mut Json, path: Option<&str>, found: &mut dyn FnMut(&mut Json)) {
    match (value, path) {
        (Json::Object(fields), Some(path)) => {
            let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
            if let Some(field) = fields.get_mut(name) {
                lead(field, rest, found);
            }
        }
        (Json::Array(items), Some(_)) => items.iter_mut().for_each(|item| lead(item, path, found)),
        (value, _) => found(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn take(mut value: Json, variables: &[&str]) -> (Json, bool) {
        let variables = variables.iter().map(|variable| (*variable).to_owned()).collect();
        let masked = Secrets::default().take("steps.login", &mut value, &variables);
        (value, masked)
    }

    #[test]
    fn what_a_secret_input_reads_is_masked_where_it_is_and_wherever_it_is_repeated() {
        let cases: [(Json, &[&str], Json); 11] = [
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
            // Of a list, that of each of its items.
            (
                json!({"a": [{"b": "abcdef", "c": "x"}, {"c": "abcdef"}, "x"]}),
                &["steps.login.a.b"],
                json!({"a": [{"b": MASK, "c": "x"}, {"c": MASK}, MASK]}),
            ),
            (json!({"a": ["x", {"b": 1}], "b": "x"}), &["steps.login.a"], json!({"a": MASK, "b": "x"})),
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
