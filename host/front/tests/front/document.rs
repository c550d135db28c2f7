//! The OpenAPI document says of every route what callers need, and the page that shows it works offline.

use crate::support::Host;
use axum::body::Body;
use http::Request;
use serde_json::Value;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, item): (&String, &Value)| {
        METHODS
            .iter()
            .filter_map(|method| Some((path.clone(), (*method).to_owned(), item.get(method)?.clone())))
            .collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

#[tokio::test]
async fn the_document_is_openapi_3_1_and_every_reference_leads_somewhere() {
    let host = Host::new().await;
    let document = host.get("/openapi.json", "").await.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{}", document["openapi"]);
    assert_eq!(document["info"]["title"], "Bellwether");
    assert_eq!(document["components"]["securitySchemes"]["key"]["scheme"], "bearer");
    let mut waiting = vec![&document];
    while let Some(value) = waiting.pop() {
        match value {
            Value::Object(map) => {
                if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
                    let found = reference.strip_prefix('#').and_then(|pointer| document.pointer(pointer));
                    assert!(found.is_some(), "{reference} leads nowhere");
                }
                waiting.extend(map.values());
            }
            Value::Array(items) => waiting.extend(items),
            _ => {}
        }
    }
}

#[tokio::test]
async fn every_operation_says_who_may_call_what_it_answers_and_how_it_fails() {
    let host = Host::new().await;
    let document = host.get("/openapi.json", "").await.json();
    let mut ids = std::collections::HashSet::new();
    for (path, method, operation) in operations(&document) {
        let name = format!("{method} {path}");
        assert!(
            operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()),
            "{name} has no summary"
        );
        let id = operation["operationId"].as_str().unwrap_or_default();
        assert!(ids.insert(id.to_owned()), "{name} shares its id {id}");
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')), "{name} never succeeds");
        for (status, response) in responses {
            if !status.starts_with('2') {
                let schema = &response["content"]["application/problem+json"]["schema"]["$ref"];
                assert_eq!(schema, "#/components/schemas/Problem", "{name} {status}");
            }
        }
        for parameter in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
            let declared = operation["parameters"].as_array().unwrap();
            let declared =
                declared.iter().any(|declared| declared["name"] == parameter && declared["in"] == "path");
            assert!(declared, "{name} does not declare {parameter}");
        }
        if path.starts_with("/v1/") {
            assert_eq!(operation["security"][0]["key"], serde_json::json!([]), "{name}");
            for status in ["400", "401", "403", "429", "500", "503", "504"] {
                assert!(responses.contains_key(status), "{name} does not say {status}");
            }
            let repeatable = operation["parameters"].to_string().contains("idempotency-key");
            assert_eq!(
                repeatable,
                method != "get" && !["/v1/query", "/v1/monitor-tests"].contains(&path.as_str()),
                "{name}"
            );
        }
    }
}

#[tokio::test]
async fn what_takes_a_body_says_which() {
    let host = Host::new().await;
    let document = host.get("/openapi.json", "").await.json();
    for (path, method, operation) in operations(&document) {
        if operation["responses"].get("415").is_some() {
            assert!(operation["requestBody"]["content"].is_object(), "{method} {path}");
        }
    }
    for method in ["get", "post", "put"] {
        let hook = &document["paths"]["/hooks/{token}"][method];
        assert!(hook["responses"]["401"].is_object(), "{hook}");
        let body = &hook["requestBody"]["content"]["*/*"];
        assert!(body.is_object() && body["schema"].get("type").is_none(), "any bytes are no list: {body}");
    }
}

#[tokio::test]
async fn every_operation_of_the_document_is_served_and_needs_a_key() {
    let host = Host::new().await;
    let document = host.get("/openapi.json", "").await.json();
    let operations = operations(&document);
    assert!(operations.len() > 30, "{}", operations.len());
    for (path, method, _) in operations {
        let asked = path.replace(['{', '}'], "");
        let answer = host.ask(&method.to_uppercase(), &asked, "", Value::Null).await;
        let expected = if path.starts_with("/v1/") { 401 } else { 404 };
        assert_eq!(answer.status, expected, "{method} {path}: {}", answer.text());
        assert!(!answer.text().contains("nothing at this path"), "{method} {path}");
    }
}

#[tokio::test]
async fn the_page_to_try_it_brings_everything_along() {
    let host = Host::new().await;
    assert_eq!(host.get("/docs", "").await.header("location"), "/docs/");
    let index = host.get("/docs/", "").await;
    assert!(index.header("content-security-policy").contains("script-src 'self'"));
    let page = index.text();
    assert!(!page.contains("<script>"), "an inline script does not pass the policy");
    for part in page.split(['"', '\'']).filter(|part| part.ends_with(".js") || part.ends_with(".css")) {
        assert!(!part.contains("://"), "{part} comes from elsewhere");
        let file = host.get(&format!("/docs/{}", part.trim_start_matches("./")), "").await;
        assert_eq!(file.status, 200, "{part}");
    }
    assert!(host.get("/docs/swagger-initializer.js", "").await.text().contains("/openapi.json"));
}

