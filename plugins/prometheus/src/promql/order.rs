//! The order in which the elements of an instant query are told. The lines of a range are told in order of their labels,
//! whatever an expression says.

use std::cmp::Ordering;

use super::numbers::ascending;
use super::value::{Grid, Line};

/// By value, what is no number last, either way.
pub(super) fn by_value(lines: &mut [Line], grid: Grid, descending: bool) {
    if grid.count > 1 {
        return;
    }
    let last = |line: &Line| line.values[0].is_nan();
    lines.sort_by(|a, b| {
        let order = ascending(&a.values[0], &b.values[0]);
        last(a).cmp(&last(b)).then(if descending { order.reverse() } else { order })
    });
}

/// By these labels, one after the other, numbers in their texts as numbers; then by all.
pub(super) fn by_labels(lines: &mut [Line], names: &[&str], grid: Grid, descending: bool) {
    if grid.count > 1 {
        return;
    }
    lines.sort_by(|a, b| {
        let each = names.iter().map(|name| natural(a.labels.get(name), b.labels.get(name)));
        let order = each.fold(Ordering::Equal, Ordering::then).then_with(|| a.labels.cmp(&b.labels));
        if descending { order.reverse() } else { order }
    });
}

/// Texts run by run: two of digits as numbers, others as texts.
fn natural(one: &str, other: &str) -> Ordering {
    let (mut a, mut b) = (one, other);
    while !a.is_empty() && !b.is_empty() {
        let (run_a, run_b);
        ((run_a, a), (run_b, b)) = (run(a), run(b));
        let order = match (run_a.parse::<i64>(), run_b.parse::<i64>()) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            _ => run_a.cmp(run_b),
        };
        if order.is_ne() {
            return order;
        }
    }
    a.len().cmp(&b.len()).then_with(|| one.cmp(other))
}

/// The digits a text begins with, or what stands before its first; and the rest.
fn run(text: &str) -> (&str, &str) {
    let digits = text.starts_with(|first: char| first.is_ascii_digit());
    let end = text.find(|other: char| other.is_ascii_digit() != digits);
    text.split_at(end.unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_texts_are_in_order_as_numbers() {
        let mut texts = ["web-10", "web-9", "web", "1.10", "1.9", "", "web-9a", "web-09"];
        texts.sort_by(|a, b| natural(a, b));
        assert_eq!(texts, ["", "1.9", "1.10", "web", "web-09", "web-9", "web-9a", "web-10"]);
    }
}
