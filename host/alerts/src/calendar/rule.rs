//! Which days a rule of iCalendar names (RFC 5545, section 3.3.10): as a question asked of one day, so that nothing is
//! walked through, however long ago it began.

use bellwether_kernel::FieldError;
use jiff::civil::{Date, Weekday};

use crate::limits;

/// What a rule may be made of, as an error says it.
const PARTS: &str = "FREQ=DAILY, WEEKLY, MONTHLY or YEARLY, and of INTERVAL, BYDAY, BYMONTHDAY, BYMONTH and UNTIL what \
    it needs, as FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR";

/// A Monday.
const MONDAY: Date = jiff::civil::date(1970, 1, 5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frequency {
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

/// A weekday, or the first, second, last of a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Day {
    /// Counted from 1, or from -1 at the month's end.
    which: Option<i8>,
    weekday: Weekday,
}

/// The days on which something begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    frequency: Frequency,
    interval: i32,
    days: Vec<Day>,
    month_days: Vec<i8>,
    months: Vec<i8>,
    until: Option<Date>,
}

impl Rule {
    /// Reads `FREQ=WEEKLY;BYDAY=MO,TU`.
    pub(crate) fn read(text: &str) -> Result<Self, FieldError> {
        if text.len() > limits::RULE {
            let expected = format!("at most {} bytes", limits::RULE);
            return Err(FieldError::new("repeat.rule", format!("{} bytes", text.len()), expected));
        }
        let wrong = |expected: &str| FieldError::new("repeat.rule", text, expected);
        let mut frequency = None;
        let (mut interval, mut until) = (1, None);
        let (mut days, mut month_days, mut months) = (Vec::new(), Vec::new(), Vec::new());
        let upper = text.trim().trim_start_matches("RRULE:").to_ascii_uppercase();
        for part in upper.split(';').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(|| wrong(PARTS))?;
            match name {
                "FREQ" => {
                    frequency = Some(match value {
                        "DAILY" => Frequency::Daily,
                        "WEEKLY" => Frequency::Weekly,
                        "MONTHLY" => Frequency::Monthly,
                        "YEARLY" => Frequency::Yearly,
                        _ => return Err(wrong(PARTS)),
                    });
                }
                "INTERVAL" => {
                    let number = value.parse::<i32>().ok().filter(|number| (1..=1000).contains(number));
                    interval = number.ok_or_else(|| wrong("an INTERVAL from 1 to 1000"))?;
                }
                "BYDAY" => {
                    days = list(value, day).ok_or_else(|| {
                        wrong("BYDAY with MO to SU, or 1MO to 5MO and -1MO to -5MO of a month")
                    })?;
                }
                "BYMONTHDAY" => {
                    let fits = |day: &i8| *day != 0 && (-31..=31).contains(day);
                    month_days = list(value, |text| text.parse::<i8>().ok().filter(fits))
                        .ok_or_else(|| wrong("BYMONTHDAY with 1 to 31, or -1 to -31 from the month's end"))?;
                }
                "BYMONTH" => {
                    months =
                        list(value, |text| text.parse::<i8>().ok().filter(|month| (1..=12).contains(month)))
                            .ok_or_else(|| wrong("BYMONTH with 1 to 12"))?;
                }
                "UNTIL" => {
                    let date = Date::strptime("%Y%m%d", value).ok();
                    until = Some(date.ok_or_else(|| wrong("UNTIL with a date, as 20261231"))?);
                }
                _ => return Err(wrong(PARTS)),
            }
        }
        let rule = Self {
            frequency: frequency.ok_or_else(|| wrong(PARTS))?,
            interval,
            days,
            month_days,
            months,
            until,
        };
        rule.check().map_err(wrong)?;
        Ok(rule)
    }

    /// The last day it may name.
    pub(crate) fn until(&self) -> Option<Date> {
        self.until
    }

    fn check(&self) -> Result<(), &'static str> {
        let counted = self.days.iter().any(|day| day.which.is_some());
        let in_a_month = match self.frequency {
            Frequency::Monthly => true,
            Frequency::Yearly => !self.months.is_empty(),
            Frequency::Daily | Frequency::Weekly => false,
        };
        if counted && !in_a_month {
            return Err(
                "a counted BYDAY such as 1MO only with FREQ=MONTHLY, or with FREQ=YEARLY and BYMONTH",
            );
        }
        if self.frequency == Frequency::Weekly && !self.month_days.is_empty() {
            return Err("BYMONTHDAY not with FREQ=WEEKLY");
        }
        Ok(())
    }

    /// Whether something begins on this day. It is counted from `anchor`, to both sides, which also says the day where the
    /// rule does not.
    pub(crate) fn names(&self, anchor: Date, date: Date) -> bool {
        if self.until.is_some_and(|until| date > until) {
            return false;
        }
        let passed = match self.frequency {
            Frequency::Daily => (date - anchor).get_days(),
            Frequency::Weekly => week(date) - week(anchor),
            Frequency::Monthly => month(date) - month(anchor),
            Frequency::Yearly => i32::from(date.year()) - i32::from(anchor.year()),
        };
        if passed % self.interval != 0 || !self.months.is_empty() && !self.months.contains(&date.month()) {
            return false;
        }
        let says_a_day = !self.days.is_empty() || !self.month_days.is_empty();
        if !says_a_day {
            return match self.frequency {
                Frequency::Daily => true,
                Frequency::Weekly => date.weekday() == anchor.weekday(),
                Frequency::Monthly => date.day() == anchor.day(),
                Frequency::Yearly => {
                    date.day() == anchor.day() && (!self.months.is_empty() || date.month() == anchor.month())
                }
            };
        }
        let from_end = date.day() - date.days_in_month() - 1;
        (self.days.is_empty() || self.days.iter().any(|day| day.is(date)))
            && (self.month_days.is_empty()
                || self.month_days.contains(&date.day())
                || self.month_days.contains(&from_end))
    }
}

