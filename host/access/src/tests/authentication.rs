//! Who sent a request: every place a credential can be in and every way it can be wrong.

use bellwether_kernel::{KeyId, OrganisationId, Timestamp};
use bellwether_store::{Batch, MemoryStore, Store, encode};
use hmac::Mac;
use http::{HeaderMap, HeaderName, Method};
use proptest::prelude::*;

use super::{Fixture, START, key, seconds};
use crate::rows::{self, StoredKey};
use crate::seal::Context;
use crate::service::keyed;
use crate::token::key_id_bytes;
use crate::{
    AuthFailure, Authentication, Caller, CreatedKey, Encoding, MessagePart, NewKey, Organisation, RawRequest,
    Role, Signature,
};

/// A request a test can bend.
#[derive(Clone)]
struct Request {
    method: Method,
    target: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    received: Timestamp,
}

impl Request {
    fn get(target: &str) -> Self {
        let (method, target) = (Method::GET, target.to_owned());
        Self { method, target, headers: Vec::new(), body: Vec::new(), received: seconds(START) }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Who it is found to be from, each scheme an alternative: the key's name.
    fn caller(&self, fixture: &Fixture, schemes: &[Authentication]) -> Result<String, AuthFailure> {
        let alternatives: Vec<_> = schemes.iter().map(|scheme| vec![scheme.clone()]).collect();
        self.caller_of(fixture, &alternatives)
    }

    fn caller_of(
        &self,
        fixture: &Fixture,
        alternatives: &[Vec<Authentication>],
    ) -> Result<String, AuthFailure> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let value = http::HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(HeaderName::try_from(*name).unwrap(), value);
        }
        let Self { method, target, body, received, .. } = self;
        let request = RawRequest { method, target, headers: &headers, body, received: *received };
        fixture.access.authenticate(alternatives, &request).map(|principal| principal.key_name.clone())
    }
}

/// ThreatConnect's scheme.
fn signature() -> Signature {
    Signature {
        prefix: "TC".into(),
        message: vec![
            MessagePart::RequestTarget,
            MessagePart::Literal(":".into()),
            MessagePart::Method,
            MessagePart::Literal(":".into()),
            MessagePart::Header("Timestamp".into()),
        ],
        encoding: Encoding::Base64,
        timestamp_header: "Timestamp".into(),
        tolerance: 300,
    }
}

fn signed() -> [Authentication; 1] {
    [Authentication::Signed(signature())]
}

/// Signs as a client would, from the scheme's description and not from this crate's code for it.
fn sign(request: Request, id: &str, secret: &str, time: i64) -> Request {
    let message = format!("{}:{}:{time}", request.target, request.method);
    let mac = keyed(secret.as_bytes()).chain_update(message).finalize().into_bytes();
    request
        .with("Timestamp", time.to_string())
        .with("Authorization", format!("TC {id}:{}", data_encoding::BASE64.encode(&mac)))
}

async fn with_key(signing: bool) -> (Fixture, CreatedKey) {
    let fixture = Fixture::new().await;
    let acme = fixture.access.create_organisation("host", "acme", "UTC").await.unwrap();
    let wanted = NewKey { signing, ..key("ci", Role::Write) };
    let created = fixture.access.create_key("host", acme.id, wanted).await.unwrap();
    (fixture, created)
}

fn malformed(failure: &AuthFailure) -> bool {
    matches!(failure, AuthFailure::Malformed(_))
}

