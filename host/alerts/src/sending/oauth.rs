//! Tokens of OAuth 2 (RFC 6749): obtained with what a channel has, and kept as long as they are good.

use std::collections::BTreeMap;

use bellwether_access::Destination;
use bellwether_kernel::{OrganisationId, Timestamp};
use parking_lot::Mutex;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::fill::{Secrets, address, text};
use super::{FilledRequest, HttpSender, SendError};
use crate::{Grant, OAuth};

/// Tokens that are kept, of all organisations together; more are asked for anew.
const KEPT: usize = 1_000;
/// How long a token is good whose server does not say, in milliseconds.
const UNSAID: u64 = 300_000;
/// How long a token is kept at most, in milliseconds, whatever its server says: a day.
const LONGEST: u64 = 86_400_000;
/// How long before its end a token is no longer used, in milliseconds: the request takes time too.
const EARLY: u64 = 30_000;

/// What tells tokens apart: whose they are, and everything they were asked for with.
type TokenKey = (OrganisationId, [u8; 32]);

/// A token, and until when it is used.
type Kept = (Zeroizing<String>, Timestamp);

/// The tokens at hand; only in memory.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<BTreeMap<TokenKey, Kept>>);

#[derive(Deserialize)]
struct Given {
    access_token: String,
    expires_in: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
}

impl Tokens {
    /// A token: one at hand unless `fresh` is wanted, or one that is asked for now.
    ///
    /// # Errors
    /// As [`HttpSender::send`]; a server that refuses is [`SendError::Refused`], one whose answer is none
    /// [`SendError::Lost`].
    pub(crate) async fn token(
        &self,
        (organisation, oauth): (OrganisationId, &OAuth),
        secrets: &Secrets,
        (sender, hosts): (&dyn HttpSender, &[Destination]),
        now: Timestamp,
        fresh: bool,
    ) -> Result<Zeroizing<String>, SendError> {
        let (request, key) = asked(organisation, oauth, secrets, now).map_err(SendError::Refused)?;
        if !fresh
            && let Some((token, until)) = self.0.lock().get(&key)
            && now < *until
        {
            return Ok(token.clone());
        }
        let answer = sender.send(request, hosts).await?;
        if !(200..300).contains(&answer.status) {
            // Only the error's code (section 5.2): the rest may repeat what was sent.
            let code = serde_json::from_slice::<Refused>(&answer.body).map(|refused| refused.error);
            let text = format!("no token: {} answered {}", place(oauth), answer.status);
            let text = code.map_or(text.clone(), |code| format!("{text}, {code}"));
            let later = matches!(answer.status, 408 | 425 | 429 | 500..600);
            return Err(if later { SendError::Lost(text) } else { SendError::Refused(text) });
        }
        let given: Given = serde_json::from_slice(&answer.body).map_err(|error| match error.is_data() {
            true => SendError::Refused(format!("no token: {} answered no access_token", place(oauth))),
            // The page of a proxy, or of a service that sleeps, stands there for a while.
            false => SendError::Lost(format!(
                "no token: {} answered {}, and what is no JSON",
                place(oauth),
                answer.status
            )),
        })?;
        // Some servers write the number as text.
        let seconds = given.expires_in.and_then(|span| match span {
            serde_json::Value::String(text) => text.parse().ok(),
            number => number.as_u64(),
        });
        let token = Zeroizing::new(given.access_token);
        self.keep(key, token.clone(), now.saturating_add(good_for(seconds)));
        Ok(token)
    }

    /// Keeps none of an organisation that is gone.
    pub(crate) fn forget(&self, organisation: OrganisationId) {
        self.0.lock().retain(|(own, _), _| *own != organisation);
    }

