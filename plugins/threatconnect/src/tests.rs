//! The dialect over HTTP, on a host in memory.

use bellwether_sdk::dialect::{AuthFailure, IntoResponse, Response};
use bellwether_sdk::host::MetricsRead;
use bellwether_sdk::metrics::{
    IntervalQuery, Metric, MetricError, MetricPage, MetricReference, SeriesValues,
};
use bellwether_sdk::testing::{Client, MemoryHost};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::*;

/// The status of an answer and its JSON.
fn seen(response: &Response) -> (u16, Value) {
    let body = match response.body.as_slice() {
        b"" => Value::Null,
        body => serde_json::from_slice(body).expect("JSON"),
    };
    (response.status, body)
}

/// A host with the metrics `plain` (1, a daily sum), `keyed` (2, an hourly sum) and `hits` (3, a daily count).
fn host() -> MemoryHost {
    let host = MemoryHost::new();
    for (name, data_type, interval, keyed) in [
        ("plain", "Sum", "Daily", false),
        ("keyed", "Sum", "Hourly", true),
        ("hits", "Count", "Daily", false),
    ] {
        let body = json!({"name": name, "dataType": data_type, "interval": interval, "keyedValues": keyed});
        assert_eq!(Client::new(routes(), &host).post("/v2/customMetrics", &body.to_string()).status, 201);
    }
    host
}

#[test]
fn the_documented_metric_is_created_as_documented() {
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host);
    let body = r#"{
        "name": "dailyOccurrenceCount",
        "description": "A daily count of occurrences",
        "dataType": "Sum",
        "interval": "Daily",
        "keyedValues": false
    }"#;
    let config = json!({
        "id": 1,
        "name": "dailyOccurrenceCount",
        "dataType": "Sum",
        "interval": "Daily",
        "keyedValues": false,
        "description": "A daily count of occurrences",
    });
    let expected = json!({"status": "Success", "data": {"customMetricConfig": config}});
    assert_eq!(seen(&client.post("/v2/customMetrics", body)), (201, expected.clone()));
    assert_eq!(seen(&client.post("/v2/customMetrics", body)), (200, expected.clone()), "the same again");
    for path in ["/v2/customMetrics/1", "/api/v2/customMetrics/dailyOccurrenceCount"] {
        let response = client.get(path);
        assert_eq!(seen(&response), (200, expected.clone()));
        assert_eq!(response.headers[0].value, "application/json");
    }
    let other = json!({"name": "dailyOccurrenceCount", "dataType": "Max", "interval": "Daily"});
    let (status, answer) = seen(&client.post("/v2/customMetrics", &other.to_string()));
    assert_eq!((status, &answer["status"]), (409, &json!("Failure")));
}

#[test]
fn what_need_not_be_said_has_its_documented_default() {
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host);
    let body = r#"{"name":"m","dataType":"average","interval":"WEEKLY","description":null,"unknown":[1]}"#;
    let config =
        json!({"id": 1, "name": "m", "dataType": "Average", "interval": "Weekly", "keyedValues": false});
    let expected = json!({"status": "Success", "data": {"customMetricConfig": config}});
    assert_eq!(seen(&client.post("/api/v2/customMetrics", body)), (201, expected));
}

#[test]
fn every_data_type_and_interval_is_known_by_its_documented_name() {
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host);
    for data_type in ["Average", "Count", "First", "Last", "Max", "Min", "Sum"] {
        for interval in ["Hourly", "Daily", "Weekly", "Monthly", "Yearly"] {
            let name = format!("{data_type} {interval}");
            let body = json!({"name": name, "dataType": data_type, "interval": interval});
            let (status, answer) = seen(&client.post("/v2/customMetrics", &body.to_string()));
            let config = &answer["data"]["customMetricConfig"];
            assert_eq!(
                (status, &config["dataType"], &config["interval"]),
                (201, &json!(data_type), &json!(interval))
            );
        }
    }
}

