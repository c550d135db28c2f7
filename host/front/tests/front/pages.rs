//! The pages, as a browser is shown them: who signs in, what the cookie is good for, what forms do.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use bellwether_front::FrontSettings;
use http::Request;
use serde_json::{Value, json};

use crate::support::{Answer, Host, playbook};

/// Somebody who signed in with a key.
pub(crate) struct Browser<'a> {
    host: &'a Host,
    cookie: String,
}

impl<'a> Browser<'a> {
    pub(crate) async fn new(host: &'a Host, key: &str) -> Self {
        let mut browser = Self { host, cookie: String::new() };
        let signed_in = browser.send("/sign-in", &[("key", key), ("next", "/alerts")], &[]).await;
        assert_eq!((signed_in.status.as_u16(), signed_in.header("location")), (303, "/alerts"));
        browser.cookie = signed_in.header("set-cookie").split(';').next().unwrap().to_owned();
        browser
    }

    /// The page at a path.
    pub(crate) async fn open(&self, path: &str) -> String {
        self.answered(path, 200).await
    }

    /// What a path is answered, with a status that is no page's own.
    pub(crate) async fn answered(&self, path: &str, status: u16) -> String {
        let request = Request::get(path).header("cookie", &self.cookie).body(Body::empty()).unwrap();
        whole(&self.host.send(request).await, status)
    }

    /// How many rows a list has, on all of its pages, of which there are several.
    pub(crate) async fn rows_of(&self, first: &str) -> usize {
        let mut path = first.to_owned();
        let (mut rows, mut pages) = (0, 0);
        loop {
            let page = self.open(&path).await;
            rows += page.matches("<tr>").count() - 1;
            pages += 1;
            let Some((_, next)) = page.split_once("<a rel=\"next\" href=\"") else { break };
            path = next.split('"').next().unwrap().replace("&amp;", "&");
        }
        assert!(pages > 1, "{first} is one page");
        rows
    }

    /// Opens a page and is asked to sign in.
    async fn is_nobody(&self, path: &str) {
        let request = Request::get(path).header("cookie", &self.cookie).body(Body::empty()).unwrap();
        let asked = self.host.send(request).await;
        assert!(asked.status == 303 && asked.header("location").starts_with("/sign-in?"), "{}", asked.text());
    }

    /// Sends a form and goes where that leads.
    pub(crate) async fn fill_in(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let sent = self.send(path, fields, &[]).await;
        assert_eq!(sent.status, 303, "{}", sent.text());
        self.open(sent.header("location")).await
    }

    /// Sends a form that is not taken, and shows why.
    pub(crate) async fn refused(&self, path: &str, fields: &[(&str, &str)], status: u16) -> String {
        whole(&self.send(path, fields, &[]).await, status)
    }

    async fn send(&self, path: &str, fields: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(fields);
        let mut request = Request::post(path).header("content-type", "application/x-www-form-urlencoded");
        for (name, value) in headers.iter().chain(&[("cookie", self.cookie.as_str())]) {
            request = request.header(*name, *value);
        }
        self.host.send(request.body(body.finish().into()).unwrap()).await
    }
}

fn whole(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert!(answer.header("content-security-policy").starts_with("default-src 'none'"));
    assert_eq!(answer.header("cache-control"), "no-store");
    answer.text()
}

#[tokio::test]
async fn who_is_not_signed_in_is_asked_for_a_key_and_comes_back() {
    let host = Host::new().await;
    for (path, next) in [
        ("/alerts?incident=1", "/sign-in?next=%2Falerts%3Fincident%3D1"),
        ("/start", "/sign-in?next=%2Fstart"),
        ("/runs", "/sign-in?next=%2Fruns"),
    ] {
        let asked = host.get(path, "").await;
        assert_eq!((asked.status.as_u16(), asked.header("location")), (303, next), "{path}");
    }
    let asked = host.get("/sign-in?next=%2Falerts%3Fincident%3D1", "").await.text();
    assert!(asked.contains("name=\"next\" value=\"/alerts?incident=1\""), "{asked}");
    let nobody = Browser { host: &host, cookie: "bellwether=AAAA".to_owned() };
    for (key, status) in [("bw_none", 401), (&host.operator, 403)] {
        let refused = nobody.refused("/sign-in", &[("key", key), ("next", "/start")], status).await;
        assert!(refused.contains("role=\"alert\"") && refused.contains("value=\"/start\""), "{refused}");
        assert!(!refused.contains(key), "a key comes back");
    }
    nobody.refused("/start", &[("playbook", "a")], 401).await;
}

