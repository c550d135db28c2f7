//! The pages at `/series`: metrics with tagged series, and of one how it went of late: of all its series together, and by a tag.

use axum::extract::State;
use axum::response::Response;
use bellwether_kernel::{FieldError, OrganisationId};
use bellwether_series::{
    Aggregate, Expression, Filter, Line, MetricKind, Selection, TaggedMetric, TimeRange,
};
use maud::{Markup, html};
use serde::Deserialize;

use super::frame::{Frame, further, table, text, word};
use super::plot::Course;
use super::query;
use super::session::SignedIn;
use crate::api::series::{filter, page as page_of_series};
use crate::api::series_metrics::page as page_of_metrics;
use crate::extract::Query;
use crate::problem::Problem;
use crate::services::{Services, Shared};

pub(super) const TITLE: &str = "Metrics";
/// Metrics, series and lines of a page.
const ROWS: usize = 50;
/// Keys of tags that one can be chosen of.
const KEYS: usize = 100;
/// Over how much time a metric is looked at, and in steps of how much, in milliseconds.
const OVER: [(&str, i64, i64); 3] =
    [("1 h", 3_600_000, 60_000), ("1 d", 86_400_000, 600_000), ("7 d", 604_800_000, 3_600_000)];

/// Which metrics, or which one and what of it.
#[derive(Default, Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    name: String,
    #[serde(default)]
    metric: String,
    #[serde(default)]
    filter: String,
    /// A tag's key.
    #[serde(default)]
    by: String,
    #[serde(default)]
    over: String,
    /// Where the page of the list begins.
    cursor: Option<String>,
}

/// Lists metrics, or shows one.
pub(crate) async fn show(
    signed_in: SignedIn,
    Query(wanted): Query<Wanted>,
    State(services): State<Shared>,
) -> Response {
    let who = &*signed_in.0;
    if wanted.metric.is_empty() {
        return Frame::new(TITLE, Some(who)).answer(list(&services, who.organisation, &wanted));
    }
    Frame::new(&wanted.metric, Some(who))
        .within(TITLE)
        .answer(one(&services, who.organisation, &wanted).await)
}

fn list(services: &Services, organisation: OrganisationId, wanted: &Wanted) -> Result<Markup, Problem> {
    let name = wanted.name.trim();
    let part = Some(name).filter(|part| !part.is_empty());
    let (metrics, next) =
        page_of_metrics(services, organisation, part, Some(ROWS), wanted.cursor.as_deref())?;
    let rows = metrics.iter().map(|metric| {
        let query = query([("metric", &*metric.name)]);
        [
            html! { a href={ "/series?" (query) } { (metric.name) } },
            text(kind(metric.metadata.kind)),
            text(unit(metric)),
            text(metric.series.to_string()),
            text(metric.metadata.description.as_deref().unwrap_or_default()),
        ]
    });
    Ok(html! {
        p.soft { "Metrics with tagged series. " a href="/intervals" { "Interval metrics" } " are on a page of their own." }
        form.inline method="get" action="/series" {
            input name="name" value=(name) aria-label="Part of the name" placeholder="Part of the name";
            button { "Show" }
        }
        (table("", ["Metric", "Kind", "Unit", "Series", "Description"], &rows.collect::<Vec<_>>(), false))
        (further("/series", &[("name", name)], next))
    })
}

async fn one(services: &Services, organisation: OrganisationId, wanted: &Wanted) -> Result<Markup, Problem> {
    let (series, name) = (services.series(), &*wanted.metric);
    let metric = series.metric(organisation, name)?;
    let keys = series.tag_keys(organisation, name).await?;
    let text_of_filter = wanted.filter.trim();
    let which = filter(Some(text_of_filter).filter(|text| !text.is_empty()))?;
    let (over, length, step) = over(&wanted.over)?;
    let end = services.parts.clock.now();
    let range = TimeRange { start: end.saturating_add(-length), end, step: Some(step) };
    let ends = (range.start.as_milliseconds(), end.as_milliseconds());
    let together =
        if metric.metadata.kind == MetricKind::Count { Aggregate::Sum } else { Aggregate::Average };
    let asked = |by: Option<&str>| {
        let selection = Selection::new(name).matching(which.clone()).grouped(together, by);
        Expression::Select(selection)
    };
    let all = series.query(organisation, &asked(None), range, &|_| true).await?;
    let by = Some(&*wanted.by).filter(|by| !by.is_empty());
    let lines = match by {
        Some(_) => series.query(organisation, &asked(by), range, &|_| true).await?,
        None => Vec::new(),
    };
    let listed = series_of(services, organisation, wanted, which).await?;
    Ok(html! {
        @if let Some(description) = &metric.metadata.description { p { (description) } }
        (known(&metric))
        form.inline method="get" action="/series" {
            input type="hidden" name="metric" value=(name);
            input name="filter" value=(text_of_filter) aria-label="Only series with tags" placeholder="env:prod,!host:a*";
            select name="by" aria-label="By tag" {
                option value="" { "all together" }
                @for (at, key) in keys.iter().enumerate() {
                    @let chosen = by == Some(&*key.key);
                    @if at < KEYS || chosen { option value=(key.key) selected[chosen] { "by " (key.key) } }
                }
            }
            @if keys.len() > KEYS { span.soft { (KEYS) " of " (keys.len()) " tags" } }
            select name="over" aria-label="Over how much time" {
                @for (known, ..) in OVER { option selected[known == over] { (known) } }
            }
            button { "Show" }
        }
        (together_of(&metric, together, all, ends, over))
        @if let Some(by) = by { (lines_by(by, lines, ends)) }
        (listed)
        p.soft { "Times are in UTC." }
    })
}