#[tokio::test]
async fn credentials_that_belong_together_must_all_hold_and_be_of_one_organisation() {
    let (fixture, CreatedKey { token: reads, .. }) = with_key(false).await;
    let acme = fixture.access.authenticate_token(&reads).unwrap();
    let Caller::Principal(acme) = acme else { panic!("the key is an organisation's") };
    let create = async |organisation, name| {
        fixture.access.create_key("host", organisation, key(name, Role::Write)).await.unwrap().token
    };
    let writes = create(acme.organisation, "writes").await;
    let other = fixture.access.create_organisation("host", "other", "UTC").await.unwrap();
    let foreign = create(other.id, "foreign").await;
    let operator = fixture.access.create_operator_key("host", "op", None).await.unwrap().token;
    let header = |name: &str| Authentication::HeaderKey(name.into());
    let alternatives = [
        vec![header("application"), header("api")],
        vec![header("application"), Authentication::QueryKey("api".into())],
    ];
    // One key's id with another's secret.
    let wrong = format!("{}{}", &writes[..20], &foreign[20..]);
    for (application, api, target, expected) in [
        (Some(&reads), Some(&writes), "/a", Ok("ci")),
        (Some(&writes), Some(&reads), "/a", Ok("writes")),
        (Some(&reads), Some(&reads), "/a", Ok("ci")),
        (Some(&reads), None, &*format!("/a?api={writes}"), Ok("ci")),
        (Some(&reads), None, "/a", Err(AuthFailure::Missing)),
        (None, Some(&writes), "/a", Err(AuthFailure::Missing)),
        (None, None, "/a", Err(AuthFailure::Missing)),
        (Some(&reads), Some(&wrong), "/a", Err(AuthFailure::Unknown)),
        (Some(&wrong), Some(&writes), "/a", Err(AuthFailure::Unknown)),
        // What is filled decides, though the other alternative would hold.
        (Some(&reads), Some(&wrong), &*format!("/a?api={writes}"), Err(AuthFailure::Unknown)),
        (Some(&reads), Some(&foreign), "/a", Err(AuthFailure::Unknown)),
        (Some(&reads), Some(&operator), "/a", Err(AuthFailure::Unknown)),
        (Some(&operator), Some(&writes), "/a", Err(AuthFailure::Unknown)),
    ] {
        let mut request = Request::get(target);
        for (name, value) in [("application", application), ("api", api)] {
            if let Some(value) = value {
                request = request.with(name, value.clone());
            }
        }
        let found = request.caller_of(&fixture, &alternatives);
        assert_eq!(found, expected.map(str::to_owned), "{application:?} {api:?} {target}");
    }
}

#[tokio::test]
async fn the_first_place_that_holds_something_decides() {
    let (fixture, CreatedKey { token, .. }) = with_key(false).await;
    let bearer = Authentication::Authorization("Bearer".into());
    let header = Authentication::HeaderKey("X-API-KEY".into());
    let query = Authentication::QueryKey("api_key".into());
    let schemes = [bearer, header, query];
    let plain = || Request::get("/x");
    let at = |target: String| Request::get(&target);
    let escaped: String = token.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let good = Ok("ci".to_owned());
    let word = |word: &str| plain().with("Authorization", format!("{word} {token}"));
    for (what, request, expected) in [
        ("bearer", word("Bearer"), good.clone()),
        ("the word in lower case", word("bearer"), good.clone()),
        ("two spaces", plain().with("authorization", format!("BEARER  {token} ")), good.clone()),
        ("header", plain().with("x-api-key", &token), good.clone()),
        ("query", at(format!("/x?a=1&api_key={token}")), good.clone()),
        ("escaped query", at(format!("/x?api%5Fkey={escaped}&b")), good.clone()),
        ("nothing", plain(), Err(AuthFailure::Missing)),
        ("another word", word("Basic"), Err(AuthFailure::Missing)),
        ("a longer word", word("Bearers"), Err(AuthFailure::Missing)),
        ("the word alone", plain().with("Authorization", "Bearer"), Err(AuthFailure::Missing)),
        ("empty places", at("/x?api_key=".into()).with("x-api-key", ""), Err(AuthFailure::Missing)),
        ("another case in the query", at(format!("/x?API_KEY={token}")), Err(AuthFailure::Missing)),
        ("in the path", at(format!("/x/api_key={token}")), Err(AuthFailure::Missing)),
        (
            "an empty place, then a good one",
            plain().with("Authorization", "Bearer ").with("x-api-key", &token),
            good.clone(),
        ),
        ("another word, then a good one", word("Basic").with("x-api-key", &token), good),
    ] {
        assert_eq!(request.caller(&fixture, &schemes), expected, "{what}");
    }
    for (what, request) in [
        (
            "a bad place before a good one",
            plain().with("Authorization", "Bearer x").with("x-api-key", &token),
        ),
        ("no token of ours", plain().with("x-api-key", "0123456789abcdef0123456789abcdef")),
        ("two headers", plain().with("x-api-key", &token).with("X-Api-Key", &token)),
        ("two authorizations", word("Bearer").with("Authorization", "Basic x")),
        ("two in the query", at(format!("/x?api_key={token}&api%5fkey={token}"))),
        ("not ASCII", plain().with("x-api-key", "é")),
    ] {
        let failure = request.caller(&fixture, &schemes).unwrap_err();
        assert!(malformed(&failure), "{what}: {failure:?}");
    }
    assert_eq!(word("Bearer").caller(&fixture, &[]), Err(AuthFailure::Missing), "no scheme at all");
}