#[tokio::test]
async fn a_session_ends_when_it_is_left_with_its_time_and_with_its_key() {
    let host = Host::new().await;
    let signed_in = Browser::new(&host, &host.read).await;
    assert!(signed_in.open("/").await.contains("Sign out"));
    let left = Browser::new(&host, &host.read).await.send("/sign-out", &[], &[]).await;
    assert!(
        left.header("set-cookie").contains("bellwether=;") && left.header("set-cookie").contains("Max-Age=0")
    );

    let key = json!({"name": "phone", "role": "read"});
    let made = host.ask("POST", "/v1/keys", &host.admin, key).await.json();
    let phone = Browser::new(&host, made["token"].as_str().unwrap()).await;
    let audit = host.get("/v1/audit?limit=1", &host.admin).await.json();
    let told = (&audit["items"][0]["action"], &audit["items"][0]["actor"]);
    assert_eq!(told, (&json!("key.sign-in"), &made["key"]["id"]), "{audit}");
    phone.open("/alerts").await;
    let revoke = format!("/v1/keys/{}", made["key"]["id"].as_str().unwrap());
    assert_eq!(host.ask("DELETE", &revoke, &host.admin, Value::Null).await.status, 200);
    phone.is_nobody("/alerts").await;

    host.clock.advance(12 * 3_600_000 - 1);
    signed_in.open("/alerts").await;
    host.clock.advance(1);
    signed_in.is_nobody("/alerts").await;
}

#[tokio::test]
async fn a_session_of_a_suspended_organisation_is_nobodys_until_it_is_resumed() {
    let host = Host::new().await;
    let signed_in = Browser::new(&host, &host.read).await;
    let verb = |verb| host.ask("POST", verb, &host.operator, Value::Null);
    assert_eq!(verb("/v1/organisations/own/suspend").await.status, 200);
    signed_in.is_nobody("/alerts").await;
    let refused = signed_in.refused("/sign-in", &[("key", &host.read), ("next", "/start")], 403).await;
    assert!(refused.contains("the organisation is suspended"), "{refused}");
    assert_eq!(verb("/v1/organisations/own/resume").await.status, 200);
    signed_in.open("/alerts").await;
}

#[tokio::test]
async fn a_form_that_another_site_sends_does_nothing() {
    let settings =
        FrontSettings { public_url: Some("https://bell.example/".to_owned()), ..FrontSettings::default() };
    let host = Host::with(settings).await;
    let stored = host.ask("POST", "/v1/playbooks", &host.admin, playbook("greet", "manual", "hello")).await;
    assert_eq!(stored.status, 201);
    let browser = Browser::new(&host, &host.write).await;
    let fields = [("playbook", "greet"), ("once", "1")];
    for (headers, status) in [
        ([("host", "10.0.0.5"), ("sec-fetch-site", "cross-site")], 403),
        ([("host", "10.0.0.5"), ("sec-fetch-site", "same-site")], 403),
        ([("host", "10.0.0.5"), ("origin", "https://evil.example")], 403),
        ([("host", "10.0.0.5"), ("origin", "null")], 403),
        ([("host", "10.0.0.5"), ("sec-fetch-site", "same-origin")], 303),
        ([("host", "10.0.0.5"), ("origin", "http://10.0.0.5")], 303),
        // A proxy that does not pass the host on.
        ([("host", "backend:8080"), ("origin", "https://bell.example")], 303),
    ] {
        let sent = browser.send("/start", &fields, &headers).await;
        assert_eq!(sent.status, status, "{headers:?}: {}", sent.text());
    }
    let listed = host.get("/v1/runs", &host.read).await.json();
    assert_eq!(
        listed["items"].as_array().map(Vec::len),
        Some(1),
        "one form, however often it is sent: {listed}"
    );
    for (headers, is_secure) in
        [([("origin", "https://bell.example")], true), ([("sec-fetch-site", "same-origin")], false)]
    {
        let sent = browser.send("/sign-in", &[("key", &host.read)], &headers).await;
        let cookie = sent.header("set-cookie");
        assert!(cookie.contains("HttpOnly; SameSite=Lax"), "{cookie}");
        assert_eq!(cookie.starts_with("__Host-") && cookie.contains("Secure"), is_secure, "{cookie}");
    }
}

