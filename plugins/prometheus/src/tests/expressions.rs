//! PromQL at one instant. The values were worked out by hand from Prometheus' documentation.

use super::*;

/// An answer as one line: `{label="value"} number`, `|` between elements; an error as its kind and message.
fn shown(response: &Response) -> String {
    let (status, body) = seen(response);
    if status != 200 {
        return format!(
            "{} {}",
            body["errorType"].as_str().unwrap_or_default(),
            body["error"].as_str().unwrap_or_default()
        );
    }
    let result = &body["data"]["result"];
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    match body["data"]["resultType"].as_str() {
        Some("scalar" | "string") => text(&result[1]),
        Some("vector") => {
            let elements = result.as_array().expect("a list").iter();
            elements
                .map(|element| format!("{}{}", labels(&element["metric"]), text(&element["value"][1])))
                .collect::<Vec<_>>()
                .join(" | ")
        }
        Some("matrix") => {
            let elements = result.as_array().expect("a list").iter();
            elements
                .map(|element| format!("{}{}", labels(&element["metric"]), element["values"]))
                .collect::<Vec<_>>()
                .join(" | ")
        }
        other => panic!("{other:?}"),
    }
}

/// `name{label="value"} `; nothing for none.
fn labels(metric: &Value) -> String {
    let pairs = metric.as_object().expect("an object").iter();
    let others: Vec<String> = pairs
        .filter(|(name, _)| *name != "__name__")
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let name = metric["__name__"].as_str().unwrap_or_default();
    match others.is_empty() {
        true if name.is_empty() => String::new(),
        true => format!("{name} "),
        false => format!("{name}{{{}}} ", others.join(",")),
    }
}

/// Whether two lines are the same but for the last bits of their numbers.
fn alike(one: &str, other: &str) -> bool {
    let (one, other): (Vec<&str>, Vec<&str>) = (one.split(' ').collect(), other.split(' ').collect());
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| match (one.parse::<f64>(), other.parse::<f64>()) {
            (Ok(one), Ok(other)) if one.is_finite() => (one - other).abs() <= 1e-12 * one.abs().max(1e-300),
            _ => *one == other,
        })
}

#[track_caller]
fn check(host: &MemoryHost, cases: &[(&str, i64, &str)]) {
    let client = Client::new(routes(), host);
    for (query, time, expected) in cases {
        let parameters = [("query", *query), ("time", &time.to_string())];
        let answer = shown(&client.get(&target("/api/v1/query", &parameters)));
        assert!(alike(&answer, expected), "{query} at {time}\n  is       {answer}\n  expected {expected}");
    }
}

