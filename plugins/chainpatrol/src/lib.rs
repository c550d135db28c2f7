//! ChainPatrol's API of an organisation's security metrics: reports, threats and takedowns, counted over tagged series.
//!
//! Which series are which is the organisation's to set (`Mapping`); everything has a default.
//!
//! Where ChainPatrol's documentation leaves something open:
//!
//! - A date may be a day alone: as `startDate` its first instant, as `endDate` its last, since ranges are inclusive. A time
//!   without an offset is in UTC.
//! - A `startDate` behind the `endDate` is answered 400, as is a `brandSlug` where the flag is off. Empty parameters are as
//!   good as absent.
//! - Days of `blockedByDay` are UTC's, the oldest first; those on which nothing was blocked are left out.
//! - `blockedByType` has the type of most threats first; types are in upper case, and those of threats without one `OTHER`.

mod answer;
mod failure;
mod mapping;
mod period;

use bellwether_sdk::dialect::{Authentication, Router, dialect};
use bellwether_sdk::host::{Clock, SeriesRead};

use failure::Failure;
use mapping::Mapping;

const METRICS: &str = "/organization/metrics";

/// ChainPatrol's API of an organisation's security metrics, for unchanged ChainPatrol clients.
#[dialect]
pub fn routes<H: SeriesRead + Clock>() -> Router<H> {
    Router::new()
        .under(&["/api/v2"])
        .settings::<Mapping>()
        .refuse(Failure::refusal)
        .authenticate(&[Authentication::HeaderKey("x-api-key")])
        .get(METRICS, answer::metrics)
        .authenticate(&[])
        .any(METRICS, |_, request| Failure::method(request))
        .any("/{rest...}", |_, request| Failure::path(request))
}

#[cfg(test)]
mod tests;
