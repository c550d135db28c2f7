//! When a delivery that did not succeed is tried again.

use bellwether_kernel::{Randomness, Timestamp};

use crate::HttpAnswer;

/// The first wait, in milliseconds.
const FIRST: u64 = 1_000;
/// The longest wait the host chooses, in milliseconds.
const LONGEST: u64 = 600_000;
/// The longest wait a server may ask for that is away, in milliseconds: it may be back at any time, and what it is told
/// next waits behind this. It is tried as often as one that asks for nothing.
const AWAY: u64 = LONGEST;
/// The longest wait of all that no server asked for by limiting requests, with what keeps attempts apart.
pub(crate) const LONGEST_WAIT: i64 = (LONGEST + FIRST).cast_signed();

/// How long to wait after so many attempts, in milliseconds: twice as long each time, from half of it up by chance, so
/// that those that failed together do not come back together.
pub(crate) fn wait(attempts: u32, randomness: &dyn Randomness) -> u64 {
    let whole = FIRST.saturating_mul(1 << attempts.saturating_sub(1).min(20)).min(LONGEST);
    let mut bytes = [0; 8];
    randomness.fill(&mut bytes);
    whole / 2 + u64::from_le_bytes(bytes) % (whole / 2 + 1)
}

/// When to try again, if whoever was asked wants it to be `asked` milliseconds from now at least: as long as it says where
/// it limits requests, ten minutes at most where it is away.
pub(crate) fn again(
    now: Timestamp,
    attempts: u32,
    asked: Option<u64>,
    limits_requests: bool,
    randomness: &dyn Randomness,
) -> Timestamp {
    let own = wait(attempts, randomness);
    let most = if limits_requests { u64::MAX } else { AWAY };
    // What is asked for is the least; a little more keeps those that were told the same apart.
    let asked = asked.map_or(0, |asked| asked.min(most).saturating_add(own.min(FIRST) / 2));
    now.saturating_add(i64::try_from(own.max(asked)).unwrap_or(i64::MAX))
}

/// How long a server asks to wait, in milliseconds: `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3). More
/// seconds than can be counted are as many as can.
pub(crate) fn retry_after(answer: &HttpAnswer, now: Timestamp) -> Option<u64> {
    let (_, text) = answer
        .headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(http::header::RETRY_AFTER.as_str()))?;
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(1_000));
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
            ("99999999999999999999", Some(u64::MAX)),
            ("soon", None),
            ("", None),
            ("-1", None),
        ] {
            assert_eq!(retry_after(&answer(text), now), wait, "{text}");
        }
    }

    #[test]
    fn a_receiver_that_is_away_is_tried_each_ten_minutes_and_one_that_limits_requests_when_it_says() {
        let now = Timestamp::parse("2024-04-09T14:44:00Z").expect("an instant");
        let randomness = SeededRandomness::new(2);
        for (asked, of_away) in
            [(0, 0), (10, 10), (90_000, 90_000), (3_600_000, 600_000), (90_000_000, 600_000)]
        {
            for (limits_requests, least) in [(true, asked), (false, of_away)] {
                let wait = again(now, 1, Some(asked), limits_requests, &randomness).milliseconds_since(now);
                let least = i64::try_from(least).expect("small");
                assert!((least..=least + 1_000).contains(&wait), "{asked}, {limits_requests}: {wait}");
            }
        }
        let most = again(now, 1, Some(u64::MAX), false, &randomness).milliseconds_since(now);
        assert!((600_000..=601_000).contains(&most), "{most}");
        assert!(again(now, 1, Some(u64::MAX), true, &randomness) > now.saturating_add(30 * 86_400_000));
    }
}