#[test]
fn the_articles_table_comes_out_exactly() {
    for (data_type, first_day, second_day) in [
        ("Sum", 15.0, 9.0),
        ("Count", 2.0, 3.0),
        ("Min", 2.0, 1.0),
        ("Max", 13.0, 7.0),
        ("First", 13.0, 1.0),
        ("Last", 2.0, 7.0),
        ("Average", 7.5, 3.0),
    ] {
        let host = MemoryHost::new();
        let client = Client::new(routes(), &host);
        let body = json!({"name": "dailyOccurrenceCount", "dataType": data_type, "interval": "Daily"});
        assert_eq!(client.post("/v2/customMetrics", &body.to_string()).status, 201);
        for (day, values, expected) in [(9, &[13, 2][..], first_day), (10, &[1, 1, 7], second_day)] {
            host.set_now(format!("2024-04-{day:02}T14:44:00Z").parse().expect("a time"));
            let (last, before) = values.split_last().expect("some");
            for value in before {
                let body = json!({"value": value}).to_string();
                assert_eq!(
                    seen(&client.post("/v2/customMetrics/dailyOccurrenceCount", &body)),
                    (204, Value::Null)
                );
            }
            let body = json!({"value": last}).to_string();
            let answer = client.post("/v2/customMetrics/dailyOccurrenceCount/data?returnValue=true", &body);
            let date = format!("2024-04-{day:02}T00:00:00Z");
            assert_eq!(seen(&answer), (200, json!({"value": expected, "date": date})), "{data_type}");
        }
    }
}

#[test]
fn the_articles_keys_have_series_of_their_own() {
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host);
    let body = json!({"name": "weeklyScoreAverage", "dataType": "Average", "interval": "Weekly", "keyedValues": true});
    assert_eq!(client.post("/v2/customMetrics", &body.to_string()).status, 201);
    for (value, name, expected) in [(7, "Jack", 7.0), (11, "Jill", 11.0), (13, "Jack", 10.0)] {
        let body = json!({"value": value, "name": name}).to_string();
        let (status, answer) =
            seen(&client.post("/v2/customMetrics/weeklyScoreAverage?returnValue=true", &body));
        assert_eq!((status, &answer["value"]), (200, &json!(expected)), "{name}");
    }
}

