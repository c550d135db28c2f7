//! Whether a webhook was sent by who it says, and which delivery it is.
//!
//! Two schemes: GitHub's `X-Hub-Signature-256` over the body, and Standard Webhooks 1.0
//! (`webhook-id`, `webhook-timestamp`, `webhook-signature`) over all three.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bellwether_kernel::{FieldError, Timestamp};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

/// How far the time a delivery states may lie from the host's, in seconds, either way, inclusive. What the
/// specification's own libraries allow.
const TOLERANCE: u64 = 5 * 60;

/// Bytes of a Standard Webhooks secret before base64. The specification asks for 24 to 64, its own example has 18.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

/// How many signatures of a delivery are tried: a sender has two while it changes its secret.
const MOST_SIGNATURES: usize = 8;

/// Bytes of a delivery's id: it becomes part of a key in the store. Senders use 27 to 36.
const LONGEST_DELIVERY_ID: usize = 255;

const HUB_SIGNATURE: &str = "x-hub-signature-256";
const HUB_DELIVERY: &str = "x-github-delivery";
const STANDARD_ID: &str = "webhook-id";
const STANDARD_TIMESTAMP: &str = "webhook-timestamp";
const STANDARD_SIGNATURE: &str = "webhook-signature";
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// How a webhook's sender signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignatureScheme {
    /// `X-Hub-Signature-256: sha256=<hexadecimal>`, HMAC-SHA256 of the body; the secret is any text.
    Github,
    /// HMAC-SHA256 of `<id>.<timestamp>.<body>`; the secret is base64, usually after `whsec_`.
    StandardWebhooks,
}

/// Why a delivery is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignatureError {
    /// A header the scheme needs is not there.
    #[error("the header {0} is missing")]
    Missing(&'static str),
    /// A header the scheme needs is there more than once.
    #[error("the header {0} is there more than once")]
    Twice(&'static str),
    /// A header does not read.
    #[error("the header {header} is not {expected}")]
    Malformed {
        /// Which.
        header: &'static str,
        /// What would be right.
        expected: &'static str,
    },
    /// It was signed too long ago, or its sender's clock is wrong.
    #[error("webhook-timestamp is more than {TOLERANCE} seconds from the host's time, {0}")]
    OutOfTime(Timestamp),
    /// No signature is the one that secret gives.
    #[error("the signature does not match the body")]
    Mismatch,
    /// The secret is none of this scheme.
    #[error("the webhook's secret is not what its signature scheme takes")]
    Secret,
}

impl SignatureScheme {
    /// Whether `secret` can be this scheme's, asked when it is set up.
    ///
    /// # Errors
    /// Names `secret` and says what would be right; never repeats it.
    pub(crate) fn check_secret(self, secret: &str) -> Result<(), FieldError> {
        let expected = match self {
            Self::Github => "a text that is not empty",
            Self::StandardWebhooks => "16 to 64 bytes in base64, with or without whsec_ before them",
        };
        let shown = format!("({} characters, not shown)", secret.chars().count());
        self.key(secret).map(drop).ok_or_else(|| FieldError::new("secret", shown, expected))
    }

    /// Checks that a request with these headers and this body was signed with `secret`. Header names in any case.
    ///
    /// # Errors
    /// Why it is not believed; the text is fit for the sender.
    pub(crate) fn verify(
        self,
        secret: &str,
        headers: &[(String, String)],
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), SignatureError> {
        let key = self.key(secret).ok_or(SignatureError::Secret)?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes keys of any length");
        match self {
            Self::Github => {
                let expected = "sha256= and 64 hexadecimal characters";
                let malformed = SignatureError::Malformed { header: HUB_SIGNATURE, expected };
                let signature =
                    required(headers, HUB_SIGNATURE)?.strip_prefix("sha256=").and_then(hexadecimal);
                mac.update(body);
                mac.verify_slice(&signature.ok_or(malformed)?).map_err(|_| SignatureError::Mismatch)
            }
            Self::StandardWebhooks => {
                let id = required(headers, STANDARD_ID)?;
                let timestamp = required(headers, STANDARD_TIMESTAMP)?;
                let signatures = required(headers, STANDARD_SIGNATURE)?;
                in_time(timestamp, now)?;
                for part in [id, ".", timestamp, "."] {
                    mac.update(part.as_bytes());
                }
                mac.update(body);
                let signatures = signatures.split_ascii_whitespace().take(MOST_SIGNATURES);
                // Other versions than v1 are other algorithms, for receivers that know them.
                let mut signatures =
                    signatures.filter_map(|signature| STANDARD.decode(signature.strip_prefix("v1,")?).ok());
                let matches = signatures.any(|signature| mac.clone().verify_slice(&signature).is_ok());
                matches.then_some(()).ok_or(SignatureError::Mismatch)
            }
        }
    }

    fn key(self, secret: &str) -> Option<Zeroizing<Vec<u8>>> {
        match self {
            Self::Github => (!secret.is_empty()).then(|| Zeroizing::new(secret.as_bytes().to_vec())),
            Self::StandardWebhooks => {
                let encoded = secret.strip_prefix("whsec_").unwrap_or(secret);
                let key = Zeroizing::new(STANDARD.decode(encoded).ok()?);
                SECRET_BYTES.contains(&key.len()).then_some(key)
            }
        }
    }
}

/// What a repeated delivery has in common with the first: the header that names it and its value, as
/// `x-github-delivery:<id>`. The first header that is there of the trigger's own, where it names one, and, where the
/// scheme signs an id, that; otherwise GitHub's, Standard Webhooks' and `Idempotency-Key`.
///
/// # Errors
/// Names the header: it is there twice, empty, longer than 255 bytes, or not visible ASCII.
pub(crate) fn delivery_id(
    scheme: Option<SignatureScheme>,
    own: Option<&str>,
    headers: &[(String, String)],
) -> Result<Option<String>, FieldError> {
    let usual: &[&str] = match scheme {
        // The others are not covered by its signature: who repeats a delivery could change them.
        Some(SignatureScheme::StandardWebhooks) => &[STANDARD_ID],
        Some(SignatureScheme::Github) => &[HUB_DELIVERY, IDEMPOTENCY_KEY],
        None => &[HUB_DELIVERY, STANDARD_ID, IDEMPOTENCY_KEY],
    };
    for name in own.iter().chain(usual) {
        let mut values = named(headers, name);
        let Some(id) = values.next() else { continue };
        if values.next().is_some() {
            return Err(FieldError::new(*name, "two values", "one value"));
        }
        if id.is_empty() || id.len() > LONGEST_DELIVERY_ID || !id.bytes().all(|byte| byte.is_ascii_graphic())
        {
            let expected = format!("1 to {LONGEST_DELIVERY_ID} visible ASCII characters");
            return Err(FieldError::new(*name, id, expected));
        }
        return Ok(Some(format!("{name}:{id}")));
    }
    Ok(None)
}

fn named<'a>(headers: &'a [(String, String)], name: &str) -> impl Iterator<Item = &'a str> {
    headers.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn required<'a>(headers: &'a [(String, String)], name: &'static str) -> Result<&'a str, SignatureError> {
    let mut values = named(headers, name);
    let value = values.next().ok_or(SignatureError::Missing(name))?;
    if values.next().is_some() { Err(SignatureError::Twice(name)) } else { Ok(value) }
}

