//! A client of a dialect: what the host does between the wire and the component, as far as a unit test needs it.

use super::MemoryHost;
use serde_json::Value as Json;

use crate::SettingError;
use crate::app::Input;
use crate::bindings::dialect::bellwether::plugin::dialect_types as raw;
use crate::bindings::dialect::exports::bellwether::plugin::configurable_dialect as contract;
use crate::dialect::{AuthFailure, Header, Principal, Response, Role, Route, Router};
use crate::value::NamedValue;

/// Sends requests to a dialect's routes, as a caller who may write unless it is told otherwise.
///
/// It picks the route as the host does, keeps what may hold a credential from the dialect, and proves nobody's identity:
/// who calls is the test's to say.
pub struct Client<'a> {
    router: Router<MemoryHost>,
    routes: Vec<Route>,
    credentials: Credentials,
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
            credentials: Credentials::of(&described.routes),
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

    /// With one more header on every request. The dialect sees none that may hold a credential, as the host has it.
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
    ///
    /// # Panics
    /// As [`Self::send`].
    #[must_use]
    #[track_caller]
    pub fn get(&self, target: &str) -> Response {
        self.send("GET", target, "")
    }

    /// A `POST` with this body.
    ///
    /// # Panics
    /// As [`Self::send`].
    #[must_use]
    #[track_caller]
    pub fn post(&self, target: &str, body: &str) -> Response {
        self.send("POST", target, body)
    }

    /// A `DELETE`.
    ///
    /// # Panics
    /// As [`Self::send`].
    #[must_use]
    #[track_caller]
    pub fn delete(&self, target: &str) -> Response {
        self.send("DELETE", target, "")
    }

    /// Any request: path and query percent-encoded as on the wire, relative to the dialect's mount. What no route
    /// matches is answered 404 without a body, as far as the dialect is concerned.
    ///
    /// # Panics
    /// If a host would refuse the answer.
    #[must_use]
    #[track_caller]
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
            let decoded = |text: &str| String::from_utf8_lossy(&bytes(&text.replace('+', " "))).into_owned();
            (decoded(key), decoded(value))
        });
        let request = raw::Request {
            route: u32::try_from(number).expect("few routes"),
            method: method.to_owned(),
            parameters,
            query: pairs.filter(|(name, _)| !self.credentials.queries.contains(name)).collect(),
            headers: self.headers.iter().filter(|header| !self.credentials.are_in(header)).cloned().collect(),
            body: body.as_ref().to_vec(),
        };
        let response = self.router.handle(self.host, &self.settings, caller, &request);
        if let Err(wrong) = check(&response) {
            panic!("the host refuses the answer to {method} {target}: {wrong}");
        }
        response
    }
}

/// Where a credential may be in a request of any of a dialect's routes.
struct Credentials {
    headers: Vec<String>,
    queries: Vec<String>,
}

impl Credentials {
    fn of(routes: &[Route]) -> Self {
        let mut headers = ["authorization", "proxy-authorization", "cookie"].map(str::to_owned).to_vec();
        let mut queries = Vec::new();
        for scheme in routes.iter().flat_map(|route| &route.authentication).flatten() {
            match scheme {
                contract::Authentication::Authorization(_) | contract::Authentication::Basic => {}
                contract::Authentication::HeaderKey(name) => headers.push(name.clone()),
                contract::Authentication::QueryKey(name) => queries.push(name.clone()),
                contract::Authentication::Signed(signature) => {
                    headers.push(signature.timestamp_header.clone());
                }
            }
        }
        Self { headers, queries }
    }

    fn are_in(&self, header: &Header) -> bool {
        self.headers.iter().any(|name| name.eq_ignore_ascii_case(&header.name))
    }
}

/// The most headers an answer may have.
const HEADERS: usize = 100;

/// Headers that speak about the connection, which is the host's.
const RESERVED: [&str; 6] =
    ["connection", "content-length", "transfer-encoding", "trailer", "upgrade", "keep-alive"];

/// What a host would refuse of an answer.
fn check(response: &Response) -> Result<(), String> {
    if !(200..600).contains(&response.status) {
        return Err(format!("its status is {}, expected 200 to 599", response.status));
    }
    if response.headers.len() > HEADERS {
        return Err(format!("it has {} headers, expected at most {HEADERS}", response.headers.len()));
    }
    for Header { name, value } in &response.headers {
        let is_of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_of_a_name) {
            return Err(format!("{name:?} is no name of a header"));
        }
        if RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
            return Err(format!("the header {name} is the host's to set"));
        }
        if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            return Err(format!("the header {name} is {value:?}, expected no control characters"));
        }
    }
    Ok(())
}

