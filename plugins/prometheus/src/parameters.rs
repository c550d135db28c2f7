//! What requests ask, in the query or in a form, read or refused by name.

use std::borrow::Cow;

use bellwether_sdk::Timestamp;
use bellwether_sdk::dialect::Request;
use bellwether_sdk::series::Matcher;

use crate::failure::Failure;
use crate::form;
use crate::promql::{self, Expr};

/// Every pair of a request: those of a form first, then those of the query, then those of a form in parts, in which order
/// Go, and so Prometheus, has them.
pub(crate) struct Parameters<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Parameters<'a> {
    pub(crate) fn of(request: &Request<'a>) -> Self {
        let kind = request.header("content-type").unwrap_or_default();
        let form = kind.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded");
        let body: &'a [u8] = if form { request.body() } else { &[] };
        let query = request.queries().map(|(name, value)| (name.into(), value.into()));
        let parts = form::fields(kind, request.body());
        let parts = parts.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self(form_urlencoded::parse(body).chain(query).chain(parts).collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next().filter(|value| !value.is_empty())
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(own, _)| own == name).map(|(_, value)| &**value)
    }

    /// The expression in `query`.
    pub(crate) fn expression(&self) -> Result<Expr, Failure> {
        Ok(promql::parse(self.get("query").unwrap_or_default())?)
    }

    /// An instant in seconds since 1970, with or without a fraction, or as RFC 3339 writes it.
    pub(crate) fn time(&self, name: &str) -> Result<Option<i64>, Failure> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let range = Timestamp::MIN.milliseconds()..=Timestamp::MAX.milliseconds();
        let read = match text.parse::<f64>() {
            Ok(seconds) if seconds.is_finite() => Some((seconds * 1000.0).round() as i64),
            Ok(_) => None,
            Err(_) => rfc_3339(text).map(Timestamp::milliseconds),
        };
        let time = read.filter(|time| range.contains(time)).ok_or_else(|| {
            Failure::parameter(name, format_args!("cannot parse {text:?} to a valid timestamp"))
        })?;
        Ok(Some(time))
    }

    pub(crate) fn required_time(&self, name: &str) -> Result<i64, Failure> {
        let missing = || Failure::parameter(name, "cannot parse \"\" to a valid timestamp");
        self.time(name)?.ok_or_else(missing)
    }

    /// Milliseconds of a duration: seconds with or without a fraction, or as PromQL writes it.
    pub(crate) fn duration(&self, name: &str) -> Result<i64, Failure> {
        let text = self.get(name).unwrap_or_default();
        let wrong = || Failure::parameter(name, format_args!("cannot parse {text:?} to a valid duration"));
        let seconds = match text.parse::<f64>() {
            Ok(seconds) => seconds,
            Err(_) => return promql::duration(text).ok_or_else(wrong),
        };
        let milliseconds = seconds * 1000.0;
        if milliseconds.is_nan() || milliseconds.abs() > 1e13 {
            return Err(wrong());
        }
        Ok(milliseconds as i64)
    }

    /// How long the last sample of a series stands for its value, in milliseconds.
    pub(crate) fn lookback(&self) -> Result<i64, Failure> {
        let told = self.get("lookback_delta").map(|_| self.duration("lookback_delta")).transpose()?;
        Ok(told.filter(|length| *length > 0).unwrap_or(promql::LOOKBACK))
    }

    /// How long a query may take. It is read and changes nothing: a query has as long as any call has.
    pub(crate) fn timeout(&self) -> Result<(), Failure> {
        self.get("timeout").map_or(Ok(()), |_| self.duration("timeout").map(drop))
    }

    /// How many items an answer may have, at most `most`; without one, or with 0, as many.
    pub(crate) fn limit(&self, most: usize) -> Result<usize, Failure> {
        let Some(text) = self.get("limit") else { return Ok(most) };
        match text.parse() {
            Ok(0) => Ok(most),
            Ok(limit) => Ok(most.min(limit)),
            Err(_) => Err(Failure::parameter("limit", format_args!("{text:?} is no whole number from 0 on"))),
        }
    }

    /// How many items an answer may have, at most `most`, where 0 is none and less than that as many as there are.
    pub(crate) fn limit_or_none(&self, most: usize) -> Result<usize, Failure> {
        let Some(text) = self.get("limit") else { return Ok(most) };
        let limit: i64 = text
            .parse()
            .map_err(|_| Failure::parameter("limit", format_args!("{text:?} is no whole number")))?;
        Ok(usize::try_from(limit).map_or(most, |limit| most.min(limit)))
    }

    /// The series selectors in `match[]`.
    pub(crate) fn selectors(&self) -> Result<Vec<Vec<Matcher>>, Failure> {
        let selector = |text: &str| {
            let wrong = |error: promql::Error| match error {
                promql::Error::Bad(reason) => Failure::parameter("match[]", reason),
                other => other.into(),
            };
            match promql::parse(text).map_err(wrong)? {
                Expr::Vector(selector) => Ok(selector.matchers),
                _ => Err(Failure::parameter("match[]", format_args!("{text} is no series selector"))),
            }
        };
        self.all("match[]").map(selector).collect()
    }
}

/// An instant with its offset: what has none would be another elsewhere.
fn rfc_3339(text: &str) -> Option<Timestamp> {
    let time = text.get("2024-04-09".len()..)?.strip_prefix('T')?;
    if time.contains(['Z', '+', '-']) { text.parse().ok() } else { None }
}
