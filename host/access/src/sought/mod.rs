//! Secrets in what others say: a server may repeat what it was sent, an app may print what it was given.

mod forms;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use zeroize::Zeroizing;

use forms::{Found, Search};

/// Secrets that are looked for in texts, each with what is known of it: as they are, as JSON, URLs and HTML write them,
/// and in base64.
#[derive(Clone, Default)]
pub struct Sought<L> {
    /// What is looked for, by the character it begins with.
    texts: BTreeMap<char, Vec<(Zeroizing<String>, L)>>,
    /// Which of those characters are of ASCII: a bit for each.
    beginnings: u128,
}

impl<L: Clone> Sought<L> {
    /// Looks for `secret` from here on; `false` if it was looked for already, or is too short: under four bytes it would
    /// be found everywhere.
    pub fn learn(&mut self, secret: &str, label: &L) -> bool {
        let mut is_new = false;
        for form in forms::texts(secret) {
            let Some(first) = form.chars().next() else { continue };
            let known = self.texts.entry(first).or_default();
            if !known.iter().any(|(known, _)| **known == form) {
                known.push((Zeroizing::new(form), label.clone()));
                is_new = true;
            }
            if first.is_ascii() {
                self.beginnings |= 1 << u32::from(first);
            }
        }
        is_new
    }

    /// Whether nothing is looked for.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Whether `text` as it stands is looked for.
    pub fn contains(&self, text: &str) -> bool {
        let known = text.chars().next().and_then(|first| self.texts.get(&first));
        known.is_some_and(|known| known.iter().any(|(known, _)| **known == text))
    }

    /// `text` with what `shown` gives in place of every secret in it; those that overlap are one, shown as the one that
    /// reaches farthest. A text made to be slow to search is replaced as a whole, by what `shown` gives for no secret.
    pub fn replace<'t, S: AsRef<str>>(&self, text: &'t str, shown: impl Fn(Option<&L>) -> S) -> Cow<'t, str> {
        let Some(found) = self.find(text) else { return Cow::Owned(shown(None).as_ref().to_owned()) };
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        let (mut replaced, mut told) = (String::with_capacity(text.len()), 0);
        for (Range { start, end }, label) in found {
            replaced.push_str(&text[told..start]);
            replaced.push_str(shown(Some(label)).as_ref());
            told = end;
        }
        replaced.push_str(&text[told..]);
        Cow::Owned(replaced)
    }

    /// Where secrets are in `text`, in order, those that overlap as one; `None` where looking for them takes too long.
    fn find(&self, text: &str) -> Option<Vec<(Range<usize>, &L)>> {
        let mut found: Vec<(Range<usize>, &L)> = Vec::new();
        if self.texts.is_empty() || forms::is_short(text) {
            return Some(found);
        }
        let mut searches: HashMap<&str, Search> = HashMap::new();
        for (start, _) in text.char_indices() {
            for (first, _) in forms::readings(&text[start..]) {
                if first.is_ascii() && self.beginnings & (1 << u32::from(first)) == 0 {
                    continue;
                }
                for (secret, label) in self.texts.get(&first).into_iter().flatten() {
                    match searches.entry(secret).or_default().at(text, start, secret) {
                        Found::Nothing => {}
                        Found::TooSlow => return None,
                        Found::Until(end) => match found.last_mut() {
                            Some((last, _)) if start < last.end && end <= last.end => {}
                            Some((last, farthest)) if start < last.end => {
                                (last.end, *farthest) = (end, label);
                            }
                            _ => found.push((start..end, label)),
                        },
                    }
                }
            }
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests;
