//! What is read back, in the shapes of the official client's models.

use std::rc::Rc;
use std::time::Duration;

use bellwether_sdk::dialect::Router;
use bellwether_sdk::host::{Clock, SeriesWrite};
use bellwether_sdk::series::{
    Counted, Line, Matcher, Metadata, Question, Selection, SeriesError, SeriesIdentity, SeriesSamples,
    TaggedMetric,
};

use super::*;
use crate::metrics;

fn line(metric: Option<&str>, tags: &[(&str, &str)], points: &[(i64, f64)]) -> Line {
    Line {
        metric: metric.map(str::to_owned),
        tags: tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        step: 60_000,
        points: points.iter().map(|(time, value)| (Timestamp::from_seconds(*time), *value)).collect(),
    }
}

/// A host with the metrics `app.hits` (`host:web-1`, `host:web-2`, `env:prod`) and `app.load` (`host:db-1`).
fn host() -> MemoryHost {
    let host = MemoryHost::new();
    let now = host.now().milliseconds() / 1000;
    let series = json!({ "series": [
        { "metric": "app.hits", "type": "count", "interval": 10, "points": [[now, 1]], "host": "web-1", "tags": ["env:prod"] },
        { "metric": "app.hits", "points": [[now, 2]], "host": "web-2", "tags": ["env:prod", "canary"] },
        { "metric": "app.load", "points": [[now - 86_400, 0.5]], "host": "db-1" },
    ] });
    assert_eq!(Client::new(routes(), &host).post("/api/v1/series", &series.to_string()).status, 202);
    host
}

#[test]
fn a_query_is_answered_as_documented() {
    let host = host();
    let query = "sum:app.hits{env:prod} by {host}.rollup(sum, 60)";
    let lines =
        vec![line(Some("app.hits"), &[("host", "web-1")], &[(1_712_620_800, 1.0), (1_712_620_860, 2.5)])];
    host.answer_query(query, lines);
    host.describe(
        "app.hits",
        &Metadata {
            unit: Some("byte".to_owned()),
            per_unit: Some("second".to_owned()),
            ..Metadata::default()
        },
    )
    .expect("it is described");
    let target = "/api/v1/query?from=1712620800&to=1712624400&query=sum%3Aapp.hits%7Benv%3Aprod%7D+by+%7Bhost%7D.rollup%28sum%2C+60%29";
    let unit = |family: &str, name: &str, short: &str| {
        json!({
            "family": family, "name": name, "plural": format!("{name}s"), "short_name": short, "scale_factor": 1.0
        })
    };
    assert_eq!(
        seen(&Client::new(routes(), &host).get(target)),
        (
            200,
            json!({
                "status": "ok", "res_type": "time_series", "resp_version": 1, "query": query, "message": "",
                "from_date": 1_712_620_800_000_i64, "to_date": 1_712_624_400_000_i64,
                "group_by": ["host"], "values": [], "times": [],
                "series": [{
                    "unit": [unit("bytes", "byte", "B"), unit("time", "second", "s")],
                    "query_index": 0, "aggr": "sum", "metric": "app.hits", "display_name": "app.hits",
                    "tag_set": ["host:web-1"], "scope": "env:prod,host:web-1",
                    "expression": "sum:app.hits{env:prod,host:web-1}.rollup(sum, 60)",
                    "interval": 60, "length": 2, "start": 1_712_620_800_000_i64, "end": 1_712_620_919_999_i64,
                    "pointlist": [[1_712_620_800_000_i64, 1.0], [1_712_620_860_000_i64, 2.5]],
                }],
            })
        )
    );
}

#[test]
fn a_tag_that_is_asked_for_and_grouped_by_stands_in_the_scope_once() {
    let host = host();
    let query = "avg:app.load{env:prod,host:a} by {host,zone}";
    let tags = [("host", "a"), ("zone", "z")];
    host.answer_query(query, vec![line(Some("app.load"), &tags, &[(0, 1.0)])]);
    let target = "/api/v1/query?from=0&to=60&query=avg:app.load{env:prod,host:a}%20by%20{host,zone}";
    let (_, answer) = seen(&Client::new(routes(), &host).get(target));
    assert_eq!(answer["series"][0]["scope"], "env:prod,host:a,zone:z", "{answer}");
}

