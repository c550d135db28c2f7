//! A plugin that speaks a vendor's HTTP API: its routes, and the call that answers a request.

use std::borrow::Cow;
use std::sync::Arc;

use bellwether_access::{AuthFailure, Authentication, Encoding, MessagePart, Principal, Role, Signature};
use bellwether_alerts::Settings;
use bellwether_engine::{self as engine, CallMeters, Guest, Instance, InstancePre, Store, wasmtime};
use bellwether_kernel::value::Input;
use bellwether_kernel::{FieldError, OrganisationId};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::bindings::bellwether::host::http_client::HeaderParam;
use crate::bindings::bellwether::host::types as wit_types;
use crate::bindings::bellwether::plugin::dialect_types as wit;
use crate::bindings::exports::bellwether::plugin::{configurable_dialect as configurable, dialect as plain};
use crate::declared::{bounded, open_settings};
use crate::host::Call;
use crate::inspect::PluginRole;
use crate::plugin::{Caller, Export, Loaded};
use crate::role::{SettingsBacking, setting_error};
use crate::route::{self, Matched, Route, RouteMatch};
use crate::{PluginError, limits, log};

const DESCRIBE: Export = Export { role: PluginRole::Dialect, name: "dialect.describe" };
const CHECK: Export = Export { role: PluginRole::Dialect, name: "dialect.check" };
const HANDLE: Export = Export { role: PluginRole::Dialect, name: "dialect.handle" };

/// A plugin that exports `configurable-dialect` or `dialect`.
pub struct Dialect {
    loaded: Arc<Loaded>,
    exports: Exports,
    meters: Arc<CallMeters>,
    summary: String,
    routes: Vec<Route>,
    /// What organisations can set.
    settings: Vec<Input>,
    /// How it is set for who has set nothing.
    defaults: Result<Arc<Settings>, FieldError>,
    /// Headers a credential may be in, on any route: the plugin sees none of them, on no route.
    credential_headers: Vec<HeaderName>,
    /// Query parameters a credential may be in.
    credential_queries: Vec<String>,
}

/// Which form of the role a component exports.
enum Exports {
    Plain(plain::GuestIndices),
    Configurable(configurable::GuestIndices),
}

impl Exports {
    /// The fuller form where a component has it.
    fn find(instance: &InstancePre<Guest<Call>>) -> wasmtime::Result<Self> {
        match configurable::GuestIndices::new(instance) {
            Ok(exports) => Ok(Self::Configurable(exports)),
            Err(_) => plain::GuestIndices::new(instance).map(Self::Plain),
        }
    }
}

/// The description of the plain form in the words of the fuller one.
fn fuller(plain: plain::Description) -> configurable::Description {
    let scheme = |plain: plain::Authentication| match plain {
        plain::Authentication::Authorization(word) => configurable::Authentication::Authorization(word),
        plain::Authentication::HeaderKey(name) => configurable::Authentication::HeaderKey(name),
        plain::Authentication::QueryKey(name) => configurable::Authentication::QueryKey(name),
        plain::Authentication::Signed(signature) => configurable::Authentication::Signed(signature),
    };
    let route = |plain::Route { method, path, authentication }| configurable::Route {
        method,
        path,
        authentication: authentication.into_iter().map(|plain| vec![scheme(plain)]).collect(),
    };
    configurable::Description {
        summary: plain.summary,
        routes: plain.routes.into_iter().map(route).collect(),
        settings: Vec::new(),
    }
}

/// A request that matched a route.
#[derive(Clone, Copy, Debug)]
pub struct DialectRequest<'a> {
    /// The route, and what its parameters matched.
    pub matched: &'a Matched<'a>,
    /// The method as the client sent it.
    pub method: &'a str,
    /// The raw query, without `?`; empty if there is none.
    pub query: &'a str,
    /// The headers as they came; those that may carry a credential are kept from the plugin.
    pub headers: &'a HeaderMap,
    /// The whole body.
    pub body: &'a [u8],
}

/// A dialect's answer, checked: the status is 200 to 599, the headers are headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialectResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers; none that speaks about the connection.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Headers that speak about the connection, which is the host's.
const RESERVED: [HeaderName; 6] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TRAILER,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