/// Both times are whole seconds: the sender cut its own, so the host's is cut alike.
fn in_time(timestamp: &str, now: Timestamp) -> Result<(), SignatureError> {
    let expected = "a Unix time in seconds";
    let digits = !timestamp.is_empty() && timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let stated: Option<i64> = digits.then(|| timestamp.parse().ok()).flatten();
    let stated = stated.ok_or(SignatureError::Malformed { header: STANDARD_TIMESTAMP, expected })?;
    let apart = now.as_milliseconds().div_euclid(1000).abs_diff(stated);
    if apart > TOLERANCE { Err(SignatureError::OutOfTime(now)) } else { Ok(()) }
}

fn hexadecimal(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes().as_chunks::<2>();
    let (pairs, []) = digits else { return None };
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16)?).ok();
    let bytes: Option<Vec<u8>> =
        pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// GitHub's own example, from its page on validating deliveries.
    const GITHUB: (&str, &str, &str) = (
        "It's a Secret to Everybody",
        "Hello, World!",
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
    );

    /// Secret, id, timestamp, body and signature: the specification's example, and the older one of its first
    /// implementation.
    const STANDARD_EXAMPLES: [(&str, &str, i64, &str, &str); 2] = [
        (
            "whsec_plJ3nmyCDGBKInavdOK15jsl",
            "msg_loFOjxBNrRLzqYUf",
            1_731_705_121,
            r#"{"event_type":"ping","data":{"success":true}}"#,
            "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
        ),
        (
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
    ];

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_milliseconds(seconds * 1000 + 999).unwrap()
    }

    fn headers(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    fn github(secret: &str, signature: &str, body: &str) -> Result<(), SignatureError> {
        let headers = headers(&[("X-Hub-Signature-256", signature)]);
        SignatureScheme::Github.verify(secret, &headers, body.as_bytes(), at(0))
    }

    fn standard(
        secret: &str,
        id: &str,
        timestamp: &str,
        signature: &str,
        body: &str,
        now: i64,
    ) -> Result<(), SignatureError> {
        let headers = headers(&[
            ("Webhook-Id", id),
            ("Webhook-Timestamp", timestamp),
            ("Webhook-Signature", signature),
        ]);
        SignatureScheme::StandardWebhooks.verify(secret, &headers, body.as_bytes(), at(now))
    }

    #[test]
    fn githubs_example_is_believed_and_nothing_near_it() {
        let (secret, body, signature) = GITHUB;
        assert_eq!(github(secret, signature, body), Ok(()));
        assert_eq!(github(secret, &signature.to_uppercase().replace("SHA256", "sha256"), body), Ok(()));
        assert_eq!(github("It's a secret to everybody", signature, body), Err(SignatureError::Mismatch));
        assert_eq!(github(secret, signature, "Hello, World?"), Err(SignatureError::Mismatch));
        assert_eq!(github(secret, signature, ""), Err(SignatureError::Mismatch));
        assert_eq!(github("", signature, body), Err(SignatureError::Secret));
        let hex = &signature[7..];
        for wrong in
            ["", "sha256=", hex, &signature[..70], &format!("{signature}0"), &signature.replace('7', "g")]
        {
            assert!(matches!(github(secret, wrong, body), Err(SignatureError::Malformed { .. })), "{wrong}");
        }
        let verify = |headers: &[(&str, &str)]| {
            SignatureScheme::Github.verify(secret, &self::headers(headers), body.as_bytes(), at(0))
        };
        assert_eq!(verify(&[]), Err(SignatureError::Missing(HUB_SIGNATURE)));
        let twice = verify(&[("x-hub-signature-256", signature), ("X-Hub-Signature-256", signature)]);
        assert_eq!(twice, Err(SignatureError::Twice(HUB_SIGNATURE)));
    }

    #[test]
    fn the_standards_examples_are_believed_and_nothing_near_them() {
        for (secret, id, time, body, signature) in STANDARD_EXAMPLES {
            let timestamp = &time.to_string();
            let bare = secret.strip_prefix("whsec_").unwrap();
            assert_eq!(standard(secret, id, timestamp, signature, body, time), Ok(()));
            assert_eq!(standard(bare, id, timestamp, signature, body, time), Ok(()));
            // While a secret is changed there are several signatures, and other versions among them.
            let several = format!("v1a,{bare} v1,{bare}AAAA {signature} v2,x");
            assert_eq!(standard(secret, id, timestamp, &several, body, time), Ok(()));

            let other = format!("whsec_{}", STANDARD.encode([7; 24]));
            let zeroes = format!("0{timestamp}");
            let v2 = signature.replace("v1,", "v2,");
            for (secret, id, timestamp, signature, body) in [
                (other.as_str(), id, timestamp.as_str(), signature, body),
                (secret, "msg", timestamp, signature, body),
                (secret, id, &zeroes, signature, body),
                (secret, id, timestamp, &v2, body),
                (secret, id, timestamp, &signature[3..], body),
                (secret, id, timestamp, "", body),
                (secret, id, timestamp, signature, "{}"),
            ] {
                let found = standard(secret, id, timestamp, signature, body, time);
                assert_eq!(found, Err(SignatureError::Mismatch), "{id} {timestamp} {signature} {body}");
            }
        }
    }

    #[test]
    fn an_old_delivery_is_refused_however_well_it_is_signed() {
        let (secret, id, time, body, signature) = STANDARD_EXAMPLES[0];
        for (apart, good) in [(-301, false), (-300, true), (0, true), (300, true), (301, false)] {
            let found = standard(secret, id, &time.to_string(), signature, body, time + apart);
            assert_eq!(found.is_ok(), good, "{apart} seconds: {found:?}");
        }
        for timestamp in ["", "soon", "-1", "+1731705121", "1731705121.0", "99999999999999999999"] {
            let found = standard(secret, id, timestamp, signature, body, time);
            assert!(matches!(found, Err(SignatureError::Malformed { .. })), "{timestamp}: {found:?}");
        }
    }

    #[test]
    fn what_the_scheme_needs_must_be_there_once() {
        let all = [("webhook-id", "a"), ("webhook-timestamp", "0"), ("webhook-signature", "v1,AAAA")];
        let secret = STANDARD_EXAMPLES[0].0;
        let verify = |headers: &[(&str, &str)]| {
            SignatureScheme::StandardWebhooks.verify(secret, &self::headers(headers), b"", at(0)).unwrap_err()
        };
        for (at, (name, _)) in all.iter().enumerate() {
            let without: Vec<_> = all.iter().copied().filter(|(other, _)| other != name).collect();
            assert!(verify(&without).to_string().contains(&format!("{name} is missing")));
            let twice: Vec<_> = all.iter().copied().chain([all[at]]).collect();
            assert!(verify(&twice).to_string().contains(&format!("{name} is there more than once")));
        }
    }

    #[test]
    fn a_secret_that_cannot_be_one_is_refused_and_not_repeated() {
        use SignatureScheme::{Github, StandardWebhooks};
        let long = STANDARD.encode([1; 65]);
        let cases = [
            (Github, "x", true),
            (Github, "", false),
            (StandardWebhooks, STANDARD_EXAMPLES[0].0, true),
            (StandardWebhooks, "hunter2-hunter2", false),
            (StandardWebhooks, "whsec_", false),
            (StandardWebhooks, "aHVudGVyMg==", false),
            (StandardWebhooks, &long, false),
        ];
        for (scheme, secret, good) in cases {
            match scheme.check_secret(secret) {
                Ok(()) => assert!(good, "{secret}"),
                Err(error) => {
                    assert!(!good, "{secret}: {error}");
                    assert!(!error.to_string().contains("hunter2"), "{error}");
                    assert!(error.value.contains("not shown"), "{error}");
                }
            }
        }
    }

    #[test]
    fn a_delivery_is_known_by_the_header_its_sender_uses() {
        use SignatureScheme::{Github, StandardWebhooks};
        let all = [("Idempotency-Key", "i"), ("webhook-id", "w"), ("X-GitHub-Delivery", "g")];
        // With the first so many of them there.
        let cases = [
            (None, 3, Some("x-github-delivery:g")),
            (Some(Github), 3, Some("x-github-delivery:g")),
            (Some(StandardWebhooks), 3, Some("webhook-id:w")),
            (None, 2, Some("webhook-id:w")),
            (None, 1, Some("idempotency-key:i")),
            (Some(Github), 2, Some("idempotency-key:i")),
            (Some(StandardWebhooks), 1, None),
            (None, 0, None),
        ];
        for (scheme, there, expected) in cases {
            let found = delivery_id(scheme, None, &headers(&all[..there])).unwrap();
            assert_eq!(found.as_deref(), expected, "{scheme:?} {there}");
        }
        for wrong in ["", "a b", "é", &"a".repeat(256)] {
            for (own, name) in [(None, "webhook-id"), (Some("X-My-Id"), "X-My-Id")] {
                let error = delivery_id(None, own, &headers(&[(name, wrong)])).unwrap_err();
                assert_eq!(error.field, name, "{wrong}");
            }
        }
        let twice = headers(&[("webhook-id", "a"), ("Webhook-Id", "b")]);
        assert_eq!(delivery_id(None, None, &twice).unwrap_err().field, "webhook-id");
        let own = headers(&[("x-my-id", "a"), ("webhook-id", "w")]);
        let found = delivery_id(Some(StandardWebhooks), Some("X-My-Id"), &own).unwrap();
        assert_eq!(found.as_deref(), Some("X-My-Id:a"));
        // Where its own is not there, the usual ones are looked at.
        let found = delivery_id(None, Some("X-My-Id"), &own[1..]).unwrap();
        assert_eq!(found.as_deref(), Some("webhook-id:w"));
        assert_eq!(delivery_id(Some(Github), Some("X-My-Id"), &own[1..]).unwrap(), None);
    }

    #[test]
    fn a_scheme_is_written_as_documents_name_it() {
        for (scheme, name) in [
            (SignatureScheme::Github, "\"github\""),
            (SignatureScheme::StandardWebhooks, "\"standard-webhooks\""),
        ] {
            assert_eq!(serde_json::to_string(&scheme).unwrap(), name);
            assert_eq!(serde_json::from_str::<SignatureScheme>(name).unwrap(), scheme);
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_the_check_stumble_or_believe(signature in "\\PC{0,90}", body: Vec<u8>) {
            let hub = headers(&[(HUB_SIGNATURE, &format!("sha256={signature}"))]);
            prop_assert!(SignatureScheme::Github.verify("secret", &hub, &body, at(0)).is_err());
            let standard = headers(&[
                (STANDARD_ID, &signature),
                (STANDARD_TIMESTAMP, "0"),
                (STANDARD_SIGNATURE, &format!("v1,{signature}")),
            ]);
            let verified = SignatureScheme::StandardWebhooks.verify(STANDARD_EXAMPLES[0].0, &standard, &body, at(0));
            prop_assert!(verified.is_err());
        }
    }
}
