//! The pages of metrics: which there are, what is known of each, how they went of late.

use serde_json::{Value, json};

use crate::pages::Browser;
use crate::support::Host;

/// The half hour before noon of two hosts, a sample a minute.
async fn written() -> Host {
    let host = Host::new().await;
    let points = |factor: f64| -> Vec<Value> {
        let minutes = 30..60;
        minutes
            .map(|minute| json!([format!("2024-04-01T11:{minute}:00Z"), f64::from(minute) * factor]))
            .collect()
    };
    let body = json!({"series": [
        {"metric": "cpu <user>", "tags": ["host:a", "env:prod"], "points": points(1.0)},
        {"metric": "cpu <user>", "tags": ["host:b"], "points": points(3.0)},
        {"metric": "old", "points": [["2024-03-20T00:00:00Z", 1]]},
    ]});
    assert_eq!(host.ask("POST", "/v1/series", &host.write, body).await.status, 200);
    let known = json!({"unit": "percent", "description": "What <users> take."});
    let described = host.ask("PUT", "/v1/series/metrics/cpu%20%3Cuser%3E", &host.write, known).await;
    assert_eq!(described.status, 200, "{}", described.text());
    host
}

#[tokio::test]
async fn a_metric_is_found_by_its_name_and_shown_with_how_it_went() {
    let host = written().await;
    let browser = Browser::new(&host, &host.read).await;
    let list = browser.open("/series?name=CPU").await;
    let link = "/series?metric=cpu+%3Cuser%3E";
    assert!(list.contains(&format!("<a href=\"{link}\">cpu &lt;user&gt;</a>")), "{list}");
    assert!(list.contains("What &lt;users&gt; take.") && !list.contains(">old<"), "{list}");
    let page = browser.open(link).await;
    for part in [
        "<td data-column=\"Unit\">percent</td>",
        "<td data-column=\"Tags\">env:prod, host:a</td>",
        "the average of its series",
        "aria-label=\"from 2024-04-01 11:00:00 to 2024-04-01 12:00:00: between 60 and 118\"",
        "Last 118 percent at 2024-04-01 11:59:00, lowest 60 percent, highest 118 percent.",
        "<option value=\"host\">by host</option>",
    ] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    let page = browser.open(&format!("{link}&by=host&filter=host:b&over=1+d")).await;
    assert!(page.contains("<td data-column=\"host\">b</td><td data-column=\"Last\">163.5</td>"), "{page}");
    assert!(!page.contains("env:prod, host:a"), "{page}");
    assert!(browser.open("/series?metric=old&over=7+d").await.contains("no samples"));
    for (path, status) in [
        ("/series?metric=nope", 404),
        ("/series?metric=old&over=9+y", 400),
        ("/series?metric=old&filter=:::", 400),
        ("/series?cursor=nonsense", 400),
    ] {
        browser.answered(path, status).await;
    }
    Browser::new(&host, &host.stranger).await.answered(link, 404).await;
}

#[tokio::test]
async fn of_many_tags_some_can_be_chosen_and_the_one_that_was_stays() {
    let host = Host::new().await;
    let tagged = |from: usize| {
        let tags: Vec<_> = (from..from + 60).map(|number| format!("tag-{number:03}:a")).collect();
        json!({"metric": "cpu", "tags": tags, "points": [["2024-04-01T11:59:00Z", 1]]})
    };
    let body = json!({"series": [tagged(0), tagged(60)]});
    assert_eq!(host.ask("POST", "/v1/series", &host.write, body).await.status, 200);
    let browser = Browser::new(&host, &host.read).await;
    for (path, last, options) in [
        ("/series?metric=cpu", "<option value=\"tag-099\">", 100),
        ("/series?metric=cpu&by=tag-119", "<option value=\"tag-119\" selected>", 101),
    ] {
        let page = browser.open(path).await;
        assert!(page.contains(last) && page.contains("100 of 120 tags"), "{page}");
        assert_eq!(page.matches("<option value=\"tag-").count(), options, "{path}");
    }
}

