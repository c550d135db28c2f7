//! The pages at `/intervals`: metrics of intervals, and of one its values of late, of each key where it has keys.

use axum::extract::State;
use axum::response::Response;
use bellwether_kernel::{MetricId, OrganisationId};
use bellwether_metrics::{
    Fill, Interval, IntervalQuery, KeyFilter, KeySelection, ListFilter, Metric, MetricReference, SeriesValues,
};
use maud::{Markup, html};
use serde::Deserialize;

use super::frame::{Frame, further, moment, table, text};
use super::plot::{Course, number};
use super::series;
use super::session::SignedIn;
use crate::api::metrics::{KEYS, METRICS, find};
use crate::extract::Query;
use crate::problem::Problem;
use crate::services::{Services, Shared};

const TITLE: &str = "Interval metrics";
/// Metrics and keys of a page.
const ROWS: usize = 50;

/// Which metrics, or which one and which of its keys.
#[derive(Default, Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    name: String,
    /// Its id or name.
    #[serde(default)]
    metric: String,
    #[serde(default)]
    key: String,
    /// Where the page of the list begins.
    cursor: Option<String>,
}

/// Lists metrics, or shows one.
pub(crate) async fn show(
    signed_in: SignedIn,
    Query(wanted): Query<Wanted>,
    State(services): State<Shared>,
) -> Response {
    let (who, organisation) = (&*signed_in.0, signed_in.0.organisation);
    if wanted.metric.is_empty() {
        return Frame::new(TITLE, Some(who))
            .within(series::TITLE)
            .answer(list(&services, organisation, &wanted).await);
    }
    match find(&services, organisation, wanted.metric.clone()).await {
        Ok(metric) => {
            let body = one(&services, organisation, &metric, &wanted).await;
            Frame::new(&metric.definition.name, Some(who)).within(series::TITLE).answer(body)
        }
        Err(error) => Frame::new(TITLE, Some(who)).within(series::TITLE).answer(Err(error.into())),
    }
}

async fn list(services: &Services, organisation: OrganisationId, wanted: &Wanted) -> Result<Markup, Problem> {
    let name = wanted.name.trim();
    let filter = ListFilter { name_contains: Some(name.to_owned()).filter(|part| !part.is_empty()) };
    let page = METRICS.page(Some(ROWS), wanted.cursor.as_deref())?;
    let found = services.metrics().page(organisation, &filter, &page).await?;
    let rows = found.items.iter().map(|metric| {
        let definition = &metric.definition;
        [
            html! { a href={ "/intervals?metric=" (metric.id) } { (definition.name) } },
            text(definition.data_type.as_str()),
            text(definition.interval.as_str()),
            text(if definition.keyed { "by key" } else { "" }),
            text(definition.description.as_deref().unwrap_or_default()),
        ]
    });
    Ok(html! {
        p.soft { "Metrics of intervals. " a href="/series" { "Those with tagged series" } " are on a page of their own." }
        form.inline method="get" action="/intervals" {
            input name="name" value=(name) aria-label="Part of the name" placeholder="Part of the name";
            button { "Show" }
        }
        (table("", ["Metric", "Type", "Interval", "Keys", "Description"], &rows.collect::<Vec<_>>(), false))
        (further("/intervals", &[("name", name)], METRICS.next(found.next)))
    })
}

async fn one(
    services: &Services,
    organisation: OrganisationId,
    metric: &Metric,
    wanted: &Wanted,
) -> Result<Markup, Problem> {
    let definition = &metric.definition;
    let keyed = if definition.keyed { "by key" } else { "" };
    let known = [
        text(definition.data_type.as_str()),
        text(definition.interval.as_str()),
        text(keyed),
        text(&metric.time_zone),
        text(moment(metric.created)),
    ];
    let values = if definition.keyed {
        by_key(services, organisation, metric, wanted).await?
    } else {
        alone(services, organisation, metric).await?
    };
    Ok(html! {
        @if let Some(description) = &definition.description { p { (description) } }
        (table("", ["Type", "Interval", "Keys", "Time zone", "Created"], &[known], false))
        (values)
        p.soft { "Times are in UTC: an interval's is where it begins." }
    })
}

