//! The pages of monitors: which there are, how each stands, what is done about them.

use serde_json::json;

use crate::pages::Browser;
use crate::support::Host;

async fn monitor(host: &Host, name: &str, rest: serde_json::Value) {
    let mut document = json!({
        "name": name, "kind": "threshold", "query": "avg:load{*} by {host}",
        "thresholds": {"comparator": ">", "critical": 90, "critical_recovery": 85, "warning": 70},
    });
    document.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    let stored = host.ask("POST", "/v1/monitors", &host.admin, document).await;
    assert_eq!(stored.status, 201, "{}", stored.text());
}

#[tokio::test]
async fn a_monitor_is_found_by_its_name_its_title_and_how_it_stands() {
    let (host, ..) = crate::alerts::incident().await;
    monitor(&host, "left", json!({"paused": true, "title": "Nobody <watches>"})).await;
    monitor(&host, "lost", json!({"channels": ["nowhere"]})).await;
    let mute = json!({"scope": {"monitors": ["lost"]}});
    assert_eq!(host.ask("POST", "/v1/mutes", &host.write, mute).await.status, 201);
    // A mute of some of its series leaves the monitor itself to be told of.
    let mute = json!({"scope": {"monitors": ["load"], "tags": {"host": "a"}}});
    assert_eq!(host.ask("POST", "/v1/mutes", &host.write, mute).await.status, 201);
    let browser = Browser::new(&host, &host.read).await;
    for (query, shown) in [
        ("", &["load", "left", "lost"][..]),
        ("?name=lo", &["load", "lost"]),
        ("?name=WATCHES", &["left"]),
        ("?name=%3CLoad", &["load"]),
        ("?state=alert", &["load"]),
        ("?state=paused", &["left"]),
        ("?state=muted", &["lost"]),
        ("?state=problem&name=lo", &["lost"]),
        ("?state=ok&name=left", &[]),
    ] {
        let page = browser.open(&format!("/monitors{query}")).await;
        for name in ["load", "left", "lost"] {
            let link = format!("<a href=\"/monitors/{name}\">");
            assert_eq!(page.contains(&link), shown.contains(&name), "{name} of {query:?}: {page}");
        }
    }
    let page = browser.open("/monitors").await;
    assert!(page.contains("<a href=\"/monitors\" aria-current=\"page\">Monitors</a>"), "{page}");
    assert!(
        page.contains("<span class=\"bad\">alert</span>") && page.contains("Nobody &lt;watches&gt;"),
        "{page}"
    );
    browser.answered("/monitors?state=ill", 400).await;
    let stranger = Browser::new(&host, &host.stranger).await;
    assert!(stranger.open("/monitors").await.contains("none"));
}

#[tokio::test]
async fn every_monitor_is_on_some_page_of_the_list() {
    let host = Host::new().await;
    for number in 0..120 {
        monitor(&host, &format!("m-{number}"), json!({"paused": number % 2 == 0})).await;
    }
    let browser = Browser::new(&host, &host.read).await;
    for (first, count) in [("/monitors", 120), ("/monitors?state=paused&name=m-", 60)] {
        assert_eq!(browser.rows_of(first).await, count, "{first}");
    }
    browser.answered("/monitors?cursor=nonsense", 400).await;
}

#[tokio::test]
async fn a_monitor_is_shown_with_its_series_its_incidents_and_what_it_says() {
    let (host, id, _) = crate::alerts::incident().await;
    let browser = Browser::new(&host, &host.read).await;
    let page = browser.open("/monitors/load").await;
    for part in [
        "<a href=\"/monitors\" aria-current=\"true\">Monitors</a>",
        "<td data-column=\"Series\">host:web-1</td>",
        "<span class=\"bad\">alert</span>",
        &format!("<a href=\"/alerts?incident={id}\">&lt;Load&gt;: host:web-1</a>"),
        "<td data-column=\"Says\">avg:load{*} by {host}</td>",
        "<td data-column=\"Says\">&gt; 90</td>",
        "<td data-column=\"What\">opened</td>",
        "&quot;by_link&quot;: true",
    ] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    assert!(!page.contains("name=\"do\""), "{page}");
    assert!(browser.open("/alerts").await.contains("<a href=\"/monitors/load\">"));
    assert!(browser.open(&format!("/alerts?incident={id}")).await.contains("<a href=\"/monitors/load\">"));
    browser.answered("/monitors/nope", 404).await;
    Browser::new(&host, &host.stranger).await.answered("/monitors/load", 404).await;
}

#[tokio::test]
async fn a_monitor_is_muted_and_paused_from_its_page() {
    let host = Host::new().await;
    monitor(&host, "load", json!({"channels": ["nowhere"]})).await;
    monitor(&host, "other", json!({})).await;
    let browser = Browser::new(&host, &host.write).await;
    let page = browser.open("/monitors/load").await;
    assert!(page.contains("role=\"alert\">there is no channel &quot;nowhere&quot;"), "{page}");
    for (fields, shown) in [
        (vec![("do", "mute"), ("lasts", "2 h"), ("reason", "moving")], "<span class=\"mark\">muted</span>"),
        (vec![("do", "pause")], "<span class=\"mark\">paused</span>"),
        (vec![("do", "resume")], "value=\"pause\""),
    ] {
        let then = browser.fill_in("/monitors/load", &fields).await;
        assert!(
            then.contains(shown) && then.contains(">moving</td>"),
            "no {shown} after {fields:?} in {then}"
        );
    }
    assert!(!browser.open("/monitors/other").await.contains("moving"));
    let unmuted = browser.fill_in("/monitors/load", &[("do", "unmute"), ("mute", "1")]).await;
    assert!(!unmuted.contains("moving") && !unmuted.contains(">muted<"), "{unmuted}");
    for (fields, status, why) in [
        (vec![("do", "mute"), ("lasts", "9 y")], 400, "one of 30 m, 2 h, 8 h, 1 d, 7 d"),
        (vec![("do", "dance")], 400, "dance"),
        (vec![("do", "unmute"), ("mute", "7")], 404, "mute"),
    ] {
        let refused = browser.refused("/monitors/load", &fields, status).await;
        assert!(refused.contains(why) && refused.contains("What it says"), "no {why} in {refused}");
    }
    let reader = Browser::new(&host, &host.read).await;
    for what in ["pause", "mute"] {
        let refused = reader.refused("/monitors/load", &[("do", what), ("lasts", "2 h")], 403).await;
        assert!(refused.contains("This needs the role write"), "{refused}");
    }
}
