//! From when to when: `startDate` and `endDate`, both included.

use bellwether_sdk::Timestamp;
use bellwether_sdk::dialect::Request;
use bellwether_sdk::host::Clock;

use crate::failure::Failure;

const DAY: i64 = 86_400_000;

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
    let start = start.unwrap_or(Timestamp::MIN);
    // Who asks for all that is to come writes the last day there is.
    let end = end.map_or_else(|| host.now(), |end| end.min(Timestamp::MAX));
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
