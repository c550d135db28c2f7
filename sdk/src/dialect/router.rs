//! Routes: declared once, described to the host, and dispatched by their number.

use super::{AuthFailure, Authentication, Description, IntoResponse, Principal, Request, Response, Route};
use crate::app::Input;
use crate::bindings::dialect::bellwether::plugin::dialect_types as raw;
use crate::bindings::imports::bellwether::host::types::FieldError;
use crate::value::NamedValue;
use crate::{SettingError, Settings};

type Handler<H> = Box<dyn Fn(&H, &Request<'_>) -> Response>;

type Refusal = Box<dyn Fn(&AuthFailure, &Request<'_>) -> Response>;

/// A dialect's routes. `H` is the host its handlers meet, bounded by what they use.
///
/// Paths are relative to the dialect's mount. `{name}` matches one segment that is not empty; `{name...}`, only as
/// the last segment, all that is left, slashes included, even nothing. The first route that matches answers.
///
/// Each instance of a component builds its routes once, which for many is for one request, so they are made of constants: adding
/// one is pushing five words.
pub struct Router<H> {
    prefixes: &'static [&'static str],
    authentication: &'static [Authentication],
    routes: Vec<Declared<H>>,
    refuse: Refusal,
    settings: fn() -> Vec<Input>,
    check: fn(Vec<NamedValue>) -> Result<(), SettingError>,
}

struct Declared<H> {
    method: &'static str,
    path: &'static str,
    authentication: &'static [Authentication],
    handler: Handler<H>,
}

impl<H> Default for Router<H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H> Router<H> {
    /// No routes. They are for anybody until [`Self::authenticate`] says otherwise.
    #[must_use]
    pub fn new() -> Self {
        Self {
            prefixes: &[""],
            authentication: &[],
            // Most dialects have fewer, and growing is what building would cost.
            routes: Vec::with_capacity(16),
            refuse: Box::new(|failure, _| {
                let status = if matches!(failure, AuthFailure::Other(_)) { 403 } else { 401 };
                Response::text(status, failure)
            }),
            settings: <() as Settings>::describe,
            check: <() as Settings>::read,
        }
    }

    /// What each organisation can set; handlers read it with [`Request::settings`]. Every setting is optional or has a
    /// default, and none is a secret: the dialect answers before anybody has set it. Others are not compiled:
    ///
    /// ```compile_fail
    /// # use bellwether_sdk::{Settings, dialect::Router};
    /// #[derive(Settings)]
    /// struct Set {
    ///     metric: String,
    /// }
    /// let router = Router::<()>::new().settings::<Set>();
    /// ```
    #[must_use]
    pub fn settings<C: Settings>(self) -> Self {
        const {
            assert!(!C::SECRET, "a dialect sends nothing and has no use for a secret");
            assert!(!C::REQUIRED, "a dialect answers before anybody has set it: give each setting a default");
        }
        Self { settings: C::describe, check: |values| C::read(values).map(drop), ..self }
    }

    /// Serves every route under each of these prefixes; `""` is the path as it is declared.
    #[must_use]
    pub fn under(self, prefixes: &'static [&'static str]) -> Self {
        Self { prefixes, ..self }
    }

    /// How callers of the routes that follow prove who they are: tried in order, the first whose place in the
    /// request is filled decides. None means anybody may call.
    #[must_use]
    pub fn authenticate(self, authentication: &'static [Authentication]) -> Self {
        Self { authentication, ..self }
    }

    /// Words the refusal of a caller who is not known, on every route that asks who is calling.
    #[must_use]
    pub fn refuse<R: IntoResponse>(self, refuse: impl Fn(&AuthFailure) -> R + 'static) -> Self {
        self.refuse_request(move |failure, _| refuse(failure))
    }

    /// As [`Self::refuse`], where the words depend on what was asked.
    #[must_use]
    pub fn refuse_request<R: IntoResponse>(
        self,
        refuse: impl Fn(&AuthFailure, &Request<'_>) -> R + 'static,
    ) -> Self {
        Self { refuse: Box::new(move |failure, request| refuse(failure, request).into_response()), ..self }
    }

    /// A route for `GET`.
    #[must_use]
    pub fn get<R: IntoResponse>(
        self,
        path: &'static str,
        handler: impl Fn(&H, &Request<'_>) -> R + 'static,
    ) -> Self {
        self.route("GET", path, handler)
    }

    /// A route for `POST`.
    #[must_use]
    pub fn post<R: IntoResponse>(
        self,
        path: &'static str,
        handler: impl Fn(&H, &Request<'_>) -> R + 'static,
    ) -> Self {
        self.route("POST", path, handler)
    }

    /// A route for `PUT`.
    #[must_use]
    pub fn put<R: IntoResponse>(
        self,
        path: &'static str,
        handler: impl Fn(&H, &Request<'_>) -> R + 'static,
    ) -> Self {
        self.route("PUT", path, handler)
    }

    /// A route for `PATCH`.
    #[must_use]
    pub fn patch<R: IntoResponse>(
        self,
        path: &'static str,
        handler: impl Fn(&H, &Request<'_>) -> R + 'static,
    ) -> Self {
        self.route("PATCH", path, handler)
    }

    /// A route for `DELETE`.
    #[must_use]
    pub fn delete<R: IntoResponse>(
        self,
        path: &'static str,
        handler: impl Fn(&H, &Request<'_>) -> R + 'static,
    ) -> Self {
        self.route("DELETE", path, handler)
    }

    /// A route for every method: after those of the same path, the place to word "method not allowed".
    #[must_use]
    pub fn any<R: IntoResponse>(
        self,
        path: &'static str,
        handler: impl Fn(&H, &Request<'_>) -> R + 'static,
    ) -> Self {
        self.route("*", path, handler)
    }

    /// Answers whatever no route matched, whoever asks. Without it the host words its own "not found".
    #[must_use]
    pub fn fallback<R: IntoResponse>(self, handler: impl Fn(&H, &Request<'_>) -> R + 'static) -> Self {
        self.authenticate(&[]).any("/{rest...}", handler)
    }

    /// A route for this method, in upper case.
    #[must_use]
    pub fn route<R: IntoResponse>(
        mut self,
        method: &'static str,
        path: &'static str,
        handler: impl Fn(&H, &Request<'_>) -> R + 'static,
    ) -> Self {
        let handler: Handler<H> = Box::new(move |host, request| handler(host, request).into_response());
        self.routes.push(Declared { method, path, authentication: self.authentication, handler });
        self
    }

    /// What the host is told, once. Each route is listed under every prefix before the next one is.
    ///
    /// # Panics
    /// If a method, path or prefix cannot be one or a route is there twice, naming it.
    #[must_use]
    pub fn describe(&self, summary: &str) -> Description {
        let mut routes = Vec::with_capacity(self.routes.len() * self.prefixes.len());
        for route in &self.routes {
            for prefix in self.prefixes {
                let path = format!("{prefix}{}", route.path);
                let again =
                    routes.iter().any(|known: &Route| known.method == route.method && known.path == path);
                let wrong = check(route.method, prefix, route.path).err();
                if let Some(wrong) = wrong.or(again.then_some("is there already")) {
                    panic!("the route {} {path} {wrong}", route.method);
                }
                routes.push(Route {
                    method: route.method.to_owned(),
                    path,
                    authentication: route.authentication.iter().map(|&each| each.into()).collect(),
                });
            }
        }
        Description { summary: summary.to_owned(), routes, settings: (self.settings)() }
    }

    /// What is wrong with settings, if anything is.
    #[doc(hidden)]
    #[must_use]
    pub fn check(&self, settings: Vec<NamedValue>) -> Option<FieldError> {
        (self.check)(settings).err().map(FieldError::from)
    }

    /// Answers one request of the host's.
    #[doc(hidden)]
    #[must_use]
    pub fn handle(
        &self,
        host: &H,
        settings: &[NamedValue],
        caller: Option<Result<Principal, raw::AuthFailure>>,
        request: &raw::Request,
    ) -> Response {
        let index = request.route as usize / self.prefixes.len();
        let Some(route) = self.routes.get(index) else {
            return Response::text(
                500,
                format_args!("the host asked for route {}, which there is not", request.route),
            );
        };
        let asked = Request { raw: request, path: route.path, caller: None, settings };
        let caller = match (caller, route.authentication) {
            (_, []) => None,
            (Some(Ok(principal)), _) => Some(principal),
            (Some(Err(failure)), _) => return (self.refuse)(&failure.into(), &asked),
            (None, _) => return (self.refuse)(&AuthFailure::Missing, &asked),
        };
        (route.handler)(host, &Request { caller: caller.as_ref(), ..asked })
    }
}

/// The names of a path's parameters, in order.
pub(super) fn parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|segment| {
        let name = segment.strip_prefix('{')?.strip_suffix('}')?;
        Some(name.strip_suffix("...").unwrap_or(name))
    })
}

/// What the host would not take of a route.
fn check(method: &str, prefix: &str, path: &str) -> Result<(), &'static str> {
    /// What no path has as it is decoded, and what begins and ends a parameter.
    const RESERVED: [char; 5] = ['{', '}', '?', '#', '%'];
    let is_method = |byte: u8| byte.is_ascii_uppercase() || byte == b'-';
    if method != "*" && (method.is_empty() || !method.bytes().all(is_method)) {
        return Err("has a method that is not in upper case, or *");
    }
    if prefix.contains(RESERVED) {
        return Err("has a prefix that is more than a path");
    }
    if !path.starts_with('/') || !(prefix.is_empty() || prefix.starts_with('/') && !prefix.ends_with('/')) {
        return Err("does not begin with one slash");
    }
    let mut rest = path.split('/').skip(1).peekable();
    while let Some(segment) = rest.next() {
        let name = segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}'));
        match name {
            Some("" | "...") => return Err("has a parameter without a name"),
            Some(name) if name.ends_with("...") && rest.peek().is_some() => {
                return Err("has `...` elsewhere than in its last segment");
            }
            Some(name) if name.strip_suffix("...").unwrap_or(name).contains(['{', '}', '.']) => {
                return Err("has a parameter whose name has a brace or a dot in it");
            }
            None if segment.contains(['{', '}']) => {
                return Err("has a parameter that is not a whole segment");
            }
            None if segment.contains(RESERVED) => {
                return Err("has a query, a fragment or a percent-escape in it");
            }
            _ => {}
        }
    }
    if parameters(path)
        .enumerate()
        .any(|(index, name)| parameters(path).take(index).any(|earlier| earlier == name))
    {
        return Err("has two parameters of one name");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router() -> Router<()> {
        Router::new()
            .under(&["", "/api"])
            .get("/a", |_, _| Response::text(200, "a"))
            .authenticate(&[Authentication::QueryKey("token")])
            .get("/a/{name}/{rest...}", |_, request| {
                let caller = request.caller().map_or("nobody", |caller| &caller.key_name);
                Response::text(
                    200,
                    format_args!("{caller} {} {}", request.parameter("name"), request.parameter("rest")),
                )
            })
            .fallback(|_, _| Response::status(404))
    }

    fn request(route: u32) -> raw::Request {
        let parameters = vec!["n".into(), "r/s".into()];
        raw::Request {
            route,
            method: "GET".into(),
            parameters,
            query: Vec::new(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    fn principal() -> Principal {
        Principal {
            organisation: 1,
            organisation_name: "o".into(),
            key_id: "k".into(),
            key_name: "jack".into(),
            role: raw::Role::Read,
        }
    }

    #[test]
    fn every_described_route_answers_by_its_number() {
        let router = router();
        let described: Vec<_> = router.describe("").routes.into_iter().map(|route| route.path).collect();
        assert_eq!(
            described,
            [
                "/a",
                "/api/a",
                "/a/{name}/{rest...}",
                "/api/a/{name}/{rest...}",
                "/{rest...}",
                "/api/{rest...}"
            ]
        );
        for (route, body) in [(0, "a"), (1, "a"), (2, "jack n r/s"), (3, "jack n r/s"), (4, ""), (5, "")] {
            let response = router.handle(&(), &[], Some(Ok(principal())), &request(route));
            assert_eq!(String::from_utf8_lossy(&response.body), body, "route {route}");
        }
        assert_eq!(router.handle(&(), &[], None, &request(6)).status, 500);
    }

    #[test]
    fn an_unknown_caller_meets_the_refusal_only_where_it_matters() {
        let router = router().refuse(|failure| Response::text(401, format_args!("no: {failure}")));
        let failure = || Some(Err(raw::AuthFailure::Unknown));
        assert_eq!(router.handle(&(), &[], failure(), &request(0)).status, 200);
        let refused = router.handle(&(), &[], failure(), &request(2));
        assert_eq!((refused.status, &refused.body[..]), (401, &b"no: the credentials are not known"[..]));
        assert_eq!(
            router.handle(&(), &[], None, &request(2)).status,
            401,
            "a caller the host forgot is nobody"
        );
        assert_eq!(router.handle(&(), &[], failure(), &request(4)).status, 404);
    }

    #[test]
    fn a_path_that_cannot_be_one_is_named() {
        for (path, expected) in [
            ("a", "does not begin with one slash"),
            ("/{}", "without a name"),
            ("/{...}", "without a name"),
            ("/{a...}/b", "elsewhere"),
            ("/x{a}", "not a whole segment"),
            ("/{a}/{a}", "two parameters of one name"),
            ("/a?b", "a query"),
            ("/a#b", "a fragment"),
            ("/50%", "a percent-escape"),
            ("/{name.ext}", "a dot"),
            ("/{{a}}", "a brace"),
        ] {
            let wrong = check("GET", "", path).expect_err(path);
            assert!(wrong.contains(expected), "{path}: {wrong}");
        }
        for path in ["/", "/a", "/a/{b}/c/{d...}"] {
            assert_eq!(check("GET", "/api", path), Ok(()));
        }
        for prefix in ["api", "/api/", "/{version}", "/a?b"] {
            assert!(check("GET", prefix, "/a").is_err(), "{prefix}");
        }
        for method in ["get", "", "G ET"] {
            assert!(check(method, "", "/a").is_err(), "{method}");
        }
        assert!(check("*", "", "/a").is_ok() && check("M-SEARCH", "", "/a").is_ok());
    }

    #[test]
    #[should_panic(expected = "the route GET /api/a is there already")]
    fn a_route_that_is_there_twice_is_named() {
        let _ = router().get("/api/a", |_, _| Response::status(200)).describe("");
    }
}
