//! Plugins that want out, further than they were let.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use bellwether_tests::expect_json;
use serde_json::Value;

use crate::world::world;

/// A service in this machine's own network. It counts who comes; `/redirect?<url>` leads to the URL, `/silence`
/// answers nothing.
struct Service {
    port: u16,
    came: Arc<AtomicUsize>,
}

impl Service {
    fn start(address: &str) -> Result<Self> {
        let listener = TcpListener::bind((address, 0))?;
        let (port, came) = (listener.local_addr()?.port(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&came);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || serve(stream));
            }
        });
        Ok(Self { port, came })
    }

    fn came(&self) -> usize {
        self.came.load(Ordering::Relaxed)
    }
}

fn serve(mut stream: TcpStream) {
    let mut request = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut request) {
        let text = String::from_utf8_lossy(&request[..length]);
        let target = text.split(' ').nth(1).unwrap_or_default();
        let answer = match target.split_once('?') {
            _ if target == "/silence" => continue,
            Some(("/redirect", to)) => {
                format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
            }
            _ => "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret".to_owned(),
        };
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Grants as wide as they get without naming an address.
fn wide(port: u16) -> [String; 4] {
    ["http://*".to_owned(), "https://*".to_owned(), format!("http://*:{port}"), format!("https://*:{port}")]
}

fn texts(hosts: &[String]) -> Vec<&str> {
    hosts.iter().map(String::as_str).collect()
}

#[test]
fn a_request_that_is_never_answered_ends_at_the_call_s_deadline() -> Result<()> {
    let (world, service) = (world()?, Service::start("127.0.0.1")?);
    let origin = format!("http://127.0.0.1:{}", service.port);
    let attacker = world.attack(&[&origin])?;
    attacker.costs_one_clear_error("fetch", &format!("{origin}/silence"), 504, "ran out of its 1 s")?;
    ensure!(service.came() > 0, "it was on its way");
    attacker.leaves_the_others_alone()
}

#[test]
fn what_was_not_granted_cannot_be_called() -> Result<()> {
    let (world, service) = (world()?, Service::start("127.0.0.1")?);
    let origin = format!("http://127.0.0.1:{}", service.port);
    let attacker = world.attack(&[&format!("GET {origin}"), "http://127.0.0.1:1"])?;
    let error = attacker.run_fails("fetch", "http://127.0.0.2:1/")?;
    ensure!(error.contains("does not cover http://127.0.0.2:1"), "{error}");
    // The destination without the method.
    let error = attacker.run_fails("trigger", &origin)?;
    ensure!(error.contains("does not cover the method POST"), "{error}");
    ensure!(service.came() == 0);
    ensure!(attacker.request("fetch", &origin)?.text == "200: secret", "what was granted can be called");
    // A whole privilege that is not granted is not linked, so the component is not loaded at all.
    let path = "/v1/plugins/hostile/grants";
    let grants = serde_json::json!({ "grants": [{ "interface": "log" }] });
    let answer = world.host.as_key(&world.host.keys().operator, "PUT", path).json(&grants).send()?;
    let problem = expect_json(answer, 400)?;
    ensure!(problem["detail"].as_str().is_some_and(|detail| detail.contains("http-client")), "{problem}");
    attacker.leaves_the_others_alone()
}

#[test]
fn a_private_address_is_not_reached_however_it_is_written() -> Result<()> {
    let world = world()?;
    let (service, six) = (Service::start("127.0.0.1")?, Service::start("::1").ok());
    let attacker = world.attack(&texts(&wide(service.port)))?;
    let port = service.port;
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0.0.0.0",
        "localhost",
        "LOCALHOST.",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[::127.0.0.1]",
        "[2002:7f00:1::]",
        "10.0.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.0.1",
        "224.0.0.1",
        "[fd00::1]",
        "[fe80::1]",
        "[ff02::1]",
    ] {
        let answer = attacker.request("fetch", &format!("http://{host}:{port}/"))?;
        ensure!(
            answer.status == 422 && answer.text.contains("the plugin's grant does not cover"),
            "{host}: {answer:?}"
        );
    }
    if let Some(six) = &six {
        let answer = attacker.request("fetch", &format!("http://[::1]:{}/", six.port))?;
        ensure!(answer.status == 422, "{answer:?}");
    }
    ensure!(service.came() == 0 && six.is_none_or(|six| six.came() == 0), "somebody was connected");
    attacker.leaves_the_others_alone()
}