#[tokio::test]
async fn the_password_of_basic_authentication_is_a_token_whoever_the_user_is() {
    let (fixture, CreatedKey { token, .. }) = with_key(false).await;
    let schemes = [Authentication::Authorization("Bearer".into()), Authentication::Basic];
    let basic = |pair: &str| {
        let encoded = data_encoding::BASE64.encode(pair.as_bytes());
        Request::get("/x").with("Authorization", format!("basic {encoded}"))
    };
    for user in ["", "prometheus", "ä b"] {
        let request = basic(&format!("{user}:{token}"));
        assert_eq!(request.caller(&fixture, &schemes), Ok("ci".to_owned()), "{user:?}");
    }
    for (what, request) in [
        ("no colon", basic(&token)),
        ("no token", basic("user:password")),
        ("no password", basic("user:")),
        ("no base64", Request::get("/x").with("Authorization", format!("Basic user:{token}"))),
    ] {
        let failure = request.caller(&fixture, &schemes).unwrap_err();
        assert!(malformed(&failure), "{what}: {failure:?}");
    }
    let wrong = basic(&format!("user:{}", token.replace(char::is_numeric, "0")));
    assert_ne!(wrong.caller(&fixture, &schemes), Ok("ci".to_owned()));
    assert_eq!(Request::get("/x").caller(&fixture, &schemes), Err(AuthFailure::Missing));
}

#[tokio::test]
async fn a_dialect_never_has_an_operator_for_a_caller() {
    let (fixture, _) = with_key(false).await;
    let operator = fixture.access.create_operator_key("host", "op", None).await.unwrap();
    let schemes = [Authentication::HeaderKey("key".into()), signed()[0].clone()];
    let request = Request::get("/x").with("key", &operator.token);
    assert_eq!(request.caller(&fixture, &schemes), Err(AuthFailure::Unknown));
    let request = sign(Request::get("/x"), operator.key.id.as_str(), "", START);
    assert_eq!(request.caller(&fixture, &schemes), Err(AuthFailure::Unknown));
    assert_eq!(fixture.access.principal(&operator.key.id).unwrap_err(), AuthFailure::Unknown);
}

