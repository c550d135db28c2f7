//! Whether a request may go where it goes: told of a channel that is put, before anything is sent.

use bellwether_access::Destination;
use bellwether_kernel::{FieldError, Timestamp};
use http::Method;
use url::Url;

use super::fill::{Secrets, Withheld, where_to};
use crate::{Grant, HttpRequest, OAuth, Part, Signing};

/// Holds a request of `formatter` against the hosts of its channel, and each of its secrets against the hosts that may
/// have it.
///
/// # Errors
/// Names `hosts` or the setting, what it is, and what would be right; of a secret nothing but the host of a URL.
pub(crate) fn check_way(
    formatter: &str,
    request: &HttpRequest,
    secrets: &Secrets,
    hosts: &[Destination],
    now: Timestamp,
) -> Result<(), FieldError> {
    let check = |method: &str, url: &[Part], names: &[&str]| -> Result<(), FieldError> {
        // What does not read as a URL is told of by whoever fills it in.
        let Ok(url) = where_to(url, secrets, now) else { return Ok(()) };
        for name in names {
            check_secret(secrets, name, &url)?;
        }
        let permits = |method: &Method| hosts.iter().any(|host| host.permits(method, &url));
        if method.parse::<Method>().is_ok_and(|method| permits(&method)) {
            return Ok(());
        }
        let named: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let origin = url.origin().ascii_serialization();
        let expected = format!("{origin} among them, where {formatter} sends a {method} request");
        Err(FieldError::new("hosts", named.join(", "), expected))
    };
    let mut names = named(&request.url);
    names.extend(request.headers.iter().flat_map(|header| named(&header.value)));
    names.extend(named(&request.body));
    for signing in &request.signing {
        match signing {
            Signing::Basic(basic) => {
                names.extend(named(&basic.user));
                names.extend(named(&basic.password));
            }
            Signing::Hmac(hmac) => names.push(&hmac.secret),
            Signing::Sigv4(sigv4) => {
                names.extend(named(&sigv4.access_key));
                names.push(&sigv4.secret_key);
                names.extend(sigv4.session_token.as_deref());
            }
            Signing::Oauth(oauth) => check("POST", &oauth.token_url, &names_of_token(oauth))?,
        }
    }
    check(&request.method, &request.url, &names)
}

/// The secrets a text names.
fn named(parts: &[Part]) -> Vec<&str> {
    let names = parts.iter().filter_map(|part| match part {
        Part::Secret(name, _) => Some(name.as_str()),
        Part::Text(_) | Part::Now(_) => None,
    });
    names.collect()
}

/// The secrets a token is asked for with.
fn names_of_token(oauth: &OAuth) -> Vec<&str> {
    let mut names = named(&oauth.token_url);
    names.extend(named(&oauth.client_id));
    names.extend(oauth.client_secret.as_deref());
    match &oauth.grant {
        Grant::ClientCredentials => {}
        Grant::RefreshToken(secret) => names.push(secret),
        Grant::Password(user, secret) => {
            names.extend(named(user));
            names.push(secret);
        }
    }
    names
}

fn check_secret(secrets: &Secrets, setting: &str, url: &Url) -> Result<(), FieldError> {
    let Err(Withheld::Elsewhere { kept, origin, hosts }) = secrets.for_url(setting, url) else {
        return Ok(());
    };
    let bound = if hosts.is_empty() { "nowhere".to_owned() } else { format!("only to {}", hosts.join(", ")) };
    let expected = format!(
        "a secret that may be sent to {origin}; this one may be sent {bound}: put it again with that host, or let \
         the channel lead where it may go"
    );
    Err(FieldError::new(format!("settings.{setting}"), kept, expected))
}