impl Dialect {
    /// Asks the plugin what it speaks, and makes sure that it makes sense.
    pub(crate) async fn describe(loaded: Arc<Loaded>) -> Result<Self, PluginError> {
        let (exports, meters, described) = loaded
            .described(DESCRIBE, Exports::find, async |exports, store, instance| match exports {
                Exports::Plain(exports) => {
                    exports.load(&mut *store, instance)?.call_describe(store).await.map(fuller)
                }
                Exports::Configurable(exports) => {
                    exports.load(&mut *store, instance)?.call_describe(store).await
                }
            })
            .await?;
        let wrong = |error| loaded.bad_description(DESCRIBE, error);
        let routes = routes(described.routes).map_err(wrong)?;
        bounded("summary", &described.summary).map_err(wrong)?;
        let settings = settings(described.settings).map_err(wrong)?;
        let defaults = Settings::read(&settings, &serde_json::Map::new()).map(Arc::new);
        let (credential_headers, credential_queries) = credentials(&routes);
        let summary = described.summary;
        Ok(Self {
            loaded,
            exports,
            meters,
            summary,
            routes,
            settings,
            defaults,
            credential_headers,
            credential_queries,
        })
    }

    /// The plugin's name: also where the dialect is mounted.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.loaded.name
    }

    /// The plugin's version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.loaded.version
    }

    /// What it speaks, in a sentence.
    #[must_use]
    pub fn summary(&self) -> &str {
        &self.summary
    }

    /// Its routes, in the order they are tried.
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// What each organisation can set.
    #[must_use]
    pub fn settings(&self) -> &[Input] {
        &self.settings
    }

    /// What an organisation has set, or the defaults.
    fn settings_of(&self, organisation: Option<OrganisationId>) -> Result<Arc<Settings>, PluginError> {
        let kept = &self.loaded.scope.shared.settings;
        let organisation = organisation.filter(|_| !self.settings.is_empty());
        let given = organisation.and_then(|organisation| kept.get(organisation, self.name()));
        let settings = match given {
            Some(given) => Settings::read(&self.settings, &given).map(Arc::new),
            None => self.defaults.clone(),
        };
        settings.map_err(|error| PluginError::Settings {
            name: self.name().to_owned(),
            version: self.version().to_owned(),
            source: Box::new(error),
        })
    }

    /// Whether it takes what an organisation has set.
    pub(crate) fn takes_what_was_set(&self, organisation: Option<OrganisationId>) -> bool {
        self.settings_of(organisation).is_ok()
    }

    /// Asks the plugin whether settings make sense.
    ///
    /// # Errors
    /// [`PluginError::Invalid`] if they do not; if the call came to nothing.
    pub(crate) async fn check(
        &self,
        settings: &Settings,
        organisation: OrganisationId,
    ) -> Result<(), PluginError> {
        let Exports::Configurable(exports) = &self.exports else { return Ok(()) };
        let settings = SettingsBacking::new(settings);
        let settings = settings.lower();
        let now = self.loaded.scope.shared.services.clock.now();
        let (answer, _) = self
            .loaded
            .call(
                CHECK,
                self.loaded.limits(),
                &self.meters,
                Caller::pure(now, organisation),
                async |store, instance| {
                    exports.load(&mut *store, instance)?.call_check(store, &settings).await
                },
            )
            .await;
        answer?.map_or(Ok(()), |wrong| Err(setting_error(wrong).into()))
    }

    /// Where a request belongs. `method` in upper case; `path` is the raw path below the mount, beginning with `/`.
    #[must_use]
    pub fn route(&self, method: &str, path: &str) -> RouteMatch<'_> {
        route::find(&self.routes, method, path)
    }

    /// Answers a request on a fresh instance. `caller` is absent for a route that anybody may call; a failed
    /// authentication is the dialect's to word.
    ///
    /// # Errors
    /// [`PluginError::Call`] if the call came to nothing, [`PluginError::Answer`] if its answer is none. Both name the
    /// plugin, its version and the call.
    pub async fn handle(
        &self,
        caller: Option<Result<Arc<Principal>, AuthFailure>>,
        request: DialectRequest<'_>,
    ) -> Result<DialectResponse, PluginError> {
        let parameters: Vec<&str> = request.matched.parameters.iter().map(String::as_str).collect();
        let query = self.query(request.query);
        let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (&**name, &**value)).collect();
        let values = self.headers(request.headers);
        let headers: Vec<HeaderParam<'_>> =
            values.iter().map(|(name, value)| HeaderParam { name: name.as_str(), value }).collect();
        let guest_request = wit::Request {
            route: request.matched.index,
            method: request.method,
            parameters: &parameters,
            query: &query,
            headers: &headers,
            body: request.body,
        };
        let principal = caller.as_ref().and_then(|caller| caller.as_ref().ok()).cloned();
        let settings = self.settings_of(principal.as_ref().map(|principal| principal.organisation))?;
        let settings = SettingsBacking::new(&settings);
        let settings = settings.lower();
        let guest_caller = caller.as_ref().map(|caller| match caller {
            Ok(principal) => Ok(lower_principal(principal)),
            Err(failure) => Err(lower_failure(failure)),
        });
        let (exports, settings) = (&self.exports, &settings);
        let work = || {
            let (caller, request) = (guest_caller.clone(), guest_request.clone());
            async move |store: &mut Store<Call>, instance: &Instance| match exports {
                Exports::Plain(plain) => {
                    let found = engine::exports(store, |store| plain.load(store, instance))?;
                    found.call_handle(store, caller, request).await
                }
                Exports::Configurable(configurable) => {
                    let found = engine::exports(store, |store| configurable.load(store, instance))?;
                    found.call_handle(store, settings, caller, request).await
                }
            }
        };
        let (response, log) =
            self.loaded.call_posting(HANDLE, self.loaded.limits(), &self.meters, principal, work).await;
        log::tell(self.name(), self.version(), log);
        let response = response?;
        self.loaded.check_output(HANDLE, response.body.len())?;
        answer(response).map_err(|problem| self.loaded.bad_answer(HANDLE, problem))
    }

    /// The query's pairs without those that may carry a credential.
    fn query<'a>(&self, query: &'a str) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
        let pairs = form_urlencoded::parse(query.as_bytes());
        pairs
            .filter(|(name, _)| !self.credential_queries.iter().any(|credential| credential == name))
            .collect()
    }

    /// The headers without those that may carry a credential.
    fn headers<'a>(&self, headers: &'a HeaderMap) -> Vec<(&'a HeaderName, Cow<'a, str>)> {
        let open = headers.iter().filter(|(name, _)| !self.credential_headers.contains(name));
        open.map(|(name, value)| (name, String::from_utf8_lossy(value.as_bytes()))).collect()
    }
}

