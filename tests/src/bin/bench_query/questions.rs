//! What a dashboard asks, in Bellwether's language and in Prometheus's.

use crate::data::{LONG, WIDE};

/// One question.
pub(crate) struct Question {
    pub(crate) name: &'static str,
    pub(crate) ours: String,
    pub(crate) theirs: String,
    /// How far it looks back, in hours.
    pub(crate) hours: i64,
    /// Seconds of a step.
    pub(crate) step: i64,
}

/// One value for each step of each series by `over_time`, then one of all series of a group by `over_series`; words
/// both languages have.
struct Selection {
    over_series: &'static str,
    over_time: &'static str,
    metric: &'static str,
    tags: &'static [(&'static str, &'static str)],
    by: &'static str,
}

impl Selection {
    fn ours(&self) -> String {
        let tags: Vec<String> = self.tags.iter().map(|(key, value)| format!("{key}:{value}")).collect();
        let filter = if tags.is_empty() { "*".to_owned() } else { tags.join(",") };
        let by = if self.by.is_empty() { String::new() } else { format!(" by {{{}}}", self.by) };
        format!("{}:{}{{{filter}}}{by}.rollup({})", self.over_series, self.metric, self.over_time)
    }

    fn theirs(&self, step: i64) -> String {
        let labels: Vec<String> = self.tags.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
        let Self { over_series, over_time, metric, by, .. } = self;
        let labels = labels.join(",");
        format!("{over_series} by ({by}) ({over_time}_over_time({metric}{{{labels}}}[{step}s]))")
    }
}

pub(crate) fn all() -> Vec<Question> {
    let select =
        |over_series, over_time, metric, tags, by| Selection { over_series, over_time, metric, tags, by };
    let ask = |name, hours, step, selection: Selection| Question {
        name,
        ours: selection.ours(),
        theirs: selection.theirs(step),
        hours,
        step,
    };
    let zone = select("sum", "sum", WIDE, &[("zone", "a")], "");
    let whole = select("sum", "sum", WIDE, &[], "");
    vec![
        ask("1 series, an hour", 1, 60, select("avg", "avg", WIDE, &[("host", "h7"), ("core", "3")], "")),
        ask("1 series, a day", 24, 300, select("max", "max", WIDE, &[("host", "h7"), ("core", "3")], "")),
        ask("1 series, a week", 168, 3600, select("avg", "avg", LONG, &[("host", "h7"), ("core", "3")], "")),
        ask("a host's 10, an hour, by core", 1, 60, select("avg", "avg", WIDE, &[("host", "h500")], "core")),
        ask("100 series, a day, by host and core", 24, 600, select("avg", "avg", LONG, &[], "host,core")),
        ask("100 series, a week, by host", 168, 3600, select("max", "max", LONG, &[], "host")),
        ask("10,000 series, an hour", 1, 60, select("sum", "sum", WIDE, &[], "")),
        ask("10,000 series, an hour, by rack", 1, 60, select("avg", "avg", WIDE, &[], "rack")),
        ask("10,000 series, a day, by zone", 24, 900, select("max", "max", WIDE, &[], "zone")),
        Question {
            name: "a zone's share of 10,000 series, a day",
            ours: format!("{} / {}", zone.ours(), whole.ours()),
            theirs: format!("{} / {}", zone.theirs(900), whole.theirs(900)),
            hours: 24,
            step: 900,
        },
    ]
}
