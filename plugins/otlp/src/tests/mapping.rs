//! What attributes, scopes and resources become, and what an organisation sets of it.

use super::*;

fn resource() -> Vec<KeyValue> {
    vec![
        attribute("service.name", "api"),
        attribute("service.namespace", "shop"),
        attribute("service.instance.id", "pod-1"),
        attribute("host.name", "web-1"),
        attribute("k8s.pod.name", "p"),
    ]
}

fn scope() -> Scope {
    let attributes = vec![attribute("team", "t"), attribute("name", "lost")];
    Scope { name: "meter".to_owned(), version: "2".to_owned(), attributes }
}

fn point(attributes: Vec<KeyValue>) -> Vec<Metric> {
    vec![gauge("queue.length", vec![NumberDataPoint { attributes, ..double(1.0) }])]
}

/// The one series that a request makes under these settings.
#[track_caller]
fn made(settings: &Json, request: &Request) -> String {
    let host = MemoryHost::new();
    let client = client(&host, PROTOBUF).settings(settings).expect("they fit");
    assert_eq!(client.send("POST", "/v1/metrics", request.encode_to_vec()).status, 200);
    let all = stored(&host);
    assert_eq!(all.len(), 1, "{all:?}");
    all.into_keys().next().expect("one")
}

#[test]
fn who_sends_is_job_and_instance_and_the_settings_say_what_else_is_a_tag() {
    let message = of(resource(), scope(), point(vec![attribute("queue.name", "q")]));
    let scoped = "otel_scope_name:meter,otel_scope_team:t,otel_scope_version:2";
    let sender = "instance:pod-1,job:shop/api";
    for (settings, expected) in [
        (
            json!({}),
            format!("queue_length{{host_name:web-1,{sender},k8s_pod_name:p,{scoped},queue_name:q}}"),
        ),
        (
            json!({ "scope": false, "resource_attributes": ["k8s.pod.name", "service.name"] }),
            format!("queue_length{{{sender},k8s_pod_name:p,queue_name:q,service_name:api}}"),
        ),
        (json!({ "scope": false, "resource_attributes": [] }), format!("queue_length{{{sender},queue_name:q}}")),
        (
            json!({ "names": "opentelemetry", "resource_attributes": ["service.name"] }),
            "queue.length{otel.scope.name:meter,otel.scope.team:t,otel.scope.version:2,queue.name:q,service.name:api}"
                .to_owned(),
        ),
        (
            json!({ "names": "opentelemetry", "scope": false }),
            "queue.length{host.name:web-1,k8s.pod.name:p,queue.name:q,service.instance.id:pod-1,service.name:api,\
             service.namespace:shop}"
                .to_owned(),
        ),
    ] {
        assert_eq!(made(&settings, &message), expected, "{settings}");
    }
}

#[test]
fn the_nearer_tag_holds_but_never_in_place_of_the_sender() {
    let own =
        vec![attribute("job", "own"), attribute("host.name", "nearer"), attribute("otel_scope_name", "o")];
    let message = of(resource()[..4].to_vec(), Scope { attributes: vec![], ..scope() }, point(own));
    let expected =
        "queue_length{host_name:nearer,instance:pod-1,job:shop/api,otel_scope_name:o,otel_scope_version:2}";
    assert_eq!(made(&json!({}), &message), expected);
    // Nobody says who sends.
    let message = of(
        vec![attribute("service.namespace", "shop")],
        Scope::default(),
        point(vec![attribute("job", "own")]),
    );
    assert_eq!(made(&json!({}), &message), "queue_length{job:own,service_namespace:shop}");
    // What somebody says of who sends and `job` and `instance` do not, is not lost.
    for (said, expected) in [
        (&resource()[1..3], "queue_length{instance:pod-1,service_namespace:shop}"),
        (&resource()[..2], "queue_length{job:shop/api}"),
        (&resource()[2..3], "queue_length{instance:pod-1}"),
    ] {
        let message = of(said.to_vec(), Scope::default(), point(Vec::new()));
        assert_eq!(made(&json!({}), &message), expected);
    }
}

#[test]
fn values_that_no_tag_can_have_are_made_ones() {
    let long = "ä".repeat(300);
    let message = request(point(vec![
        attribute("b.c", "2"),
        attribute("b_c", "1"),
        attribute("empty", ""),
        attribute("long", long.as_str()),
        attribute("lines", "a\nb"),
        attribute("", "nameless"),
    ]));
    // 400 bytes with the key and the colon: a whole character less is 399.
    let expected = format!("queue_length{{b_c:2;1,lines:a_b,long:{}}}", "ä".repeat(197));
    assert_eq!(made(&json!({}), &message), expected);
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let host = MemoryHost::new();
    let wrong = client(&host, PROTOBUF).settings(&json!({ "names": "datadog" })).err().expect("it is none");
    assert_eq!((wrong.name.as_str(), wrong.value.as_str()), ("names", "the text \"datadog\""));
}