/// What `over` says, or an hour.
fn over(asked: &str) -> Result<(&'static str, i64, i64), FieldError> {
    let asked = if asked.is_empty() { OVER[0].0 } else { asked };
    OVER.into_iter().find(|(known, ..)| *known == asked).ok_or_else(|| {
        let words = OVER.map(|(known, ..)| known).join(", ");
        FieldError::new("over", asked, format!("one of {words}"))
    })
}

fn kind(kind: MetricKind) -> String {
    word(crate::api::MetricKind::from(kind))
}

/// `byte`, `byte/second`
fn unit(metric: &TaggedMetric) -> String {
    let per = metric.metadata.per_unit.as_ref().map(|per| format!("/{per}")).unwrap_or_default();
    metric.metadata.unit.clone().unwrap_or_default() + &per
}

fn known(metric: &TaggedMetric) -> Markup {
    let kept = metric
        .metadata
        .keep_days
        .map_or_else(|| "as the host keeps".to_owned(), |days| format!("{days} days"));
    let row = [
        text(kind(metric.metadata.kind)),
        text(unit(metric)),
        text(metric.series.to_string()),
        text(metric.metadata.integration.as_deref().unwrap_or_default()),
        text(kept),
    ];
    table("", ["Kind", "Unit", "Series", "Sent by", "Kept"], &[row], false)
}

/// How all wanted series went together.
fn together_of(
    metric: &TaggedMetric,
    how: Aggregate,
    lines: Vec<Line>,
    ends: (i64, i64),
    over: &str,
) -> Markup {
    let how = if how == Aggregate::Sum { "sum" } else { "average" };
    html! {
        h2 { "Over " (over) ", the " (how) " of its series" }
        @match lines.into_iter().next().and_then(|line| Course::of(line.points)) {
            Some(course) => { (course.figure(ends, &unit(metric))) }
            None => { p.soft { "no samples" } }
        }
    }
}

fn lines_by(by: &str, lines: Vec<Line>, ends: (i64, i64)) -> Markup {
    let more = lines.len() > ROWS;
    let rows = lines.into_iter().take(ROWS).filter_map(|line| {
        let value = line.tags.iter().map(|(_, value)| &**value).collect::<Vec<_>>().join(", ");
        let [last, at, low, high, course] = Course::of(line.points)?.cells(ends);
        Some([text(value), last, at, low, high, course])
    });
    let columns = [by, "Last", "At", "Lowest", "Highest", "Course"];
    table(&format!("By {by}"), columns, &rows.collect::<Vec<_>>(), more)
}

async fn series_of(
    services: &Services,
    organisation: OrganisationId,
    wanted: &Wanted,
    which: Filter,
) -> Result<Markup, Problem> {
    let metric = &*wanted.metric;
    let cursor = wanted.cursor.as_deref();
    let (series, next) = page_of_series(services, organisation, (metric, which), Some(ROWS), cursor).await?;
    let rows =
        series.iter().map(|tags| [text(if tags.is_empty() { "*".to_owned() } else { tags.join(", ") })]);
    let asked = [("metric", metric), ("filter", &wanted.filter), ("by", &wanted.by), ("over", &wanted.over)];
    Ok(html! {
        (table("Series", ["Tags"], &rows.collect::<Vec<_>>(), false))
        (further("/series", &asked, next))
    })
}