#[tokio::test]
async fn who_may_only_read_sees_no_button_and_does_nothing() {
    let (host, id, _) = crate::alerts::incident().await;
    let browser = Browser::new(&host, &host.read).await;
    let page = format!("/alerts?incident={id}");
    let shown = browser.open(&page).await;
    assert!(!shown.contains("name=\"do\""), "{shown}");
    for what in ["acknowledge", "resolve", "act", "mute"] {
        let refused = browser.refused(&page, &[("do", what), ("action", "restart")], 403).await;
        assert!(
            refused.contains("This needs the role write; this key has the role read")
                && refused.contains("Breaches"),
            "{refused}"
        );
    }
    let refused = browser.answered("/start?playbook=restart", 403).await;
    assert!(refused.contains("This needs the role write; this key has the role read"), "{refused}");
    let stranger = Browser::new(&host, &host.stranger).await;
    let other = stranger.answered(&page, 404).await;
    assert!(other.contains("role=\"alert\"") && !other.contains("Load"), "{other}");
}

#[tokio::test]
async fn an_incident_is_worked_on_from_its_page() {
    let (host, id, _) = crate::alerts::incident().await;
    let browser = Browser::new(&host, &host.write).await;
    let page = format!("/alerts?incident={id}");
    for (fields, shown) in [
        (vec![("do", "comment"), ("text", "it is the <disk>")], "it is the &lt;disk&gt;"),
        (vec![("do", "assign"), ("assignee", "ada")], "<td data-column=\"Assignee\">ada</td>"),
        (vec![("do", "acknowledge")], "<td data-column=\"Acknowledged by\">Write</td>"),
        (vec![("do", "act"), ("action", "restart")], "restart succeeded, run "),
        (vec![("do", "mute"), ("lasts", "2 h"), ("reason", "moving")], ">moving</td>"),
    ] {
        let then = browser.fill_in(&page, &fields).await;
        assert!(then.contains(shown), "no {shown} after {fields:?} in {then}");
    }
    let unmuted = browser.fill_in("/alerts", &[("do", "unmute"), ("mute", "1")]).await;
    assert!(!unmuted.contains("moving"), "{unmuted}");
    let resolved = browser.fill_in(&page, &[("do", "resolve")]).await;
    assert!(resolved.contains("closed 20") && !resolved.contains("value=\"resolve\""), "{resolved}");
    for (fields, status, why) in [
        (vec![("do", "acknowledge")], 409, "role=\"alert\""),
        (vec![("do", "comment"), ("text", "")], 400, "text"),
        (vec![("do", "mute"), ("lasts", "9 y")], 400, "one of 30 m, 2 h, 8 h, 1 d, 7 d"),
        (vec![("do", "dance")], 400, "dance"),
    ] {
        let refused = browser.refused(&page, &fields, status).await;
        assert!(refused.contains(why) && refused.contains("What happened"), "no {why} in {refused}");
    }
    browser.refused("/alerts", &[("do", "resend"), ("delivery", "x")], 404).await;
}