#[tokio::test]
async fn every_metric_and_every_series_is_on_some_page_of_its_list() {
    let host = Host::new().await;
    let point = json!([["2024-04-01T11:59:00Z", 1]]);
    let series: Vec<_> = (0..120)
        .flat_map(|number| {
            let tags = [format!("host:{number}")];
            [
                json!({"metric": format!("m.{number}"), "points": point}),
                json!({"metric": "cpu", "tags": tags, "points": point}),
            ]
        })
        .collect();
    let answer = host.ask("POST", "/v1/series", &host.write, json!({ "series": series })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    for number in 0..120 {
        let metric = json!({"name": format!("m.{number}"), "data_type": "sum", "interval": "daily"});
        assert_eq!(host.ask("POST", "/v1/metrics", &host.write, metric).await.status, 201);
    }
    let browser = Browser::new(&host, &host.read).await;
    for path in ["/series?name=m.", "/intervals?name=m."] {
        assert_eq!(browser.rows_of(path).await, 120, "{path}");
    }
    let page = browser.open("/series?metric=cpu&by=host").await;
    assert_eq!(page.matches("data-column=\"Tags\"").count(), 50);
    assert_eq!(page.matches("data-column=\"Course\"").count(), 50);
    assert!(page.contains("There are more") && page.contains("metric=cpu&amp;by=host&amp;cursor="), "{page}");
}

#[tokio::test]
async fn an_interval_metric_is_shown_with_its_values_and_those_of_its_keys() {
    let host = Host::new().await;
    for (name, keyed) in [("logins", false), ("visits", true)] {
        let metric = json!({"name": name, "data_type": "sum", "interval": "daily", "keyed": keyed, "description": "How <many>."});
        assert_eq!(host.ask("POST", "/v1/metrics", &host.write, metric).await.status, 201);
    }
    let samples = json!({"samples": [
        {"metric": "logins", "value": 3, "time": "2024-03-30T10:00:00Z"},
        {"metric": "logins", "value": 4.5, "time": "2024-04-01T10:00:00Z"},
        {"metric": "visits", "value": 7, "key": "<start>", "time": "2024-04-01T10:00:00Z"},
        {"metric": "visits", "value": 8, "key": "end", "time": "2023-04-01T10:00:00Z"},
    ]});
    let written = host.ask("POST", "/v1/samples", &host.write, samples).await;
    assert_eq!(written.status, 200, "{}", written.text());
    let browser = Browser::new(&host, &host.read).await;
    let list = browser.open("/intervals?name=LOG").await;
    assert!(
        list.contains("<a href=\"/intervals?metric=1\">logins</a>") && !list.contains("visits"),
        "{list}"
    );
    let page = browser.open("/intervals?metric=logins").await;
    for part in [
        "How &lt;many&gt;.",
        "<td data-column=\"Interval\">2024-04-01 00:00:00</td><td data-column=\"Value\">4.5</td>",
        "Last 4.5 at 2024-04-01 00:00:00, lowest 3, highest 4.5.",
    ] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    let page = browser.open("/intervals?metric=2").await;
    assert!(
        page.contains("<td data-column=\"Key\">&lt;start&gt;</td><td data-column=\"Last\">7</td>"),
        "{page}"
    );
    // One that was not written of late is there without values.
    assert!(page.contains("<td data-column=\"Key\">end</td><td data-column=\"Last\"></td>"), "{page}");
    assert!(!browser.open("/intervals?metric=2&key=art").await.contains(">end</td>"));
    for (path, status) in [("/intervals?metric=nope", 404), ("/intervals?metric=2&cursor=nonsense", 400)] {
        browser.answered(path, status).await;
    }
    Browser::new(&host, &host.stranger).await.answered("/intervals?metric=1", 404).await;
}