fn lower_principal(principal: &Principal) -> wit::Principal<'_> {
    wit::Principal {
        organisation: principal.organisation.0,
        organisation_name: &principal.organisation_name,
        key_id: principal.key.as_str(),
        key_name: &principal.key_name,
        role: match principal.role {
            Role::Read => wit::Role::Read,
            Role::Write => wit::Role::Write,
            Role::Admin => wit::Role::Admin,
        },
    }
}

fn lower_failure(failure: &AuthFailure) -> wit::AuthFailure<'_> {
    match failure {
        AuthFailure::Missing => wit::AuthFailure::Missing,
        AuthFailure::Malformed(text) => wit::AuthFailure::Malformed(text),
        AuthFailure::Unknown => wit::AuthFailure::Unknown,
        AuthFailure::Expired => wit::AuthFailure::Expired,
        AuthFailure::OutOfTime { host } => wit::AuthFailure::OutOfTime(host.as_milliseconds()),
        AuthFailure::SignatureMismatch => wit::AuthFailure::SignatureMismatch,
        AuthFailure::Suspended => wit::AuthFailure::Other(bellwether_access::SUSPENDED),
    }
}

/// A plugin's answer, if it is one.
fn answer(response: wit::Response) -> Result<DialectResponse, String> {
    let status =
        StatusCode::from_u16(response.status).ok().filter(|status| (200..600).contains(&status.as_u16()));
    let status =
        status.ok_or_else(|| format!("it answered the status {}, expected 200 to 599", response.status))?;
    if response.headers.len() > limits::RESPONSE_HEADERS {
        return Err(format!(
            "it answered {} headers, at most {} are sent",
            response.headers.len(),
            limits::RESPONSE_HEADERS
        ));
    }
    let mut headers = HeaderMap::with_capacity(response.headers.len());
    for given in response.headers {
        let name = HeaderName::from_bytes(given.name.as_bytes())
            .map_err(|_| format!("it answered a header named {:?}", given.name))?;
        if RESERVED.contains(&name) {
            return Err(format!("it answered the header {name}, which is the host's to set"));
        }
        let value = HeaderValue::try_from(given.value)
            .map_err(|_| format!("it answered control characters in the header {name}"))?;
        headers.append(name, value);
    }
    Ok(DialectResponse { status, headers, body: response.body.into() })
}

/// What organisations can set. A dialect answers before anybody has, so none may be required.
fn settings(given: Vec<wit_types::Input>) -> Result<Vec<Input>, FieldError> {
    let settings = open_settings(given)?;
    match settings.iter().position(|setting| setting.required) {
        None => Ok(settings),
        Some(at) => {
            let expected = "false: a dialect answers before anybody has set it; give it a default";
            Err(FieldError::new(format!("settings[{at}].required"), true, expected))
        }
    }
}