/// How far back values are shown, in milliseconds: a few dozen intervals.
fn length(interval: Interval) -> i64 {
    const DAY: i64 = 86_400_000;
    match interval {
        Interval::Hourly => 2 * DAY,
        Interval::Daily => 30 * DAY,
        Interval::Weekly => 26 * 7 * DAY,
        Interval::Monthly => 24 * 30 * DAY,
        Interval::Yearly => 10 * 365 * DAY,
    }
}

/// The values of late, and over which time, in milliseconds since 1970.
async fn late(
    services: &Services,
    organisation: OrganisationId,
    (metric, interval): (MetricId, Interval),
    keys: KeySelection,
) -> Result<(Vec<SeriesValues>, (i64, i64)), Problem> {
    let end = services.parts.clock.now();
    let start = end.saturating_add(-length(interval));
    let asked = IntervalQuery { metric: MetricReference::Id(metric), keys, start, end, fill: Fill::Gaps };
    let series = services.metrics().query(organisation, &asked).await?;
    // The first interval may begin before.
    let first = series.iter().filter_map(|series| series.points.first()).map(|point| point.start).min();
    let start = first.map_or(start, |first| first.min(start));
    Ok((series, (start.as_milliseconds(), end.as_milliseconds())))
}

fn course(series: &SeriesValues) -> Option<Course> {
    let points = series.points.iter();
    Course::of(points.filter_map(|point| Some((point.start.as_milliseconds(), point.value?))).collect())
}

/// The values of a metric without keys.
async fn alone(
    services: &Services,
    organisation: OrganisationId,
    metric: &Metric,
) -> Result<Markup, Problem> {
    let which = (metric.id, metric.definition.interval);
    let (series, ends) = late(services, organisation, which, KeySelection::All).await?;
    let points = series.iter().flat_map(|series| &series.points).rev();
    let rows = points.map(|point| {
        let value = point.value.map(number).unwrap_or_default();
        [text(moment(point.start)), text(value), text(point.count.to_string())]
    });
    Ok(html! {
        h2 { "Values of late" }
        @if let Some(course) = series.first().and_then(course) { (course.figure(ends, "")) }
        (table("", ["Interval", "Value", "Samples"], &rows.collect::<Vec<_>>(), false))
    })
}

/// The values of the keys of a page.
async fn by_key(
    services: &Services,
    organisation: OrganisationId,
    metric: &Metric,
    wanted: &Wanted,
) -> Result<Markup, Problem> {
    let part = wanted.key.trim();
    let filter =
        KeyFilter { contains: Some(part.to_owned()).filter(|part| !part.is_empty()), ..KeyFilter::default() };
    let (page, id) = (KEYS.page(Some(ROWS), wanted.cursor.as_deref())?, metric.id.to_string());
    let found =
        services.metrics().keys(organisation, &MetricReference::Id(metric.id), &filter, &page).await?;
    let which = (metric.id, metric.definition.interval);
    let (series, ends) = match found.items.is_empty() {
        true => (Vec::new(), (0, 0)),
        false => late(services, organisation, which, KeySelection::Keys(found.items.clone())).await?,
    };
    let rows = found.items.iter().map(|key| {
        let values = series.iter().find(|series| series.key.as_ref() == Some(key));
        let [last, at, low, high, drawn] =
            values.and_then(course).map(|course| course.cells(ends)).unwrap_or_default();
        [text(key), last, at, low, high, drawn]
    });
    Ok(html! {
        h2 { "Values of late" }
        form.inline method="get" action="/intervals" {
            input type="hidden" name="metric" value=(id);
            input name="key" value=(part) aria-label="Part of the key" placeholder="Part of the key";
            button { "Show" }
        }
        (table("", ["Key", "Last", "At", "Lowest", "Highest", "Course"], &rows.collect::<Vec<_>>(), false))
        (further("/intervals", &[("metric", &id), ("key", part)], KEYS.next(found.next)))
    })
}