impl Day {
    fn is(self, date: Date) -> bool {
        let nth = (date.day() - 1) / 7 + 1;
        let nth_from_end = -((date.days_in_month() - date.day()) / 7 + 1);
        date.weekday() == self.weekday && self.which.is_none_or(|which| which == nth || which == nth_from_end)
    }
}

fn list<T>(value: &str, each: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    value.split(',').map(each).collect()
}

fn day(text: &str) -> Option<Day> {
    let (which, name) = text.split_at_checked(text.len().checked_sub(2)?)?;
    let weekday = match name {
        "MO" => Weekday::Monday,
        "TU" => Weekday::Tuesday,
        "WE" => Weekday::Wednesday,
        "TH" => Weekday::Thursday,
        "FR" => Weekday::Friday,
        "SA" => Weekday::Saturday,
        "SU" => Weekday::Sunday,
        _ => return None,
    };
    let which = match which {
        "" => None,
        number => Some(number.parse::<i8>().ok().filter(|number| *number != 0 && (-5..=5).contains(number))?),
    };
    Some(Day { which, weekday })
}

/// Weeks begin on Monday.
fn week(date: Date) -> i32 {
    (date - MONDAY).get_days().div_euclid(7)
}

fn month(date: Date) -> i32 {
    i32::from(date.year()) * 12 + i32::from(date.month())
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;

    use super::*;

    /// The days of two years that a rule names, the first ten.
    fn days(rule: &str, anchor: &str) -> Vec<String> {
        let rule = Rule::read(rule).unwrap_or_else(|error| panic!("{error}"));
        let anchor: Date = anchor.parse().unwrap();
        let all = anchor.series(1.day()).take(730).filter(|date| rule.names(anchor, *date));
        all.take(10).map(|date| date.to_string()).collect()
    }

    #[test]
    fn a_rule_names_the_days_the_standard_says() {
        // 2026-03-02 is a Monday.
        for (rule, anchor, expected) in [
            ("FREQ=DAILY;INTERVAL=3", "2026-03-02", &["2026-03-02", "2026-03-05", "2026-03-08"][..]),
            ("FREQ=DAILY;BYDAY=SA,SU", "2026-03-02", &["2026-03-07", "2026-03-08", "2026-03-14"]),
            ("FREQ=WEEKLY", "2026-03-04", &["2026-03-04", "2026-03-11", "2026-03-18"]),
            ("FREQ=WEEKLY;BYDAY=MO,FR", "2026-03-04", &["2026-03-06", "2026-03-09", "2026-03-13"]),
            ("freq=weekly;interval=2;byday=mo,su", "2026-03-04", &["2026-03-08", "2026-03-16", "2026-03-22"]),
            ("FREQ=MONTHLY", "2026-01-31", &["2026-01-31", "2026-03-31", "2026-05-31"]),
            ("FREQ=MONTHLY;BYMONTHDAY=1,-1", "2026-02-01", &["2026-02-01", "2026-02-28", "2026-03-01"]),
            ("FREQ=MONTHLY;BYDAY=2TU", "2026-03-01", &["2026-03-10", "2026-04-14", "2026-05-12"]),
            ("FREQ=MONTHLY;BYDAY=-1FR", "2026-03-01", &["2026-03-27", "2026-04-24", "2026-05-29"]),
            (
                "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13",
                "2026-01-01",
                &["2026-02-13", "2026-03-13", "2026-11-13"],
            ),
            ("FREQ=YEARLY", "2026-12-24", &["2026-12-24", "2027-12-24"]),
            (
                "FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=25,26",
                "2026-01-01",
                &["2026-12-25", "2026-12-26", "2027-12-25"],
            ),
            ("FREQ=YEARLY;BYMONTH=11;BYDAY=4TH", "2026-01-01", &["2026-11-26", "2027-11-25"]),
            ("RRULE:FREQ=DAILY;UNTIL=20260303", "2026-03-02", &["2026-03-02", "2026-03-03"]),
        ] {
            let found = days(rule, anchor);
            assert!(found.len() >= expected.len(), "{rule}: {found:?}");
            assert_eq!(found[..expected.len()], *expected, "{rule}");
        }
        assert_eq!(days("FREQ=DAILY;UNTIL=20260303", "2026-03-02").len(), 2);
    }

    #[test]
    fn a_rule_counts_back_from_its_first_day_as_it_counts_on() {
        let anchor: Date = "2026-03-04".parse().unwrap();
        for (rule, expected) in [
            ("FREQ=DAILY;INTERVAL=3", &["2026-02-26", "2026-03-01", "2026-03-04"][..]),
            ("FREQ=WEEKLY;INTERVAL=2", &["2026-02-04", "2026-02-18", "2026-03-04"]),
            ("FREQ=MONTHLY", &["2026-01-04", "2026-02-04", "2026-03-04"]),
            ("FREQ=MONTHLY;INTERVAL=2;BYMONTHDAY=4", &["2025-11-04", "2026-01-04", "2026-03-04"]),
            ("FREQ=YEARLY", &["2025-03-04", "2026-03-04"]),
        ] {
            let read = Rule::read(rule).unwrap();
            let first = anchor - 400.days();
            let days = first.series(1.day()).take(401).filter(|date| read.names(anchor, *date));
            let days: Vec<String> = days.map(|date| date.to_string()).collect();
            assert!(
                days.ends_with(&expected.iter().map(ToString::to_string).collect::<Vec<_>>()),
                "{rule}: {days:?}"
            );
        }
    }

    #[test]
    fn what_is_no_rule_is_told_what_would_be_one() {
        for (rule, expected) in [
            ("", "FREQ="),
            ("weekly", "FREQ="),
            ("FREQ=HOURLY", "FREQ="),
            ("FREQ=DAILY;COUNT=3", "UNTIL"),
            ("FREQ=DAILY;INTERVAL=0", "INTERVAL from 1"),
            ("FREQ=WEEKLY;BYDAY=XX", "MO to SU"),
            ("FREQ=WEEKLY;BYDAY=ä", "MO to SU"),
            ("FREQ=WEEKLY;BYDAY=1MO", "FREQ=MONTHLY"),
            ("FREQ=WEEKLY;BYMONTHDAY=1", "not with FREQ=WEEKLY"),
            ("FREQ=YEARLY;BYDAY=20MO", "MO to SU"),
            ("FREQ=YEARLY;BYDAY=2MO", "BYMONTH"),
            ("FREQ=MONTHLY;BYMONTHDAY=0", "1 to 31"),
            ("FREQ=DAILY;UNTIL=tomorrow", "20261231"),
        ] {
            let error = Rule::read(rule).unwrap_err();
            assert_eq!((error.field.as_str(), error.value.as_str()), ("repeat.rule", rule));
            assert!(error.expected.contains(expected), "{rule}: {error}");
        }
    }

    #[test]
    fn a_rule_is_bounded_in_length() {
        let rule = |days| format!("FREQ=MONTHLY;BYMONTHDAY=1{}", ",1".repeat(days));
        assert!(Rule::read(&rule(237)).is_ok());
        let error = Rule::read(&rule(238)).unwrap_err();
        assert_eq!((error.field.as_str(), error.value.as_str()), ("repeat.rule", "501 bytes"));
        assert!(error.expected.contains("at most 500 bytes"), "{error}");
    }
}
