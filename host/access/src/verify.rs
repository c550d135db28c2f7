//! Finds the credential of a request where its route's schemes say it may be, and works out what it should be
//! signed with.

use std::borrow::Cow;

use hmac::{Hmac, Mac};
use http::header::AUTHORIZATION;
use sha2::Sha256;

use crate::{AuthFailure, Authentication, Encoding, MessagePart, RawRequest, Signature};

/// A credential as it was found.
pub(crate) enum Credential<'a> {
    /// A token.
    Token(Cow<'a, [u8]>),
    /// `<key id>:<signature>` and how it was made.
    Signed(&'a Signature, &'a [u8]),
}

/// The credentials in the first of `alternatives` whose every place holds something: the caller's, and those that must
/// hold beside it. A place that holds nothing (no such header, another word in `Authorization`, an empty value) is passed
/// over with its alternative; one that is there twice is refused, because whoever stands in front of the host may have
/// read the other one.
pub(crate) fn find<'a>(
    alternatives: &'a [Vec<Authentication>],
    request: &RawRequest<'a>,
) -> Result<(Credential<'a>, Vec<Credential<'a>>), AuthFailure> {
    'alternatives: for alternative in alternatives {
        let Some((first, beside)) = alternative.split_first() else { continue };
        let Some(caller) = one(first, request)? else { continue };
        let mut others = Vec::new();
        for scheme in beside {
            match one(scheme, request)? {
                Some(found) => others.push(found),
                None => continue 'alternatives,
            }
        }
        return Ok((caller, others));
    }
    Err(AuthFailure::Missing)
}

/// The credential in a scheme's place, if it holds something.
fn one<'a>(
    scheme: &'a Authentication,
    request: &RawRequest<'a>,
) -> Result<Option<Credential<'a>>, AuthFailure> {
    Ok(match scheme {
        Authentication::Authorization(word) => authorization(word, request)?.map(token),
        Authentication::HeaderKey(name) => header(name, request)?.map(token),
        Authentication::QueryKey(name) => query(name, request)?.map(Credential::Token),
        Authentication::Signed(signature) => {
            authorization(&signature.prefix, request)?.map(|found| Credential::Signed(signature, found))
        }
        Authentication::Basic => authorization("Basic", request)?
            .map(|found| password(found).map(|password| Credential::Token(Cow::Owned(password))))
            .transpose()?,
    })
}

/// Whom a request says it comes from, without any proof: the same bytes for the same key, and nothing where it does not
/// say. For what may depend on the caller before it is known.
#[must_use]
pub fn claimed_by(alternatives: &[Vec<Authentication>], request: &RawRequest<'_>) -> Option<Vec<u8>> {
    match find(alternatives, request).ok()?.0 {
        Credential::Token(token) => Some(token.into_owned()),
        Credential::Signed(_, found) => found.split(|byte| *byte == b':').next().map(<[u8]>::to_vec),
    }
}

fn token(found: &[u8]) -> Credential<'_> {
    Credential::Token(Cow::Borrowed(found))
}

/// What stands behind `word` in `Authorization`. The word is compared without regard to case (RFC 9110, 11.1).
fn authorization<'a>(word: &str, request: &RawRequest<'a>) -> Result<Option<&'a [u8]>, AuthFailure> {
    let mut found = None;
    let mut count = 0;
    for value in request.headers.get_all(AUTHORIZATION) {
        count += 1;
        let value = value.as_bytes().trim_ascii();
        if let Some((scheme, rest)) = value.split_at_checked(word.len())
            && scheme.eq_ignore_ascii_case(word.as_bytes())
            && rest.first().is_some_and(u8::is_ascii_whitespace)
        {
            found = Some(rest.trim_ascii_start());
        }
    }
    if found.is_some() && count > 1 {
        return Err(twice("header Authorization"));
    }
    Ok(found)
}

/// The password of `base64(user:password)`: the first colon ends the user.
fn password(found: &[u8]) -> Result<Vec<u8>, AuthFailure> {
    let pair = data_encoding::BASE64.decode(found).ok();
    let colon = pair.as_ref().and_then(|pair| pair.iter().position(|byte| *byte == b':'));
    match (pair, colon) {
        (Some(mut pair), Some(colon)) => Ok(pair.split_off(colon + 1)),
        _ => Err(AuthFailure::Malformed("Authorization is not `Basic base64(user:password)`".into())),
    }
}

