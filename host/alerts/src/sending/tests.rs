//! Requests as they leave, against what the services' own documents say.

use std::collections::BTreeMap;

use bellwether_kernel::Timestamp;

use super::Mask;
use super::fill::{Secrets, fill};
use crate::{
    Encoding, Hash, Header, Hmac, HttpRequest, KeyEncoding, MessagePart, Part, SecretEncoding, Signing,
    Sigv4, TimeFormat,
};

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

/// Secrets bound to any host, as a channel's settings name them.
pub(crate) async fn secrets(of: &[(&str, &str)]) -> Secrets {
    use bellwether_access::{Access, HostKey, NewKey, Role};
    use bellwether_kernel::{SeededRandomness, SystemClock};
    use bellwether_store::MemoryStore;
    use std::sync::Arc;
    let key = HostKey::from_hex(&"5a".repeat(32)).unwrap();
    let (clock, chance) = (Arc::new(SystemClock), Arc::new(SeededRandomness::new(1)));
    let access = Access::open(Arc::new(MemoryStore::new()), clock, chance, key).await.unwrap();
    let organisation = access.create_organisation("host", "acme", "UTC").await.unwrap().id;
    let key = NewKey { name: "k".into(), role: Role::Admin, expires: None, signing: false };
    let key = access.create_key("host", organisation, key).await.unwrap().key.id;
    let admin = access.principal(&key).unwrap();
    let mut secrets = BTreeMap::new();
    for (name, value) in of {
        access.put_secret(&admin, name, value, vec!["https://*".to_owned()]).await.unwrap();
        let secret = access.secret(organisation, name).await.unwrap();
        secrets.insert((*name).to_owned(), ((*name).to_owned(), secret));
    }
    Secrets(secrets)
}

fn request(method: &str, url: &str, headers: &[(&str, &str)], body: &str, signing: Signing) -> HttpRequest {
    let headers =
        headers.iter().map(|(name, value)| Header { name: (*name).to_owned(), value: vec![text(value)] });
    HttpRequest {
        method: method.to_owned(),
        url: vec![text(url)],
        headers: headers.collect(),
        body: vec![text(body)],
        signing: vec![signing],
    }
}

/// The example of the Standard Webhooks specification.
#[tokio::test]
async fn an_hmac_is_as_standard_webhooks_has_it() {
    let secrets = secrets(&[("key", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")]).await;
    let message = [
        MessagePart::Header("webhook-id".into()),
        MessagePart::Literal(".".into()),
        MessagePart::Header("webhook-timestamp".into()),
        MessagePart::Literal(".".into()),
        MessagePart::Body,
    ];
    let hmac = Signing::Hmac(Hmac {
        secret: "key".into(),
        secret_prefix: "whsec_".into(),
        key_encoding: KeyEncoding::Base64,
        hash: Hash::Sha256,
        message: message.to_vec(),
        header: "webhook-signature".into(),
        prefix: "v1,".into(),
        encoding: Encoding::Base64,
    });
    let headers = [("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"), ("webhook-timestamp", "1614265330")];
    let request = request("POST", "https://a.example/", &headers, r#"{"test": 2432232314}"#, hmac);
    let filled = fill(&request, &secrets, Timestamp::default()).unwrap().request;
    let (name, value) = filled.headers.last().unwrap();
    assert_eq!(name, "webhook-signature");
    assert_eq!(value, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

/// `get-vanilla` of AWS's own suite of signatures.
#[tokio::test]
async fn a_request_is_signed_as_aws_has_it() {
    let secrets = secrets(&[("secret", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")]).await;
    let sigv4 = Signing::Sigv4(Sigv4 {
        access_key: vec![text("AKIDEXAMPLE")],
        secret_key: "secret".into(),
        session_token: None,
        region: "us-east-1".into(),
        service: "service".into(),
    });
    let request = request("GET", "https://example.amazonaws.com/", &[], "", sigv4);
    let now = Timestamp::parse("2015-08-30T12:36:00Z").unwrap();
    let filled = fill(&request, &secrets, now).unwrap().request;
    let header = |name: &str| {
        let found = filled.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    assert_eq!(header("x-amz-date"), "20150830T123600Z");
    let signature = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
    let authorization = header("authorization");
    assert!(authorization.contains("Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request"));
    assert!(authorization.ends_with(&format!("Signature={signature}")), "{authorization}");
}

#[tokio::test]
async fn secrets_and_times_are_written_as_the_part_says() {
    let secrets = secrets(&[("s", "a\"b/é")]).await;
    let part = |encoding| Part::Secret("s".to_owned(), encoding);
    let body = vec![
        part(SecretEncoding::Plain),
        text(" "),
        part(SecretEncoding::Base64),
        text(" "),
        part(SecretEncoding::Percent),
        text(" "),
        part(SecretEncoding::Json),
        text(" "),
        Part::Now(TimeFormat::UnixSeconds),
        text(" "),
        Part::Now(TimeFormat::UnixMilliseconds),
        text(" "),
        Part::Now(TimeFormat::Rfc3339),
    ];
    let request = HttpRequest {
        method: "POST".into(),
        url: vec![text("https://a.example/"), part(SecretEncoding::Percent)],
        headers: Vec::new(),
        body,
        signing: Vec::new(),
    };
    let now = Timestamp::from_milliseconds(1_712_673_840_250).unwrap();
    let filled = fill(&request, &secrets, now).unwrap().request;
    assert_eq!(filled.url, "https://a.example/a%22b%2F%C3%A9");
    assert_eq!(
        String::from_utf8(filled.body).unwrap(),
        "a\"b/é YSJiL8Op a%22b%2F%C3%A9 \"a\\\"b/é\" 1712673840 1712673840250 2024-04-09T14:44:00Z"
    );
}

#[tokio::test]
async fn a_secret_may_be_a_whole_url_and_decides_nothing_else() {
    let secrets = secrets(&[("hook", "https://hooks.example/T0/B1/x\n"), ("evil", "evil.example/")]).await;
    let secret = |name: &str| Part::Secret(name.to_owned(), SecretEncoding::Plain);
    let filled = |url: Vec<Part>| {
        let request = HttpRequest {
            method: "POST".into(),
            url,
            headers: Vec::new(),
            body: Vec::new(),
            signing: Vec::new(),
        };
        fill(&request, &secrets, Timestamp::default()).map(|filled| filled.request.url)
    };
    assert_eq!(filled(vec![secret("hook")]).as_deref(), Ok("https://hooks.example/T0/B1/x"));
    let refused = filled(vec![secret("evil")]).unwrap_err();
    assert!(refused.contains("does not read as one") && !refused.contains("evil.example"), "{refused}");
}

#[test]
fn a_mask_covers_the_longest_text_and_bytes_that_are_no_text() {
    let mut mask = Mask::default();
    mask.learn("short", "pass");
    mask.learn("long", "passphrase");
    mask.learn("tiny", "ab");
    assert_eq!(mask.text("my passphrase, my pass, ab"), "my ‹secret long›, my ‹secret short›, ab");
    let bytes = mask.bytes(b"\xff passphrase \xfe pass");
    assert_eq!(
        bytes,
        ["\u{2039}secret long\u{203a}"]
            .map(|_| [
                b"\xff ".as_slice(),
                "‹secret long›".as_bytes(),
                b" \xfe ",
                "‹secret short›".as_bytes()
            ]
            .concat())
            .concat()
    );
}
