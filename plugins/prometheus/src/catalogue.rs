//! Which series, labels and values there are. Series are told whenever they had samples: `start` and `end` are read and
//! narrow nothing.

use std::borrow::Cow;
use std::collections::BTreeSet;

use bellwether_sdk::dialect::{Request, Response};
use bellwether_sdk::host::SeriesRead;
use bellwether_sdk::series::{Matcher, SeriesError};

use crate::answer;
use crate::failure::Failure;
use crate::parameters::Parameters;
use crate::promql::{Labels, NAME, key_of, label_of};

/// Items of one answer: what the host tells at once.
const MOST: usize = 20_000;

/// What a request asks for: how many, and of which series, all if it names none.
fn asked(parameters: &Parameters<'_>) -> Result<(usize, Vec<Vec<Matcher>>), Failure> {
    parameters.time("start")?;
    parameters.time("end")?;
    Ok((parameters.limit(MOST)?, parameters.selectors()?))
}

/// What `find` finds for each selector, once, in order; and whether there may be more than `limit`.
fn union<T: Ord>(
    selectors: &[Vec<Matcher>],
    limit: usize,
    find: impl Fn(&[Matcher], u32) -> Result<Vec<T>, SeriesError>,
) -> Result<(Vec<T>, bool), SeriesError> {
    // One more tells whether there are more, where the host may be asked for it.
    let most = (limit + 1).min(MOST);
    let mut cut = false;
    let mut found = BTreeSet::new();
    for selector in selectors {
        let part = find(selector, most as u32)?;
        cut |= part.len() == MOST;
        found.extend(part);
    }
    cut |= found.len() > limit;
    Ok((found.into_iter().take(limit).collect(), cut))
}

/// `GET` or `POST /api/v1/series`
pub(crate) fn series<H: SeriesRead>(host: &H, request: &Request<'_>) -> Result<Response, Failure> {
    let (limit, selectors) = asked(&Parameters::of(request))?;
    if selectors.is_empty() {
        return Err(Failure::bad("no match[] parameter provided"));
    }
    let (found, cut) = union(&selectors, limit, |selector, most| {
        let found = host.find(selector, most)?.into_iter();
        Ok(found.map(|identity| Labels::of_series(&identity.metric, &identity.tags)).collect())
    })?;
    Ok(answer::series(found, cut))
}

/// `GET` or `POST /api/v1/labels`
pub(crate) fn labels<H: SeriesRead>(host: &H, request: &Request<'_>) -> Result<Response, Failure> {
    let (limit, mut selectors) = asked(&Parameters::of(request))?;
    if selectors.is_empty() {
        selectors.push(Vec::new());
    }
    let (found, cut) = union(&selectors, limit, |selector, most| {
        let keys = host.find_keys(selector, most)?.into_iter();
        let mut keys: Vec<String> = keys.map(|key| label_of(&key).to_owned()).collect();
        if !host.find(selector, 1)?.is_empty() {
            keys.push(NAME.to_owned());
        }
        Ok(keys)
    })?;
    Ok(answer::texts(found, cut))
}

/// A label's name as Prometheus 3 and Grafana put it into a path: `U__host_2e_name` is `host.name`. What is no such
/// escape is the name itself, whatever characters it has.
fn unescaped(name: &str) -> Cow<'_, str> {
    fn plain(mut rest: &str) -> Option<String> {
        let mut plain = String::new();
        while let Some((before, behind)) = rest.split_once('_') {
            plain.push_str(before);
            let (code, after) = behind.split_once('_')?;
            plain.push(match code {
                "" => '_',
                _ if code.len() <= 6 && code.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                    char::from_u32(u32::from_str_radix(code, 16).ok()?)?
                }
                _ => return None,
            });
            rest = after;
        }
        plain.push_str(rest);
        Some(plain)
    }
    name.strip_prefix("U__").and_then(plain).map_or(Cow::Borrowed(name), Cow::Owned)
}

/// `GET /api/v1/label/{name}/values`
pub(crate) fn values<H: SeriesRead>(host: &H, request: &Request<'_>) -> Result<Response, Failure> {
    let (limit, mut selectors) = asked(&Parameters::of(request))?;
    if selectors.is_empty() {
        selectors.push(Vec::new());
    }
    let name = unescaped(request.parameter("name"));
    let key = key_of(&name);
    let (mut found, cut) = union(&selectors, limit, |selector, most| host.find_values(selector, key, most))?;
    // A tag that is a word alone has no value.
    found.retain(|value| !value.is_empty());
    Ok(answer::texts(found, cut))
}
