//! What those who send samples say of metrics beside them: learned once, for dialects whose senders say it again and again.
//!
//! What a metric is, it is from its first samples on: so a kind is told before them, and of one that has samples, or that
//! somebody described, it stays. Everything else is kept where nothing is known yet, whenever that is.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::{Metadata, MetricKind, SeriesError};
use crate::host::{SeriesRead, SeriesWrite};

/// Metrics of which one request settles what they are: each takes a commit, one after the other, and a call has five
/// seconds. Who sends again settles the next ones.
const SETTLED: usize = 500;

/// Metrics of which a dialect keeps in one request what else is said: each takes a commit or two. Senders tell what they
/// know every time, so the next ones follow.
pub const LEARNED: usize = 100;

/// Bytes of a unit, of an integration and of a description that the host takes.
const UNIT: usize = 100;
const INTEGRATION: usize = 100;
const DESCRIPTION: usize = 1000;

/// What is said of a metric besides its kind, as the host takes it: without spaces around it, what is too long cut, control
/// characters as spaces; what is blank is not said.
///
/// ```
/// use bellwether_sdk::series::{Metadata, Said};
///
/// let said = Said::default().unit("byte").description("What was\nsent.");
/// let known = Metadata { unit: Some("kibibyte".to_owned()), ..Metadata::default() };
/// let learned = said.beside(&known).expect("something new");
/// assert_eq!((learned.unit.as_deref(), learned.description.as_deref()), (Some("kibibyte"), Some("What was sent.")));
/// assert_eq!(said.beside(&learned), None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    unit: Option<String>,
    integration: Option<String>,
    description: Option<String>,
}

impl Said {
    /// What the metric is measured in.
    #[must_use]
    pub fn unit(self, text: &str) -> Self {
        Self { unit: kept(text, UNIT), ..self }
    }

    /// What it comes from.
    #[must_use]
    pub fn integration(self, text: &str) -> Self {
        Self { integration: kept(text, INTEGRATION), ..self }
    }

    /// What it is, in words.
    #[must_use]
    pub fn description(self, text: &str) -> Self {
        Self { description: kept(text, DESCRIPTION), ..self }
    }

    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is to be known of a metric beside what is: what somebody set stays. `None` if that is nothing new.
    #[must_use]
    pub fn beside(&self, known: &Metadata) -> Option<Metadata> {
        let is_new = |known: &Option<String>, said: &Option<String>| known.is_none() && said.is_some();
        let new = is_new(&known.unit, &self.unit)
            || is_new(&known.integration, &self.integration)
            || is_new(&known.description, &self.description);
        let either =
            |known: &Option<String>, said: &Option<String>| known.as_ref().or(said.as_ref()).cloned();
        new.then(|| Metadata {
            unit: either(&known.unit, &self.unit),
            integration: either(&known.integration, &self.integration),
            description: either(&known.description, &self.description),
            ..known.clone()
        })
    }
}

fn kept(text: &str, most: usize) -> Option<String> {
    let text = text.trim();
    let text = text[..text.floor_char_boundary(most)].replace(char::is_control, " ");
    (!text.is_empty()).then_some(text)
}

/// Settles what metrics are that nobody knows, so many in one request.
#[derive(Debug, Default)]
pub struct Settling {
    settled: usize,
}

impl Settling {
    /// What is known of a metric, before the host gets samples of it. One that nobody knew is from now on what it comes as,
    /// and a gauge where that is not said.
    ///
    /// # Errors
    /// Also if so many metrics are new that another try is to settle the rest; no sample of them is to be written then.
    pub fn known(
        &mut self,
        host: &(impl SeriesRead + SeriesWrite),
        metric: &str,
        kind: Option<MetricKind>,
        said: &Said,
    ) -> Result<Metadata, SeriesError> {
        match host.tagged_metric(metric) {
            Ok(found) => return Ok(found.metadata),
            Err(SeriesError::UnknownMetric(_)) => {}
            Err(error) => return Err(error),
        }
        let new = Metadata { kind: kind.unwrap_or(MetricKind::Gauge), ..Metadata::default() };
        // Without a word, a metric is a gauge.
        if new.kind == MetricKind::Gauge {
            return Ok(new);
        }
        if self.settled == SETTLED {
            return Err(SeriesError::Unavailable(format!(
                "more than {SETTLED} metrics are new: what the first are is kept, send it again for the others"
            )));
        }
        self.settled += 1;
        let known = said.beside(&new).unwrap_or(new);
        host.describe(metric, &known)?;
        Ok(known)
    }
}

