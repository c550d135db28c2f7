//! What alerts need from plugins: a [`Detector`] scores points, a [`Forecaster`] predicts them, a [`Formatter`] drives the
//! exchange of a notification with a channel. Traits and plain data; this crate does not know that WebAssembly exists.

mod detector;
mod error;
mod exchange;
mod forecaster;
mod formatter;
pub mod limits;
mod notification;
mod outgoing;
mod settings;

pub use detector::{Detection, Detector, DetectorDescription, History, Points, Scores, Takes};
pub use error::RoleError;
pub use exchange::{Rehearsal, rehearse};
pub use forecaster::{Forecast, Forecaster, ForecasterDescription, Past};
pub use formatter::{Answer, EmailAnswer, Formatter, FormatterDescription, HttpAnswer, Refusal, Step};
pub use notification::{
    Alert, Event, Excursion, Incident, InvalidNotification, Link, MonitorKind, Notification, Purpose, Series,
    Severity, UserEvent,
};
pub use outgoing::{
    Basic, Email, Encoding, Grant, Hash, Header, Hmac, HttpRequest, KeyEncoding, MessagePart, OAuth,
    Outgoing, Part, SecretEncoding, Signing, Sigv4, TimeFormat, shown,
};
pub use settings::Settings;

use std::sync::Arc;

use bellwether_kernel::OrganisationId;

/// Finds what alerts need by its name: an organisation's own, or the host's.
pub trait Roles: Send + Sync + 'static {
    /// The detector of that name.
    fn detector(&self, organisation: OrganisationId, name: &str) -> Option<Arc<dyn Detector>>;

    /// The forecaster of that name.
    fn forecaster(&self, organisation: OrganisationId, name: &str) -> Option<Arc<dyn Forecaster>>;

    /// The formatter of that name.
    fn formatter(&self, organisation: OrganisationId, name: &str) -> Option<Arc<dyn Formatter>>;
}
