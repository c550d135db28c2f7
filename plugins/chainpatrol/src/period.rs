//! From when to when: `startDate` and `endDate`, both included.

use bellwether_sdk::Timestamp;
use bellwether_sdk::dialect::Request;
use bellwether_sdk::host::Clock;

use crate::failure::Failure;

const DAY: i64 = 86_400_000;

/// The last instant a host is asked about: 9999-12-30T22:00:00Z.
const LAST: Timestamp = Timestamp::from_milliseconds(253_402_207_200_000);

/// The first and the last instant asked for; `None` if there is none between them.
pub(crate) fn asked(
    host: &impl Clock,
    request: &Request<'_>,
) -> Result<Option<(Timestamp, Timestamp)>, Failure> {
    let start = given(request, "startDate")?.map(|(first, _)| first);
    let end = given(request, "endDate")?.map(|(_, last)| last);
    if let (Some(start), Some(end)) = (start, end)
        && end < start
    {
        return Err(Failure::bad(format_args!("startDate {start} is after endDate {end}")));
    }
    // Who asks for all that is to come writes the last day there is.
    let start = start.map_or(Timestamp::MIN, |start| start.min(LAST));
    let end = end.map_or_else(|| host.now(), |end| end.min(LAST));
    Ok((start <= end).then_some((start, end)))
}

/// The first and the last instant of what a parameter says.
fn given(request: &Request<'_>, name: &str) -> Result<Option<(Timestamp, Timestamp)>, Failure> {
    match request.query(name).map(str::trim) {
        None | Some("") => Ok(None),
        Some(text) => match read(text) {
            Some(read) => Ok(Some(read)),
            // The first sentence is ChainPatrol's own: clients may look for it.
            None => Err(Failure::bad(format_args!(
                "Invalid date format. Use ISO 8601 format. {name} is {text:?}, expected one such as \
                 2024-01-31T23:59:59.999Z"
            ))),
        },
    }
}

fn read(text: &str) -> Option<(Timestamp, Timestamp)> {
    // A plus that was not percent-encoded came as a space.
    let first: Timestamp = text.parse().or_else(|_| text.replace(' ', "+").parse()).ok()?;
    let is_day = text.len() == "2024-01-31".len();
    let last = if is_day { Timestamp::from_milliseconds(first.milliseconds() + DAY - 1) } else { first };
    Some((first, last))
}
