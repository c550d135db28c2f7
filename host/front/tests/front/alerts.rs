//! The page of alerts.

use serde_json::json;

use crate::playbooks::form;
use crate::support::Host;

#[tokio::test]
async fn the_page_of_alerts_shows_what_the_keys_organisation_has_and_asks_for_the_key_each_time() {
    let host = Host::new().await;
    let monitor = json!({
        "name": "load", "kind": "threshold", "query": "avg:load{*} by {host}", "channels": ["mail"],
        "thresholds": {"comparator": ">", "critical": 90},
    });
    assert_eq!(host.ask("POST", "/v1/monitors", &host.admin, monitor).await.status, 201);
    assert!(host.get("/alerts", "").await.text().contains("name=\"key\""));
    let shown = form(&host, "/alerts", &[("key", &host.read)]).await;
    for part in ["<h2>Open incidents</h2>", "<td>load</td><td>threshold</td>", "Dead letters", "none"] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    for key in ["bw_none", &host.operator] {
        let refused = form(&host, "/alerts", &[("key", key)]).await;
        assert!(refused.contains("class=\"problem\"") && !refused.contains("load"), "{refused}");
    }
}
