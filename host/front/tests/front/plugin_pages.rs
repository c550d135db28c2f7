//! The pages of plugins: what each is and how it does, as far as it is the caller's to know.

use serde_json::json;

use crate::pages::Browser;
use crate::speaker;
use crate::support::Host;

#[tokio::test]
async fn a_plugin_of_the_hosts_is_shown_without_how_others_call_it() {
    let host = Host::new().await;
    let installed = host.post_component("/v1/plugins", &host.operator, speaker::component()).await;
    assert_eq!(installed.status, 201, "{}", installed.text());
    for path in ["/speaker/open", "/speaker/trap"] {
        host.get(path, "").await;
    }
    let browser = Browser::new(&host, &host.admin).await;
    let list = browser.open("/plugins").await;
    for part in [
        "<a href=\"/plugins/speaker\">speaker</a>",
        "<td data-column=\"Roles\">dialect</td>",
        "<td data-column=\"Whose\">the host's</td>",
        "<td data-column=\"Calls\"></td>",
    ] {
        assert!(list.contains(part), "no {part} in {list}");
    }
    let page = browser.open("/plugins/speaker").await;
    assert!(page.contains("only its operator sees") && page.contains("memory bytes"), "{page}");
    for hidden in ["Last traps", "Calls since it was loaded", "unreachable"] {
        assert!(!page.contains(hidden), "{hidden} in {page}");
    }
}

#[tokio::test]
async fn a_plugin_of_ones_own_is_shown_with_its_calls_and_where_it_trapped() {
    let host = Host::new().await;
    let installed = host.post_component("/v1/plugins", &host.admin, speaker::echo("1.0.0", false)).await;
    assert_eq!(installed.status, 201, "{}", installed.text());
    let browser = Browser::new(&host, &host.read).await;
    let list = browser.open("/plugins").await;
    assert!(list.contains("<td data-column=\"Whose\">your own</td>"), "{list}");
    let page = browser.open("/plugins/echo").await;
    for part in [
        "Last traps",
        "Calls since it was loaded",
        "<td data-column=\"Role\">app</td>",
        "<td data-column=\"State\">current",
        "What a call may use",
    ] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    let disabled = host.ask("PATCH", "/v1/plugins/echo", &host.admin, json!({"enabled": false})).await;
    assert_eq!(disabled.status, 200, "{}", disabled.text());
    assert!(browser.open("/plugins").await.contains("switched off"));
    let stranger = Browser::new(&host, &host.stranger).await;
    stranger.answered("/plugins/echo", 404).await;
    assert!(!stranger.open("/plugins").await.contains("echo"));
    browser.answered("/plugins?cursor=nonsense", 400).await;
}