#[tokio::test]
async fn a_signature_computed_elsewhere_is_accepted() {
    // Made with Python: base64.b64encode(hmac.new(secret, message, hashlib.sha256).digest()).
    const ID: &str = "ABCDEFGHIJKLMNOP";
    const SECRET: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let store = MemoryStore::new();
    let id: KeyId = ID.parse().unwrap();
    let organisation = Organisation {
        id: OrganisationId(1),
        name: "acme".into(),
        time_zone: "UTC".into(),
        created: seconds(START),
        suspended: None,
        deleting: None,
    };
    let randomness = bellwether_kernel::SeededRandomness::new(8);
    let sealed = super::host_key().seal(Context::SigningSecret(ID), SECRET, &randomness);
    let stored = StoredKey {
        id: id.clone(),
        organisation: Some(organisation.id),
        name: "tcex".into(),
        role: Some(Role::Write),
        digest: [7; 32],
        signing: true,
        signing_secret: Some(sealed),
        created: seconds(START),
        expires: None,
        revoked: None,
    };
    let mut batch = Batch::new();
    batch.put(rows::organisation(organisation.id), encode(&organisation));
    batch.put(rows::access_key(&key_id_bytes(&id)), encode(&stored));
    store.commit(batch).await.unwrap();
    let fixture = Fixture::on(store, 1).await;

    for (method, target, mac) in [
        (
            Method::GET,
            "/api/v2/customMetrics?resultLimit=50&resultStart=0",
            "Nz2QMaWxH7N2b4JpxuhLAlIYWMMJxyDGJF/PGmiafG0=",
        ),
        (
            Method::POST,
            "/api/v2/customMetrics/a+b%20C?z=1&a=%7e",
            "UBjQ/H+cha9wMQXXtTWk1+HZJ0nk97yTFH686Axs4jk=",
        ),
    ] {
        let request = Request { method, ..Request::get(target) }
            .with("Timestamp", "1700000000")
            .with("Authorization", format!("TC {ID}:{mac}"));
        assert_eq!(request.caller(&fixture, &signed()), Ok("tcex".into()), "{target}");
    }
}

#[tokio::test]
async fn what_was_sent_is_what_is_signed_byte_for_byte() {
    let (fixture, created) = with_key(true).await;
    let pair = created.signing.unwrap();
    let target = "/api/v2/customMetrics/a+b%2Fc/data?returnValue=true&x=%7E&y=1+2";
    let request = sign(Request::get(target), &pair.access_id, &pair.secret, START);
    assert_eq!(request.caller(&fixture, &signed()), Ok("ci".into()));
    for (what, changed) in [
        ("a plus for a space", target.replace("1+2", "1%202")),
        ("the case of an escape", target.replace("%7E", "%7e")),
        ("an escape resolved", target.replace("%7E", "~")),
        ("a slash resolved", target.replace("%2F", "/")),
        ("the order", target.replace("returnValue=true&x=%7E", "x=%7E&returnValue=true")),
        ("the case of the path", target.replace("customMetrics", "custommetrics")),
        ("the prefix", target.replace("/api", "")),
        ("one more parameter", format!("{target}&")),
    ] {
        assert_ne!(changed, target);
        let request = Request { target: changed, ..request.clone() };
        assert_eq!(request.caller(&fixture, &signed()), Err(AuthFailure::SignatureMismatch), "{what}");
    }
    let posted = Request { method: Method::POST, ..request.clone() };
    assert_eq!(posted.caller(&fixture, &signed()), Err(AuthFailure::SignatureMismatch));
    let body = Request { body: b"changed".into(), ..request.clone() };
    assert_eq!(body.caller(&fixture, &signed()), Ok("ci".into()), "this scheme does not sign the body");
    // The signed time is the text of the header, not the instant.
    let mut padded = request;
    padded.headers[0].1 = format!("0{START}");
    assert_eq!(padded.caller(&fixture, &signed()), Err(AuthFailure::SignatureMismatch));
}

#[tokio::test]
async fn the_tolerance_is_inclusive_and_in_whole_seconds() {
    let (fixture, created) = with_key(true).await;
    let pair = created.signing.unwrap();
    for (time, received, good) in [
        (START - 300, START * 1000, true),
        (START - 300, START * 1000 + 999, true),
        (START - 301, START * 1000, false),
        (START + 300, START * 1000, true),
        (START + 301, START * 1000 + 999, false),
        (i64::MIN, START * 1000, false),
        (i64::MAX, START * 1000, false),
        (0, START * 1000, false),
    ] {
        let received = Timestamp::from_milliseconds(received).unwrap();
        let request = Request { received, ..sign(Request::get("/x"), &pair.access_id, &pair.secret, time) };
        let expected =
            if good { Ok("ci".to_owned()) } else { Err(AuthFailure::OutOfTime { host: received }) };
        assert_eq!(request.caller(&fixture, &signed()), expected, "{time} at {received:?}");
    }
}

