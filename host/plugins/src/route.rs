//! Finds which of a dialect's routes a request belongs to.

use std::borrow::Cow;

use bellwether_access::Authentication;
use percent_encoding::percent_decode_str;

/// A route as its dialect declared it, ready to be held against paths.
#[derive(Clone, Debug)]
pub struct Route {
    method: String,
    path: String,
    segments: Vec<Segment>,
    authentication: Vec<Vec<Authentication>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Parameter,
    Rest,
}

/// What a method and a path lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteMatch<'a> {
    /// A route.
    Found(Matched<'a>),
    /// Routes with that path and other methods: these.
    OtherMethods(Vec<&'a str>),
    /// No route.
    NotFound,
}

/// A route that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched<'a> {
    /// Which of the dialect's routes, counted from 0.
    pub index: u32,
    /// What the path's parameters matched, percent-decoded.
    pub parameters: Vec<String>,
    /// How callers of this route prove who they are: alternatives, each of credentials that must all hold; empty for a
    /// route anybody may call.
    pub authentication: &'a [Vec<Authentication>],
}

impl Route {
    /// Reads a declared route.
    pub(crate) fn new(
        method: &str,
        path: &str,
        authentication: Vec<Vec<Authentication>>,
    ) -> Result<Self, String> {
        let token = method == ANY_METHOD
            || (!method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-'));
        if !token {
            return Err("a method in upper case, or *".to_owned());
        }
        let tail = path.strip_prefix('/').ok_or("a path that begins with /")?;
        let mut segments = Vec::new();
        for text in tail.split('/') {
            if segments.last() == Some(&Segment::Rest) {
                return Err("{name...} only as the last segment".to_owned());
            }
            let segment = match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
                Some(name) => {
                    let (name, segment) = match name.strip_suffix("...") {
                        Some(name) => (name, Segment::Rest),
                        None => (name, Segment::Parameter),
                    };
                    if name.is_empty() || name.contains(['{', '}', '.']) {
                        return Err("a name between braces, as in /metrics/{id}".to_owned());
                    }
                    segment
                }
                None if text.contains(['{', '}', '?', '#', '%']) => {
                    return Err("a whole segment between braces, and no query".to_owned());
                }
                None => Segment::Literal(text.to_owned()),
            };
            segments.push(segment);
        }
        Ok(Self { method: method.to_owned(), path: path.to_owned(), segments, authentication })
    }

    /// The method, or `*` for every one.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The path as declared.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// How callers prove who they are: alternatives, each of credentials that must all hold.
    #[must_use]
    pub fn authentication(&self) -> &[Vec<Authentication>] {
        &self.authentication
    }

    /// What the parameters match in a path, if it is this route's.
    fn parameters(&self, path: &str) -> Option<Vec<String>> {
        let mut parameters = Vec::new();
        let mut rest = Some(path);
        for segment in &self.segments {
            if *segment == Segment::Rest {
                parameters.push(decoded(rest.unwrap_or_default())?.into_owned());
                return Some(parameters);
            }
            let remaining = rest?;
            let (text, behind) =
                remaining.split_once('/').map_or((remaining, None), |(text, behind)| (text, Some(behind)));
            match segment {
                Segment::Literal(literal) if text == literal || decoded(text)? == *literal => {}
                Segment::Parameter if !text.is_empty() => parameters.push(decoded(text)?.into_owned()),
                _ => return None,
            }
            rest = behind;
        }
        rest.is_none().then_some(parameters)
    }
}

/// What stands for every method.
const ANY_METHOD: &str = "*";

/// Text with its percent-escapes undone; `None` if that is not UTF-8, which no route matches.
fn decoded(text: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(text).decode_utf8().ok()
}

