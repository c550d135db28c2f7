//! What an organisation can set: how names, and what sends, become metrics and tags.

use bellwether_sdk::{Choice, Settings};

/// How metrics and tags are called.
#[derive(Choice, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// As Prometheus would call them: `http_server_request_duration_seconds`, `http_route`.
    Prometheus,
    /// As they came: `http.server.request.duration`, `http.route`.
    #[choice("opentelemetry")]
    OpenTelemetry,
}

/// What an organisation can set.
#[derive(Clone, Debug, Settings)]
pub(crate) struct Mapping {
    /// How metrics and tags are called: `prometheus` with its letters, units and `_total`, or `opentelemetry`, unchanged.
    #[setting(default = Names::Prometheus)]
    pub(crate) names: Names,
    /// Which attributes of a resource become tags, by their names in OpenTelemetry; `*` for all.
    #[setting(default = vec!["*".to_owned()])]
    pub(crate) resource_attributes: Vec<String>,
    /// Whether name, version and attributes of the instrumentation's scope become tags.
    #[setting(default = true)]
    pub(crate) scope: bool,
}

impl Mapping {
    /// Whether this attribute of a resource becomes a tag.
    pub(crate) fn takes(&self, attribute: &str) -> bool {
        self.resource_attributes.iter().any(|taken| taken == "*" || taken == attribute)
    }
}
