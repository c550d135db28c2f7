//! How a figure went: as a line, drawn without a script, and in words for who does not see it.

use std::fmt::Write as _;

use bellwether_kernel::Timestamp;
use maud::{Markup, html};

use super::frame::{moment, text};

/// Height of a drawing, in its own units; it is as wide as its time is long, and stretched to where it stands.
const HEIGHT: f64 = 100.0;
const WIDTH: f64 = 600.0;
/// A step so much longer than most is a gap, over which no line leads.
const GAP: i64 = 3;

/// Values at times, in order of those; at least one.
pub(super) struct Course {
    points: Vec<(i64, f64)>,
}

impl Course {
    /// Nothing where there is no value, or none that can be drawn.
    pub(super) fn of(mut points: Vec<(i64, f64)>) -> Option<Self> {
        points.retain(|(_, value)| value.is_finite());
        (!points.is_empty()).then_some(Self { points })
    }

    fn last(&self) -> (i64, f64) {
        self.points.last().copied().unwrap_or_default()
    }

    fn extent(&self) -> (f64, f64) {
        let values = self.points.iter().map(|(_, value)| *value);
        values
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
    }

    /// Its last value, when that was, the lowest, the highest, and the drawing, as cells.
    pub(super) fn cells(&self, (start, end): (i64, i64)) -> [Markup; 5] {
        let ((at, last), (low, high)) = (self.last(), self.extent());
        let drawn = html! { span.plot.small { (self.drawing((start, end))) } };
        [text(number(last)), text(time(at)), text(number(low)), text(number(high)), drawn]
    }

    /// The drawing with what it says in words.
    pub(super) fn figure(&self, (start, end): (i64, i64), unit: &str) -> Markup {
        let ((at, last), (low, high)) = (self.last(), self.extent());
        let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
        html! {
            figure {
                div.plot { (self.drawing((start, end))) }
                p.ends { span { (time(start)) } span { (time(end)) } }
                figcaption.soft {
                    "Last " (number(last)) (unit) " at " (time(at)) ", lowest " (number(low)) (unit) ", highest "
                    (number(high)) (unit) "."
                }
            }
        }
    }

    fn drawing(&self, (start, end): (i64, i64)) -> Markup {
        let (low, high) = self.extent();
        let words =
            format!("from {} to {}: between {} and {}", time(start), time(end), number(low), number(high));
        html! {
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(words) {
                path d=(self.path((start, end)));
            }
        }
    }

    /// The line, as a path of SVG.
    fn path(&self, (start, end): (i64, i64)) -> String {
        let (low, high) = self.extent();
        // Halves, so that the greatest doubles have a difference.
        let (length, range) = ((end - start).max(1) as f64, high / 2.0 - low / 2.0);
        let gap = self.step().saturating_mul(GAP);
        let (mut path, mut before) = (String::new(), None::<i64>);
        for &(at, value) in &self.points {
            let x = (at - start) as f64 / length * WIDTH;
            // What does not move lies in the middle.
            let share = if range > 0.0 { (value / 2.0 - low / 2.0) / range } else { 0.5 };
            let y = HEIGHT - share * HEIGHT;
            let goes_on = before.is_some_and(|before| at - before <= gap);
            // A point of no length is drawn as a dot, should none follow it.
            let stroke = if goes_on { format!("L{x:.1} {y:.1}") } else { format!("M{x:.1} {y:.1}h0") };
            let _ = write!(path, "{stroke}");
            before = Some(at);
        }
        path
    }

    /// How far most of its points are from the ones before.
    fn step(&self) -> i64 {
        let mut steps: Vec<i64> = self.points.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        steps.sort_unstable();
        steps.get(steps.len() / 2).copied().unwrap_or(0)
    }
}

fn time(milliseconds: i64) -> String {
    Timestamp::from_milliseconds(milliseconds).map(moment).unwrap_or_default()
}

/// A number to six digits, as people write it: `41.5333`, `1.5e21`.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e15).contains(&size) {
        let written = format!("{value:.5e}");
        let (digits, power) = written.split_once('e').unwrap_or((&written, "0"));
        return format!("{}e{power}", without_zeros(digits));
    }
    let before = if size < 1.0 { 1 } else { size.log10() as usize + 1 };
    without_zeros(&format!("{value:.*}", 6_usize.saturating_sub(before))).to_owned()
}

/// A fraction without the zeros it ends with.
fn without_zeros(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(points: &[(i64, f64)]) -> Course {
        Course::of(points.to_vec()).unwrap()
    }

    #[test]
    fn a_line_goes_from_the_lowest_to_the_highest_and_over_no_gap() {
        for (points, path) in [
            (&[(0, 1.0), (10, 3.0), (20, 2.0)][..], "M0.0 100.0h0L60.0 0.0L120.0 50.0"),
            (&[(0, 7.0), (10, 7.0)], "M0.0 50.0h0L60.0 50.0"),
            (&[(50, -1.0)], "M300.0 50.0h0"),
            (&[(0, 0.0), (10, 1.0), (20, 0.0), (90, 1.0)], "M0.0 100.0h0L60.0 0.0L120.0 100.0M540.0 0.0h0"),
            (&[(0, f64::MIN), (100, f64::MAX)], "M0.0 100.0h0L600.0 0.0"),
        ] {
            assert_eq!(course(points).path((0, 100)), path, "{points:?}");
        }
    }

    #[test]
    fn what_cannot_be_drawn_is_left_out() {
        assert!(Course::of(vec![(0, f64::NAN), (1, f64::INFINITY)]).is_none());
        assert_eq!(course(&[(0, f64::NAN), (1, 2.0)]).last(), (1, 2.0));
    }

    #[test]
    fn a_number_has_six_digits_at_most() {
        for (value, shown) in [
            (0.0, "0"),
            (41.533_333_333, "41.5333"),
            (-0.25, "-0.25"),
            (1_234_567.8, "1234568"),
            (100.0, "100"),
            (0.000_012, "1.2e-5"),
            (1.5e21, "1.5e21"),
            (2e15, "2e15"),
        ] {
            assert_eq!(number(value), shown);
        }
    }
}