/// A name of this machine that leads to itself: `/etc/hosts` has one on most.
fn own_name() -> Option<String> {
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let names = ["ip6-localhost", "ip6-loopback", "localhost.localdomain", own.trim()];
    let private = |address: SocketAddr| match address.ip() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private(),
        IpAddr::V6(address) => address.is_loopback() || address.segments()[0] & 0xfe00 == 0xfc00,
    };
    let leads_here = |name: &&str| {
        (*name, 80).to_socket_addrs().is_ok_and(|mut found| found.len() > 0 && found.all(private))
    };
    names.into_iter().filter(|name| !name.is_empty()).find(leads_here).map(str::to_owned)
}

#[test]
fn a_granted_name_that_leads_to_a_private_address_is_not_connected() -> Result<()> {
    let world = world()?;
    let Some(name) = own_name() else {
        println!(
            "SKIPPED: this machine has no name of its own but localhost; the egress's own tests have others"
        );
        return Ok(());
    };
    let (service, six) = (Service::start("0.0.0.0")?, Service::start("::1").ok());
    for service in [Some(&service), six.as_ref()].into_iter().flatten() {
        let origin = format!("http://{name}:{}", service.port);
        let attacker = world.attack(&[&origin])?;
        let error = attacker.run_fails("fetch", &origin)?;
        let expected =
            format!("{name} leads to no public address; a private one must be granted by its address");
        ensure!(error.contains(&expected), "{error}");
        ensure!(service.came() == 0, "it was connected");
        attacker.leaves_the_others_alone()?;
    }
    Ok(())
}

#[test]
fn a_redirect_is_held_against_the_grant_again() -> Result<()> {
    let world = world()?;
    let (granted, private) = (Service::start("127.0.0.1")?, Service::start("127.0.0.1")?);
    let origin = format!("http://127.0.0.1:{}", granted.port);
    let attacker = world.attack(&[&origin])?;
    for target in ["127.0.0.1", "[::ffff:127.0.0.1]", "localhost"] {
        let target = format!("http://{target}:{}/", private.port);
        let url = format!("{origin}/redirect?{target}");
        let seen = attacker.request("fetch", &url)?;
        ensure!(seen.text == "302: ", "the redirect is an answer: {seen:?}");
        let followed = attacker.request("follow", &url)?;
        ensure!(followed.status == 422 && followed.text.contains("does not cover"), "{followed:?}");
    }
    let allowed = attacker.request("follow", &format!("{origin}/redirect?{origin}/"))?;
    ensure!(allowed.text == "200: secret", "{allowed:?}");
    ensure!(private.came() == 0, "it was connected");
    attacker.leaves_the_others_alone()
}

#[test]
fn a_call_sends_a_hundred_requests_and_no_more() -> Result<()> {
    let (world, service) = (world()?, Service::start("127.0.0.1")?);
    let origin = format!("http://127.0.0.1:{}", service.port);
    let attacker = world.attack(&[&origin])?;
    let answer = attacker.request("many-requests", &origin)?;
    ensure!(answer.status == 422 && answer.text.contains("one call may send 100 requests"), "{answer:?}");
    attacker.leaves_the_others_alone()
}

const AGAIN: &str = r#"
name = "again"
[trigger]
type = "webhook"
[[steps]]
id = "attack"
app = "hostile"
[steps.inputs]
mode = "trigger"
url = "{{ trigger.text }}"
"#;

/// Each run's step starts the next run and waits for its end, which never comes.
#[test]
fn a_plugin_that_calls_itself_through_a_playbook_ends_at_its_deadlines() -> Result<()> {
    let world = world()?;
    let store = world.host.as_admin("POST", "/v1/playbooks").header("content-type", "application/toml");
    let playbook = expect_json(store.body(AGAIN).send()?, 201)?;
    let hook = playbook["webhook_url"].as_str().context("an admin is shown the webhook's URL")?;
    let hook = format!("{}{}?wait=60", world.host.url, &hook[hook.find("/hooks/").context("a webhook")?..]);
    let attacker = world.attack(&[&world.host.url])?;
    let run =
        world.host.request("POST", hook.strip_prefix(&world.host.url).context("its own")?).body(hook.clone());
    let run: Value = expect_json(run.send()?, 200)?;
    ensure!(run["state"] == "failed", "{run}");
    let error = run["steps"][0]["error"].as_str().context("a failed step says why")?;
    ensure!(error.ends_with("app.run: ran out of its 1 s"), "{error}");
    // It goes on by itself as long as it may send to the host; that is taken from it here.
    attacker.leaves_the_others_alone()?;
    let removed = world.host.as_admin("DELETE", "/v1/playbooks/again").send()?;
    ensure!(removed.status().is_success(), "{}", removed.status());
    Ok(())
}