#[tokio::test]
async fn the_front_page_is_whole_and_safe() {
    let host = Host::new().await;
    let page = host.get("/", "").await;
    assert_eq!((page.status.as_u16(), page.header("x-content-type-options")), (200, "nosniff"));
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    for outside in ["<script", "<link", "<img", "src="] {
        assert!(!page.text().contains(outside), "{outside}");
    }
    assert!(page.text().contains("Ready") && page.text().contains("<title>Bellwether</title>"));
    // What it says to try is asked where the page was.
    let request = Request::get("/").header("host", "metrics.example.com:9000").body(Body::empty()).unwrap();
    assert!(host.send(request).await.text().contains("curl http://metrics.example.com:9000/v1/metrics"));
}

#[tokio::test]
async fn every_list_refuses_a_cursor_that_is_not_its_own() {
    let host = Host::new().await;
    for number in 0..2 {
        let metric =
            serde_json::json!({"name": format!("m{number}"), "data_type": "sum", "interval": "daily"});
        host.ask("POST", "/v1/metrics", &host.admin, metric).await;
    }
    let of_metrics = host.get("/v1/metrics?limit=1", &host.admin).await.json()["next"].clone();
    let of_metrics = of_metrics.as_str().unwrap();
    host.get(&format!("/v1/metrics?cursor={of_metrics}"), &host.admin).await.json();
    let document = host.get("/openapi.json", "").await.json();
    let is_query = |parameter: &&Value| parameter["in"] == "query";
    let mut lists = 0;
    for (path, _, operation) in operations(&document) {
        let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
        if !parameters.iter().filter(is_query).any(|parameter| parameter["name"] == "cursor") {
            continue;
        }
        lists += 1;
        let path: Vec<_> =
            path.split('/').map(|part| if part.starts_with('{') { "1" } else { part }).collect();
        let path = path.join("/");
        let required = parameters.iter().filter(is_query).filter(|parameter| parameter["required"] == true);
        let required: String =
            required.map(|parameter| format!("&{}=m0", parameter["name"].as_str().unwrap())).collect();
        let key = if path.starts_with("/v1/organisations") { &host.operator } else { &host.admin };
        for cursor in ["AAAA", of_metrics] {
            if path == "/v1/metrics" && cursor == of_metrics {
                continue;
            }
            let refused = host.get(&format!("{path}?cursor={cursor}{required}"), key).await;
            let error = &refused.problem(400, "invalid")["errors"][0];
            assert_eq!((&error["field"], &error["value"]), (&"cursor".into(), &cursor.into()), "{path}");
        }
    }
    assert!(lists >= 25, "{lists}");
}

#[tokio::test]
async fn what_the_document_gives_as_an_example_is_taken() {
    let host = Host::new().await;
    let document = host.get("/openapi.json", "").await.json();
    for path in ["/v1/keys", "/v1/mutes", "/v1/calendar", "/v1/monitors", "/v1/monitor-tests"] {
        let body = &document["paths"][path]["post"]["requestBody"]["content"]["application/json"];
        let name = body["schema"]["$ref"].as_str().unwrap_or_default().rsplit('/').next().unwrap();
        let given = body.get("example").unwrap_or(&document["components"]["schemas"][name]["example"]);
        let answer = host.ask("POST", path, &host.admin, given.clone()).await;
        assert!(answer.status.is_success(), "{path}: {given} is answered {}", answer.text());
    }
}

/// Of two the document would show one for both.
#[test]
fn no_two_schemas_have_one_name() {
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    let mut names = std::collections::BTreeMap::<String, String>::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            // A file of another kind has no such derive.
            for item in text.split("ToSchema)]").skip(1) {
                let at = ["struct ", "enum "].iter().filter_map(|word| item.find(word)).min().unwrap();
                let (attributes, declared) = item.split_at(at);
                let given = attributes.split("schema(as = ").nth(1).and_then(|rest| rest.split(')').next());
                let own = declared.split(|c: char| !c.is_alphanumeric()).nth(1);
                let name = given.or(own).unwrap().to_owned();
                let file = path.display().to_string();
                assert_eq!(names.insert(name.clone(), file.clone()), None, "{name} in {file}");
            }
        }
    }
    assert!(names.len() > 50, "{}", names.len());
}