#[test]
fn a_value_is_answered_as_documented_down_to_its_digits() {
    let host = host();
    let client = Client::new(routes(), &host);
    let body = r#"{"value":2,"date":"2024-04-09T17:20:31Z","name":"a"}"#;
    client.post("/v2/customMetrics/keyed/data", body).body.is_empty().then_some(()).expect("no body");
    let answer = client.post("/v2/customMetrics/2/data?returnValue=true", body);
    assert_eq!(String::from_utf8_lossy(&answer.body), r#"{"value":4.0,"date":"2024-04-09T17:00:00Z"}"#);
    assert_eq!(answer.headers[0].value, "application/json");
}

/// The same host in an organisation of New York.
struct InNewYork(MemoryHost);

impl MetricsRead for InNewYork {
    fn metric(&self, metric: impl Into<MetricReference>) -> Result<Metric, MetricError> {
        self.0.metric(metric).map(|metric| Metric { time_zone: "America/New_York".to_owned(), ..metric })
    }

    fn metrics(&self, offset: u64, limit: u32) -> Result<MetricPage, MetricError> {
        self.0.metrics(offset, limit)
    }

    fn query(&self, query: &IntervalQuery) -> Result<Vec<SeriesValues>, MetricError> {
        self.0.query(query)
    }
}

#[test]
fn a_date_without_an_offset_is_never_booked_into_another_day() {
    let host = InNewYork(host());
    for (metric, date, status) in [
        ("plain", "2024-06-15", 400),
        ("1", "2024-06-15T10:00:00", 400),
        ("plain", "2024-06-15T10:00:00Z", 204),
        ("plain", "2024-06-15T10:00:00-04:00", 204),
        ("plain", "2024-06-15 10:00:00z", 204),
        ("plain", "2024-06-01T00:00:00[Europe/Berlin]", 400),
        ("plain", "2024-06-01T00:00:00+00:00[Asia/Tokyo]", 400),
        ("nothing", "2024-06-15", 404),
    ] {
        let raw = RawValue::from_string(format!("\"{date}\"")).expect("JSON");
        let read = data::instant(&host, metric, &body::Field::new("date", Some(&raw)));
        let refusal = read.err().map(|failure| seen(&failure.into_response()));
        let found = refusal.as_ref().map_or(204, |(status, _)| *status);
        assert_eq!(found, status, "{metric} {date}: {refusal:?}");
        if let Some((400, answer)) = refusal.filter(|_| !date.contains('[')) {
            let message = answer["message"].as_str().expect("a message");
            assert!(message.contains("expected a date and time with its offset"), "{message}");
            assert!(message.contains("America/New_York"), "{message}");
        }
    }
}

#[test]
fn clients_write_values_in_many_ways() {
    for (metric, body, value, date) in [
        ("plain", r#"{"value":1}"#, 1.0, "2024-04-09T00:00:00Z"),
        ("plain", r#"{"value":1.5}"#, 1.5, "2024-04-09T00:00:00Z"),
        ("plain", r#"{"value":-2e3}"#, -2000.0, "2024-04-09T00:00:00Z"),
        ("plain", r#"{"value":"40"}"#, 40.0, "2024-04-09T00:00:00Z"),
        ("plain", r#"{"value":" -1.5 "}"#, -1.5, "2024-04-09T00:00:00Z"),
        ("plain", r#"{"value":"\u0034"}"#, 4.0, "2024-04-09T00:00:00Z"),
        ("plain", r#"{"value":1,"name":null,"date":null,"weight":null}"#, 1.0, "2024-04-09T00:00:00Z"),
        ("plain", r#"{"value":1,"date":"2008-12-12T12:12:12Z"}"#, 1.0, "2008-12-12T00:00:00Z"),
        ("plain", r#"{"value":1,"date":"2008-12-12T23:12:12-05:00"}"#, 1.0, "2008-12-13T00:00:00Z"),
        ("plain", r#"{"value":1,"date":"2008-12-12"}"#, 1.0, "2008-12-12T00:00:00Z"),
        ("plain", r#" {"value":1,"weight":"2","extra":{}} "#, 1.0, "2024-04-09T00:00:00Z"),
        ("1", r#"{"value":3}"#, 3.0, "2024-04-09T00:00:00Z"),
        ("keyed", r#"{"value":1,"name":"app1"}"#, 1.0, "2024-04-09T14:00:00Z"),
        ("keyed", r#"{"value":1,"name":"\"\u00e4\" 😀"}"#, 1.0, "2024-04-09T14:00:00Z"),
        ("hits", "", 1.0, "2024-04-09T00:00:00Z"),
        ("hits", "{}", 1.0, "2024-04-09T00:00:00Z"),
        ("hits", r#"{"value":5}"#, 1.0, "2024-04-09T00:00:00Z"),
        ("hits", r#"{"value":"a hit","weight":2}"#, 1.0, "2024-04-09T00:00:00Z"),
        ("3", r#"{"value":[1e999]}"#, 1.0, "2024-04-09T00:00:00Z"),
        ("hits", r#"{"date":"2008-12-12T12:12:12Z","weight":2}"#, 1.0, "2008-12-12T00:00:00Z"),
    ] {
        for path in ["/v2/customMetrics", "/api/v2/customMetrics"] {
            let host = host();
            let client = Client::new(routes(), &host);
            let answer = client.post(&format!("{path}/{metric}/data?returnValue=True"), body);
            assert_eq!(seen(&answer), (200, json!({"value": value, "date": date})), "{metric} {body}");
        }
    }
}

#[test]
fn an_average_is_weighted() {
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host);
    let body = json!({"name": "m", "dataType": "Average", "interval": "Monthly"});
    assert_eq!(client.post("/v2/customMetrics", &body.to_string()).status, 201);
    assert_eq!(client.post("/v2/customMetrics/m", r#"{"value":10,"weight":1}"#).status, 204);
    let answer = client.post("/v2/customMetrics/m?returnValue=true", r#"{"value":"40","weight":2}"#);
    assert_eq!(seen(&answer), (200, json!({"value": 30.0, "date": "2024-04-01T00:00:00Z"})));
}

#[test]
fn digits_mean_a_name_or_else_an_id() {
    let host = host();
    let client = Client::new(routes(), &host);
    for name in ["2", "404", "007", "+3", "99999999999999999999"] {
        let body = json!({"name": name, "dataType": "Sum", "interval": "Yearly"});
        assert_eq!(client.post("/v2/customMetrics", &body.to_string()).status, 201);
    }
    for (segment, name) in [
        ("2", "2"),
        ("1", "plain"),
        ("404", "404"),
        ("007", "007"),
        ("%2B3", "+3"),
        ("99999999999999999999", "99999999999999999999"),
    ] {
        let (_, answer) = seen(&client.get(&format!("/v2/customMetrics/{segment}")));
        assert_eq!(answer["data"]["customMetricConfig"]["name"], name, "{segment}");
    }
    for segment in ["2", "404"] {
        let path = format!("/v2/customMetrics/{segment}/data?returnValue=true");
        let (_, answer) = seen(&client.post(&path, r#"{"value":1}"#));
        assert_eq!(answer["date"], "2024-01-01T00:00:00Z", "{segment} is yearly");
    }
}

#[test]
fn what_is_one_metrics_name_and_anothers_id_deletes_neither() {
    let host = host();
    let client = Client::new(routes(), &host);
    let create = |name: &str| {
        let body = json!({"name": name, "dataType": "Sum", "interval": "Daily"}).to_string();
        assert_eq!(client.post("/v2/customMetrics", &body).status, 201);
    };
    create("2");
    let (status, answer) = seen(&client.delete("/v2/customMetrics/2"));
    let message = answer["message"].as_str().expect("a message");
    assert_eq!((status, &answer["status"]), (409, &json!("Failure")));
    assert!(message.contains("by its id, 4, or the other by its name, \"keyed\""), "{message}");
    assert_eq!(client.delete("/v2/customMetrics/4").status, 200);
    assert_eq!(client.delete("/v2/customMetrics/2").status, 200, "now it is an id alone");
    assert_eq!(client.get("/v2/customMetrics/keyed").status, 404);
    create("6");
    create("own id");
    assert_eq!(client.delete("/v2/customMetrics/own%20id").status, 200);
    create("7");
    assert_eq!(client.delete("/v2/customMetrics/7").status, 200, "its id and its name");
}

#[test]
fn a_metric_that_exists_otherwise_is_told_apart_in_the_names_of_the_api() {
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host);
    let create = |data_type: &str, interval: &str, keyed: bool, description: &str| {
        let body = json!({
            "name": "m", "dataType": data_type, "interval": interval, "keyedValues": keyed, "description": description,
        });
        seen(&client.post("/v2/customMetrics", &body.to_string()))
    };
    assert_eq!(create("Sum", "Daily", false, "first").0, 201);
    for (data_type, interval, keyed, difference) in [
        ("Max", "Daily", true, "dataType: Sum"),
        ("Sum", "Hourly", false, "interval: Daily"),
        ("Sum", "Daily", true, "keyedValues: false"),
    ] {
        let message = format!("The metric \"m\" exists with another {difference}");
        let expected = (409, json!({"status": "Failure", "message": message}));
        assert_eq!(create(data_type, interval, keyed, "first"), expected);
    }
    let (status, kept) = create("Sum", "Daily", false, "second");
    assert_eq!((status, &kept["data"]["customMetricConfig"]["description"]), (200, &json!("first")));
}

#[test]
fn a_list_is_paged_and_counts_all() {
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host);
    let empty = json!({"status": "Success", "data": {"resultCount": 0, "customMetricConfig": []}});
    assert_eq!(seen(&client.get("/v2/customMetrics?resultLimit=50&resultStart=0")), (200, empty));
    for number in 1..=1205 {
        let body = json!({"name": format!("m{number}"), "dataType": "Sum", "interval": "Daily"});
        assert_eq!(client.post("/v2/customMetrics", &body.to_string()).status, 201);
    }
    for (query, first, length) in [
        ("", 1, 100),
        ("?resultLimit=1&resultStart=1", 2, 1),
        ("?resultStart=1204", 1205, 1),
        ("?resultLimit=1000", 1, 1000),
        ("?resultLimit=1200&resultStart=3", 4, 1200),
        ("?resultLimit=10000", 1, 1205),
    ] {
        let (status, answer) = seen(&client.get(&format!("/v2/customMetrics{query}")));
        let metrics = answer["data"]["customMetricConfig"].as_array().expect("a list");
        assert_eq!((status, &answer["data"]["resultCount"]), (200, &json!(1205)), "{query}");
        assert_eq!((metrics[0]["id"].as_u64(), metrics.len()), (Some(first), length), "{query}");
    }
    let (_, answer) = seen(&client.get("/v2/customMetrics?resultStart=5000"));
    assert_eq!(answer["data"], json!({"resultCount": 1205, "customMetricConfig": []}));
}

#[test]
fn a_deleted_metric_is_gone_with_its_data() {
    let host = host();
    let client = Client::new(routes(), &host);
    assert_eq!(client.post("/v2/customMetrics/plain", r#"{"value":1}"#).status, 204);
    assert_eq!(seen(&client.delete("/v2/customMetrics/plain")), (200, json!({"status": "Success"})));
    assert_eq!(client.get("/v2/customMetrics/plain").status, 404);
    assert_eq!(client.delete("/v2/customMetrics/1").status, 404);
    assert_eq!(seen(&client.delete("/api/v2/customMetrics/2")).0, 200);
}

#[test]
fn bad_input_is_refused_by_field_value_and_what_would_be_right() {
    let host = host();
    let client = Client::new(routes(), &host);
    let before = client.get("/v2/customMetrics").body;
    let with = |field: &str, value: Value| {
        let mut body = json!({"name": "new", "dataType": "Sum", "interval": "Daily"});
        body[field] = value;
        body.to_string()
    };
    let long = |length: usize| json!("x".repeat(length));
    let create = "/v2/customMetrics";
    let (plain, keyed) = ("/v2/customMetrics/plain/data", "/v2/customMetrics/keyed/data");
    let value = |text: &str| format!(r#"{{"value":{text}}}"#);
    let text_45 = "expected a text of 1 to 45 characters";
    let data_types = "expected one of Average, Count, First, Last, Max, Min, Sum";
    let intervals = "expected one of Hourly, Daily, Weekly, Monthly, Yearly";
    let moment = "expected an ISO 8601 date and time such as 2024-04-09T14:44:00Z";
    for (path, body, expected) in [
        (create, with("name", json!("")), format!("name is \"\", {text_45}")),
        (create, with("name", long(46)), format!("name is \"{}\", {text_45}", "x".repeat(46))),
        (create, with("name", long(500)), format!("name is \"{}…, {text_45}", "x".repeat(99))),
        (create, with("name", json!(7)), format!("name is 7, {text_45}")),
        (create, with("name", Value::Null), format!("name is missing, {text_45}")),
        (create, with("name", json!("a\u{7}b")), "name is \"a\\u{7}b\", expected".into()),
        (create, with("dataType", json!("Median")), format!("dataType is \"Median\", {data_types}")),
        (create, with("dataType", json!(3)), format!("dataType is 3, {data_types}")),
        (create, with("dataType", Value::Null), format!("dataType is missing, {data_types}")),
        (create, with("interval", json!("Minutely")), format!("interval is \"Minutely\", {intervals}")),
        (create, with("interval", Value::Null), format!("interval is missing, {intervals}")),
        (
            create,
            with("keyedValues", json!("perhaps")),
            "keyedValues is \"perhaps\", expected true or false".into(),
        ),
        (create, with("keyedValues", json!(1)), "keyedValues is 1, expected true or false".into()),
        (
            create,
            with("description", json!("")),
            "description is \"\", expected a text of 1 to 500 characters".into(),
        ),
        (create, with("description", long(501)), "expected a text of 1 to 500 characters".into()),
        (create, String::new(), "The request has no body, expected a JSON object".into()),
        (create, "[]".into(), "The request's body is not a JSON object".into()),
        (create, "7".into(), "The request's body is not a JSON object".into()),
        (create, r#"["a","Sum","Daily",false,"d"]"#.into(), "The request's body is not a JSON object".into()),
        (create, "<metric/>".into(), "not valid JSON: expected value at line 1 column 1".into()),
        (create, r#"{"name":"a""#.into(), "not valid JSON: EOF".into()),
        (plain, "value=1".into(), "not valid JSON".into()),
        (plain, r#"{"value":1} {}"#.into(), "not valid JSON: trailing characters".into()),
        (plain, r#"{"value":1,"value":2}"#.into(), "duplicate field `value`".into()),
        (plain, "{}".into(), "value is missing, expected a number".into()),
        (plain, value("null"), "value is missing, expected a number".into()),
        (plain, value("\"many\""), "value is \"many\", expected a number".into()),
        (plain, value("\"\""), "value is \"\", expected a number".into()),
        (plain, value("\"inf\""), "value is \"inf\", expected a number".into()),
        (plain, value("\"-NaN\""), "value is \"-NaN\", expected a number".into()),
        (plain, value("\"0x10\""), "value is \"0x10\", expected a number".into()),
        (plain, value("true"), "value is true, expected a number".into()),
        (plain, value("[1]"), "value is [1], expected a number".into()),
        (plain, value("1e999"), "value is 1e999, expected a number within ±1.8e308".into()),
        (plain, value("\"-1e999\""), "value is \"-1e999\", expected a number within ±1.8e308".into()),
        (plain, r#"{"value":1,"date":"yesterday"}"#.into(), format!("date is \"yesterday\", {moment}")),
        (
            plain,
            r#"{"value":1,"date":"2024-02-30T00:00:00Z"}"#.into(),
            format!("date is \"2024-02-30T00:00:00Z\", {moment}"),
        ),
        (
            plain,
            r#"{"value":1,"date":"9999-12-31T00:00:00Z"}"#.into(),
            "date is \"9999-12-31T00:00:00Z\", expected a date before 9999-12-30T22:00:00Z".into(),
        ),
        (plain, r#"{"value":1,"date":"9999-12-31"}"#.into(), "expected a date before".into()),
        (plain, r#"{"value":1,"date":1712673840}"#.into(), format!("date is 1712673840, {moment}")),
        (plain, r#"{"value":1,"weight":-1}"#.into(), "weight is -1, expected a number above 0".into()),
        (plain, r#"{"value":1,"weight":0}"#.into(), "weight is 0, expected a number above 0".into()),
        (plain, r#"{"value":1,"weight":"heavy"}"#.into(), "weight is \"heavy\", expected a number".into()),
        (
            plain,
            r#"{"value":1,"name":"a"}"#.into(),
            "name is \"a\", expected no key: the metric \"plain\" is not keyed".into(),
        ),
        (keyed, r#"{"value":1}"#.into(), "name is missing, expected the key to add to".into()),
        (
            keyed,
            r#"{"value":1,"name":""}"#.into(),
            "name is \"\", expected a text of 1 to 200 characters".into(),
        ),
        (keyed, r#"{"value":1,"name":7}"#.into(), "name is 7, expected a text of 1 to 200 characters".into()),
        (keyed, r#"{"value":1,"name":"\ud800"}"#.into(), "name is \"\\ud800\", expected a text".into()),
    ] {
        let (status, answer) = seen(&client.post(path, &body));
        assert_eq!((status, &answer["status"]), (400, &json!("Failure")), "{body}: {answer}");
        let message = answer["message"].as_str().expect("a message");
        assert!(message.contains(&expected), "{body}: {message}, expected {expected}");
    }
    for (query, expected) in [
        ("resultLimit=0", "resultLimit is \"0\", expected a whole number from 1 to 10000"),
        ("resultLimit=10001", "resultLimit is \"10001\""),
        ("resultLimit=many", "resultLimit is \"many\""),
        ("resultStart=-1", "resultStart is \"-1\""),
    ] {
        let (status, answer) = seen(&client.get(&format!("/v2/customMetrics?{query}")));
        assert_eq!(status, 400, "{query}");
        assert!(answer["message"].as_str().is_some_and(|message| message.contains(expected)), "{answer}");
    }
    assert_eq!(client.get("/v2/customMetrics").body, before, "nothing was created");
    let sum = client.post("/v2/customMetrics/plain?returnValue=true", &value("1"));
    assert_eq!(seen(&sum).1["value"], 1.0, "nothing was added");
}

#[test]
fn what_is_not_there_is_said_so() {
    let host = host();
    let client = Client::new(routes(), &host);
    for path in ["/v2/customMetrics/none", "/api/v2/customMetrics/99"] {
        let segment = path.rsplit('/').next().expect("a segment");
        let message = format!("There is no custom metric with the name or id {segment:?}");
        let expected = (404, json!({"status": "Failure", "message": message}));
        assert_eq!(seen(&client.get(path)), expected);
        assert_eq!(seen(&client.delete(path)), expected);
        assert_eq!(seen(&client.post(path, r#"{"value":1}"#)), expected);
        assert_eq!(seen(&client.post(&format!("{path}/data"), r#"{"value":1}"#)), expected);
    }
    for (method, path, status, expected) in [
        (
            "PATCH",
            "/v2/customMetrics/plain",
            405,
            "PATCH is not supported here, expected one of GET, POST, DELETE",
        ),
        ("DELETE", "/api/v2/customMetrics", 405, "DELETE is not supported here, expected one of GET, POST"),
        ("GET", "/v2/customMetrics/plain/data", 405, "GET is not supported here, expected one of POST"),
        ("GET", "/v2/indicators", 404, "There is nothing at /v2/indicators; see /v2/customMetrics"),
        ("GET", "/", 404, "There is nothing at /; see /v2/customMetrics"),
    ] {
        let response = client.send(method, path, "");
        assert_eq!(
            seen(&response),
            (status, json!({"status": "Failure", "message": expected})),
            "{method} {path}"
        );
        assert_eq!(response.headers.iter().any(|header| header.name == "allow"), status == 405);
    }
}

#[test]
fn a_caller_who_is_not_known_is_told_why_in_the_vendors_words() {
    use bellwether_sdk::Timestamp;

    for (failure, expected) in [
        (AuthFailure::OutOfTime(Timestamp::from_seconds(0)), "Timestamp out of acceptable time range"),
        (AuthFailure::SignatureMismatch, "Signature data did not match expected result"),
        (AuthFailure::Missing, "Authorization is missing"),
        (AuthFailure::Unknown, "Access denied"),
        (AuthFailure::Expired, "expired"),
        (AuthFailure::Malformed("no colon".into()), "no colon"),
        (AuthFailure::Other("suspended".into()), "suspended"),
    ] {
        let host = host();
        let is_known = matches!(failure, AuthFailure::Other(_));
        let client = Client::new(routes(), &host).refused(failure);
        for response in [
            client.get("/v2/customMetrics"),
            client.post("/api/v2/customMetrics/plain", r#"{"value":1}"#),
            client.send("PATCH", "/v2/customMetrics", ""),
        ] {
            let (status, answer) = seen(&response);
            assert_eq!((status, &answer["status"]), (if is_known { 403 } else { 401 }, &json!("Failure")));
            assert!(answer["message"].as_str().is_some_and(|message| message.contains(expected)), "{answer}");
            let is_asked = response.headers.iter().any(|header| header.name == "www-authenticate");
            assert_eq!(is_asked, !is_known);
        }
    }
}

#[test]
fn what_the_host_refuses_has_its_own_status() {
    for (error, status) in [
        (MetricError::Forbidden("this key may only read".into()), 403),
        (MetricError::Limit("at most 10000 metrics".into()), 403),
        (MetricError::Unavailable("the disk is full".into()), 503),
        (MetricError::Other("a fault".into()), 500),
    ] {
        let host = host();
        let client = Client::new(routes(), &host);
        for call in 0..4 {
            host.fail_metrics_after(0, error.clone());
            let response = match call {
                0 => client.get("/v2/customMetrics"),
                1 => client.get("/v2/customMetrics/plain"),
                2 => client.delete("/v2/customMetrics/plain"),
                _ => client.post("/v2/customMetrics/plain", r#"{"value":1}"#),
            };
            let expected = (status, json!({"status": "Failure", "message": error.to_string()}));
            assert_eq!(seen(&response), expected, "call {call}");
            assert_eq!(response.headers.iter().any(|header| header.name == "retry-after"), status == 503);
        }
    }
}

#[test]
fn callers_prove_themselves_as_threatconnect_says() {
    use bellwether_sdk::testing::MemoryHost;

    let routes = routes::<MemoryHost>().describe("").routes;
    for route in &routes {
        let open = route.path.ends_with("{rest...}");
        assert_eq!(route.authentication.len(), if open { 0 } else { 2 }, "{} {}", route.method, route.path);
    }
    assert_eq!(routes[0].path, "/v2/customMetrics/{metric}/data");
    assert_eq!(routes[1].path, "/api/v2/customMetrics/{metric}/data");
}