/// The first of `routes` that matches. `path` is the raw path below the dialect's mount; an empty one is `/`.
pub(crate) fn find<'a>(routes: &'a [Route], method: &str, path: &str) -> RouteMatch<'a> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let mut others: Vec<&str> = Vec::new();
    for (route, index) in routes.iter().zip(0..) {
        if route.method == method || route.method == ANY_METHOD {
            if let Some(parameters) = route.parameters(path) {
                return RouteMatch::Found(Matched {
                    index,
                    parameters,
                    authentication: &route.authentication,
                });
            }
        } else if !others.contains(&route.method()) && route.parameters(path).is_some() {
            others.push(&route.method);
        }
    }
    if others.is_empty() { RouteMatch::NotFound } else { RouteMatch::OtherMethods(others) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn routes(declared: &[(&str, &str)]) -> Vec<Route> {
        declared.iter().map(|(method, path)| Route::new(method, path, Vec::new()).unwrap()).collect()
    }

    #[test]
    fn the_first_route_that_matches_answers() {
        let routes = routes(&[
            ("GET", "/"),
            ("GET", "/v2/metrics"),
            ("POST", "/v2/metrics"),
            ("GET", "/v2/metrics/latest"),
            ("GET", "/v2/metrics/{id}"),
            ("GET", "/v2/{thing}/{id}/data"),
            ("GET", "/files/{path...}"),
            ("DELETE", "/v2/metrics/{id}"),
        ]);
        let found = |index, parameters: &[&str]| {
            RouteMatch::Found(Matched {
                index,
                parameters: parameters.iter().map(|text| (*text).to_owned()).collect(),
                authentication: &[],
            })
        };
        for (method, path, expected) in [
            ("GET", "/", found(0, &[])),
            ("GET", "", found(0, &[])),
            ("GET", "/v2/metrics", found(1, &[])),
            ("POST", "/v2/metrics", found(2, &[])),
            ("GET", "/v2/metrics/latest", found(3, &[])),
            ("GET", "/v2/metrics/17", found(4, &["17"])),
            ("GET", "/v2/metrics/a%2Fb%20c", found(4, &["a/b c"])),
            ("GET", "/v2/m%65trics/17", found(4, &["17"])),
            ("GET", "/v2/metrics/17/data", found(5, &["metrics", "17"])),
            ("GET", "/v2//17/data", RouteMatch::NotFound),
            ("GET", "/v2/metrics/", RouteMatch::NotFound),
            ("GET", "/v2/metrics/%ff", RouteMatch::NotFound),
            ("GET", "/files/a/b%2Fc//d", found(6, &["a/b/c//d"])),
            ("GET", "/files/", found(6, &[""])),
            ("GET", "/files", found(6, &[""])),
            ("DELETE", "/v2/metrics/17", found(7, &["17"])),
            ("PUT", "/v2/metrics/17", RouteMatch::OtherMethods(vec!["GET", "DELETE"])),
            ("PUT", "/nowhere", RouteMatch::NotFound),
        ] {
            assert_eq!(find(&routes, method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_route_for_every_method_comes_before_the_answer_that_others_exist() {
        let routes = routes(&[("GET", "/a"), ("*", "/{rest...}")]);
        assert!(matches!(find(&routes, "PUT", "/a"), RouteMatch::Found(Matched { index: 1, .. })));
        assert!(matches!(find(&routes, "GET", "/a"), RouteMatch::Found(Matched { index: 0, .. })));
    }

    #[test]
    fn what_is_not_a_route_is_refused() {
        for (method, path) in [
            ("get", "/a"),
            ("", "/a"),
            ("GET", "a"),
            ("GET", ""),
            ("GET", "/a/{}"),
            ("GET", "/a/{x"),
            ("GET", "/a/b{x}"),
            ("GET", "/{x...}/a"),
            ("GET", "/{...}"),
            ("GET", "/a?b"),
            ("GET", "/a%20b"),
        ] {
            assert!(Route::new(method, path, Vec::new()).is_err(), "{method} {path}");
        }
    }

    proptest! {
        #[test]
        fn a_parameter_is_what_was_encoded_whatever_it_holds(value in "\\PC{1,20}") {
            let routes = routes(&[("GET", "/a/{x}/b")]);
            let encoded = percent_encoding::utf8_percent_encode(&value, percent_encoding::NON_ALPHANUMERIC);
            let path = format!("/a/{encoded}/b");
            let found = find(&routes, "GET", &path);
            prop_assert_eq!(found, RouteMatch::Found(Matched { index: 0, parameters: vec![value], authentication: &[] }));
        }
    }
}
