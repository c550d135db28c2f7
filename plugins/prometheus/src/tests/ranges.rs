//! PromQL over ranges.

use super::*;

#[track_caller]
fn lines(host: &MemoryHost, query: &str, (start, end, step): (&str, &str, &str)) -> Value {
    let parameters = [("query", query), ("start", start), ("end", end), ("step", step)];
    let data = data(&Client::new(routes(), host).get(&target("/api/v1/query_range", &parameters)));
    assert_eq!(data["resultType"], "matrix");
    data["result"].clone()
}

#[test]
fn a_range_has_a_point_for_each_step_with_a_value() {
    let host = host();
    let labels = json!({ "__name__": "requests_total", "code": "500", "job": "api" });
    let points = json!([[0, "0"], [90, "1"], [180, "3"]]);
    let query = r#"requests_total{code="500"}"#;
    assert_eq!(lines(&host, query, ("0", "200", "90")), json!([{ "metric": labels, "values": points }]));
    assert_eq!(lines(&host, query, ("0", "200", "1m30s"))[0]["values"], points);
    // A series ends at its marker, and not five minutes later.
    let ended = lines(&host, r#"temp{room="b"}"#, ("0", "240", "60"));
    assert_eq!(ended[0]["values"], json!([[0, "10"], [60, "10"]]));
    assert_eq!(lines(&host, "1 + 1", ("1.5", "3", "1"))[0]["values"], json!([[1.5, "2"], [2.5, "2"]]));
    assert_eq!(lines(&host, "nothing", ("0", "60", "60")), json!([]));
}

#[test]
fn the_end_is_what_was_asked_for_where_no_step_falls_on_it() {
    let host = host();
    // The last step is at 180, where the counter is at 3; at 260 it is at 4.
    let query = r#"requests_total{code="500"} @ end()"#;
    assert_eq!(
        lines(&host, query, ("0", "260", "90"))[0]["values"],
        json!([[0, "4"], [90, "4"], [180, "4"]])
    );
    let query = r#"max_over_time((requests_total{code="500"} @ end())[2m:1m])"#;
    assert_eq!(lines(&host, query, ("180", "260", "90"))[0]["values"], json!([[180, "4"]]));
    let query = r#"requests_total{code="500"} @ start()"#;
    assert_eq!(lines(&host, query, ("120", "260", "90"))[0]["values"], json!([[120, "2"], [210, "2"]]));
}

#[test]
fn each_step_is_what_a_query_at_its_instant_answers() {
    let host = host();
    let client = Client::new(routes(), &host);
    for query in [
        "requests_total",
        "rate(requests_total[3m])",
        "sum by (job) (rate(requests_total[3m]))",
        "temp or requests_total > 40",
        "topk(1, requests_total)",
        "requests_total / on(job) group_left sum by (job) (requests_total)",
        "max_over_time(rate(requests_total[2m])[4m:30s])",
        r#"count_values("v", requests_total)"#,
        "absent(temp)",
        "avg_over_time(temp[2m] offset 1m)",
        "histogram_quantile(0.9, sum by (le) (rate(lat_bucket[5m])))",
        "predict_linear(temp[4m], 60)",
        "requests_total @ 300 + requests_total",
        "time() - timestamp(temp)",
    ] {
        let range = lines(&host, query, ("0", "900", "45"));
        for step in 0..=20 {
            let time = step * 45;
            let parameters = [("query", query), ("time", &time.to_string())];
            let instant = data(&client.get(&target("/api/v1/query", &parameters)));
            let mut expected: Vec<String> = instant["result"]
                .as_array()
                .expect("a vector")
                .iter()
                .map(|element| format!("{} {}", element["metric"], element["value"][1]))
                .collect();
            let mut found = Vec::new();
            for line in range.as_array().expect("a matrix") {
                let points = line["values"].as_array().expect("points").iter();
                let here = points.filter(|point| point[0] == json!(time));
                found.extend(here.map(|point| format!("{} {}", line["metric"], point[1])));
            }
            expected.sort();
            found.sort();
            assert_eq!(found, expected, "{query} at {time}");
        }
    }
}

#[test]
fn a_range_that_is_none_or_too_fine_is_refused_by_the_parameter() {
    let host = host();
    let client = Client::new(routes(), &host);
    for (start, end, step, said) in [
        ("", "1", "1", "\"start\""),
        ("0", "", "1", "\"end\""),
        ("5", "1", "1", "end timestamp must not be before start time"),
        ("0", "1", "", "\"step\""),
        ("0", "1", "0", "zero or negative"),
        ("0", "1", "-5", "zero or negative"),
        ("0", "1", "inf", "\"step\""),
        ("0", "1", "5x", "\"step\""),
        ("0", "11001", "1", "11,000 points"),
    ] {
        let parameters = [("query", "1"), ("start", start), ("end", end), ("step", step)];
        let error = refused(&client.get(&target("/api/v1/query_range", &parameters)), 400, "bad_data");
        assert!(error.contains(said), "{start:?} {end:?} {step:?}: {error}");
    }
    let parameters = [("query", "1"), ("start", "0"), ("end", "1"), ("step", "1"), ("timeout", "5x")];
    let error = refused(&client.get(&target("/api/v1/query_range", &parameters)), 400, "bad_data");
    assert!(error.contains("\"timeout\""), "{error}");
    for query in ["temp[5m]", "\"text\""] {
        let parameters = [("query", query), ("start", "0"), ("end", "1"), ("step", "1")];
        let error = refused(&client.get(&target("/api/v1/query_range", &parameters)), 400, "bad_data");
        assert!(error.contains("must be Scalar or instant Vector"), "{error}");
    }
}

#[test]
fn the_last_sample_stands_for_as_long_as_was_asked() {
    let host = host();
    let client = Client::new(routes(), &host);
    // The last sample is at 300.
    let query = r#"temp{room="a"}"#;
    for (lookback, seen_until) in [("", 599), ("0", 599), ("60", 359), ("2m", 419), ("1h", 3899)] {
        for (time, seen) in [(seen_until, 1), (seen_until + 1, 0)] {
            let parameters = [("query", query), ("time", &*time.to_string()), ("lookback_delta", lookback)];
            let found = data(&client.get(&target("/api/v1/query", &parameters)));
            assert_eq!(found["result"].as_array().map(Vec::len), Some(seen), "{lookback:?} at {time}");
        }
    }
    let parameters =
        [("query", query), ("start", "240"), ("end", "420"), ("step", "60"), ("lookback_delta", "1m")];
    let found = data(&client.get(&target("/api/v1/query_range", &parameters)));
    assert_eq!(found["result"][0]["values"], json!([[240, "20"], [300, "18"]]));
    let wrong = [("query", query), ("time", "0"), ("lookback_delta", "long")];
    let error = refused(&client.get(&target("/api/v1/query", &wrong)), 400, "bad_data");
    assert!(error.contains("\"lookback_delta\""), "{error}");
}

#[test]
fn an_answer_has_as_many_series_as_were_asked_for_and_says_that_there_are_more() {
    let host = host();
    let client = Client::new(routes(), &host);
    for (limit, kept) in [("", 3), ("0", 3), ("3", 3), ("2", 2), ("1", 1)] {
        for (path, query) in [
            ("/api/v1/query", "requests_total"),
            ("/api/v1/query", "requests_total[5m]"),
            ("/api/v1/query_range", "requests_total"),
        ] {
            let parameters = [
                ("query", query),
                ("time", "300"),
                ("start", "0"),
                ("end", "300"),
                ("step", "60"),
                ("limit", limit),
            ];
            let (status, answer) = seen(&client.get(&target(path, &parameters)));
            let warnings = (kept < 3).then(|| json!(["results truncated due to limit"]));
            assert_eq!(
                (status, answer["data"]["result"].as_array().map(Vec::len), answer.get("warnings")),
                (200, Some(kept), warnings.as_ref()),
                "{limit:?} of {query} at {path}: {answer}"
            );
        }
    }
    let wrong = [("query", "temp"), ("time", "0"), ("limit", "few")];
    let error = refused(&client.get(&target("/api/v1/query", &wrong)), 400, "bad_data");
    assert!(error.contains("\"limit\""), "{error}");
}

#[test]
fn a_query_over_more_than_is_held_at_once_is_worked_out_some_steps_after_the_others() {
    let host = MemoryHost::new();
    for series in 0..1100 {
        let values: Vec<f64> = (0..20).map(|minute| f64::from(series + minute)).collect();
        write(&host, "wide", &[&format!("series:{series}")], &values);
    }
    let (of_all, of_last) = (1099 * 1100 / 2, 1100 * 16);
    let answer = lines(&host, "sum(wide) - sum(wide @ end()) + 0 * sum(wide @ start())", ("0", "1000", "1"));
    let expected: Vec<Value> =
        (0..=1000).map(|at| json!([at, (1100 * (at / 60) - of_last).to_string()])).collect();
    assert_eq!(answer, json!([{ "metric": {}, "values": expected }]));
    // Lines that begin late, and not in the order of labels.
    let answer = lines(&host, "count_values(\"sum\", sum(wide))", ("0", "1000", "1"));
    let line = |minute: i64| {
        let (first, last) = (minute * 60, (minute * 60 + 59).min(1000));
        let values: Vec<Value> = (first..=last).map(|at| json!([at, "1"])).collect();
        ((of_all + 1100 * minute).to_string(), values)
    };
    let expected: std::collections::BTreeMap<String, Vec<Value>> = (0..=16).map(line).collect();
    let expected: Vec<Value> = expected
        .into_iter()
        .map(|(sum, values)| json!({ "metric": { "sum": sum }, "values": values }))
        .collect();
    assert_eq!(answer, json!(expected));
}

#[test]
fn a_query_that_takes_too_much_is_refused_with_the_limit() {
    let host = MemoryHost::new();
    for series in 0..101 {
        write(&host, "many", &[&format!("series:{series}")], &[1.0]);
    }
    let client = Client::new(routes(), &host);
    let parameters = [("query", "many"), ("start", "0"), ("end", "10000"), ("step", "1")];
    let error = refused(&client.get(&target("/api/v1/query_range", &parameters)), 422, "execution");
    assert!(error.contains("too many samples") && error.contains("1000000 values in one answer"), "{error}");
    write(&host, "long", &[], &vec![1.0; 1_000_001]);
    let parameters = [("query", "sum_over_time(long[100y])"), ("time", "100000000")];
    let error = refused(&client.get(&target("/api/v1/query", &parameters)), 422, "execution");
    assert!(error.contains("at most 1000000 samples"), "{error}");
}

#[test]
fn numbers_are_written_as_go_writes_them() {
    let host = MemoryHost::new();
    for (query, written) in [
        ("1e20", "100000000000000000000"),
        ("1e21", "1e+21"),
        ("0.000001", "0.000001"),
        ("0.00000012", "1.2e-07"),
        ("-1.5", "-1.5"),
        ("0.1 + 0.2", "0.30000000000000004"),
    ] {
        let parameters = [("query", query), ("time", "0")];
        let data = data(&Client::new(routes(), &host).get(&target("/api/v1/query", &parameters)));
        assert_eq!(data["result"][1], written, "{query}");
    }
}
