//! What the log says of a request: who and what, and never a credential.

use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use crate::pages::Browser;
use crate::speaker;
use crate::support::{Host, playbook};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Lines {
    /// What is logged of this level and above, into these lines, until the guard is dropped.
    fn of(&self, level: tracing::Level) -> tracing::subscriber::DefaultGuard {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .with_writer(self.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[tokio::test]
async fn a_dialect_that_is_switched_off_does_not_fill_the_log_however_often_it_is_called() {
    let host = Host::new().await;
    let installed = host.post_component("/v1/plugins", &host.operator, speaker::component()).await;
    assert_eq!(installed.status, 201);
    host.ask("PATCH", "/v1/plugins/speaker", &host.operator, json!({"enabled": false})).await;
    let lines = Lines::default();
    let logging = lines.of(tracing::Level::WARN);
    for _ in 0..3 {
        host.get("/speaker/open", "").await.problem(503, "unavailable");
    }
    drop(logging);
    let log = lines.text();
    assert_eq!(log.matches("not answered as asked").count(), 1, "{log}");
    assert!(log.contains("unsaid=0"), "{log}");
}

#[tokio::test]
async fn the_log_names_request_route_and_key_and_holds_no_credential() {
    let host = Host::new().await;
    let stored =
        host.ask("POST", "/v1/playbooks", &host.admin, playbook("hooked", "webhook", "x")).await.json();
    let hook = stored["webhook_url"].as_str().unwrap();
    let lines = Lines::default();
    let logging = lines.of(tracing::Level::TRACE);
    let id = host.get("/v1/metrics?name_contains=x", &host.read).await.header("x-request-id").to_owned();
    host.ask("POST", &format!("{hook}?wait"), "", json!({})).await;
    host.ask("DELETE", hook, "", Value::Null).await;
    host.ask("POST", &format!("/elsewhere{hook}"), "", json!({})).await;
    host.get(&format!("/nowhere?api_key={}", host.write), "").await;
    host.ask("POST", "/v1/keys", &host.admin, json!({"name": "new", "role": "read"})).await;
    drop(logging);
    let log = lines.text();
    let key = host.read.split('_').nth(1).unwrap();
    for told in
        [id.as_str(), "/v1/metrics", key, "/hooks/{token}", "organisation=1", "status=200", "status=404"]
    {
        assert!(log.contains(told), "{told} is not in\n{log}");
    }
    let token = hook.rsplit('/').next().unwrap();
    let secret = |key: &str| key.rsplit('_').next().unwrap().to_owned();
    for credential in [token.to_owned(), secret(&host.read), secret(&host.write), secret(&host.admin)] {
        assert!(!log.contains(&credential), "{credential} is in\n{log}");
    }
}

#[tokio::test]
async fn what_a_page_refuses_is_logged_as_what_the_api_does() {
    let host = Host::new().await;
    let browser = Browser::new(&host, &host.read).await;
    let lines = Lines::default();
    let logging = lines.of(tracing::Level::DEBUG);
    browser.answered("/start?playbook=nope", 403).await;
    drop(logging);
    let log = lines.text();
    assert!(log.contains("refused") && log.contains("This needs the role write"), "{log}");
}