#[tokio::test]
async fn each_fault_of_a_signed_request_has_its_own_answer_in_a_fixed_order() {
    let (fixture, created) = with_key(true).await;
    let acme = created.key.organisation.unwrap();
    let pair = created.signing.unwrap();
    let (id, secret) = (pair.access_id.as_str(), pair.secret.as_str());
    let token_only =
        fixture.access.create_key("host", acme, key("t", Role::Read)).await.unwrap().key.id.to_string();
    let gone = NewKey { signing: true, ..key("gone", Role::Read) };
    let gone = fixture.access.create_key("host", acme, gone).await.unwrap();
    fixture.access.revoke_key("host", Some(acme), &gone.key.id).await.unwrap();
    let gone = gone.signing.unwrap();
    let short = NewKey { signing: true, expires: Some(seconds(START + 1)), ..key("short", Role::Read) };
    let short = fixture.access.create_key("host", acme, short).await.unwrap().signing.unwrap();
    fixture.clock.advance(1000);

    let now = START + 1;
    let request = Request { received: seconds(now), ..Request::get("/x") };
    let signed_by = |id: &str, secret: &str| sign(request.clone(), id, secret, now);
    let mac = data_encoding::BASE64.encode(&[1; 32]);
    let raw = |authorization: String, time: &str| {
        request.clone().with("Authorization", authorization).with("Timestamp", time)
    };
    let out = || AuthFailure::OutOfTime { host: seconds(now) };
    for (what, request, expected) in [
        ("no credential", request.clone(), AuthFailure::Missing),
        ("another key's secret", signed_by(id, &gone.secret), AuthFailure::SignatureMismatch),
        ("an unknown id", signed_by("AAAAAAAAAAAAAAAA", secret), AuthFailure::Unknown),
        ("an id of another shape", signed_by("12345678901234567890", secret), AuthFailure::Unknown),
        ("an id in lower case", signed_by(&id.to_lowercase(), secret), AuthFailure::Unknown),
        ("a key that cannot sign", signed_by(&token_only, secret), AuthFailure::Unknown),
        ("a revoked key", signed_by(&gone.access_id, &gone.secret), AuthFailure::Expired),
        ("an expired key", signed_by(&short.access_id, &short.secret), AuthFailure::Expired),
        ("an expired key, wrongly signed", signed_by(&short.access_id, "x"), AuthFailure::Expired),
        ("the time before the key", raw(format!("TC AAAAAAAAAAAAAAAA:{mac}"), "0"), out()),
        ("the time before the signature", raw(format!("TC {id}:{mac}"), "0"), out()),
    ] {
        assert_eq!(request.caller(&fixture, &signed()), Err(expected), "{what}");
    }
    let time = now.to_string();
    let good = format!("TC {id}:{mac}");
    for (what, request) in [
        ("no colon", raw(format!("TC {id}"), "0")),
        ("no id", raw(format!("TC :{mac}"), "0")),
        ("no signature", raw(format!("TC {id}:"), "0")),
        ("no base64", raw(format!("TC {id}:{}", "!".repeat(44)), "0")),
        ("too short", raw(format!("TC {id}:{}", data_encoding::BASE64.encode(&[1; 31])), "0")),
        ("without padding", raw(format!("TC {id}:{}", mac.trim_end_matches('=')), "0")),
        ("hexadecimal", raw(format!("TC {id}:{}", "0a".repeat(32)), "0")),
        ("no time", request.clone().with("Authorization", &good)),
        ("an empty time", raw(good.clone(), "")),
        ("a date", raw(good.clone(), "2023-11-14T22:13:21Z")),
        ("a signed time", raw(good.clone(), &format!("+{time}"))),
        ("a fraction", raw(good.clone(), &format!("{time}.5"))),
        ("a number too large", raw(good.clone(), "99999999999999999999")),
        ("two times", raw(good, &time).with("Timestamp", &time)),
    ] {
        let failure = request.caller(&fixture, &signed()).unwrap_err();
        assert!(malformed(&failure), "{what}: {failure:?}");
    }
    assert_eq!(signed_by(id, secret).caller(&fixture, &signed()), Ok("ci".into()));
}