/// Gauges, at most, of which an instance remembers that what is told of them is known.
const REMEMBERED: usize = 1000;

/// Gauges of which an instance of a dialect found that what is told of them, if anything, is known: as long as the same is
/// told it asks no more. If one is deleted or made something else meanwhile, the next instance sees that, within a minute:
/// until then at most a unit is not kept, or a warning not given. About what is no gauge a dialect asks every time, for
/// without it samples are a gauge's. `T` is what is told.
#[derive(Debug)]
pub struct Gauges<T>(RefCell<HashMap<String, T>>);

impl<T> Default for Gauges<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<T: Clone + PartialEq> Gauges<T> {
    /// The same ones, for so many routes.
    #[must_use]
    pub fn shared<const N: usize>() -> [Rc<Self>; N] {
        let gauges = Rc::default();
        std::array::from_fn(|_| Rc::clone(&gauges))
    }

    /// Whether this is known of a gauge.
    pub fn know(&self, metric: &str, told: &T) -> bool {
        self.0.borrow().get(metric) == Some(told)
    }

    /// Takes note that it is.
    pub fn remember(&self, metric: &str, told: &T) {
        let mut gauges = self.0.borrow_mut();
        // An instance does not live long enough for what is told no more to be in the way.
        if gauges.len() < REMEMBERED {
            gauges.insert(metric.to_owned(), told.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MemoryHost;

    fn count() -> Option<MetricKind> {
        Some(MetricKind::Count)
    }

    #[test]
    fn what_is_said_is_as_the_host_takes_it() {
        let said = Said::default().unit(&"ä".repeat(60)).integration(" \n").description(&"x".repeat(2000));
        let learned = said.beside(&Metadata::default()).expect("something new");
        assert_eq!(learned.unit.map(|unit| unit.len()), Some(100));
        assert_eq!(learned.integration, None);
        assert_eq!(learned.description.map(|text| text.len()), Some(1000));
        assert!(Said::default().unit("").integration("\t").is_empty() && !said.is_empty());
        assert_eq!(Said::default().beside(&Metadata::default()), None);
    }

    #[test]
    fn a_metric_is_what_it_first_came_as_and_what_somebody_set_stays() {
        let (host, mut settling) = (MemoryHost::new(), Settling::default());
        let said = Said::default().unit("request");
        let known = settling.known(&host, "a", count(), &said).expect("it is settled");
        assert_eq!((known.kind, known.unit.as_deref()), (MetricKind::Count, Some("request")));
        let again = settling.known(&host, "a", Some(MetricKind::Rate), &Said::default().unit("other"));
        assert_eq!(again, Ok(known));
        // A gauge needs no word, and so no commit.
        for kind in [None, Some(MetricKind::Gauge)] {
            assert_eq!(settling.known(&host, "b", kind, &said), Ok(Metadata::default()));
            assert!(host.tagged_metric("b").is_err());
        }
    }

    #[test]
    fn so_many_metrics_are_settled_in_one_request_and_the_others_in_the_next() {
        let host = MemoryHost::new();
        let mut settling = Settling::default();
        let come = |settling: &mut Settling, at: usize| {
            settling.known(&host, &format!("m{at}"), count(), &Said::default()).map(|known| known.kind)
        };
        for at in 0..SETTLED {
            assert_eq!(come(&mut settling, at), Ok(MetricKind::Count));
        }
        let refused = come(&mut settling, SETTLED).expect_err("too many are new");
        assert!(matches!(&refused, SeriesError::Unavailable(reason) if reason.contains("send it again")));
        assert_eq!(come(&mut settling, 0), Ok(MetricKind::Count), "what is known costs nothing");
        assert_eq!(come(&mut Settling::default(), SETTLED), Ok(MetricKind::Count));
    }

    #[test]
    fn what_is_told_of_a_gauge_is_remembered_of_so_many() {
        let [gauges, same] = Gauges::shared();
        for at in 0..=REMEMBERED {
            gauges.remember(&format!("m{at}"), &"byte");
        }
        assert!(same.know("m0", &"byte") && same.know("m999", &"byte"));
        assert!(
            !same.know("m0", &"bit")
                && !same.know("m1000", &"byte")
                && !Gauges::default().know("m0", &"byte")
        );
    }
}