#[tokio::test]
async fn a_run_is_followed_cancelled_and_started_again_from_its_page() {
    let host = Host::new().await;
    let mut waits = playbook("waits", "manual", "{{ trigger.inputs.word }}");
    waits["steps"].as_array_mut().unwrap().insert(0, json!({"id": "pause", "delay": "1h"}));
    let stored = host.ask("POST", "/v1/playbooks", &host.admin, waits).await;
    assert_eq!(stored.status, 201, "{}", stored.text());
    let browser = Browser::new(&host, &host.write).await;
    let listed = browser.open("/start").await;
    assert!(listed.contains("<a href=\"/start?playbook=waits\">start</a>"), "{listed}");
    let mut run = browser.fill_in("/start", &[("playbook", "waits"), ("input.word", "<b>")]).await;
    assert!(run.contains("http-equiv=\"refresh\"") && run.contains("value=\"cancel\""), "{run}");
    assert!(run.contains("&quot;word&quot;: &quot;&lt;b&gt;&quot;"), "{run}");
    let running =
        host.get("/v1/runs", &host.read).await.json()["items"][0]["id"].as_str().unwrap().to_owned();
    let still = browser.open(&format!("/runs/{running}?hold=true")).await;
    assert!(
        !still.contains("http-equiv=\"refresh\"") && still.contains("Follow it as it goes on"),
        "{still}"
    );
    let id = host.get("/v1/runs", &host.read).await.json()["items"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/runs/{id}");
    browser.refused(&path, &[("do", "again")], 409).await;
    browser.fill_in(&path, &[("do", "cancel")]).await;
    while run.contains("http-equiv=\"refresh\"") {
        tokio::time::sleep(Duration::from_millis(10)).await;
        run = browser.open(&path).await;
    }
    assert!(run.contains("cancelled") && run.contains("value=\"again\""), "{run}");
    let once = run.split("name=\"once\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let form = [("do", "again"), ("once", once)];
    let (first, second) = (browser.send(&path, &form, &[]).await, browser.send(&path, &form, &[]).await);
    assert_eq!(
        first.header("location"),
        second.header("location"),
        "a form that is sent twice starts one run"
    );
    let again = browser.open(first.header("location")).await;
    assert!(again.contains(&format!("again after <a href=\"{path}\">")), "{again}");
    let found = browser.open("/runs?playbook=waits&state=cancelled").await;
    assert!(found.contains(&path) && found.contains("<option selected>cancelled</option>"), "{found}");
    assert!(!browser.open("/runs?state=succeeded").await.contains(&path));
    for (path, status) in [("/runs?playbook=nope", 404), ("/runs/nope", 404), ("/runs?state=FAILED", 400)] {
        browser.answered(path, status).await;
    }
    let stranger = Browser::new(&host, &host.stranger).await;
    stranger.answered(&path, 404).await;
}

#[tokio::test]
async fn every_run_and_every_playbook_is_on_some_page_of_its_list() {
    let host = Host::new().await;
    for number in 0..120 {
        let name = format!("book-{number:03}");
        let stored = host.ask("POST", "/v1/playbooks", &host.admin, playbook(&name, "manual", "hello")).await;
        assert_eq!(stored.status, 201, "{}", stored.text());
        host.ask("POST", &format!("/v1/playbooks/{name}/runs"), &host.write, Value::Null).await;
    }
    let browser = Browser::new(&host, &host.read).await;
    for first in ["/runs?playbook=&state=", "/start"] {
        assert_eq!(browser.rows_of(first).await, 120, "{first}");
    }
    browser.answered("/runs?cursor=nonsense", 400).await;
}

#[tokio::test]
async fn a_playbook_that_nobody_starts_by_hand_says_so_before_it_asks_for_anything() {
    let host = Host::new().await;
    let stored = host.ask("POST", "/v1/playbooks", &host.admin, playbook("hook", "webhook", "hello")).await;
    assert_eq!(stored.status, 201);
    let browser = Browser::new(&host, &host.write).await;
    assert!(!browser.open("/start").await.contains("/start?playbook=hook"));
    let refused = browser.answered("/start?playbook=hook", 409).await;
    assert!(refused.contains("its trigger is of type webhook"), "{refused}");
}

#[tokio::test]
async fn a_cookie_that_another_host_set_does_not_stand_before_the_session() {
    let host = Host::new().await;
    let (ours, theirs) = (Browser::new(&host, &host.write).await, Browser::new(&host, &host.stranger).await);
    for cookie in
        [format!("bellwether=evil; {}", ours.cookie), format!("{}; __Host-{}", theirs.cookie, ours.cookie)]
    {
        let browser = Browser { host: &host, cookie };
        assert!(browser.open("/alerts").await.contains("own, Write"), "{}", browser.cookie);
    }
}

#[tokio::test]
async fn over_https_a_session_is_only_what_no_other_host_can_have_set() {
    let proxied =
        FrontSettings { trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()], ..FrontSettings::default() };
    for (settings, forwarded, is_secure) in [
        (FrontSettings { tls: true, ..FrontSettings::default() }, None, true),
        (proxied.clone(), Some("https"), true),
        (proxied.clone(), Some("http"), false),
        (proxied, None, false),
    ] {
        let host = Host::with(settings).await;
        let sign_in = Request::post("/sign-in").body(format!("key={}", host.write).into()).unwrap();
        let signed_in = host.send(from_proxy(sign_in, forwarded)).await;
        let cookie = signed_in.header("set-cookie").split(';').next().unwrap().to_owned();
        assert_eq!(cookie.starts_with("__Host-"), is_secure, "{cookie}");
        // The same session, as a host beside this one would set it.
        let plain = cookie.trim_start_matches("__Host-").to_owned();
        for (cookie, status) in [(&cookie, 200), (&plain, if is_secure { 303 } else { 200 })] {
            let request = Request::get("/alerts").header("cookie", cookie).body(Body::empty()).unwrap();
            let shown = host.send(from_proxy(request, forwarded)).await;
            assert_eq!(shown.status, status, "{forwarded:?}: {cookie}");
        }
    }
}

/// As the proxy at 10.0.0.1 passes it on, which says that it came by this scheme.
fn from_proxy(mut request: Request<Body>, scheme: Option<&str>) -> Request<Body> {
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([10, 0, 0, 1], 4000))));
    let headers = request.headers_mut();
    headers.insert("host", "bell.example".parse().unwrap());
    if let Some(scheme) = scheme {
        headers.insert("x-forwarded-proto", scheme.parse().unwrap());
    }
    request
}

