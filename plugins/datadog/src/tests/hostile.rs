//! Bytes of whoever sends them: they are answered, whatever they are.

use proptest::prelude::*;

use super::submitting::agent_payload;
use super::*;

fn send(path: &str, media_type: &str, encoding: &str, body: &[u8]) -> u16 {
    let host = MemoryHost::new();
    let client =
        Client::new(routes(), &host).header("content-type", media_type).header("content-encoding", encoding);
    client.send("POST", path, body).status
}

const PATHS: [&str; 3] = ["/api/v1/series", "/api/v2/series", "/api/v1/distribution_points"];
const ENCODINGS: [&str; 5] = ["", "gzip", "deflate", "zstd1", "identity"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_are_answered(body in prop::collection::vec(any::<u8>(), 0..200), path in 0..3_usize, encoding in 0..5_usize) {
        for media_type in ["application/json", "application/x-protobuf"] {
            let status = send(PATHS[path], media_type, ENCODINGS[encoding], &body);
            prop_assert!([202, 400, 413, 415].contains(&status), "{status}");
        }
    }

    #[test]
    fn a_good_payload_with_wrong_bytes_is_answered(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let bodies = [
            ("", "application/x-protobuf", agent_payload()),
            ("", "application/json", payload("m").into_bytes()),
            ("zstd1", "application/json", zstd::encode_all(payload("m").as_bytes(), 3).expect("into memory")),
            ("zstd1", "application/x-protobuf", zstd::encode_all(&*agent_payload(), 3).expect("into memory")),
        ];
        for (encoding, media_type, mut body) in bodies {
            let at = at.index(body.len());
            body[at] = byte;
            let status = send("/api/v2/series", media_type, encoding, &body);
            prop_assert!([202, 400, 413].contains(&status), "{status}");
            body.truncate(cut.index(body.len()));
            let status = send("/api/v2/series", media_type, encoding, &body);
            prop_assert!([202, 400, 413].contains(&status), "{status}");
        }
    }

    #[test]
    fn what_is_sent_is_what_is_kept(
        values in prop::collection::vec((-60_000_000_000_i64..250_000_000_000, -1e300..1e300_f64), 1..20),
        tags in prop::collection::btree_set("[a-zA-Zä][a-z0-9_:.\"\\\\/ä]{0,20}[a-z0-9]", 0..5),
    ) {
        let host = MemoryHost::new();
        let points: Vec<Value> = values.iter().map(|(time, value)| json!([time, value])).collect();
        let body = json!({ "series": [{ "metric": "m", "points": points, "tags": tags }] });
        let response = Client::new(routes(), &host).post("/api/v1/series", &body.to_string());
        prop_assert_eq!(response.status, 202);
        let mut last = std::collections::BTreeMap::new();
        last.extend(values.iter().map(|(time, value)| (time * 1000, *value)));
        let kept = stored(&host, "m");
        prop_assert_eq!(&kept[0].0, &tags.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(&kept[0].1, &last.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn any_question_is_answered(query in "\\PC{0,40}", formula in "\\PC{0,20}") {
        let host = MemoryHost::new();
        let client = Client::new(routes(), &host);
        let body = json!({ "data": { "attributes": {
            "from": 0, "to": 1000, "queries": [{ "data_source": "metrics", "query": query, "name": "a" }],
            "formulas": [{ "formula": formula }],
        } } });
        for path in ["/api/v2/query/timeseries", "/api/v2/query/scalar"] {
            let status = client.post(path, &body.to_string()).status;
            prop_assert!([200, 400, 500].contains(&status), "{status}");
        }
    }
}
