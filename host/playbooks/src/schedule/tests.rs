//! What a schedule promises, held against known dates and against a walk minute by minute.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

fn instant(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// The first `count` firings after `from`.
fn firings(schedule: &Schedule, from: &str, count: usize) -> Vec<String> {
    let mut last = instant(from);
    std::iter::from_fn(|| {
        last = schedule.next_after(last)?;
        Some(last.to_string())
    })
    .take(count)
    .collect()
}

#[test]
fn an_expression_names_its_instants() {
    let cases: [(&str, &str, &str, &[&str]); 19] = [
        ("30 9 * * *", "UTC", "2026-03-01T09:29:59.999Z", &["2026-03-01T09:30:00Z", "2026-03-02T09:30:00Z"]),
        ("30 9 * * *", "UTC", "2026-03-01T09:30:00Z", &["2026-03-02T09:30:00Z"]),
        ("30 9 * * *", "UTC", "2026-03-01T09:29:59Z", &["2026-03-01T09:30:00Z"]),
        ("0 9 * * *", "Europe/Berlin", "2026-01-01", &["2026-01-01T08:00:00Z", "2026-01-02T08:00:00Z"]),
        ("0 9 * * *", "asia/kathmandu", "2026-01-01", &["2026-01-01T03:15:00Z"]),
        ("*/20 * * * *", "UTC", "2026-01-01T00:01:00Z", &["2026-01-01T00:20:00Z", "2026-01-01T00:40:00Z"]),
        // Numbers of days as in crontab: 1 is Monday, 0 and 7 are Sunday. 2026-03-01 is a Sunday.
        ("0 0 * * 1", "UTC", "2026-03-01", &["2026-03-02T00:00:00Z", "2026-03-09T00:00:00Z"]),
        ("0 0 * * 0", "UTC", "2026-03-01", &["2026-03-08T00:00:00Z"]),
        ("0 0 * * 7", "UTC", "2026-03-01", &["2026-03-08T00:00:00Z"]),
        (
            "0 0 * * 5-7",
            "UTC",
            "2026-03-01",
            &["2026-03-06T00:00:00Z", "2026-03-07T00:00:00Z", "2026-03-08T00:00:00Z"],
        ),
        (
            "0 0 * * fri-SUN",
            "UTC",
            "2026-03-06",
            &["2026-03-07T00:00:00Z", "2026-03-08T00:00:00Z", "2026-03-13T00:00:00Z"],
        ),
        (
            "0 0 * * Monday/3",
            "UTC",
            "2026-03-01",
            &["2026-03-02T00:00:00Z", "2026-03-05T00:00:00Z", "2026-03-09T00:00:00Z"],
        ),
        ("15 30 9 * JAN MON-FRI", "UTC", "2026-01-02T10:00:00Z", &["2026-01-05T09:30:15Z"]),
        ("0 0 0 29 2 ? 2027-2032", "UTC", "2026-01-01", &["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
        // Either day, where both are named; the days of the month alone, where a step of all is.
        (
            "0 0 10 * 1",
            "UTC",
            "2026-03-03",
            &["2026-03-09T00:00:00Z", "2026-03-10T00:00:00Z", "2026-03-16T00:00:00Z"],
        ),
        ("0 0 1-7 * */7", "UTC", "2026-03-02", &["2026-04-05T00:00:00Z", "2026-05-03T00:00:00Z"]),
        ("@daily", "UTC", "2026-03-01", &["2026-03-02T00:00:00Z"]),
        ("@weekly", "UTC", "2026-03-01", &["2026-03-08T00:00:00Z"]),
        ("@yearly", "UTC", "0001-01-01", &["1970-01-01T00:00:00Z"]),
    ];
    for (expression, zone, from, expected) in cases {
        let schedule = Schedule::cron(expression, zone).unwrap();
        assert_eq!(firings(&schedule, from, expected.len()), expected, "{expression} in {zone}");
    }
}

#[test]
fn a_shorthand_is_the_expression_it_stands_for() {
    let pairs = [
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "@yearly"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * SUN"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "@daily"),
        ("@hourly", "0 * * * *"),
        (" 0  9\t* * * ", "0 9 * * *"),
        ("0 9 * * *", "0 0 9 * * *"),
        ("0 9 * * *", "0 0 9 * * ? *"),
    ];
    for (short, long) in pairs {
        let [short_firings, long_firings] = [short, long]
            .map(|text| firings(&Schedule::cron(text, "Europe/Berlin").unwrap(), "2026-01-01", 20));
        assert_eq!(short_firings, long_firings, "{short} and {long}");
    }
}

/// Berlin: 2026-03-29 has no 02:00 to 03:00, 2026-10-25 has 02:00 to 03:00 twice.
#[test]
fn daylight_saving_loses_no_firing_and_doubles_none() {
    let cases: [(&str, &str, &str, &[&str]); 9] = [
        // A time that is left out fires once, at the first instant after the gap.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00:00Z",
            &["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"],
        ),
        // Several that are left out fire once together, and not again with the time after the gap.
        (
            "*/10 2,3 * * *",
            "Europe/Berlin",
            "2026-03-29T00:00:00Z",
            &["2026-03-29T01:00:00Z", "2026-03-29T01:10:00Z"],
        ),
        // A time that comes twice fires the first time.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00:00Z",
            &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
        ),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:00:00Z", &["2026-10-26T01:30:00Z"]),
        // From within the hour that comes for the second time, the next is after it.
        ("*/30 2,3 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", &["2026-10-25T02:00:00Z"]),
        // What names every hour follows real time.
        (
            "0 * * * *",
            "Europe/Berlin",
            "2026-03-29T00:00:00Z",
            &["2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"],
        ),
        (
            "0 * * * *",
            "Europe/Berlin",
            "2026-10-25T00:00:00Z",
            &["2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"],
        ),
        (
            "30 0-23 * * *",
            "Europe/Berlin",
            "2026-10-25T00:00:00Z",
            &["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"],
        ),
        // Samoa left out 30 December 2011 when it crossed the date line.
        ("0 9 30 12 *", "Pacific/Apia", "2011-12-01", &["2011-12-30T10:00:00Z", "2012-12-29T19:00:00Z"]),
    ];
    for (expression, zone, from, expected) in cases {
        let schedule = Schedule::cron(expression, zone).unwrap();
        assert_eq!(firings(&schedule, from, expected.len()), expected, "{expression} from {from}");
    }
}

#[test]
fn a_wrong_expression_is_refused_with_the_field_that_is_wrong() {
    let cases = [
        ("", "", "five fields"),
        ("* * * *", "* * * *", "five fields"),
        ("* * * * * * * *", "* * * * * * * *", "five fields"),
        ("@fortnightly", "@fortnightly", "@daily"),
        ("60 * * * *", "60", "0 to 59, a range, a list or a step of those as the minute"),
        ("* 24 * * *", "24", "as the hour"),
        ("* * 0 * *", "0", "as the day of month"),
        ("* * L * *", "L", "as the day of month"),
        ("* * * 13 *", "13", "as the month"),
        ("* * * FOO *", "FOO", "as the month"),
        ("* * * * 8", "8", "as the day of week"),
        ("* * * * FOO", "FOO", "as the day of week"),
        ("* * * * 5-1", "5-1", "as the day of week"),
        ("* * * * 1/0", "1/0", "as the day of week"),
        ("* * * * 1,", "1,", "as the day of week"),
        ("*/0 * * * *", "*/0", "as the minute"),
        ("30-10 * * * *", "30-10", "as the minute"),
        ("4294967296 * * * *", "4294967296", "as the minute"),
        ("0 0 9 * * 1", "1", "names as MON"),
        ("0 0 9 * * * 1969", "1969", "1970 to 2100"),
        ("0 0 31 2 *", "0 0 31 2 *", "never comes"),
    ];
    for (expression, value, expected) in cases {
        let error = Schedule::cron(expression, "UTC").unwrap_err();
        assert_eq!((error.field.as_str(), error.value.as_str()), ("expression", value), "{expression}");
        assert!(error.expected.contains(expected), "{expression}: {error}");
    }
    let long = format!("{} * * * *", "1,".repeat(300));
    assert!(Schedule::cron(&long, "UTC").unwrap_err().expected.contains("500"));
    for zone in ["", "Europe/Atlantis", "+02:00", "CET-1CEST"] {
        assert_eq!(Schedule::cron("@daily", zone).unwrap_err().field, "time_zone", "{zone}");
    }
}

#[test]
fn a_schedule_whose_years_are_over_ends() {
    let schedule = Schedule::cron("0 0 0 1 1 ? 2026", "UTC").unwrap();
    assert_eq!(firings(&schedule, "2025-06-01", 2), ["2026-01-01T00:00:00Z"]);
    let schedule = Schedule::cron("@hourly", "Europe/Berlin").unwrap();
    assert_eq!(schedule.next_after(Timestamp::MAX), None);
    assert_eq!(schedule.next_after(Timestamp::MIN), Some(instant("1969-12-31T23:00:00Z")));
}

#[test]
fn an_interval_counts_from_its_anchor() {
    let schedule = Schedule::every(Duration::from_secs(90), instant("2026-01-01T00:00:10Z")).unwrap();
    assert_eq!(firings(&schedule, "2025-01-01", 2), ["2026-01-01T00:00:10Z", "2026-01-01T00:01:40Z"]);
    assert_eq!(firings(&schedule, "2026-01-01T00:01:39.999Z", 1), ["2026-01-01T00:01:40Z"]);
    assert_eq!(firings(&schedule, "2026-01-01T00:01:40Z", 1), ["2026-01-01T00:03:10Z"]);
    assert_eq!(schedule.next_after(Timestamp::MAX), None);
    for wrong in [Duration::ZERO, Duration::from_millis(999), Duration::from_micros(1_500_500), Duration::MAX]
    {
        assert_eq!(Schedule::every(wrong, Timestamp::default()).unwrap_err().field, "interval", "{wrong:?}");
    }
}

/// Zones with every kind of change: an hour, half an hour, at midnight, a whole day, in either hemisphere, none.
const ZONES: [(&str, &str); 8] = [
    ("UTC", "2026-01-01"),
    ("Europe/Berlin", "2026-01-01"),
    ("America/New_York", "2026-01-01"),
    ("America/Santiago", "2026-01-01"),
    ("Australia/Lord_Howe", "2026-01-01"),
    ("Africa/Cairo", "2026-01-01"),
    ("Pacific/Apia", "2011-01-01"),
    ("Asia/Kathmandu", "2026-01-01"),
];

const MINUTES_OF_A_YEAR: i64 = 365 * 24 * 60;

/// A minute of a zone's clock.
struct Minute {
    /// Since the epoch, as the clock shows it.
    local: i64,
    minute: usize,
    hour: usize,
    /// From 1.
    day: usize,
    /// From 1.
    month: usize,
    /// 0 for Sunday.
    weekday: usize,
}

impl Minute {
    fn new(local: i64) -> Self {
        let civil = Offset::UTC.to_datetime(jiff::Timestamp::from_second(local * 60).unwrap());
        let number = |number: i8| usize::try_from(number).unwrap();
        Self {
            local,
            minute: number(civil.minute()),
            hour: number(civil.hour()),
            day: number(civil.day()),
            month: number(civil.month()),
            weekday: number(civil.weekday().to_sunday_zero_offset()),
        }
    }
}

/// Each zone's clock at every minute of its year.
static CLOCKS: LazyLock<Vec<Vec<Minute>>> = LazyLock::new(|| {
    let clock = |(zone, start): (&str, &str)| {
        let zone = TimeZone::get(zone).unwrap();
        let start = instant(start).as_milliseconds() / 60_000;
        let at = |minute: i64| {
            let offset = zone.to_offset(jiff::Timestamp::from_second(minute * 60).unwrap());
            Minute::new(minute + seconds(offset) / 60)
        };
        // One before the year, to know what its first minute comes after.
        (start - 1..start + MINUTES_OF_A_YEAR).map(at).collect()
    };
    ZONES.into_iter().map(clock).collect()
});

/// The values of one field; `None` is a star.
type Field = Option<Vec<usize>>;

#[derive(Clone, Debug)]
struct Expression([Field; 5]);

impl Expression {
    fn text(&self) -> String {
        let field = |field: &Field| match field {
            Some(values) => values.iter().map(usize::to_string).collect::<Vec<_>>().join(","),
            None => "*".into(),
        };
        self.0.iter().map(field).collect::<Vec<_>>().join(" ")
    }

    fn names(&self, at: &Minute) -> bool {
        let holds = |field: &Field, value| field.as_ref().is_none_or(|values| values.contains(&value));
        let [minute, hour, day, month, weekday] = &self.0;
        let (by_day, by_weekday) = (holds(day, at.day), holds(weekday, at.weekday));
        let on_day =
            if day.is_some() && weekday.is_some() { by_day || by_weekday } else { by_day && by_weekday };
        holds(minute, at.minute) && holds(hour, at.hour) && on_day && holds(month, at.month)
    }

    /// The minutes of the zone's year it fires at, counted from the year's beginning, found by looking at each.
    fn walk(&self, clock: &[Minute]) -> Vec<i64> {
        let every_hour = self.0[1].as_ref().is_none_or(|hours| (0..24).all(|hour| hours.contains(&hour)));
        let mut shown = clock[0].local;
        let mut fired = Vec::new();
        for (minute, at) in (0..).zip(&clock[1..]) {
            let fires = if every_hour || at.local == shown + 1 {
                self.names(at)
            } else {
                // Nothing where the clock was put back; every minute it went over where it was put forward.
                (shown + 1..=at.local).any(|local| self.names(&Minute::new(local)))
            };
            if fires {
                fired.push(minute);
            }
            shown = shown.max(at.local);
        }
        fired
    }
}

fn field(values: std::ops::RangeInclusive<usize>, stars: u32) -> impl Strategy<Value = Field> {
    let some =
        prop::collection::btree_set(values, 1..4).prop_map(|values| Some(values.into_iter().collect()));
    prop_oneof![stars => Just(None), 3 => some]
}

fn expressions() -> impl Strategy<Value = Expression> {
    let hours = prop_oneof![1 => field(0..=23, 1), 1 => field(0..=4, 0)];
    (field(0..=59, 1), hours, field(1..=31, 6), field(1..=12, 9), field(0..=6, 6))
        .prop_map(|(minute, hour, day, month, weekday)| Expression([minute, hour, day, month, weekday]))
}

fn check(expression: &Expression, zone: usize) -> Result<(), TestCaseError> {
    let (name, start) = ZONES[zone];
    let start = instant(start);
    let expected = expression.walk(&CLOCKS[zone]);
    let Ok(schedule) = Schedule::cron(&expression.text(), name) else {
        // The only thing wrong with these can be a date that never comes.
        prop_assert_eq!(expected, Vec::<i64>::new(), "{} is refused", expression.text());
        return Ok(());
    };
    let end = start.saturating_add(MINUTES_OF_A_YEAR * 60_000);
    let mut last = start.saturating_add(-1);
    let mut fired = Vec::with_capacity(expected.len());
    while let Some(next) = schedule.next_after(last) {
        prop_assert!(next > last, "{}: {next} after {last}", expression.text());
        if next >= end {
            break;
        }
        prop_assert_eq!(next.milliseconds_since(start) % 60_000, 0);
        fired.push(next.milliseconds_since(start) / 60_000);
        last = next;
    }
    if let Some(at) = (0..fired.len().max(expected.len())).find(|at| fired.get(*at) != expected.get(*at)) {
        let show =
            |minute: Option<&i64>| minute.map(|minute| start.saturating_add(minute * 60_000).to_string());
        let (fired, expected) = (show(fired.get(at)), show(expected.get(at)));
        prop_assert_eq!(fired, expected, "{} in {}", expression.text(), name);
    }
    Ok(())
}

#[test]
fn frequent_firings_are_all_there_for_a_year_in_every_zone() {
    let every = |field: std::ops::RangeInclusive<usize>, step| Some(field.step_by(step).collect());
    let expressions = [
        Expression([every(0..=59, 15), every(0..=23, 2), None, None, None]),
        Expression([every(0..=59, 30), every(0..=23, 1), None, None, None]),
        Expression([every(0..=59, 7), every(0..=3, 1), None, None, None]),
    ];
    for expression in &expressions {
        for zone in 0..ZONES.len() {
            check(expression, zone).unwrap();
        }
    }
    // Every minute, where half an hour comes twice.
    check(&Expression([None, None, None, None, None]), 4).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_schedule_fires_exactly_when_a_walk_minute_by_minute_says(
        expression in expressions(), zone in 0..ZONES.len(),
    ) {
        check(&expression, zone)?;
    }

    #[test]
    fn an_interval_never_skips_and_never_repeats(
        milliseconds in 1_000i64..400_000_000, anchor in -10i64.pow(12)..10i64.pow(13), from in -10i64.pow(12)..10i64.pow(13),
    ) {
        let [anchor, from] = [anchor, from].map(|at| Timestamp::from_milliseconds(at).unwrap());
        let schedule = Schedule::every(Duration::from_millis(milliseconds.unsigned_abs()), anchor).unwrap();
        let next = schedule.next_after(from).unwrap();
        prop_assert!(next > from && next >= anchor);
        prop_assert_eq!(next.milliseconds_since(anchor) % milliseconds, 0);
        prop_assert!(next == anchor || next.milliseconds_since(from) <= milliseconds);
        prop_assert_eq!(schedule.next_after(next), Some(next.saturating_add(milliseconds)));
    }

    #[test]
    fn no_text_makes_the_reader_stumble(text in "[0-9*?/,@A-Z -]{0,40}") {
        if let Ok(schedule) = Schedule::cron(&text, "Europe/Berlin") {
            let next = schedule.next_after(Timestamp::default());
            prop_assert!(next.is_none_or(|next| next > Timestamp::default()));
        }
    }
}