#[tokio::test]
async fn a_form_of_who_is_nobody_holds_no_place_until_all_of_it_is_there() {
    let host = Host::new().await;
    let sent = |path: &str| {
        let body = Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
        host.send(Request::post(path).body(body).unwrap())
    };
    let answers = futures::future::join_all(["/sign-in", "/alerts", "/monitors/load"].map(sent)).await;
    for answer in answers {
        let page = whole(&answer, 401);
        assert!(page.contains("action=\"/sign-in\"") && !page.contains("name=\"kept\""), "{page}");
    }
}

#[tokio::test]
async fn what_a_form_shows_is_what_it_sends() {
    let host = Host::new().await;
    let mut given = playbook("given", "manual", "{{ trigger.inputs.lines }} {{ trigger.inputs.any }}");
    given["trigger"]["inputs"] = json!({
        "lines": {"type": "text", "default": "one\ntwo"},
        "any": {"type": "json", "default": "123"},
        "count": {"type": "integer"},
        "token": {"type": "text", "secret": true},
    });
    let stored = host.ask("POST", "/v1/playbooks", &host.admin, given).await;
    assert_eq!(stored.status, 201, "{}", stored.text());
    let browser = Browser::new(&host, &host.write).await;
    let asked = browser.open("/start?playbook=given").await;
    assert!(
        asked.contains(">one\ntwo</textarea>") && asked.contains("&quot;123&quot;</textarea>"),
        "{asked}"
    );
    let fields = [
        ("playbook", "given"),
        ("input.lines", "one\r\ntwo"),
        ("input.any", "\"123\""),
        ("input.count", "z"),
        ("input.token", "battery staple"),
    ];
    let refused = browser.refused("/start?playbook=given", &fields, 400).await;
    assert!(refused.contains("required placeholder=\"give it again\""), "{refused}");
    assert!(!refused.contains("battery staple"), "{refused}");
    let mut fields = fields.to_vec();
    fields[3].1 = "1";
    let run = browser.fill_in("/start?playbook=given", &fields).await;
    assert!(run.contains("one\\ntwo") && run.contains("&quot;any&quot;: &quot;123&quot;"), "{run}");
}