fn routes(given: Vec<configurable::Route>) -> Result<Vec<Route>, FieldError> {
    if given.len() > limits::ROUTES {
        return Err(FieldError::new("routes", given.len(), format!("at most {}", limits::ROUTES)));
    }
    let mut routes: Vec<Route> = Vec::with_capacity(given.len());
    for (index, route) in given.into_iter().enumerate() {
        let field = |name: &str| format!("routes[{index}].{name}");
        bounded(&field("path"), &route.path)?;
        let alternatives = route.authentication.into_iter().enumerate();
        let alternatives: Result<Vec<_>, _> = alternatives
            .map(|(at, schemes)| together(&field(&format!("authentication[{at}]")), schemes))
            .collect();
        let shown = format!("{} {}", route.method, route.path);
        let route = Route::new(&route.method, &route.path, alternatives?)
            .map_err(|expected| FieldError::new(format!("routes[{index}]"), &shown, expected))?;
        if routes.iter().any(|other| other.method() == route.method() && other.path() == route.path()) {
            return Err(FieldError::new(
                format!("routes[{index}]"),
                shown,
                "a route that is not there already",
            ));
        }
        routes.push(route);
    }
    if routes.is_empty() {
        return Err(FieldError::new("routes", 0, "at least one"));
    }
    Ok(routes)
}

/// The largest tolerance of a signature's time, in seconds: a longer one would let a recorded request be replayed for
/// more than a day.
const TOLERANCE: u32 = 86_400;

/// Credentials that must hold together.
fn together(
    field: &str,
    given: Vec<configurable::Authentication>,
) -> Result<Vec<Authentication>, FieldError> {
    if given.is_empty() {
        return Err(FieldError::new(field, "nothing", "at least one credential; no alternative for anybody"));
    }
    let schemes = given.into_iter().enumerate();
    schemes.map(|(at, scheme)| authentication(&format!("{field}[{at}]"), scheme)).collect()
}

fn authentication(field: &str, given: configurable::Authentication) -> Result<Authentication, FieldError> {
    let word = |text: String| match text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.is_empty() {
        true => Ok(text),
        false => Err(FieldError::new(field, text, "one word")),
    };
    let header = |text: String| match HeaderName::from_bytes(text.as_bytes()) {
        Ok(_) => Ok(text),
        Err(_) => Err(FieldError::new(field, text, "a header's name")),
    };
    Ok(match given {
        configurable::Authentication::Authorization(text) => Authentication::Authorization(word(text)?),
        configurable::Authentication::HeaderKey(name) => Authentication::HeaderKey(header(name)?),
        configurable::Authentication::QueryKey(name) => Authentication::QueryKey(word(name)?),
        configurable::Authentication::Signed(signature) => {
            if signature.tolerance > TOLERANCE {
                return Err(FieldError::new(
                    format!("{field}.tolerance"),
                    signature.tolerance,
                    format!("at most {TOLERANCE} seconds"),
                ));
            }
            // A signature that does not cover the time could be sent again at any later one.
            let covers_time = signature.message.iter().any(|part| {
                matches!(part, wit::MessagePart::Header(name) if name.eq_ignore_ascii_case(&signature.timestamp_header))
            });
            if !covers_time {
                let shown = &signature.timestamp_header;
                return Err(FieldError::new(
                    format!("{field}.message"),
                    shown,
                    "a message that holds the timestamp's header",
                ));
            }
            let part = |part| {
                Ok(match part {
                    wit::MessagePart::Literal(text) => MessagePart::Literal(text),
                    wit::MessagePart::RequestTarget => MessagePart::RequestTarget,
                    wit::MessagePart::Method => MessagePart::Method,
                    wit::MessagePart::Header(name) => MessagePart::Header(header(name)?),
                    wit::MessagePart::Body => MessagePart::Body,
                })
            };
            Authentication::Signed(Signature {
                prefix: word(signature.prefix)?,
                message: signature.message.into_iter().map(part).collect::<Result<_, FieldError>>()?,
                encoding: match signature.encoding {
                    wit::Encoding::Base64 => Encoding::Base64,
                    wit::Encoding::Hex => Encoding::Hex,
                },
                timestamp_header: header(signature.timestamp_header)?,
                tolerance: signature.tolerance,
            })
        }
        configurable::Authentication::Basic => Authentication::Basic,
    })
}

/// Where credentials may be in a request of any of `routes`. A client that is sent to a route for anybody still sends
/// its credential.
fn credentials(routes: &[Route]) -> (Vec<HeaderName>, Vec<String>) {
    let mut headers = vec![header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE];
    let mut queries = Vec::new();
    for scheme in routes.iter().flat_map(Route::authentication).flatten() {
        let name = match scheme {
            Authentication::Authorization(_) | Authentication::Basic => continue,
            Authentication::HeaderKey(name) => name,
            Authentication::Signed(signature) => &signature.timestamp_header,
            Authentication::QueryKey(name) => {
                queries.push(name.clone());
                continue;
            }
        };
        headers.extend(HeaderName::from_bytes(name.as_bytes()).ok().filter(|name| !headers.contains(name)));
    }
    (headers, queries)
}
