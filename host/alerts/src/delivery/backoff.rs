//! When a delivery that did not succeed is tried again.

use bellwether_kernel::{Randomness, Timestamp};

use crate::HttpAnswer;

/// The first wait, in milliseconds.
const FIRST: u64 = 1_000;
/// The longest wait the host chooses, in milliseconds.
const LONGEST: u64 = 600_000;
/// The longest wait a server may ask for, in milliseconds: a day.
const ASKED: u64 = 86_400_000;

/// How long to wait after so many attempts, in milliseconds: twice as long each time, from half of it up by chance, so
/// that those that failed together do not come back together.
pub(crate) fn wait(attempts: u32, randomness: &dyn Randomness) -> u64 {
    let whole = FIRST.saturating_mul(1 << attempts.saturating_sub(1).min(20)).min(LONGEST);
    let mut bytes = [0; 8];
    randomness.fill(&mut bytes);
    whole / 2 + u64::from_le_bytes(bytes) % (whole / 2 + 1)
}

/// When to try again, if whoever was asked wants it to be `asked` milliseconds from now at least.
pub(crate) fn again(
    now: Timestamp,
    attempts: u32,
    asked: Option<u64>,
    randomness: &dyn Randomness,
) -> Timestamp {
    let own = wait(attempts, randomness);
    // What is asked for is the least; a little more keeps those that were told the same apart.
    let asked = asked.map_or(0, |asked| asked.min(ASKED) + own.min(FIRST) / 2);
    now.saturating_add(i64::try_from(own.max(asked)).unwrap_or(i64::MAX))
}

/// How long a server asks to wait, in milliseconds: `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3).
pub(crate) fn retry_after(answer: &HttpAnswer, now: Timestamp) -> Option<u64> {
    let (_, text) = answer
        .headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(http::header::RETRY_AFTER.as_str()))?;
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let since_epoch = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    let milliseconds = i64::try_from(since_epoch.as_millis()).ok()?;
    Some(u64::try_from(milliseconds - now.as_milliseconds()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use bellwether_kernel::SeededRandomness;

    use super::*;

    fn answer(value: &str) -> HttpAnswer {
        let headers = vec![("retry-after".to_owned(), value.to_owned())];
        HttpAnswer { status: 429, headers, body: Vec::new(), retry_after: None }
    }

    #[test]
    fn waits_grow_up_to_ten_minutes_and_are_never_the_same() {
        let randomness = SeededRandomness::new(1);
        for (attempts, whole) in [(1, 1_000), (2, 2_000), (5, 16_000), (11, 600_000), (u32::MAX, 600_000)] {
            let waits: Vec<u64> = (0..100).map(|_| wait(attempts, &randomness)).collect();
            assert!(waits.iter().all(|wait| (whole / 2..=whole).contains(wait)), "{attempts}: {waits:?}");
            assert!(waits.iter().any(|wait| *wait != waits[0]), "{attempts}");
        }
    }

    #[test]
    fn what_a_server_asks_for_is_read_as_seconds_or_a_date_and_kept_to() {
        let now = Timestamp::parse("2024-04-09T14:44:00Z").expect("an instant");
        for (text, wait) in [
            ("120", Some(120_000)),
            (" 5 ", Some(5_000)),
            ("Tue, 09 Apr 2024 14:45:30 GMT", Some(90_000)),
            ("Tue, 09 Apr 2024 14:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(retry_after(&answer(text), now), wait, "{text}");
        }
        let randomness = SeededRandomness::new(2);
        for asked in [0, 10, 90_000, 3_600_000] {
            let wait = again(now, 1, Some(asked), &randomness).milliseconds_since(now);
            assert!(wait >= i64::try_from(asked).expect("small") && wait <= 3_601_000, "{asked}: {wait}");
        }
        let most = again(now, 1, Some(u64::MAX), &randomness).milliseconds_since(now);
        assert!(most <= 86_401_000, "{most}");
    }
}