#[tokio::test]
async fn what_is_refused_before_a_page_has_it_is_said_on_a_page() {
    let host = Host::new().await;
    let browser = Browser::new(&host, &host.read).await;
    for (path, why) in [
        (
            "/alerts?incident=1&incident=2",
            "the query parameter incident is &quot;1, 2&quot;, expected one value",
        ),
        ("/start?playbook=a&playbook=b", "expected one value"),
        ("/runs?state=failed&state=queued", "expected one value"),
        ("/runs/%FF", "percent-encoded"),
    ] {
        let refused = browser.answered(path, 400).await;
        assert!(refused.contains(why) && refused.contains("Sign out"), "no {why} in {refused}");
    }
    let long = "x".repeat(65 << 10);
    let refused = browser.refused("/alerts", &[("do", "comment"), ("text", &long)], 413).await;
    assert!(refused.contains("role=\"alert\""), "{refused}");
}

#[tokio::test]
async fn a_copy_of_the_cookie_is_worth_nothing_once_somebody_signed_out() {
    let host = Host::new().await;
    let (left, other) = (Browser::new(&host, &host.read).await, Browser::new(&host, &host.read).await);
    assert_eq!(left.send("/sign-out", &[], &[]).await.status, 303);
    left.is_nobody("/alerts").await;
    assert!(!left.open("/").await.contains("Sign out"));
    other.open("/alerts").await;
    // It stays so when the host starts again, and ends with the session itself.
    host.clock.advance(12 * 3_600_000 - 1);
    left.is_nobody("/alerts").await;
    other.open("/alerts").await;
}

#[tokio::test]
async fn what_was_filled_in_when_the_session_was_over_is_sent_once_somebody_signed_in_again() {
    let host = Host::new().await;
    let mut given = playbook("given", "manual", "{{ trigger.inputs.word }}");
    given["trigger"]["inputs"] = json!({"word": {"type": "text"}, "token": {"type": "text", "secret": true}});
    assert_eq!(host.ask("POST", "/v1/playbooks", &host.admin, given).await.status, 201);
    let browser = Browser::new(&host, &host.write).await;
    let form = browser.open("/start?playbook=given").await;
    let hidden = |page: &str, name: &str| {
        let value = page.split(&format!("name=\"{name}\" value=\"")).nth(1).unwrap_or_default();
        value.split('"').next().unwrap().to_owned()
    };
    let once = hidden(&form, "once");
    host.clock.advance(13 * 3_600_000);
    let fields =
        [("playbook", "given"), ("once", &once), ("input.word", "<b>"), ("input.token", "battery staple")];
    let asked = browser.refused("/start?playbook=given", &fields, 401).await;
    assert!(asked.contains("sign in to send it") && !asked.contains("battery"), "{asked}");
    let (next, kept) = (hidden(&asked, "next"), hidden(&asked, "kept"));
    assert_eq!(next, "/start?playbook=given");
    // Through a key that was mistyped, too.
    let asked =
        browser.refused("/sign-in", &[("key", "bw_none"), ("next", &next), ("kept", &kept)], 401).await;
    assert_eq!(hidden(&asked, "kept"), kept);
    let signed_in =
        browser.send("/sign-in", &[("key", &host.write), ("next", &next), ("kept", &kept)], &[]).await;
    let page = whole(&signed_in, 200);
    assert!(page.contains("action=\"/start?playbook=given\"") && page.contains("Send it now"), "{page}");
    assert!(page.contains("own, Write") && !page.contains("battery"), "{page}");
    let cookie = signed_in.header("set-cookie").split(';').next().unwrap().to_owned();
    let browser = Browser { host: &host, cookie };
    let runs = host.get("/v1/runs", &host.read).await.json();
    assert_eq!(runs["items"], json!([]), "nothing is done before somebody says so");
    // Only where it was filled in.
    browser.refused("/alerts", &[("kept", &kept)], 400).await;
    let run = browser.fill_in("/start?playbook=given", &[("kept", &kept)]).await;
    assert!(run.contains("&quot;word&quot;: &quot;&lt;b&gt;&quot;") && !run.contains("battery"), "{run}");
    for kept in [&kept[1..], "", "AAAA"] {
        browser.refused("/start?playbook=given", &[("kept", kept)], 400).await;
    }
    host.clock.advance(3_600_000);
    let late = browser.refused("/start?playbook=given", &[("kept", &kept)], 400).await;
    assert!(late.contains("fill it in again"), "{late}");
    let late = browser.send("/sign-in", &[("key", &host.write), ("next", &next), ("kept", &kept)], &[]).await;
    assert!(whole(&late, 200).contains("fill it in again"));
}
