//! A client of a dialect: what the host does between the wire and the component, as far as a unit test needs it.

use super::MemoryHost;
use serde_json::Value as Json;

use crate::SettingError;
use crate::app::Input;
use crate::bindings::dialect::bellwether::plugin::dialect_types as raw;
use crate::dialect::{AuthFailure, Header, Principal, Response, Role, Route, Router};
use crate::value::NamedValue;

/// Sends requests to a dialect's routes, as a caller who may write unless it is told otherwise.
///
/// It picks the route as the host does and proves nobody's identity: who calls is the test's to say.
pub struct Client<'a> {
    router: Router<MemoryHost>,
    routes: Vec<Route>,
    declared: Vec<Input>,
    settings: Vec<NamedValue>,
    host: &'a MemoryHost,
    caller: Result<Principal, raw::AuthFailure>,
    headers: Vec<Header>,
}

impl<'a> Client<'a> {
    /// A client of these routes on that host.
    ///
    /// # Panics
    /// If a route cannot be one.
    #[must_use]
    pub fn new(router: Router<MemoryHost>, host: &'a MemoryHost) -> Self {
        let described = router.describe("");
        let caller = Principal {
            organisation: 1,
            organisation_name: "Example".to_owned(),
            key_id: "key-1".to_owned(),
            key_name: "test".to_owned(),
            role: Role::Write,
        };
        let client = Self {
            router,
            routes: described.routes,
            declared: described.settings,
            settings: Vec::new(),
            host,
            caller: Ok(caller),
            headers: Vec::new(),
        };
        client.settings(&Json::Null).expect("a dialect's settings are optional or have defaults")
    }

    /// The same for an organisation that has set these, a JSON object.
    ///
    /// # Errors
    /// Names the setting that is unknown, of another type, or refused by the dialect.
    pub fn settings(self, given: &Json) -> Result<Self, SettingError> {
        let settings = super::app::named(&self.declared, given)
            .map_err(|(name, value, expected)| SettingError::new(name, value, expected))?;
        match self.router.check(settings.clone()) {
            None => Ok(Self { settings, ..self }),
            Some(wrong) => Err(SettingError::new(wrong.field, wrong.value, wrong.expected)),
        }
    }

    /// The same for this caller.
    #[must_use]
    pub fn caller(self, caller: Principal) -> Self {
        Self { caller: Ok(caller), ..self }
    }

    /// The same for a caller who is not known.
    #[must_use]
    pub fn refused(self, failure: AuthFailure) -> Self {
        Self { caller: Err(failure.into()), ..self }
    }

    /// With one more header on every request.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(Header { name: name.to_owned(), value: value.to_owned() });
        self
    }

    /// The same that reaches the dialect at this URL, as the host says to [`Request::base_url`].
    ///
    /// # Panics
    /// If it is none with a scheme.
    ///
    /// [`Request::base_url`]: crate::dialect::Request::base_url
    #[must_use]
    pub fn reaches_at(self, url: &str) -> Self {
        let (scheme, rest) = url.split_once("://").expect("a URL with a scheme");
        let (authority, prefix) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        self.header("x-forwarded-proto", scheme)
            .header("x-forwarded-host", authority)
            .header("x-forwarded-prefix", prefix)
    }

    /// A `GET` of this path and query.
    #[must_use]
    pub fn get(&self, target: &str) -> Response {
        self.send("GET", target, "")
    }

    /// A `POST` with this body.
    #[must_use]
    pub fn post(&self, target: &str, body: &str) -> Response {
        self.send("POST", target, body)
    }

    /// A `DELETE`.
    #[must_use]
    pub fn delete(&self, target: &str) -> Response {
        self.send("DELETE", target, "")
    }

    /// Any request: path and query percent-encoded as on the wire, relative to the dialect's mount. What no route
    /// matches is answered 404 without a body, as far as the dialect is concerned.
    #[must_use]
    pub fn send(&self, method: &str, target: &str, body: impl AsRef<[u8]>) -> Response {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let matched = self.routes.iter().enumerate().find_map(|(number, route)| {
            let method_matches = route.method == "*" || route.method == method;
            method_matches
                .then(|| parameters(&route.path, path))
                .flatten()
                .map(|parameters| (number, parameters))
        });
        let Some((number, parameters)) = matched else { return Response::status(404) };
        let caller = (!self.routes[number].authentication.is_empty()).then(|| self.caller.clone());
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(&key.replace('+', " ")), decoded(&value.replace('+', " ")))
        });
        let request = raw::Request {
            route: u32::try_from(number).expect("few routes"),
            method: method.to_owned(),
            parameters,
            query: pairs.collect(),
            headers: self.headers.clone(),
            body: body.as_ref().to_vec(),
        };
        self.router.handle(self.host, &self.settings, caller, &request)
    }
}

