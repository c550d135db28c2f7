//! Alerts: monitors that look at series, the incidents they open, and what is told of them to whom.
//!
//! [`Alerts`] is the door. A monitor is evaluated at its times, and when what it looks at is written: it looks at its
//! series, moves each to its level, makes incidents of those that breach, and commits all of it together with what is to
//! be told ([`Tellings`]). What happened near an incident ([`EventSource`]) is shown and told with it. [`Deliveries`] keep
//! what is to be told and deliver it, [`Routes`] say which channels it goes to. What alerts need from plugins is here as
//! traits: a [`Detector`] scores points, a [`Forecaster`] predicts them, a [`Formatter`] drives the exchange of a
//! notification with a channel. This crate does not know that WebAssembly exists.

mod action;
mod calendar;
mod channel;
mod correlate;
mod delivery;
mod detector;
mod engine;
mod erase;
mod error;
mod evaluate;
mod exchange;
mod feedback;
mod forecaster;
mod formatter;
mod incident;
mod level;
pub mod limits;
mod meters;
mod monitor;
mod mute;
mod notification;
mod nowhere;
mod outgoing;
mod route;
mod rows;
mod sending;
mod service;
mod settings;
mod state;
mod telling;
mod wake;

#[cfg(test)]
mod tests;

pub use action::{
    Act, Acted, Acting, Action, Actions, Actor, Followed, MonitorLink, Offer, OfferedLink, Outward,
};
pub use bellwether_kernel::{MonitorId, Period};
pub use calendar::{CalendarEntry, EntryId, EntryKind, NewEntry, NotNow, Repeat};
pub use channel::{Channel, ChannelSpec, ChannelState, Rate, RetryPolicy};
pub use correlate::{CorrelatedEvent, CorrelatedEvents, EventOrigin, EventSource};
pub use delivery::{
    Attempt, ChannelTrial, Deliveries, Delivery, DeliveryFilter, DeliveryHistory, DeliveryId, DeliveryLimits,
    DeliveryParts, DeliveryState, Exchanged, InvalidDeliveryId, Outcome,
};
pub use detector::{Detection, Detector, DetectorDescription, History, Points, Scores, Takes};
pub use engine::{Decision, DecisionLine, Figures, Pace};
pub use error::{AlertError, Faults, NotCalled, RoleError};
pub use exchange::{Rehearsal, rehearse};
pub use feedback::{Feedback, FeedbackCounts, Opinion};
pub use forecaster::{Forecast, Forecaster, ForecasterDescription, Past};
pub use formatter::{Answer, EmailAnswer, Formatter, FormatterDescription, HttpAnswer, Refusal, Step};
pub use incident::{Acknowledgement, IncidentId, Interval, Note, NoteKind, StoredIncident};
pub use level::{Comparator, Level, Thresholds};
pub use monitor::{
    Condition, DetectorChoice, EventChoice, Merge, MissingData, MissingPolicy, Monitor, Notify, Reduce,
    Renotify, RenotifyStatus, Side,
};
pub use mute::{Mute, MuteId, NewMute, Scope};
pub use notification::{
    Alert, Event, Excursion, Incident, InvalidNotification, Link, MonitorKind, Notification, Purpose, Series,
    Severity, UserEvent,
};
pub use nowhere::{NoEvents, NoTellings};
pub use outgoing::{
    Basic, Email, Encoding, Grant, Hash, Header, Hmac, HttpRequest, KeyEncoding, MessagePart, OAuth,
    Outgoing, Part, SecretEncoding, Signing, Sigv4, TimeFormat, shown,
};
pub use route::{
    InvalidTable, OrganisationRoutes, Recipients, RouteMatch, RouteRule, RouteRules, RouteTable,
    RouteTableRecord, Routed, Routes,
};
pub use sending::{FilledRequest, HttpSender, Letter, Mailer, Posted, SendError};
pub use service::{
    Alerts, Backtest, BacktestIncident, BacktestRequest, By, Called, Caller, FeedbackFilter, IncidentFilter,
    IncidentState, Join, Limits, MonitorVersion, Parts, Reach, SeriesStatus, StoredMonitor, Subject,
};
pub use settings::Settings;
pub use state::Direction;
pub use telling::{Moved, Telling, Tellings};

use std::fmt;
use std::sync::Arc;

use bellwether_kernel::OrganisationId;
use serde_json::{Map, Value as Json};

/// What alerts call a plugin as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleKind {
    /// A [`Detector`].
    Detector,
    /// A [`Forecaster`].
    Forecaster,
    /// A [`Formatter`].
    Formatter,
}

impl fmt::Display for RoleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Detector => "detector",
            Self::Forecaster => "forecaster",
            Self::Formatter => "formatter",
        })
    }
}

/// Finds what alerts need by its name: an organisation's own, or the host's.
pub trait Roles: Send + Sync + 'static {
    /// The detector of that name.
    fn detector(&self, organisation: OrganisationId, name: &str) -> Option<Arc<dyn Detector>>;

    /// The forecaster of that name.
    fn forecaster(&self, organisation: OrganisationId, name: &str) -> Option<Arc<dyn Forecaster>>;

    /// The formatter of that name.
    fn formatter(&self, organisation: OrganisationId, name: &str) -> Option<Arc<dyn Formatter>>;

    /// Why a plugin of that name that is installed is not called in a role: it is switched off, it does not load, it is
    /// something else. `None` if it is called, or if there is none. By default none is installed that is not called.
    fn why_not_called(&self, organisation: OrganisationId, name: &str, role: RoleKind) -> Option<String> {
        let _ = (organisation, name, role);
        None
    }

    /// That a name leads to nothing that is called in a role, and why.
    fn not_called(&self, organisation: OrganisationId, name: &str, role: RoleKind) -> NotCalled {
        NotCalled { role, name: name.to_owned(), why: self.why_not_called(organisation, name, role) }
    }

    /// The detector of that name for a monitor. By default the present version.
    fn detector_for(
        &self,
        organisation: OrganisationId,
        name: &str,
        regular: &Regular<'_>,
    ) -> Option<Arc<dyn Detector>> {
        let _ = regular;
        self.detector(organisation, name)
    }

    /// The forecaster of that name for who asks it. By default the present version.
    fn forecaster_for(
        &self,
        organisation: OrganisationId,
        name: &str,
        regular: &Regular<'_>,
    ) -> Option<Arc<dyn Forecaster>> {
        let _ = regular;
        self.forecaster(organisation, name)
    }

    /// The formatter of that name for what a channel tells of an incident. By default the present version.
    fn formatter_for(
        &self,
        organisation: OrganisationId,
        name: &str,
        regular: &Regular<'_>,
    ) -> Option<Arc<dyn Formatter>> {
        let _ = regular;
        self.formatter(organisation, name)
    }
}

/// Who calls a role again and again. While a new version is tried on a share of them, each keeps to one version.
#[derive(Clone, Copy, Debug)]
pub struct Regular<'a> {
    /// What tells them apart within the organisation.
    pub name: &'a [u8],
    /// What they set: a version that refuses it is not for them.
    pub settings: &'a Map<String, Json>,
}
