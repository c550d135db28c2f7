//! What a handler reads.

use std::fmt;
use std::str::FromStr;

use bellwether_reading::{JsonError, from_json};
use serde::de::DeserializeOwned;

use super::{Principal, router};
use crate::bindings::dialect::bellwether::plugin::dialect_types as raw;
use crate::value::NamedValue;
use crate::{SettingError, Settings};

/// A request that matched a route.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub(super) raw: &'a raw::Request,
    /// The path as its route declares it.
    pub(super) path: &'static str,
    pub(super) caller: Option<&'a Principal>,
    pub(super) settings: &'a [NamedValue],
}

impl<'a> Request<'a> {
    /// The method, in upper case.
    #[must_use]
    pub fn method(&self) -> &'a str {
        &self.raw.method
    }

    /// What the path's `{name}` or `{name...}` matched, percent-decoded.
    ///
    /// # Panics
    /// If the route's path has no such segment.
    #[must_use]
    pub fn parameter(&self, name: &str) -> &'a str {
        let position = router::parameters(self.path).position(|parameter| parameter == name);
        match position.and_then(|position| self.raw.parameters.get(position)) {
            Some(parameter) => parameter,
            None => panic!("the path {} has no parameter {name}", self.path),
        }
    }

    /// The first query parameter of that name, decoded.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&'a str> {
        self.raw.query.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }

    /// The first query parameter of that name, read as another type.
    ///
    /// # Errors
    /// If it is there and does not read.
    pub fn query_as<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, QueryError> {
        let Some(value) = self.query(name) else { return Ok(None) };
        value.parse().map(Some).map_err(|_| QueryError { name, value: value.to_owned() })
    }

    /// Every pair of the query, decoded, in order.
    pub fn queries(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.raw.query.iter().map(|(key, value)| (&**key, &**value))
    }

    /// The value of the first header of that name, letter case ignored. Those that hold credentials are left out.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let found = self.raw.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| &*header.value)
    }

    /// The body as it came.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        &self.raw.body
    }

    /// The body read as JSON.
    ///
    /// # Errors
    /// Says where it is not JSON, or at which field not of this shape, by its value and what would be right.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, JsonError> {
        from_json("the body", &self.raw.body)
    }

    /// The URL at which the client reaches the dialect, `https://example.com/name` without a slash at its end: what a link
    /// in an answer begins with, before a route's path. Without scheme and host where the host does not know them.
    #[must_use]
    pub fn base_url(&self) -> String {
        let said = |name| self.header(name).unwrap_or_default();
        let prefix = said("x-forwarded-prefix");
        match (said("x-forwarded-proto"), said("x-forwarded-host")) {
            ("", _) | (_, "") => prefix.to_owned(),
            (scheme, authority) => format!("{scheme}://{authority}{prefix}"),
        }
    }

    /// The path as its route declares it, without the mount and the prefix.
    #[must_use]
    pub fn route(&self) -> &'static str {
        self.path
    }

    /// What the caller's organisation set, see [`Router::settings`](super::Router::settings); without a caller, the
    /// defaults.
    ///
    /// # Errors
    /// Names the setting that is wrong: what the host keeps was checked, but maybe by another version.
    pub fn settings<C: Settings>(&self) -> Result<C, SettingError> {
        C::read(self.settings.to_vec())
    }

    /// Who is calling; nobody on a route that anybody may call.
    #[must_use]
    pub fn caller(&self) -> Option<&'a Principal> {
        self.caller
    }
}

/// A query parameter is there and does not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryError {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub value: String,
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the query parameter {} cannot be {:?}", self.name, self.value)
    }
}

impl std::error::Error for QueryError {}