/// What `path` gives the parameters of a route's path, if it matches.
fn parameters(route: &str, path: &str) -> Option<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = Some(path.strip_prefix('/')?);
    for segment in route.strip_prefix('/')?.split('/') {
        let name = segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}'));
        if name.is_some_and(|name| name.ends_with("...")) {
            found.push(decoded(rest.unwrap_or_default())?);
            return Some(found);
        }
        let (first, after) = match rest?.split_once('/') {
            Some((first, after)) => (first, Some(after)),
            None => (rest?, None),
        };
        match name {
            Some(_) if !first.is_empty() => found.push(decoded(first)?),
            None if decoded(first)? == segment => {}
            _ => return None,
        }
        rest = after;
    }
    rest.is_none().then_some(found)
}

/// A part of a path without its percent-encoding; `None` if that is not UTF-8, which no route matches.
fn decoded(text: &str) -> Option<String> {
    String::from_utf8(bytes(text)).ok()
}

/// The bytes of a text without its percent-encoding.
fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|&digit| char::from(digit).to_digit(16));
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high << 4 | low).expect("two digits are a byte"));
                rest = &after[2..];
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::{Authentication, Encoding, MessagePart, Request, Signature};

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
            ("/b/{a}", "/%62/%+1", Some(vec!["%+1"])),
            ("/{a}", "/%ff", None),
            ("/{a...}", "/%ff", None),
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

    #[test]
    fn a_dialect_sees_no_credential_and_whatever_else_was_sent() {
        const SCHEMES: &[Authentication] = &[
            Authentication::All(&[Authentication::HeaderKey("X-Api-Key"), Authentication::QueryKey("token")]),
            Authentication::Signed(Signature {
                prefix: "TC",
                message: &[MessagePart::Header("Timestamp")],
                encoding: Encoding::Base64,
                timestamp_header: "Timestamp",
                tolerance: 300,
            }),
        ];
        let host = MemoryHost::new();
        // Who has a key sends it to where nobody asks for it too.
        let open = |_: &MemoryHost, request: &Request<'_>| {
            let headers = ["authorization", "cookie", "x-api-key", "timestamp", "accept"];
            let headers = headers.iter().filter_map(|name| request.header(name));
            let queries = request.queries().map(|(name, _)| name);
            Response::text(200, headers.chain(queries).collect::<Vec<_>>().join(" "))
        };
        let router = Router::new()
            .get("/open", open)
            .authenticate(SCHEMES)
            .get("/closed", |_, _| Response::status(204));
        let client = Client::new(router, &host)
            .header("Authorization", "Bearer kept")
            .header("Cookie", "kept")
            .header("x-api-key", "kept")
            .header("timestamp", "kept")
            .header("accept", "all");
        let answer = client.get("/open?token=kept&a=1&TOKEN=2");
        assert_eq!(String::from_utf8_lossy(&answer.body), "all a TOKEN");
    }

    #[test]
    fn an_answer_no_host_sends_on_is_told() {
        let with = |name: &str, value: &str| Response::status(200).header(name, value);
        let many = (0..=HEADERS).fold(Response::status(200), |many, _| many.header("x", "y"));
        for (response, expected) in [
            (Response::status(100), "its status is 100, expected 200 to 599"),
            (Response::status(600), "expected 200 to 599"),
            (with("Content-Length", "3"), "the host's to set"),
            (with("x-note", "a\r\nb"), "no control characters"),
            (with("x note", "a"), "no name of a header"),
            (with("", "a"), "no name of a header"),
            (many, "it has 101 headers"),
        ] {
            let wrong = check(&response).expect_err(expected);
            assert!(wrong.contains(expected), "{wrong}");
        }
        assert_eq!(check(&with("x-note", "häuser\tof all")), Ok(()));
    }

    #[test]
    #[should_panic(expected = "the host refuses the answer to GET /a?b: its status is 99")]
    fn a_test_fails_where_the_host_would_refuse() {
        let host = MemoryHost::new();
        let router = Router::new().get("/a", |_: &MemoryHost, _| Response::status(99));
        let _ = Client::new(router, &host).get("/a?b");
    }
}
