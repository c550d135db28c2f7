//! `query` and `query_range`.

use bellwether_sdk::Timestamp;
use bellwether_sdk::dialect::{Request, Response};
use bellwether_sdk::host::{Clock, SeriesRead};
use bellwether_sdk::series::{Matcher, Selection, SeriesError};
use serde_json::json;

use crate::answer;
use crate::failure::Failure;
use crate::parameters::Parameters;
use crate::promql::{self, Grid, Labels, Series, Source};

/// Points of one line: Prometheus' own bound.
const POINTS: i64 = 11_000;

/// The samples a host keeps.
struct Stored<'a, H>(&'a H);

impl<H: SeriesRead> Source for Stored<'_, H> {
    fn series(
        &self,
        matchers: &[Matcher],
        start: i64,
        end: i64,
        most: u32,
    ) -> Result<Vec<Series>, SeriesError> {
        let (first, last) = (Timestamp::MIN.milliseconds(), Timestamp::MAX.milliseconds());
        let (start, end) = (start.max(first), end.min(last));
        if start > end {
            return Ok(Vec::new());
        }
        let instant = Timestamp::from_milliseconds;
        let found = self.0.select(matchers, instant(start), instant(end), most)?;
        let series = |selection: Selection| Series {
            labels: Labels::of_series(&selection.identity.metric, &selection.identity.tags),
            times: selection.times,
            values: selection.values,
        };
        let mut series: Vec<Series> = found.into_iter().map(series).collect();
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(series)
    }
}

/// `GET` or `POST /api/v1/query`
pub(crate) fn instant<H: SeriesRead + Clock>(host: &H, request: &Request<'_>) -> Result<Response, Failure> {
    let parameters = Parameters::of(request);
    let time = parameters.time("time")?.unwrap_or_else(|| host.now().milliseconds());
    parameters.timeout()?;
    let (limit, lookback) = (parameters.limit(usize::MAX)?, parameters.lookback()?);
    let expression = parameters.expression()?;
    answer::instant(promql::instant(&Stored(host), &expression, time, lookback)?, time, limit)
}

/// `GET` or `POST /api/v1/query_range`
pub(crate) fn range<H: SeriesRead>(host: &H, request: &Request<'_>) -> Result<Response, Failure> {
    let parameters = Parameters::of(request);
    let start = parameters.required_time("start")?;
    let end = parameters.required_time("end")?;
    if end < start {
        return Err(Failure::parameter("end", "end timestamp must not be before start time"));
    }
    let step = parameters.duration("step")?;
    if step <= 0 {
        return Err(Failure::parameter(
            "step",
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        ));
    }
    if (end - start) / step > POINTS {
        return Err(Failure::bad(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution \
             (?step=XX)",
        ));
    }
    parameters.timeout()?;
    let (limit, lookback) = (parameters.limit(usize::MAX)?, parameters.lookback()?);
    let expression = parameters.expression()?;
    let grid = Grid { start, step, count: ((end - start) / step) as usize + 1 };
    answer::range(promql::range(&Stored(host), &expression, grid, end, lookback)?, grid, limit)
}

/// `GET` or `POST /api/v1/query_exemplars`: there are none, of what can be asked for.
pub(crate) fn exemplars(request: &Request<'_>) -> Result<Response, Failure> {
    let parameters = Parameters::of(request);
    parameters.time("start")?;
    parameters.time("end")?;
    parameters.expression()?;
    Ok(answer::success(&json!([])))
}