    /// Keeps a token in the place of what was there, or of the soonest to end where there are too many.
    fn keep(&self, key: TokenKey, token: Zeroizing<String>, until: Timestamp) {
        let mut kept = self.0.lock();
        if kept.len() >= KEPT && !kept.contains_key(&key) {
            let soonest = kept.iter().min_by_key(|(_, (_, until))| *until).map(|(key, _)| *key);
            soonest.and_then(|soonest| kept.remove(&soonest));
        }
        kept.insert(key, (token, until));
    }
}

/// For how many milliseconds a token is used whose server says so many seconds.
fn good_for(seconds: Option<u64>) -> i64 {
    let good = seconds.map_or(UNSAID, |seconds| seconds.saturating_mul(1_000).saturating_sub(EARLY));
    good.min(LONGEST).cast_signed()
}

fn place(oauth: &OAuth) -> String {
    crate::shown(&oauth.token_url)
}

/// The request for a token, and what tells the token apart.
fn asked(
    organisation: OrganisationId,
    oauth: &OAuth,
    secrets: &Secrets,
    now: Timestamp,
) -> Result<(FilledRequest, TokenKey), String> {
    let url = address(&oauth.token_url, secrets, now)?;
    let mut form = form_urlencoded::Serializer::new(String::new());
    match &oauth.grant {
        Grant::ClientCredentials => form.append_pair("grant_type", "client_credentials"),
        Grant::RefreshToken(secret) => form
            .append_pair("grant_type", "refresh_token")
            .append_pair("refresh_token", secrets.value(secret, &url)?.trim()),
        Grant::Password(user, secret) => form
            .append_pair("grant_type", "password")
            .append_pair("username", &text(user, secrets, &url, now)?)
            .append_pair("password", secrets.value(secret, &url)?),
    };
    form.append_pair("client_id", text(&oauth.client_id, secrets, &url, now)?.trim());
    if let Some(secret) = &oauth.client_secret {
        form.append_pair("client_secret", secrets.value(secret, &url)?.trim());
    }
    let more = [("scope", &oauth.scope), ("audience", &oauth.audience)];
    for (name, value) in more.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
        form.append_pair(name, value);
    }
    let body = form.finish();
    let mut digest = Sha256::new();
    digest.update(url.as_str());
    digest.update([0]);
    digest.update(&body);
    let headers = vec![
        ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()),
        ("accept".to_owned(), "application/json".to_owned()),
    ];
    let request =
        FilledRequest { method: "POST".to_owned(), url: url.to_string(), headers, body: body.into_bytes() };
    Ok((request, (organisation, digest.finalize().into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_token_takes_the_place_of_the_old_one_or_of_the_soonest_to_end() {
        let tokens = Tokens::default();
        let key = |number: usize| (OrganisationId(1), Sha256::digest(number.to_be_bytes()).into());
        let keep = |number: usize, text: &str, until: i64| {
            let until = Timestamp::from_milliseconds(until).unwrap();
            tokens.keep(key(number), Zeroizing::new(text.to_owned()), until);
        };
        for number in 0..KEPT {
            keep(number, "old", 1_000 + number as i64);
        }
        keep(7, "new", 5_000);
        assert_eq!(tokens.0.lock()[&key(7)].0.as_str(), "new");
        assert_eq!(tokens.0.lock().len(), KEPT);
        keep(KEPT, "one more", 5_000);
        let kept = tokens.0.lock();
        assert_eq!(kept.len(), KEPT);
        assert!(kept.contains_key(&key(KEPT)) && !kept.contains_key(&key(0)));
        drop(kept);
        tokens.forget(OrganisationId(2));
        assert_eq!(tokens.0.lock().len(), KEPT);
        tokens.forget(OrganisationId(1));
        assert!(tokens.0.lock().is_empty());
    }

    #[test]
    fn a_token_is_kept_for_a_day_at_most() {
        assert_eq!(good_for(None), 300_000);
        assert_eq!(good_for(Some(3_600)), 3_570_000);
        assert_eq!(good_for(Some(u64::MAX)), 86_400_000);
    }
}