#[test]
fn selectors_find_the_latest_sample_that_is_not_too_old() {
    check(
        &host(),
        &[
            (
                "requests_total",
                600,
                r#"requests_total{code="200",job="api"} 100 | requests_total{code="200",job="db"} 105 | requests_total{code="500",job="api"} 10"#,
            ),
            (r#"requests_total{job="api",code!="500"}"#, 659, r#"requests_total{code="200",job="api"} 100"#),
            (
                r#"requests_total{job=~"a.*|x",code!~"2.."}"#,
                600,
                r#"requests_total{code="500",job="api"} 10"#,
            ),
            (r#"{__name__=~"requests.+",job="db"}"#, 600, r#"requests_total{code="200",job="db"} 105"#),
            (
                r#"info{nothing="",job!=""}"#,
                600,
                r#"info{job="api",version="v2"} 1 | info{job="db",version="v1"} 1"#,
            ),
            ("temp", 150, r#"temp{room="a"} 19"#),
            (r#"temp{room="b"}"#, 119, r#"temp{room="b"} 10"#),
            (r#"temp{room="b"}"#, 120, ""),
            (r#"temp{room="a"}"#, 599, r#"temp{room="a"} 18"#),
            (r#"temp{room="a"}"#, 600, ""),
            (r#"requests_total{code="500"} offset 5m"#, 600, r#"requests_total{code="500",job="api"} 5"#),
            (r#"requests_total{code="500"} offset -1m"#, 300, r#"requests_total{code="500",job="api"} 6"#),
            (r#"requests_total{code="500"} @ 300"#, 600, r#"requests_total{code="500",job="api"} 5"#),
            (
                r#"requests_total{code="500"} @ end() offset 2m"#,
                600,
                r#"requests_total{code="500",job="api"} 8"#,
            ),
            (
                r#"requests_total{code="500"}[2m]"#,
                600,
                r#"requests_total{code="500",job="api"} [[540,"9"],[600,"10"]]"#,
            ),
            (r#"temp{room="b"}[5m]"#, 200, r#"temp{room="b"} [[0,"10"],[60,"10"]]"#),
            ("timestamp(temp)", 350, r#"{room="a"} 300"#),
            ("timestamp(-temp)", 350, r#"{room="a"} 350"#),
        ],
    );
}

#[test]
fn aggregations_make_one_of_many() {
    check(
        &host(),
        &[
            ("sum(requests_total)", 600, "215"),
            ("sum by (job) (requests_total)", 600, r#"{job="api"} 110 | {job="db"} 105"#),
            ("avg without (code) (requests_total)", 600, r#"{job="api"} 55 | {job="db"} 105"#),
            ("sum(requests_total) by (nothing)", 600, "215"),
            ("min(requests_total)", 600, "10"),
            ("max(requests_total)", 600, "105"),
            ("count(requests_total)", 600, "3"),
            ("group(requests_total)", 600, "1"),
            ("stdvar(requests_total)", 600, "1905.5555555555557"),
            ("stddev(requests_total)", 600, "43.65266951236265"),
            ("quantile(0.5, requests_total)", 600, "100"),
            ("quantile(0.75, requests_total)", 600, "102.5"),
            ("quantile(2, requests_total)", 600, "+Inf"),
            ("topk(1, requests_total)", 600, r#"requests_total{code="200",job="db"} 105"#),
            (
                "topk by (job) (1, requests_total)",
                600,
                r#"requests_total{code="200",job="api"} 100 | requests_total{code="200",job="db"} 105"#,
            ),
            (
                "bottomk(2, requests_total)",
                600,
                r#"requests_total{code="500",job="api"} 10 | requests_total{code="200",job="api"} 100"#,
            ),
            ("topk(0, requests_total)", 600, ""),
            (r#"count_values("v", info)"#, 600, r#"{v="1"} 2"#),
            (
                r#"count_values by (job) ("v", requests_total / 4)"#,
                600,
                r#"{job="api",v="25"} 1 | {job="db",v="26.25"} 1 | {job="api",v="2.5"} 1"#,
            ),
            // The label is there before lines are grouped: it takes the place of one of its name.
            (r#"count_values("job", info) by (job)"#, 600, r#"{job="1"} 2"#),
            (r#"count_values("job", info) without (version)"#, 600, r#"{job="1"} 2"#),
            (r#"count_values("v", info) without (v, job)"#, 600, r#"{version="v2"} 1 | {version="v1"} 1"#),
            (r#"count_values("__name__", info)"#, 600, "1 2"),
            ("sum(nothing)", 600, ""),
            ("count(nothing)", 600, ""),
        ],
    );
}

#[test]
fn operators_match_lines_by_their_labels() {
    check(
        &host(),
        &[
            ("1 + 2 * 3 ^ 2", 0, "19"),
            ("2 ^ 3 ^ 2", 0, "512"),
            ("-1 ^ 2", 0, "-1"),
            ("7 % 4", 0, "3"),
            ("1_000.5 + 0x1_0", 0, "1016.5"),
            ("1 / 0", 0, "+Inf"),
            ("0 / 0", 0, "NaN"),
            ("1 atan2 1", 0, "0.7853981633974483"),
            ("10 < bool 5", 0, "0"),
            (
                "requests_total * 2 - 10",
                600,
                r#"{code="200",job="api"} 190 | {code="200",job="db"} 200 | {code="500",job="api"} 10"#,
            ),
            (
                "requests_total > 50",
                600,
                r#"requests_total{code="200",job="api"} 100 | requests_total{code="200",job="db"} 105"#,
            ),
            ("50 >= requests_total", 600, r#"requests_total{code="500",job="api"} 10"#),
            (
                "requests_total > bool 50",
                600,
                r#"{code="200",job="api"} 1 | {code="200",job="db"} 1 | {code="500",job="api"} 0"#,
            ),
            (
                r#"requests_total{code="500"} / ignoring(code) requests_total{code="200"}"#,
                600,
                r#"{job="api"} 0.1"#,
            ),
            (r#"requests_total{code="200"} - on(job) requests_total{code="500"}"#, 600, r#"{job="api"} 90"#),
            (
                "requests_total * on(job) group_left(version) info",
                600,
                r#"{code="200",job="api",version="v2"} 100 | {code="200",job="db",version="v1"} 105 | {code="500",job="api",version="v2"} 10"#,
            ),
            (
                "info * on(job) group_right requests_total > 50",
                600,
                r#"{code="200",job="api"} 100 | {code="200",job="db"} 105"#,
            ),
            (
                "requests_total > on(job) group_left sum by (job) (requests_total) / 2",
                600,
                r#"requests_total{code="200",job="api"} 100 | requests_total{code="200",job="db"} 105"#,
            ),
            (
                r#"requests_total and on(job) info{version="v1"}"#,
                600,
                r#"requests_total{code="200",job="db"} 105"#,
            ),
            (
                r#"requests_total unless on(job) info{version="v1"}"#,
                600,
                r#"requests_total{code="200",job="api"} 100 | requests_total{code="500",job="api"} 10"#,
            ),
            ("temp or vector(1)", 700, "1"),
            (
                "info or requests_total",
                600,
                r#"info{job="api",version="v2"} 1 | info{job="db",version="v1"} 1 | requests_total{code="200",job="api"} 100 | requests_total{code="200",job="db"} 105 | requests_total{code="500",job="api"} 10"#,
            ),
            ("-temp", 150, r#"{room="a"} -19"#),
        ],
    );
    let host = host();
    write(&host, "other", &["job:api", "version:v2"], &[2.0; 11]);
    let client = Client::new(routes(), &host);
    for (query, said) in [
        ("requests_total / on(job) info", "many-to-one matching must be explicit"),
        (
            "info / on() group_left requests_total",
            "found duplicate series for the match group {} on the right",
        ),
        (
            "requests_total * on(job) group_right info",
            "found duplicate series for the match group {job=\"api\"} on the left",
        ),
        ("requests_total + on(job) group_left(code) info", "grouping labels must ensure unique matches"),
        (r#"-{__name__=~"info|lat_bucket|other"}"#, "same labelset"),
    ] {
        let parameters = [("query", query), ("time", "600")];
        let error = refused(&client.get(&target("/api/v1/query", &parameters)), 422, "execution");
        assert!(error.contains(said), "{query}: {error}");
    }
}

#[test]
fn windows_are_looked_through_as_documented() {
    check(
        &host(),
        &[
            (r#"increase(requests_total{code="500"}[5m])"#, 600, r#"{code="500",job="api"} 5"#),
            (
                r#"rate(requests_total{code="500"}[5m])"#,
                600,
                r#"{code="500",job="api"} 0.016666666666666666"#,
            ),
            // A counter is not carried on to before it was zero.
            (r#"increase(requests_total{code="500"}[15m])"#, 660, r#"{code="500",job="api"} 11"#),
            (
                r#"increase(requests_total{job="db"}[10m])"#,
                600,
                r#"{code="200",job="db"} 183.33333333333334"#,
            ),
            (
                r#"irate(requests_total{code="500"}[5m])"#,
                600,
                r#"{code="500",job="api"} 0.016666666666666666"#,
            ),
            (r#"irate(requests_total{job="db"}[2m])"#, 300, r#"{code="200",job="db"} 0.08333333333333333"#),
            (r#"delta(temp{room="a"}[5m])"#, 300, r#"{room="a"} -5"#),
            (r#"idelta(temp{room="a"}[5m])"#, 300, r#"{room="a"} -2"#),
            (r#"rate(requests_total{code="500"}[1m])"#, 600, ""),
            ("count_over_time(temp[10m])", 300, r#"{room="a"} 6 | {room="b"} 2"#),
            (r#"changes(temp{room="a"}[10m])"#, 300, r#"{room="a"} 5"#),
            (r#"resets(temp{room="a"}[10m])"#, 300, r#"{room="a"} 3"#),
            (r#"avg_over_time(temp{room="a"}[10m])"#, 300, r#"{room="a"} 20"#),
            (r#"sum_over_time(temp{room="a"}[10m])"#, 300, r#"{room="a"} 120"#),
            (r#"min_over_time(temp{room="a"}[10m])"#, 300, r#"{room="a"} 18"#),
            (r#"max_over_time(temp{room="a"}[10m])"#, 300, r#"{room="a"} 22"#),
            (r#"stdvar_over_time(temp{room="a"}[10m])"#, 300, r#"{room="a"} 1.6666666666666667"#),
            (r#"stddev_over_time(temp{room="a"}[10m])"#, 300, r#"{room="a"} 1.2909944487358056"#),
            (r#"last_over_time(temp{room="a"}[10m])"#, 300, r#"temp{room="a"} 18"#),
            (r#"first_over_time(temp{room="a"}[10m])"#, 300, r#"temp{room="a"} 20"#),
            (r#"present_over_time(temp{room="a"}[10m])"#, 300, r#"{room="a"} 1"#),
            (r#"quantile_over_time(0.5, temp{room="a"}[10m])"#, 300, r#"{room="a"} 20"#),
            (r#"quantile_over_time(0.9, temp{room="a"}[10m])"#, 300, r#"{room="a"} 21.5"#),
            (
                r#"deriv(requests_total{code="500"}[5m])"#,
                600,
                r#"{code="500",job="api"} 0.016666666666666666"#,
            ),
            (r#"predict_linear(requests_total{code="500"}[5m], 60)"#, 600, r#"{code="500",job="api"} 11"#),
            (r#"predict_linear(info{job="db"}[5m], 3600)"#, 600, r#"{job="db",version="v1"} 1"#),
            (r#"sum_over_time(vector(1)[5m:1m])"#, 630, "5"),
            (r#"max_over_time(sum(requests_total{job="api"})[5m:1m])"#, 600, "110"),
            (r#"max_over_time(sum(requests_total{job="api"})[5m:1m] offset 5m)"#, 600, "55"),
            (r#"rate(sum(requests_total{job="api"})[5m:1m])"#, 600, "0.18333333333333332"),
        ],
    );
}

#[test]
fn functions_that_prometheus_calls_experimental_are_as_documented() {
    let host = host();
    for (instance, version) in [("web-9", "v1"), ("web-10", "v2")] {
        let instance = format!("instance:{instance}");
        write(
            &host,
            "target_info",
            &["job:api", &instance, &format!("version:{version}"), "env:prod"],
            &[1.0; 11],
        );
        write(&host, "build_info", &["job:api", &instance, "commit:abc"], &[1.0; 11]);
        write(&host, "up", &["job:api", &instance], &[1.0; 11]);
    }
    // Told again in a new life: the last holds.
    write(&host, "target_info", &["job:api", "instance:web-9", "version:v0", "env:prod"], &[1.0; 3]);
    write(&host, "up", &["job:db", "instance:db-1"], &[1.0; 11]);
    let a = r#"temp{room="a"}"#;
    let smoothed = |factors: &str| format!("holt_winters({a}[10m], {factors})");
    check(
        &host,
        &[
            // 20, 22, 19, 21, 20, 18: levels 20, 22, 21.5, 21.9375, 21.5390625, 20.1474609375.
            (&smoothed("0.5, 0.25"), 300, r#"{room="a"} 20.1474609375"#),
            (
                &smoothed("0.5, 0.25").replace("holt_winters", "double_exponential_smoothing"),
                300,
                r#"{room="a"} 20.1474609375"#,
            ),
            (r#"double_exponential_smoothing(temp[30s], 0.5, 0.5)"#, 300, ""),
            (&format!("mad_over_time({a}[10m])"), 300, r#"{room="a"} 1"#),
            (&format!("ts_of_first_over_time({a}[10m])"), 300, r#"{room="a"} 0"#),
            (&format!("ts_of_last_over_time({a}[10m])"), 400, r#"{room="a"} 300"#),
            (&format!("ts_of_max_over_time({a}[10m])"), 300, r#"{room="a"} 60"#),
            (&format!("ts_of_min_over_time({a}[4m])"), 250, r#"{room="a"} 120"#),
            ("ts_of_max_over_time(info{job=\"db\"}[5m])", 600, r#"{job="db",version="v1"} 600"#),
            (
                r#"sort_by_label(up, "instance")"#,
                600,
                r#"up{instance="db-1",job="db"} 1 | up{instance="web-9",job="api"} 1 | up{instance="web-10",job="api"} 1"#,
            ),
            (
                r#"sort_by_label_desc(up, "job", "instance")"#,
                600,
                r#"up{instance="db-1",job="db"} 1 | up{instance="web-10",job="api"} 1 | up{instance="web-9",job="api"} 1"#,
            ),
            ("count(limitk(2, up))", 600, "2"),
            (
                "limitk by (job) (1, up)",
                600,
                r#"up{instance="db-1",job="db"} 1 | up{instance="web-10",job="api"} 1"#,
            ),
            ("limitk(0, up)", 600, ""),
            ("count(limit_ratio(1, up))", 600, "3"),
            ("count(limit_ratio(0.3, up) or limit_ratio(-0.7, up))", 600, "3"),
            ("limit_ratio(0.3, up) and limit_ratio(-0.7, up)", 600, ""),
            (
                r#"info(up{job="api"}, {version=~".+"})"#,
                600,
                r#"up{instance="web-10",job="api",version="v2"} 1 | up{instance="web-9",job="api",version="v1"} 1"#,
            ),
            (
                r#"info(up{instance="web-9"})"#,
                600,
                r#"up{env="prod",instance="web-9",job="api",version="v1"} 1"#,
            ),
            (r#"info(up{job="db"})"#, 600, r#"up{instance="db-1",job="db"} 1"#),
            (r#"info(up{job="db"}, {version=~".+"})"#, 600, ""),
            (
                r#"info(sum by (job, instance) (up{instance="web-10"}), {__name__="build_info"})"#,
                600,
                r#"{commit="abc",instance="web-10",job="api"} 1"#,
            ),
        ],
    );
    let client = Client::new(routes(), &host);
    for (query, said) in [
        (smoothed("1, 0.5"), "invalid smoothing factor. Expected: 0 < sf < 1, got: 1.000000"),
        (smoothed("0.5, 0"), "invalid trend factor. Expected: 0 < tf < 1, got: 0.000000"),
        ("limitk(NaN, up)".to_owned(), "overflows int64"),
        ("limit_ratio(NaN, up)".to_owned(), "NaN"),
        (r#"info(up{instance="web-9"} @ 60)"#.to_owned(), "duplicate series for info metric"),
    ] {
        let time = if query.contains("web-9") { "60" } else { "300" };
        let parameters = [("query", &*query), ("time", time)];
        let error = refused(&client.get(&target("/api/v1/query", &parameters)), 422, "execution");
        assert!(error.contains(said), "{query}: {error}");
    }
}

#[test]
fn functions_of_values_and_labels_are_as_documented() {
    check(
        &host(),
        &[
            (r#"histogram_quantile(0.5, lat_bucket)"#, 600, "0.4"),
            (r#"histogram_quantile(0.1, lat_bucket)"#, 600, "0.05"),
            (r#"histogram_quantile(0.9, lat_bucket)"#, 600, "1"),
            (r#"histogram_quantile(1.5, lat_bucket)"#, 600, "+Inf"),
            (r#"histogram_quantile(0.5, lat_bucket{le!="+Inf"})"#, 600, "NaN"),
            (r#"histogram_quantile(0.5, temp)"#, 150, ""),
            ("abs(vector(-2)) + ceil(vector(1.2)) + floor(vector(1.8))", 0, "5"),
            ("round(vector(2.5))", 0, "3"),
            ("round(vector(-2.5))", 0, "-2"),
            ("round(vector(7), 5)", 0, "5"),
            ("clamp(vector(7), 0, 5)", 0, "5"),
            ("clamp(vector(7), 5, 0)", 0, ""),
            ("clamp_min(vector(1), 2)", 0, "2"),
            ("clamp_max(vector(3), 2)", 0, "2"),
            // An infinity on the bound's side holds even against what is no number, as Go says it.
            ("clamp_max(vector(-Inf), NaN)", 0, "-Inf"),
            ("clamp_max(vector(NaN), -Inf)", 0, "-Inf"),
            ("clamp_max(vector(Inf), NaN)", 0, "NaN"),
            ("clamp_min(vector(Inf), NaN)", 0, "+Inf"),
            ("clamp_min(vector(-Inf), NaN)", 0, "NaN"),
            ("clamp(vector(Inf), 0, NaN)", 0, "NaN"),
            ("clamp(vector(-Inf), NaN, 5)", 0, "NaN"),
            ("clamp(vector(-Inf), 0, NaN)", 0, "0"),
            ("1 / clamp_max(vector(0), -0)", 0, "-Inf"),
            ("1 / clamp_min(vector(-0), 0)", 0, "+Inf"),
            ("sgn(vector(-3))", 0, "-1"),
            ("sqrt(vector(16))", 0, "4"),
            ("ln(exp(vector(1)))", 0, "1"),
            ("log2(vector(8)) + log10(vector(1000))", 0, "6"),
            ("ln(vector(0))", 0, "-Inf"),
            ("deg(vector(pi()))", 0, "180"),
            ("time()", 600, "600"),
            ("scalar(vector(3)) + 1", 0, "4"),
            ("scalar(info)", 600, "NaN"),
            ("\"a text\"", 0, "a text"),
            ("hour(vector(1712673840))", 0, "14"),
            ("minute(vector(1712673840))", 0, "44"),
            ("day_of_month(vector(1712673840))", 0, "9"),
            ("day_of_week(vector(1712673840))", 0, "2"),
            ("day_of_year(vector(1712673840))", 0, "100"),
            ("days_in_month(vector(1712673840))", 0, "30"),
            ("month(vector(1712673840))", 0, "4"),
            ("year()", 0, "1970"),
            ("year(vector(1e300))", 0, "NaN"),
            (r#"absent(nothing{a="b",c!="d",e="1",e="2"})"#, 0, r#"{a="b"} 1"#),
            ("absent(info)", 600, ""),
            ("absent(sum(nothing))", 600, "1"),
            (r#"absent_over_time(nothing{a="b"}[5m])"#, 600, r#"{a="b"} 1"#),
            (
                r#"label_replace(info{job="api"}, "n", "x$1", "version", "v(.)")"#,
                600,
                r#"info{job="api",n="x2",version="v2"} 1"#,
            ),
            (
                r#"label_replace(info{job="api"}, "n", "x$1", "version", "(.)")"#,
                600,
                r#"info{job="api",version="v2"} 1"#,
            ),
            (r#"label_replace(info{job="api"}, "version", "", "job", ".*")"#, 600, r#"info{job="api"} 1"#),
            (
                r#"label_join(info{job="api"}, "n", "-", "job", "version")"#,
                600,
                r#"info{job="api",n="api-v2",version="v2"} 1"#,
            ),
            // Without a label to join the label is none.
            (r#"label_join(info{job="api"}, "version", "-")"#, 600, r#"info{job="api"} 1"#),
            (
                r#"sort(requests_total)"#,
                600,
                r#"requests_total{code="500",job="api"} 10 | requests_total{code="200",job="api"} 100 | requests_total{code="200",job="db"} 105"#,
            ),
            (
                r#"sort_desc(requests_total{job="api"})"#,
                600,
                r#"requests_total{code="200",job="api"} 100 | requests_total{code="500",job="api"} 10"#,
            ),
        ],
    );
}

#[test]
fn what_cannot_be_asked_is_refused_before_anything_is_read() {
    let host = host();
    let client = Client::new(routes(), &host);
    let (deep, long) =
        (format!("{}1{}", "(".repeat(300), ")".repeat(300)), format!("1{}", " + 1".repeat(300)));
    let longest = "a".repeat(20_000);
    for (query, said) in [
        ("", "no expression found"),
        ("temp[", "1:6: parse error: unexpected end of input, expected a duration"),
        ("{}", "non-empty matcher"),
        ("foo(temp)", "unknown function with name 'foo'"),
        ("histogram_count(temp)", "'histogram_count' is not served"),
        ("histogram_sum(temp)", "'histogram_sum' is not served"),
        ("temp + fill(0) temp", "fill"),
        ("1 > 2", "BOOL"),
        ("sum(temp[5m])", "expected type"),
        ("rate(temp)", "expected type range vector in call to function 'rate', got instant vector"),
        ("temp{room=~\"a(\"}", "regular expression"),
        (r#"label_join(temp, "a")"#, "expected at least 3 argument(s)"),
        ("temp[1e30]", "out of range"),
        ("temp[5m:inf]", "expected a duration"),
        ("temp offset 999y", "out of range"),
        ("temp[5m5h]", "not a valid duration"),
        ("temp @ 1e300", "out of bounds"),
        ("temp offset 5m offset 5m", "multiple times"),
        ("sum(temp) offset 5m", "must be preceded"),
        ("temp[5m", "expected \"]\""),
        ("temp{room=\"a}", "unterminated"),
        ("temp{room=\"\\q\"}", "escape"),
        ("temp $ 1", "1:6: parse error: unexpected character '$'"),
        ("temp 1", "1:6: parse error: unexpected number 1"),
        ("temp{__name__=\"x\"}", "set twice"),
        ("temp and 1", "set operators"),
        ("temp + bool temp", "bool modifier"),
        ("temp * group_left temp", "without on or ignoring"),
        ("temp * on(a) group_left(a) temp", "ON and GROUP"),
        ("topk(temp)", "expected 2, got 1"),
        ("round()", "expected 1 to 2 argument(s)"),
        (&deep, "more than 64 operators"),
        (&long, "more than 64 operators"),
        (&longest, "bytes"),
    ] {
        let error = refused(
            &client.get(&target("/api/v1/query", &[("query", query), ("time", "600")])),
            400,
            "bad_data",
        );
        assert!(error.contains(said), "{}: {error}", &query[..query.len().min(60)]);
        assert!(error.contains("\"query\""), "{error}");
    }
    for (parameters, said) in [
        (&[("query", "1"), ("time", "x")][..], "\"time\""),
        (&[("query", "1"), ("time", "NaN")], "\"time\""),
        (&[("query", "1"), ("time", "1e300")], "\"time\""),
        (&[("query", "1"), ("timeout", "5x")], "\"timeout\": cannot parse \"5x\" to a valid duration"),
    ] {
        let error = refused(&client.get(&target("/api/v1/query", parameters)), 400, "bad_data");
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn what_reads_but_has_no_value_is_told_as_execution() {
    let host = host();
    let client = Client::new(routes(), &host);
    for (query, said) in [
        (r#"label_replace(temp, "a-b", "", "room", ".*")"#, "destination label name in label_replace(): a-b"),
        (r#"label_replace(temp, "a", "", "room", "(")"#, "regular expression in label_replace(): ("),
        (r#"label_join(temp, "a-b", "", "room")"#, "destination label name in label_join(): a-b"),
        (r#"label_join(temp, "a", "", "room", "b c")"#, "source label name in label_join(): b c"),
        (r#"count_values("a b", temp)"#, "invalid label name \"a b\""),
        ("topk(NaN, temp)", "Scalar value NaN overflows int64"),
        ("topk(Inf, temp)", "Scalar value +Inf overflows int64"),
        ("bottomk(1e30, nothing)", "Scalar value 1e30 overflows int64"),
    ] {
        let parameters = [("query", query), ("time", "600")];
        let error = refused(&client.get(&target("/api/v1/query", &parameters)), 422, "execution");
        assert!(error.contains(said), "{query}: {error}");
    }
}

#[test]
fn time_is_now_unless_it_is_said_in_either_form() {
    let host = host();
    let client = Client::new(routes(), &host);
    let at = |parameters: &[(&str, &str)]| {
        data(&client.get(&target("/api/v1/query", parameters)))["result"][0].clone()
    };
    assert_eq!(at(&[("query", "1")]), json!(1_712_673_840));
    assert_eq!(at(&[("query", "1"), ("time", "1.5")]), json!(1.5));
    assert_eq!(at(&[("query", "1"), ("time", "2024-04-09T14:44:00Z")]), json!(1_712_673_840));
    let form = client.header("content-type", "application/x-www-form-urlencoded");
    let response = form.post("/api/v1/query?time=5", "query=time%28%29+%2B+1");
    assert_eq!(data(&response), json!({ "resultType": "scalar", "result": [5, "6"] }));
}