/// The value of the header `name`, if it is not empty.
fn header<'a>(name: &str, request: &RawRequest<'a>) -> Result<Option<&'a [u8]>, AuthFailure> {
    let mut values = request.headers.get_all(name).into_iter();
    let first = values.next().map(|value| value.as_bytes().trim_ascii());
    if values.next().is_some() {
        return Err(twice(&format!("header {name}")));
    }
    Ok(first.filter(|value| !value.is_empty()))
}

/// The value of the query parameter `name`, if it is not empty. Both are percent-decoded for this alone.
fn query<'a>(name: &str, request: &RawRequest<'a>) -> Result<Option<Cow<'a, [u8]>>, AuthFailure> {
    let Some((_, query)) = request.target.split_once('?') else { return Ok(None) };
    let mut values = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name);
    let first = values.next().map(|(_, value)| match value {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    });
    if values.next().is_some() {
        return Err(twice(&format!("query parameter {name}")));
    }
    Ok(first.filter(|value| !value.is_empty()))
}

fn twice(place: &str) -> AuthFailure {
    AuthFailure::Malformed(format!("the {place} is there more than once"))
}

/// What a signed request claims, once its shape and time are right.
pub(crate) struct Claim<'a> {
    /// Whose key it says it is signed with. Not checked for shape: a foreign one is simply nobody's.
    pub(crate) access_id: &'a [u8],
    signature: [u8; 32],
}

/// Reads `<key id>:<signature>` and checks the time.
pub(crate) fn claim<'a>(
    scheme: &Signature,
    found: &'a [u8],
    request: &RawRequest<'_>,
) -> Result<Claim<'a>, AuthFailure> {
    let colon = found.iter().position(|byte| *byte == b':');
    let parts = colon.map(|colon| (&found[..colon], &found[colon + 1..]));
    let Some((access_id, signature)) =
        parts.filter(|(id, signature)| !id.is_empty() && !signature.is_empty())
    else {
        return Err(AuthFailure::Malformed("Authorization is not `<access id>:<signature>`".into()));
    };
    let (encoding, name) = match scheme.encoding {
        Encoding::Base64 => (data_encoding::BASE64, "base64"),
        Encoding::Hex => (data_encoding::HEXLOWER, "lower-case hexadecimal"),
    };
    let signature = encoding.decode(signature).ok().and_then(|bytes| bytes.try_into().ok());
    let Some(signature) = signature else {
        return Err(AuthFailure::Malformed(format!("the signature is not 32 bytes in {name}")));
    };

    let name = &scheme.timestamp_header;
    let Some(time) = header(name, request)? else {
        return Err(AuthFailure::Malformed(format!("the header {name} is missing")));
    };
    let time = std::str::from_utf8(time)
        .ok()
        .filter(|text| !text.starts_with('+'))
        .and_then(|text| text.parse().ok());
    let Some(time) = time else {
        return Err(AuthFailure::Malformed(format!("the header {name} is not a Unix time in seconds")));
    };
    // The client cut its time to whole seconds, so the host's is cut alike before they are compared.
    let host = request.received.as_milliseconds().div_euclid(1000);
    if host.abs_diff(time) > u64::from(scheme.tolerance) {
        return Err(AuthFailure::OutOfTime { host: request.received });
    }
    Ok(Claim { access_id, signature })
}

/// Whether `claim` is what `secret` gives for the request. In constant time.
pub(crate) fn matches(
    mut secret: Hmac<Sha256>,
    scheme: &Signature,
    claim: &Claim<'_>,
    request: &RawRequest<'_>,
) -> Result<bool, AuthFailure> {
    for part in &scheme.message {
        match part {
            MessagePart::Literal(text) => secret.update(text.as_bytes()),
            MessagePart::RequestTarget => secret.update(request.target.as_bytes()),
            MessagePart::Method => secret.update(request.method.as_str().to_ascii_uppercase().as_bytes()),
            MessagePart::Header(name) => secret.update(header(name, request)?.unwrap_or_default()),
            MessagePart::Body => secret.update(request.body),
        }
    }
    Ok(secret.verify_slice(&claim.signature).is_ok())
}
