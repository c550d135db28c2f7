//! Signatures: an HMAC over parts of the request, and AWS Signature Version 4.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bellwether_kernel::Timestamp;
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use hmac::{KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use url::{Position, Url};
use zeroize::Zeroizing;

use super::FilledRequest;
use super::fill::{Secrets, text};
use crate::{Encoding, Hash, Hmac, KeyEncoding, MessagePart, Sigv4};

/// Adds an HMAC to a request.
pub(super) fn hmac(
    given: &Hmac,
    secrets: &Secrets,
    url: &Url,
    request: &mut FilledRequest,
) -> Result<(), String> {
    let secret = secrets.value(&given.secret, url)?.trim();
    let secret = secret.strip_prefix(given.secret_prefix.as_str()).unwrap_or(secret);
    let wrong = |how: &str| format!("the secret of the setting {:?} is not {how}", given.secret);
    let key = Zeroizing::new(match given.key_encoding {
        KeyEncoding::Plain => secret.as_bytes().to_vec(),
        KeyEncoding::Base64 => STANDARD_NO_PAD
            .decode(secret.trim_end_matches('='))
            .map_err(|_| wrong("base64, which its signature needs"))?,
        KeyEncoding::Hex => HEXLOWER_PERMISSIVE
            .decode(secret.as_bytes())
            .map_err(|_| wrong("hexadecimal, which its signature needs"))?,
    });
    let mut message = Vec::new();
    for part in &given.message {
        match part {
            MessagePart::Literal(text) => message.extend_from_slice(text.as_bytes()),
            MessagePart::Method => message.extend_from_slice(request.method.as_bytes()),
            MessagePart::RequestTarget => {
                message.extend_from_slice(url[Position::BeforePath..Position::AfterQuery].as_bytes());
            }
            MessagePart::Header(name) => {
                let found = request.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
                let (_, value) =
                    found.ok_or_else(|| format!("the request has no header {name:?} to sign"))?;
                message.extend_from_slice(value.as_bytes());
            }
            MessagePart::Body => message.extend_from_slice(&request.body),
        }
    }
    let digest = match given.hash {
        Hash::Sha1 => digest::<hmac::Hmac<Sha1>>(&key, &message),
        Hash::Sha256 => digest::<hmac::Hmac<Sha256>>(&key, &message),
        Hash::Sha512 => digest::<hmac::Hmac<Sha512>>(&key, &message),
    };
    let written = match given.encoding {
        Encoding::Base64 => STANDARD.encode(digest),
        Encoding::Hex => HEXLOWER.encode(&digest),
    };
    request.headers.push((given.header.clone(), format!("{}{written}", given.prefix)));
    Ok(())
}

fn digest<M: Mac + KeyInit>(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("an HMAC takes a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

/// Signs a request as AWS has it.
pub(super) fn sigv4(
    given: &Sigv4,
    secrets: &Secrets,
    url: &Url,
    now: Timestamp,
    request: &mut FilledRequest,
) -> Result<(), String> {
    let access_key = text(&given.access_key, secrets, url, now)?;
    let secret_key = secrets.value(&given.secret_key, url)?.trim().to_owned();
    let session_token = match &given.session_token {
        Some(name) => Some(secrets.value(name, url)?.trim().to_owned()),
        None => None,
    };
    let identity = Credentials::new(access_key.trim(), secret_key, session_token, None, "channel").into();
    let seconds = u64::try_from(now.as_milliseconds().div_euclid(1_000)).unwrap_or(0);
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(&given.region)
        .name(&given.service)
        .time(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| format!("the request cannot be signed: {error}"))?
        .into();
    // The library's own errors may show the request, which holds secrets.
    let failed =
        |_| "the request cannot be signed as AWS has it: its URL or a header does not read".to_owned();
    let signable = SignableRequest::new(
        &request.method,
        request.url.as_str(),
        request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())),
        SignableBody::Bytes(&request.body),
    );
    let signed = sign(signable.map_err(failed)?, &parameters).map_err(failed)?;
    let headers: Vec<(String, String)> =
        signed.output().headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    request.headers.extend(headers);
    Ok(())
}
