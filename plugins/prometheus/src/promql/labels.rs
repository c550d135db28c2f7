//! What tells series apart.

use std::rc::Rc;

/// The label that holds a metric's name.
pub(crate) const NAME: &str = "__name__";

/// The label that shows a tag `__name__`, which other dialects may write: it would be taken for the metric's name.
const TAGGED_NAME: &str = "exported___name__";

/// The label that shows the tags of a key.
pub(crate) fn label_of(key: &str) -> &str {
    if key == NAME { TAGGED_NAME } else { key }
}

/// The key of the tags that a label shows; `None` for the metric's name.
pub(crate) fn key_of(label: &str) -> Option<&str> {
    match label {
        NAME => None,
        TAGGED_NAME => Some(NAME),
        _ => Some(label),
    }
}

/// Labels in order of their names, each once. Texts are shared: the same series is in many results.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Labels(Vec<(Rc<str>, Rc<str>)>);

impl Labels {
    /// Those of a stored series. Of a key with several values, which only other dialects write, all are shown.
    pub(crate) fn of_series(metric: &str, tags: &[String]) -> Self {
        let mut labels: Vec<(Rc<str>, Rc<str>)> = Vec::with_capacity(tags.len() + 1);
        labels.push((NAME.into(), metric.into()));
        for tag in tags {
            let (key, value) = tag.split_once(':').unwrap_or((tag, ""));
            let label = label_of(key);
            match labels.iter_mut().find(|(name, _)| **name == *label) {
                Some((_, before)) => *before = format!("{before},{value}").into(),
                None => labels.push((label.into(), value.into())),
            }
        }
        labels.sort();
        Self(labels)
    }

    /// A label's value; empty if it is not there.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(own, _)| **own == *name).map_or("", |(_, value)| value)
    }

    /// With this value for a label; an empty one takes it away.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        match self.0.binary_search_by(|(own, _)| (**own).cmp(name)) {
            Ok(at) if value.is_empty() => drop(self.0.remove(at)),
            Ok(at) => self.0[at].1 = value.into(),
            Err(_) if value.is_empty() => {}
            Err(at) => self.0.insert(at, (name.into(), value.into())),
        }
    }

    /// Without the metric's name.
    pub(crate) fn unnamed(&self) -> Self {
        self.without(&[])
    }

    /// Without these and the metric's name.
    pub(crate) fn without(&self, names: &[String]) -> Self {
        let kept =
            |(name, _): &&(Rc<str>, Rc<str>)| **name != *NAME && !names.iter().any(|other| **name == **other);
        Self(self.0.iter().filter(kept).cloned().collect())
    }

    /// Only those of these that are there.
    pub(crate) fn only(&self, names: &[String]) -> Self {
        let kept = |(name, value): &&(Rc<str>, Rc<str>)| {
            !value.is_empty() && names.iter().any(|other| **name == **other)
        };
        Self(self.0.iter().filter(kept).cloned().collect())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Labels {
    fn from_iter<T: IntoIterator<Item = (&'a str, &'a str)>>(pairs: T) -> Self {
        let mut labels = Self::default();
        pairs.into_iter().for_each(|(name, value)| labels.set(name, value));
        labels
    }
}

/// As Prometheus writes them in its messages: `{job="api"}`.
impl std::fmt::Display for Labels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pairs: Vec<String> = self.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        write!(f, "{{{}}}", pairs.join(", "))
    }
}

/// Whether a label may be called so: what PromQL can name without quotes.
pub(crate) fn is_label(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|other| other.is_ascii_alphanumeric() || other == '_')
}