#[tokio::test]
async fn a_body_can_be_signed_and_a_signature_be_hexadecimal() {
    let (fixture, created) = with_key(true).await;
    let pair = created.signing.unwrap();
    let scheme = Authentication::Signed(Signature {
        prefix: "Hook".into(),
        message: vec![
            MessagePart::Literal("v1:".into()),
            MessagePart::Header("X-Time".into()),
            MessagePart::Header("X-Absent".into()),
            MessagePart::Literal(":".into()),
            MessagePart::Body,
        ],
        encoding: Encoding::Hex,
        timestamp_header: "X-Time".into(),
        tolerance: 0,
    });
    let mac = keyed(pair.secret.as_bytes()).chain_update(format!("v1:{START}:{{}}")).finalize().into_bytes();
    let mac = data_encoding::HEXLOWER.encode(&mac);
    let request = Request { body: b"{}".into(), ..Request::get("/hook") }
        .with("x-time", START.to_string())
        .with("Authorization", format!("hook {}:{mac}", pair.access_id));
    let schemes = [scheme];
    assert_eq!(request.caller(&fixture, &schemes), Ok("ci".into()));
    let changed = Request { body: b"{ }".into(), ..request.clone() };
    assert_eq!(changed.caller(&fixture, &schemes), Err(AuthFailure::SignatureMismatch));
    let added = request.clone().with("X-Absent", "x");
    assert_eq!(added.caller(&fixture, &schemes), Err(AuthFailure::SignatureMismatch));
    assert!(malformed(
        &request.with("X-Absent", "x").with("X-Absent", "").caller(&fixture, &schemes).unwrap_err()
    ));
}

#[tokio::test]
async fn a_signing_key_signs_again_after_a_restart() {
    let (fixture, created) = with_key(true).await;
    let pair = created.signing.unwrap();
    let request = sign(Request::get("/x"), &pair.access_id, &pair.secret, START);
    assert_eq!(request.caller(&fixture.restart().await, &signed()), Ok("ci".into()));
}

#[tokio::test]
async fn tokens_and_signing_keep_to_the_organisation_they_were_made_in() {
    let (fixture, created) = with_key(true).await;
    let other = fixture.access.create_organisation("host", "other", "UTC").await.unwrap();
    let theirs = NewKey { signing: true, ..key("theirs", Role::Admin) };
    let theirs = fixture.access.create_key("host", other.id, theirs).await.unwrap();
    let (ours, theirs) = (created.signing.unwrap(), theirs.signing.unwrap());
    for (id, secret, expected) in [
        (&ours.access_id, &ours.secret, Ok("ci".into())),
        (&theirs.access_id, &theirs.secret, Ok("theirs".into())),
        (&ours.access_id, &theirs.secret, Err(AuthFailure::SignatureMismatch)),
        (&theirs.access_id, &ours.secret, Err(AuthFailure::SignatureMismatch)),
    ] {
        assert_eq!(sign(Request::get("/x"), id, secret, START).caller(&fixture, &signed()), expected);
    }
}

proptest! {
    #[test]
    fn no_request_makes_authentication_panic_or_succeed(
        target in "/[ -~]{0,60}",
        authorization in "(TC |Bearer |Basic |)[ -~]{0,80}",
        time in "[0-9+.-]{0,22}",
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let fixture = runtime.block_on(Fixture::new());
        let schemes = [
            Authentication::Authorization("Bearer".into()),
            signed()[0].clone(),
            Authentication::QueryKey("k".into()),
            Authentication::Basic,
        ];
        let request = Request::get(&target).with("Authorization", authorization).with("Timestamp", time);
        prop_assert!(request.caller(&fixture, &schemes).is_err());
    }
}