/// What `path` gives the parameters of a route's path, if it matches.
fn parameters(route: &str, path: &str) -> Option<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = Some(path.strip_prefix('/')?);
    for segment in route.strip_prefix('/')?.split('/') {
        let name = segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}'));
        if name.is_some_and(|name| name.ends_with("...")) {
            found.push(decoded(rest.unwrap_or_default()));
            return Some(found);
        }
        let (first, after) = match rest?.split_once('/') {
            Some((first, after)) => (first, Some(after)),
            None => (rest?, None),
        };
        match name {
            Some(_) if !first.is_empty() => found.push(decoded(first)),
            None if segment == first => {}
            _ => return None,
        }
        rest = after;
    }
    rest.is_none().then_some(found)
}

/// A text without its percent-encoding.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(decoded) if byte == b'%' => {
                bytes.push(decoded);
                rest = &after[2..];
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_matches_as_the_contract_says() {
        for (route, path, expected) in [
            ("/a", "/a", Some(vec![])),
            ("/a", "/a/", None),
            ("/a", "/b", None),
            ("/", "/", Some(vec![])),
            ("/{a}", "/x%20y", Some(vec!["x y"])),
            ("/{a}", "/x%2Fy", Some(vec!["x/y"])),
            ("/{a}", "/", None),
            ("/{a}/b", "/x/b", Some(vec!["x"])),
            ("/{a}/b", "/x", None),
            ("/{a...}", "/", Some(vec![""])),
            ("/{a...}", "/x/y", Some(vec!["x/y"])),
            ("/b/{a...}", "/b", Some(vec![""])),
            ("/b/{a...}", "/b/x/", Some(vec!["x/"])),
            ("/b/{a...}", "/bx", None),
        ] {
            let found = parameters(route, path);
            let found = found.as_ref().map(|found| found.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(found, expected, "{path} on {route}");
        }
    }

    #[test]
    fn a_dialect_knows_where_it_is_reached_as_far_as_its_host_does() {
        let host = MemoryHost::new();
        let client = || {
            let router =
                Router::new().get("/a", |_: &MemoryHost, request| Response::text(200, request.base_url()));
            Client::new(router, &host)
        };
        let seen = |client: Client<'_>| String::from_utf8(client.get("/a").body).expect("a URL");
        assert_eq!(seen(client()), "");
        assert_eq!(seen(client().header("x-forwarded-prefix", "/name")), "/name");
        for url in ["https://example.com", "http://[::1]:8080/some/name"] {
            assert_eq!(seen(client().reaches_at(url)), url);
        }
    }

    #[test]
    fn a_query_is_decoded_in_order() {
        let host = MemoryHost::new();
        let router = Router::new().get("/q", |_: &MemoryHost, request| {
            let pairs: Vec<_> = request.queries().map(|(key, value)| format!("{key}={value}")).collect();
            Response::text(200, pairs.join("|"))
        });
        let response = Client::new(router, &host).get("/q?b=1&a=x+y%26z&c&%e4=%");
        assert_eq!(String::from_utf8_lossy(&response.body), "b=1|a=x y&z|c=|\u{fffd}=%");
    }
}
