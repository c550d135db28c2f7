//! Which series, labels and values there are, and what is known of metrics.

use bellwether_sdk::series::Metadata;

use super::*;

#[test]
fn series_labels_and_values_are_those_of_what_matches() {
    let host = host();
    let client = Client::new(routes(), &host);
    let get = |path: &str, parameters: &[(&str, &str)]| data(&client.get(&target(path, parameters)));
    assert_eq!(
        get(
            "/api/v1/series",
            &[("match[]", r#"info{job="db"}"#), ("match[]", "temp"), ("start", "0"), ("end", "1")]
        ),
        json!([
            { "__name__": "info", "job": "db", "version": "v1" },
            { "__name__": "temp", "room": "a" },
            { "__name__": "temp", "room": "b" },
        ])
    );
    assert_eq!(get("/api/v1/labels", &[]), json!(["__name__", "code", "job", "le", "room", "version"]));
    assert_eq!(get("/api/v1/labels", &[("match[]", "info")]), json!(["__name__", "job", "version"]));
    assert_eq!(get("/api/v1/labels", &[("match[]", "nothing")]), json!([]));
    assert_eq!(get("/api/v1/label/job/values", &[]), json!(["api", "db"]));
    assert_eq!(get("/api/v1/label/job/values", &[("match[]", r#"info{version="v1"}"#)]), json!(["db"]));
    assert_eq!(
        get("/api/v1/label/__name__/values", &[]),
        json!(["info", "lat_bucket", "requests_total", "temp"])
    );
    let form = Client::new(routes(), &host).header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(data(&form.post("/api/v1/labels", "match[]=info")), json!(["__name__", "job", "version"]));
    let in_parts = Client::new(routes(), &host).header("content-type", "multipart/form-data; boundary=parts");
    let parts = "--parts\r\nContent-Disposition: form-data; name=\"match[]\"\r\n\r\ninfo\r\n--parts--\r\n";
    assert_eq!(data(&in_parts.post("/api/v1/labels", parts)), json!(["__name__", "job", "version"]));
}

#[test]
fn a_list_that_was_cut_says_so() {
    let host = host();
    let client = Client::new(routes(), &host);
    let (_, body) = seen(&client.get(&target("/api/v1/label/job/values", &[("limit", "1")])));
    assert_eq!(
        (&body["data"], &body["warnings"]),
        (&json!(["api"]), &json!(["results truncated due to limit"]))
    );
    let (_, body) = seen(&client.get(&target("/api/v1/label/job/values", &[("limit", "2")])));
    assert_eq!((&body["data"], &body["warnings"]), (&json!(["api", "db"]), &Value::Null));
}

#[test]
fn a_list_ends_before_it_is_larger_than_an_answer_may_be_and_says_so() {
    let host = MemoryHost::new();
    let series = |at: usize| -> Vec<String> {
        (0..60).map(|tag| format!("tag{tag:02}:{at:03}{}", "x".repeat(380))).collect()
    };
    for at in 0..400 {
        let tags = series(at);
        write(&host, "large", &tags.iter().map(String::as_str).collect::<Vec<_>>(), &[1.0]);
    }
    let help = "h".repeat(1000);
    for at in 0..9000 {
        let metric = format!("told{at:04}");
        write(&host, &metric, &[], &[1.0]);
        let metadata = Metadata { description: Some(help.clone()), ..Metadata::default() };
        host.describe(&metric, &metadata).expect("it is described");
    }
    let client = Client::new(routes(), &host);
    for (path, parameters, all) in [
        ("/api/v1/series", &[("match[]", "large")][..], 400),
        ("/api/v1/label/tag00/values", &[], 400),
        ("/api/v1/metadata", &[], 9000),
    ] {
        let response = client.get(&target(path, parameters));
        let (status, body) = seen(&response);
        let whole = path.ends_with("values");
        let warnings = (!whole).then(|| json!(["results truncated due to limit"]));
        assert_eq!((status, body.get("warnings")), (200, warnings.as_ref()), "{path}");
        let data = &body["data"];
        let count = data.as_array().map(Vec::len).or(data.as_object().map(serde_json::Map::len));
        assert!(
            count.is_some_and(|count| count == all || !whole && count > all / 2 && count < all),
            "{path}"
        );
        assert!(response.body.len() < 8_001_000, "{path}: {}", response.body.len());
    }
}

#[test]
fn what_selects_nothing_or_is_no_selector_is_refused() {
    let host = host();
    let client = Client::new(routes(), &host);
    for (parameters, said) in [
        (&[][..], "no match[] parameter"),
        (&[("match[]", "sum(temp)")], "no series selector"),
        (&[("match[]", "{}")], "non-empty matcher"),
        (&[("match[]", "temp"), ("start", "x")], "\"start\""),
        (&[("match[]", "temp"), ("start", "2024-04-09T14:44:00")], "\"start\""),
        (&[("match[]", "temp"), ("end", "2024-04-09")], "\"end\""),
        (&[("match[]", "temp"), ("limit", "x")], "\"limit\""),
    ] {
        let error = refused(&client.get(&target("/api/v1/series", parameters)), 400, "bad_data");
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_metric_of_another_dialects_is_asked_for_like_any() {
    let host = MemoryHost::new();
    write(&host, "system.load.1", &["host:web-1", "canary", "zone:a", "zone:b"], &[1.0]);
    let client = Client::new(routes(), &host);
    let ask = |query: &str| {
        data(&client.get(&target("/api/v1/query", &[("query", query), ("time", "0")])))["result"].clone()
    };
    let metric = json!({ "__name__": "system.load.1", "canary": "", "host": "web-1", "zone": "a,b" });
    for query in [
        r#"{__name__="system.load.1"}"#,
        r#"{"system.load.1", host="web-1"}"#,
        r#"{__name__=~"system.*", zone="b"}"#,
    ] {
        assert_eq!(ask(query), json!([{ "metric": metric, "value": [0, "1"] }]), "{query}");
    }
    assert_eq!(ask(r#"{__name__="system.load.1", zone!="a"}"#), json!([]));
}

#[test]
fn a_label_that_does_not_fit_a_path_comes_escaped() {
    let host = MemoryHost::new();
    write(&host, "load", &["host.name:web-1", "kube_zone-é:a", "U__a_:b"], &[1.0]);
    let client = Client::new(routes(), &host);
    for (name, expected) in [
        ("host.name", json!(["web-1"])),
        ("U__host_2e_name", json!(["web-1"])),
        ("U__kube__zone_2D_%C3%A9", json!(["a"])),
        ("U__kube__zone_2d__e9_", json!(["a"])),
        ("U______name____", json!(["load"])),
        // What is no escape stands for itself.
        ("U__a_", json!(["b"])),
        ("U__host_2e", json!([])),
        ("U__host_110000_name", json!([])),
        ("U__host_0000002e_name", json!([])),
        ("U__host_g_name", json!([])),
    ] {
        assert_eq!(data(&client.get(&format!("/api/v1/label/{name}/values"))), expected, "{name}");
    }
}

#[test]
fn grafana_is_told_that_there_are_no_rules_alerts_and_exemplars() {
    let host = host();
    let client = Client::new(routes(), &host);
    for (path, expected) in [
        ("/api/v1/rules?type=alert", json!({ "groups": [] })),
        ("/api/v1/alerts", json!({ "alerts": [] })),
        ("/api/v1/query_exemplars?query=temp&start=0&end=1", json!([])),
    ] {
        assert_eq!(data(&client.get(path)), expected, "{path}");
    }
    let form = Client::new(routes(), &host).header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(data(&form.post("/api/v1/query_exemplars", "query=temp")), json!([]));
    for wrong in ["query=sum(", "query=", "query=temp&start=x"] {
        refused(&client.get(&format!("/api/v1/query_exemplars?{wrong}")), 400, "bad_data");
    }
    refused(&client.delete("/api/v1/rules"), 405, "bad_data");
}

#[test]
fn grafana_learns_what_it_talks_to() {
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host);
    let build = data(&client.get("/api/v1/status/buildinfo"));
    assert!(build["version"].as_str().is_some_and(|version| version.starts_with("3.")), "{build}");
}

#[test]
fn a_tag_called_as_the_metrics_name_is_another_label() {
    let host = MemoryHost::new();
    write(&host, "load", &["host:a"], &[1.0]);
    write(&host, "load", &["host:a", "__name__:evil"], &[2.0]);
    let client = Client::new(routes(), &host);
    let ask = |query: &str| {
        data(&client.get(&target("/api/v1/query", &[("query", query), ("time", "0")])))["result"].clone()
    };
    assert_eq!(
        ask("load * 2"),
        json!([
            { "metric": { "exported___name__": "evil", "host": "a" }, "value": [0, "4"] },
            { "metric": { "host": "a" }, "value": [0, "2"] },
        ])
    );
    assert_eq!(ask(r#"count({exported___name__="evil"})"#)[0]["value"], json!([0, "1"]));
    let get = |path: &str| data(&client.get(path));
    assert_eq!(get("/api/v1/labels"), json!(["__name__", "exported___name__", "host"]));
    assert_eq!(get("/api/v1/label/__name__/values"), json!(["load"]));
    assert_eq!(get("/api/v1/label/exported___name__/values"), json!(["evil"]));
}

#[test]
fn an_instant_has_its_offset() {
    let host = host();
    let client = Client::new(routes(), &host);
    let ask = |time: &str| client.get(&target("/api/v1/query", &[("query", "1"), ("time", time)]));
    for time in ["0", "1712673840.5", "2024-04-09T14:44:00Z", "2024-04-09T16:44:00.25+02:00"] {
        assert_eq!(ask(time).status, 200, "{time}");
    }
    for time in ["2024-04-09T14:44:00", "2024-04-09", "2024-04-09 14:44:00Z", "T", "ä2024-04-09T14:44:00Z"] {
        assert!(refused(&ask(time), 400, "bad_data").contains("valid timestamp"), "{time}");
    }
}