#[test]
fn counts_and_rates_are_turned_by_the_interval_they_were_sent_with() {
    let host = host();
    let client = Client::new(routes(), &host);
    let put = |interval: u64| {
        let body = json!({ "statsd_interval": interval }).to_string();
        assert_eq!(client.send("PUT", "/api/v1/metrics/app.load", body).status, 200);
    };
    for (query, asked) in [
        ("sum:app.hits{*}.as_rate()", "sum:app.hits{*}.as_rate(10)"),
        ("app.hits{env:prod}.as_count().fill(zero)", "app.hits{env:prod}.as_count(10).fill(zero)"),
        (
            "sum:app.hits{*} by {host}.rollup(sum, 20).as_rate()",
            "sum:app.hits{*} by {host}.rollup(sum, 20).as_rate(10)",
        ),
        (
            "sum:app.load{*}.as_rate() / (sum:app.hits{*} by{host}.as_rate()+1)",
            "sum:app.load{*}.as_rate() / (sum:app.hits{*} by{host}.as_rate(10)+1)",
        ),
        (r#"sum:app.hits{a:".as_rate()"}.as_rate()"#, r#"sum:app.hits{a:".as_rate()"}.as_rate(10)"#),
        (r#"sum:"app.hits"{*}.as_rate()"#, r#"sum:"app.hits"{*}.as_rate()"#),
        ("sum:app.hits{*}.as_rate(60)", "sum:app.hits{*}.as_rate(60)"),
        ("sum:app.none{*}.as_rate()", "sum:app.none{*}.as_rate()"),
    ] {
        assert_eq!(crate::query::with_intervals(&host, query).expect("asked"), asked);
    }
    host.answer_query("sum:app.hits{*}.as_rate(10)", vec![line(Some("app.hits"), &[], &[(0, 0.1)])]);
    let answer = client.get("/api/v1/query?from=0&to=60&query=sum:app.hits{*}.as_rate()");
    let (_, answer) = seen(&answer);
    assert_eq!(answer["series"][0]["expression"], "sum:app.hits{*}.as_rate()", "{answer}");
    for (interval, asked) in [
        (0, "sum:app.load{*}.as_rate()"),
        (60, "sum:app.load{*}.as_rate(60)"),
        (u64::MAX, "sum:app.load{*}.as_rate()"),
    ] {
        put(interval);
        assert_eq!(crate::query::with_intervals(&host, "sum:app.load{*}.as_rate()").expect("asked"), asked);
    }
}

#[test]
fn several_queries_and_arithmetic_are_told_apart() {
    let host = host();
    host.answer_query("avg:app.load{*}", vec![line(Some("app.load"), &[], &[(0, 1.0)])]);
    host.answer_query("avg:app.hits{*} / 2", vec![line(None, &[], &[(0, 3.0)])]);
    let answer = Client::new(routes(), &host)
        .get("/api/v1/query?from=0&to=60.5&query=avg:app.load{*},avg:app.hits{*}%20/%202");
    let (status, answer) = seen(&answer);
    assert_eq!((status, &answer["to_date"]), (200, &json!(60_500)));
    let series = &answer["series"];
    assert_eq!(
        (&series[0]["scope"], &series[0]["unit"], &series[0]["aggr"]),
        (&json!("*"), &Value::Null, &json!("avg"))
    );
    assert_eq!((&series[1]["query_index"], &series[1]["aggr"]), (&json!(1), &Value::Null));
    assert_eq!(
        (&series[1]["metric"], &series[1]["expression"]),
        (&json!("avg:app.hits{*} / 2"), &json!("avg:app.hits{*} / 2"))
    );
}

#[test]
fn a_query_that_cannot_be_is_refused_by_the_parameter() {
    let host = host();
    let client = Client::new(routes(), &host);
    for (target, name) in [
        ("/api/v1/query?to=1&query=x", "from"),
        ("/api/v1/query?from=1&query=x", "to"),
        ("/api/v1/query?from=2&to=1&query=x", "to"),
        ("/api/v1/query?from=a&to=1&query=x", "from"),
        ("/api/v1/query?from=1&to=1e20&query=x", "to"),
        ("/api/v1/query?from=0&to=1", "query"),
        ("/api/v1/search", "q"),
        ("/api/v1/search?q=", "q"),
        ("/api/v1/search?q=tags:a", "q"),
        ("/api/v1/metrics", "from"),
        ("/api/v2/metrics?page[size]=0", "page[size]"),
        ("/api/v2/metrics?page[size]=10001", "page[size]"),
        ("/api/v2/metrics?filter[metric_type]=x", "filter[metric_type]"),
        ("/api/v2/metrics?filter[configured]=x", "filter[configured]"),
    ] {
        let error = refused(&client.get(target), 400);
        assert!(
            error.starts_with(&format!("The value provided for parameter '{name}' is invalid")),
            "{target}: {error}"
        );
    }
}

#[test]
fn search_finds_metrics_and_hosts_by_a_part() {
    let host = host();
    let client = Client::new(routes(), &host);
    for (query, results) in [
        ("metrics:HITS", json!({ "metrics": ["app.hits"] })),
        ("metrics:none", json!({ "metrics": [] })),
        ("metrics:", json!({ "metrics": ["app.hits", "app.load"] })),
        ("hosts:web", json!({ "hosts": ["web-1", "web-2"] })),
        ("app.load", json!({ "metrics": ["app.load"], "hosts": [] })),
    ] {
        let answer = client.get(&format!("/api/v1/search?q={query}"));
        assert_eq!(seen(&answer), (200, json!({ "results": results })), "{query}");
    }
}

#[test]
fn active_metrics_are_those_with_samples_since() {
    let host = host();
    let points = || vec![line(None, &[], &[(0, 1.0)])];
    for (query, lines) in [
        (r#"count:"app.hits"{*}"#, points()),
        (r#"count:"app.load"{*}"#, Vec::new()),
        (r#"count:"app.hits"{host:web-1 AND (env:prod)}"#, points()),
        (r#"count:"app.load"{host:web-1 AND (env:prod)}"#, Vec::new()),
    ] {
        host.answer_query(query, lines);
    }
    let client = Client::new(routes(), &host);
    let expected = json!({ "metrics": ["app.hits"], "from": "1712670000" });
    assert_eq!(seen(&client.get("/api/v1/metrics?from=1712670000")), (200, expected.clone()));
    assert_eq!(
        seen(&client.get("/api/v1/metrics?from=1712670000&host=web-1&tag_filter=env:prod")),
        (200, expected)
    );
    let late = client.get("/api/v1/metrics?from=1812670000");
    assert_eq!(seen(&late), (200, json!({ "metrics": [], "from": "1812670000" })));
}

#[test]
fn metadata_is_shown_and_changed_field_by_field() {
    let host = host();
    let client = Client::new(routes(), &host);
    let mut expected = json!({
        "type": "count", "description": null, "short_name": null, "integration": null, "statsd_interval": 10,
        "per_unit": null, "unit": null,
    });
    assert_eq!(seen(&client.get("/api/v1/metrics/app.hits")), (200, expected.clone()));
    for change in [
        json!({ "description": "Hits.", "unit": "request", "per_unit": "second", "short_name": "hits" }),
        json!({ "type": "rate", "statsd_interval": 20 }),
        json!({ "per_unit": null, "short_name": null, "statsd_interval": null }),
        json!({}),
    ] {
        for (field, value) in change.as_object().expect("an object") {
            expected[field] = value.clone();
        }
        let body = change.to_string();
        assert_eq!(seen(&client.send("PUT", "/api/v1/metrics/app.hits", body)), (200, expected.clone()));
        assert_eq!(seen(&client.get("/api/v1/metrics/app.hits")), (200, expected.clone()));
    }
    for method in ["GET", "PUT"] {
        assert!(refused(&client.send(method, "/api/v1/metrics/none", "{}"), 404).contains("none"));
    }
    for (body, said) in [
        ("", "Payload is not in the expected format: it is empty, expected JSON"),
        (r#"{"type":"sum"}"#, "type is \"sum\""),
        (r#"{"unit":7}"#, "line 1, column 9: unit is \"7\", expected a text"),
        (r#"{"unit":"byte","unit":"bit"}"#, "unit is \"bit\", expected to be there once"),
    ] {
        assert!(refused(&client.send("PUT", "/api/v1/metrics/app.hits", body), 400).contains(said), "{body}");
    }
}

#[test]
fn metrics_are_listed_in_pages_and_by_what_they_are() {
    let host = host();
    let points = || vec![line(None, &[], &[(0, 1.0)])];
    host.answer_query(r#"count:"app.hits"{*}"#, points());
    host.answer_query(r#"count:"app.load"{*}"#, points());
    host.answer_query(r#"count:"app.hits"{env:prod}"#, points());
    host.answer_query(r#"count:"app.load"{env:prod}"#, Vec::new());
    let client = Client::new(routes(), &host);
    let metric = |name: &str| json!({ "type": "metrics", "id": name });
    let both = json!({ "data": [metric("app.hits"), metric("app.load")] });
    for all in ["", "?filter[metric_type]=non_distribution", "?filter[is_configurable]=false&filter[tags]="] {
        assert_eq!(seen(&client.get(&format!("/api/v2/metrics{all}"))), (200, both.clone()), "{all}");
    }
    for nothing in [
        "filter[metric_type]=distribution",
        "filter[configured]=true",
        "filter[is_configurable]=true",
        "filter[tags_configured]=host",
        "filter[include_percentiles]=true",
        "filter[include_percentiles]=false",
        "filter[include_percentiles]=true&filter[metric_type]=non_distribution",
    ] {
        let answer = client.get(&format!("/api/v2/metrics?{nothing}"));
        assert_eq!(seen(&answer), (200, json!({ "data": [] })), "{nothing}");
    }
    let tagged = client.get("/api/v2/metrics?filter[tags]=env:prod&window[seconds]=3600");
    assert_eq!(seen(&tagged), (200, json!({ "data": [metric("app.hits")] })));
    let page = |cursor: Value, next: Value| {
        json!({
            "pagination": { "type": "cursor_limit", "limit": 1, "cursor": cursor, "next_cursor": next }
        })
    };
    let first = json!({ "data": [metric("app.hits")], "meta": page(Value::Null, json!("app.hits")) });
    assert_eq!(seen(&client.get("/api/v2/metrics?page[size]=1")), (200, first));
    let last = json!({ "data": [metric("app.load")], "meta": page(json!("app.hits"), Value::Null) });
    assert_eq!(seen(&client.get("/api/v2/metrics?page[size]=1&page[cursor]=app.hits")), (200, last));
}

#[test]
fn a_list_of_metrics_has_those_that_reported_within_its_window() {
    let host = host();
    host.answer_query(r#"count:"app.hits"{*}"#, vec![line(None, &[], &[(0, 1.0)])]);
    host.answer_query(r#"count:"app.load"{*}"#, Vec::new());
    let expected = json!({ "data": [{ "type": "metrics", "id": "app.hits" }] });
    let client = Client::new(routes(), &host);
    for window in ["", "?window[seconds]=60"] {
        assert_eq!(seen(&client.get(&format!("/api/v2/metrics{window}"))), (200, expected.clone()));
    }
    for window in ["0", "2592001", "x"] {
        let answer = client.get(&format!("/api/v2/metrics?window[seconds]={window}"));
        assert!(refused(&answer, 400).contains("'window[seconds]'"), "{window}");
    }
}

#[test]
fn a_page_is_filled_however_many_silent_metrics_lie_between() {
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host);
    let name = |at: usize| format!("m{at:04}");
    let series = |at| json!({ "metric": name(at), "points": [[1_712_620_800, 1]] });
    let body = json!({ "series": (0..=6000).map(series).collect::<Vec<_>>() });
    assert_eq!(client.post("/api/v1/series", &body.to_string()).status, 202);
    for at in 0..=6000 {
        let speaks = [1, 5500, 6000].contains(&at);
        let lines = if speaks { vec![line(None, &[], &[(0, 1.0)])] } else { Vec::new() };
        host.answer_query(&format!(r#"count:"{}"{{*}}"#, name(at)), lines);
    }
    assert_eq!(page(&client, "page[size]=2"), (json!(["m0001", "m5500"]), json!("m5500")));
    assert_eq!(page(&client, "page[size]=2&page[cursor]=m5500"), (json!(["m6000"]), Value::Null));
}

/// The names on a page of metrics, and where it says to go on.
fn page(client: &Client<'_>, query: &str) -> (Value, Value) {
    let (status, answer) = seen(&client.get(&format!("/api/v2/metrics?{query}")));
    assert_eq!(status, 200, "{answer}");
    let names = answer["data"].as_array().expect("a list").iter().map(|metric| metric["id"].clone());
    (Value::from(names.collect::<Vec<_>>()), answer["meta"]["pagination"]["next_cursor"].clone())
}

/// A host that takes a second to say anything of a metric's samples and tags.
struct Slow(MemoryHost);

impl Clock for Slow {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

impl SeriesRead for Slow {
    fn ask(&self, question: &Question) -> Result<Vec<Line>, SeriesError> {
        self.0.advance(Duration::from_secs(1));
        self.0.ask(question)
    }

    fn tag_values(
        &self,
        metric: &str,
        key: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Counted>, SeriesError> {
        self.0.advance(Duration::from_secs(1));
        self.0.tag_values(metric, key, after, limit)
    }

    fn tagged_metrics(
        &self,
        part: Option<&str>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<TaggedMetric>, SeriesError> {
        self.0.tagged_metrics(part, after, limit)
    }

    fn samples(
        &self,
        _: &str,
        _: &str,
        _: Timestamp,
        _: Timestamp,
    ) -> Result<Vec<SeriesSamples>, SeriesError> {
        unreachable!("no list asks for samples")
    }

    fn select(
        &self,
        _: &[Matcher],
        _: Timestamp,
        _: Timestamp,
        _: u32,
    ) -> Result<Vec<Selection>, SeriesError> {
        unreachable!("no list asks for samples")
    }

    fn find(&self, _: &[Matcher], _: u32) -> Result<Vec<SeriesIdentity>, SeriesError> {
        unreachable!("no list asks for series")
    }

    fn find_keys(&self, _: &[Matcher], _: u32) -> Result<Vec<String>, SeriesError> {
        unreachable!("no list asks for series")
    }

    fn find_values(&self, _: &[Matcher], _: Option<&str>, _: u32) -> Result<Vec<String>, SeriesError> {
        unreachable!("no list asks for series")
    }

    fn tagged_metric(&self, _: &str) -> Result<TaggedMetric, SeriesError> {
        unreachable!("no list asks for one metric")
    }

    fn tag_keys(&self, _: &str) -> Result<Vec<Counted>, SeriesError> {
        unreachable!("no list asks for keys")
    }
}

#[test]
fn a_list_for_which_time_is_up_says_what_to_ask_for_and_never_ends_early() {
    let host = MemoryHost::new();
    let series = |at| json!({ "metric": format!("m{at}"), "points": [[1_712_673_800, 1]] });
    let body = json!({ "series": (0..9).map(series).collect::<Vec<_>>() });
    assert_eq!(Client::new(routes(), &host).post("/api/v1/series", &body.to_string()).status, 202);
    for at in 0..9 {
        let speaks = [1, 3, 8].contains(&at);
        let lines = if speaks { vec![line(None, &[], &[(0, 1.0)])] } else { Vec::new() };
        host.answer_query(&format!(r#"count:"m{at}"{{*}}"#), lines);
    }
    let slow = Rc::new(Slow(host));
    let [one, two, three] = std::array::from_fn(|_| Rc::clone(&slow));
    let router = Router::new()
        .get("/api/v2/metrics", move |_: &MemoryHost, request| metrics::list(&*one, request))
        .get("/api/v1/metrics", move |_, request| metrics::active(&*two, request))
        .get("/api/v1/search", move |_, request| metrics::search(&*three, request));
    let other = MemoryHost::new();
    let client = Client::new(router, &other);
    // Of so many there is time for five.
    for (target, instead) in [
        ("/api/v2/metrics", "ask for pages, with page[size]=100"),
        ("/api/v2/metrics?page[size]=3", "ask for a page of page[size]=2"),
        (
            "/api/v1/metrics?from=1712670000",
            "ask for pages of /api/v2/metrics, with page[size]=100 and filter[tags]",
        ),
        ("/api/v1/search?q=hosts:web", "/api/v2/metrics/<metric>/all-tags?filter[match]=host:web"),
    ] {
        let response = client.get(target);
        let error = refused(&response, 503);
        assert!(error.ends_with(instead), "{target}: {error}");
        assert!(response.headers.iter().any(|header| header.name == "retry-after"));
    }
    assert_eq!(page(&client, "page[size]=2"), (json!(["m1", "m3"]), json!("m3")));
    assert_eq!(page(&client, "page[size]=2&page[cursor]=m4"), (json!(["m8"]), Value::Null));
    slow.0.answer_query(r#"count:"m1"{*}"#, Vec::new());
    slow.0.answer_query(r#"count:"m3"{*}"#, Vec::new());
    let error = refused(&client.get("/api/v2/metrics?page[size]=3"), 503);
    assert!(
        error.ends_with("none up to m4 reported within the window, go on behind it with page[cursor]=m4")
    );
    assert_eq!(page(&client, "page[size]=3&page[cursor]=m4"), (json!(["m8"]), Value::Null));
}

#[test]
fn distributions_are_those_with_percentiles() {
    let host = host();
    let body = json!({ "series": [{ "metric": "app.time", "points": [[1_712_620_800, [1]]] }] });
    let client = Client::new(routes(), &host);
    assert_eq!(client.post("/api/v1/distribution_points", &body.to_string()).status, 202);
    host.answer_query(r#"count:"app.time"{*}"#, vec![line(None, &[], &[(0, 1.0)])]);
    let expected = json!({ "data": [{ "type": "metrics", "id": "app.time" }] });
    for filter in ["filter[include_percentiles]=true", "filter[metric_type]=distribution"] {
        assert_eq!(seen(&client.get(&format!("/api/v2/metrics?{filter}"))), (200, expected.clone()));
    }
}

#[test]
fn what_is_not_known_of_metrics_is_refused_and_not_left_out() {
    let host = host();
    let client = Client::new(routes(), &host);
    for (query, name) in [
        ("filter[queried]=true", "filter[queried]"),
        ("filter[queried]=False&filter[queried][window][seconds]=60", "filter[queried]"),
        ("filter[related_assets]=true", "filter[related_assets]"),
        ("include=metric_volumes", "include"),
        ("page[size]=1&sort=-metric_volumes.indexed_volume", "sort"),
    ] {
        let error = refused(&client.get(&format!("/api/v2/metrics?{query}")), 400);
        assert!(error.contains(&format!("'{name}'")), "{query}: {error}");
    }
}

#[test]
fn all_tags_of_a_metric_are_listed() {
    let host = host();
    let client = Client::new(routes(), &host);
    let answer = |filter: &str, key: &str, values: &[&str]| {
        let lines = values.iter().map(|value| line(Some("app.hits"), &[(key, value)], &[(0, 1.0)]));
        let query = format!(r#"count:"app.hits"{{{filter}"{key}":*}} by {{"{key}"}}"#);
        host.answer_query(&query, lines.collect());
    };
    answer("", "canary", &[""]);
    answer("", "env", &["prod"]);
    answer("", "host", &["web-2", "web-1"]);
    for (key, values) in [("canary", &[][..]), ("env", &["prod"]), ("host", &["web-1"])] {
        answer("(env:prod,host:web-1) AND ", key, values);
    }
    let tags = |query: &str| {
        let (status, answer) = seen(&client.get(&format!("/api/v2/metrics/app.hits/all-tags{query}")));
        assert_eq!(
            (status, &answer["data"]["id"], &answer["data"]["type"]),
            (200, &json!("app.hits"), &json!("metrics"))
        );
        answer["data"]["attributes"]["tags"].clone()
    };
    let all = json!(["canary", "env:prod", "host:web-1", "host:web-2"]);
    assert_eq!((tags(""), tags("?window[seconds]=14400")), (all.clone(), all));
    answer("", "env", &[]);
    assert_eq!(tags("?window[seconds]=4294967295"), json!(["canary", "host:web-1", "host:web-2"]));
    assert_eq!(tags("?window[seconds]=60"), json!(["canary", "host:web-1", "host:web-2"]));
    assert_eq!(tags("?window[seconds]=60&page[limit]=2"), json!(["canary", "host:web-1"]));
    assert_eq!(tags("?page[limit]=2"), json!(["canary", "env:prod"]));
    assert_eq!(tags("?page[limit]=3"), json!(["canary", "env:prod", "host:web-1"]));
    assert_eq!(tags("?filter[match]=web"), json!(["host:web-1", "host:web-2"]));
    assert_eq!(tags("?filter[include_tag_values]=False"), json!(["canary", "env", "host"]));
    assert_eq!(tags("?filter[tags]=env:prod,host:web-1"), json!(["env:prod", "host:web-1"]));
    assert_eq!(
        tags("?filter[tags]=env:prod,host:web-1&filter[include_tag_values]=false"),
        json!(["env", "host"])
    );
    refused(&client.get("/api/v2/metrics/none/all-tags"), 404);
}

fn question(attributes: &Value) -> String {
    json!({ "data": { "type": "timeseries_request", "attributes": attributes } }).to_string()
}

#[test]
fn formulas_are_asked_with_their_queries_in_place() {
    let host = host();
    let hits = |name: &str, points: &[(i64, f64)]| line(Some("app.hits"), &[("host", name)], points);
    host.answer_query(
        "sum:app.hits{*} by {host}",
        vec![hits("web-1", &[(0, 1.0), (60, 2.0)]), hits("web-2", &[(60, 5.0)])],
    );
    host.answer_query(
        "(sum:app.hits{*} by {host}) / (avg:app.load{*}) * 2",
        vec![line(None, &[("host", "web-1")], &[(120, 4.0)])],
    );
    let client = Client::new(routes(), &host);
    let queries = json!([
        { "data_source": "metrics", "name": "hits", "query": "sum:app.hits{*} by {host}", "aggregator": "sum" },
        { "data_source": "metrics", "name": "load", "query": "avg:app.load{*}", "aggregator": "avg" },
    ]);
    let formulas = json!([{ "formula": "hits", "limit": { "count": 5, "order": "desc" } }, { "formula": "hits / load * 2" }]);
    let asked =
        json!({ "from": 0, "to": 180_000, "interval": 60_000, "queries": queries, "formulas": formulas });
    let series = |at: u64, name: &str| json!({ "group_tags": [format!("host:{name}")], "query_index": at, "unit": null });
    let attributes = json!({
        "series": [series(0, "web-1"), series(0, "web-2"), series(1, "web-1")],
        "times": [0, 60_000, 120_000],
        "values": [[1.0, 2.0, null], [null, 5.0, null], [null, null, 4.0]],
    });
    let expected = json!({ "data": { "type": "timeseries_response", "attributes": attributes } });
    assert_eq!(seen(&client.post("/api/v2/query/timeseries", &question(&asked))), (200, expected));
    let number = |name: &str, values: Value| json!({ "name": name, "type": "number", "meta": { "unit": null }, "values": values });
    let attributes = json!({ "columns": [
        { "name": "host", "type": "group", "values": [["web-2"], ["web-1"]] },
        number("hits", json!([5.0, 3.0])),
        number("hits / load * 2", json!([null, 4.0])),
    ] });
    let expected = json!({ "data": { "type": "scalar_response", "attributes": attributes } });
    assert_eq!(seen(&client.post("/api/v2/query/scalar", &question(&asked))), (200, expected));
}

#[test]
fn a_limit_orders_and_cuts_a_scalar_by_what_it_shows_and_no_timeseries() {
    let host = host();
    let hits = |name: &str, points: &[(i64, f64)]| line(Some("app.hits"), &[("host", name)], points);
    let query = "sum:app.hits{*} by {host}";
    // The mean of web-1 is the least, its sum the greatest; web-3 shows nothing.
    let lines = vec![
        hits("web-2", &[(60, 5.0)]),
        hits("web-1", &[(0, 3.0), (60, 3.0)]),
        hits("web-3", &[]),
        hits("web-4", &[(0, 4.0)]),
    ];
    host.answer_query(query, lines);
    let client = Client::new(routes(), &host);
    let asked = |order: &str, count: u64| {
        question(&json!({
            "from": 0, "to": 120_000, "interval": 60_000,
            "queries": [{ "data_source": "metrics", "name": "hits", "query": query, "aggregator": "sum" }],
            "formulas": [{ "formula": "hits", "limit": { "count": count, "order": order } }],
        }))
    };
    for (order, count, hosts, values) in [
        ("desc", 2, json!([["web-1"], ["web-2"]]), json!([6.0, 5.0])),
        ("asc", 2, json!([["web-4"], ["web-2"]]), json!([4.0, 5.0])),
        ("desc", 9, json!([["web-1"], ["web-2"], ["web-4"]]), json!([6.0, 5.0, 4.0])),
    ] {
        let (status, answer) = seen(&client.post("/api/v2/query/scalar", &asked(order, count)));
        let columns = &answer["data"]["attributes"]["columns"];
        assert_eq!((status, &columns[0]["values"], &columns[1]["values"]), (200, &hosts, &values), "{order}");
        let (status, answer) = seen(&client.post("/api/v2/query/timeseries", &asked(order, count)));
        let series = answer["data"]["attributes"]["series"].as_array().map(Vec::len);
        assert_eq!((status, series), (200, Some(4)), "{order}");
    }
}

#[test]
fn tens_of_thousands_of_groups_have_a_row_each_in_the_order_they_come() {
    let host = host();
    let pods = |range: std::ops::Range<u32>| {
        let pod = |at: u32| line(None, &[("pod", &format!("pod-{at}"))], &[(0, f64::from(at))]);
        range.rev().map(pod).collect()
    };
    host.answer_query("sum:app.hits{*} by {pod}", pods(10..50_000));
    host.answer_query("sum:app.load{*} by {pod}", pods(0..20));
    let query = |name: &str, query: &str| json!({ "data_source": "metrics", "name": name, "query": query });
    let asked = json!({ "from": 0, "to": 60_000, "queries": [
        query("hits", "sum:app.hits{*} by {pod}"), query("load", "sum:app.load{*} by {pod}"),
    ] });
    let (status, answer) =
        seen(&Client::new(routes(), &host).post("/api/v2/query/scalar", &question(&asked)));
    let columns = &answer["data"]["attributes"]["columns"];
    let column = |at: usize| columns[at]["values"].as_array().expect("values").as_slice();
    let row = |at: usize| (column(0)[at].clone(), column(1)[at].clone(), column(2)[at].clone());
    assert_eq!((status, column(0).len(), column(1).len(), column(2).len()), (200, 50_000, 50_000, 50_000));
    for (at, pod, hits, load) in [
        (0, 49_999, json!(49_999.0), Value::Null),
        (49_989, 10, json!(10.0), json!(10.0)),
        (49_990, 9, Value::Null, json!(9.0)),
        (49_999, 0, Value::Null, json!(0.0)),
    ] {
        assert_eq!(row(at), (json!([format!("pod-{pod}")]), hits, load), "{at}");
    }
}

#[test]
fn an_answer_that_is_too_large_is_refused_with_what_to_ask_for() {
    let host = host();
    let points: Vec<(i64, f64)> = (0..300).map(|at| (1_712_620_800 + at * 60, 1.0 / 3.0)).collect();
    let lines = (0..1500).map(|at| line(Some("app.load"), &[("host", &format!("web-{at}"))], &points));
    let query = "avg:app.load{*} by {host}";
    host.answer_query(query, lines.collect());
    let apart = |at: i64| line(None, &[], &[(at, 1.0)]);
    host.answer_query("avg:app.hits{*} by {at}", (0..2000).map(apart).collect());
    let client = Client::new(routes(), &host);
    let v1 = client.get("/api/v1/query?from=1712620800&to=1712638800&query=avg:app.load{*}%20by%20{host}");
    let v2 = |query: &str| {
        let queries = json!([{ "data_source": "metrics", "query": query }]);
        let asked = question(&json!({ "from": 0, "to": 1_712_638_800_000_i64, "queries": queries }));
        client.post("/api/v2/query/timeseries", &asked)
    };
    for response in [v1, v2(query), v2("avg:app.hits{*} by {at}")] {
        let error = refused(&response, 413);
        assert!(error.ends_with("8000000 bytes: ask for longer steps, fewer groups or less time"), "{error}");
    }
}

#[test]
fn a_question_that_cannot_be_is_refused() {
    let host = host();
    host.answer_query("avg:app.load{*}", vec![line(Some("app.load"), &[], &[(0, 1.0)])]);
    let client = Client::new(routes(), &host);
    let query = json!({ "data_source": "metrics", "name": "a", "query": "avg:app.load{*}", "aggregator": "percentile" });
    let with = |field: &str, value: Value| {
        let mut asked = json!({ "from": 0, "to": 1000, "queries": [query] });
        asked[field] = value;
        question(&asked)
    };
    for (body, said) in [
        ("{}".to_owned(), "line 1, column 2: data is \"\", expected to be there"),
        (with("queries", json!([])), "queries has 0"),
        (with("queries", json!([{ "data_source": "logs", "query": "x" }])), "data_source is \"logs\""),
        (with("from", json!(2000)), "'from'"),
        (with("to", json!(i64::MAX)), "'to'"),
        (with("formulas", json!([{ "formula": "b + 1" }])), "formula is \"b + 1\""),
        (
            with("formulas", json!([{ "formula": "a", "limit": { "order": "up" } }])),
            "formulas[0].limit.order",
        ),
        (with("queries", json!([query, query])), "queries[1].name is \"a\""),
    ] {
        for path in ["/api/v2/query/timeseries", "/api/v2/query/scalar"] {
            let error = refused(&client.post(path, &body), 400);
            assert!(error.contains(said), "{body}: {error}");
        }
    }
    let error = refused(&client.post("/api/v2/query/scalar", &with("interval", json!(60_000))), 400);
    assert!(error.contains("aggregator is \"percentile\""), "{error}");
}
