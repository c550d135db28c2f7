//! Python, made by componentize-py.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use bellwether_tests::{binary, python};
use serde_json::{Value, json};

use super::{Server, World, component, messages};

const EXAMPLE: &str = "pick-items";
const PROBE: &str = "probe";

#[test]
fn inspect_tells_what_an_author_asks_for_from_what_the_runtime_imports() -> Result<()> {
    let inspect =
        Command::new(binary()).args(["plugin", "inspect", "--json"]).arg(component(EXAMPLE)).output()?;
    ensure!(inspect.status.success(), "{}", String::from_utf8_lossy(&inspect.stderr));
    let inspection: Value = serde_json::from_slice(&inspect.stdout)?;
    let privileges = |field: &str| -> Vec<String> {
        let requests = inspection[field].as_array().into_iter().flatten();
        requests.filter_map(|request| Some(request["privilege"].as_str()?.to_owned())).collect()
    };
    ensure!(privileges("requests") == ["http-client"], "{inspection}");
    ensure!(privileges("optional") == ["clock", "random"], "{inspection}");
    let baseline = inspection["baseline"].to_string();
    ensure!(
        baseline.contains("wasi:filesystem/types@0.2.") && !baseline.contains("bellwether"),
        "{inspection}"
    );
    ensure!(inspection["problems"] == json!([]) && inspection["version"] == "0.1.0", "{inspection}");
    Ok(())
}

#[test]
fn an_app_uses_urllib_random_datetime_and_print_within_its_grants() -> Result<()> {
    let items: Vec<u32> = (0..1_000).collect();
    let server = Server::start(&json!(items))?;
    let grant = format!("http-client={}", server.url);
    let world = World::with(EXAMPLE, &["url", "count"], &[&grant, "clock", "random"])?;
    let run =
        |count: u32| world.step(EXAMPLE, &json!({"url": format!("{}/items", server.url), "count": count}));
    let (first, second) = (run(10)?, run(10)?);
    ensure!(first["state"] == "succeeded" && first["outputs"]["total"] == 1_000, "{first}");
    let picked = first["outputs"]["picked"].as_array().context("a list")?;
    ensure!(
        picked.len() == 10 && picked.iter().all(|item| item.as_u64().is_some_and(|item| item < 1_000)),
        "{first}"
    );
    ensure!(
        picked != second["outputs"]["picked"].as_array().context("a list")?,
        "chance is granted: {second}"
    );
    ensure!(messages(&first).iter().any(|line| line.starts_with("picked 10 of 1000 items in ")), "{first}");
    let now = jiff::Timestamp::now();
    let told: jiff::Timestamp = second["outputs"]["picked_at"].as_str().context("a text")?.parse()?;
    ensure!(now.duration_since(told).as_secs().abs() < 600, "{told} is not {now}");

    // What the grant does not cover stays unsent, and the app's own error says so.
    let sent = server.requests();
    world.granted("grants", EXAMPLE, &["http-client=https://api.example.com"])?;
    let refused = run(1)?;
    let error = refused["error"].as_str().context("a failed step says why")?;
    ensure!(error.contains("grant does not cover") && server.requests() == sent, "{error}");
    world.host.stop()
}

#[test]
fn urllib_sends_by_the_host_with_the_time_it_is_given_or_none() -> Result<()> {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/python-app");
    let sent = python("outside.py", &[&example.display().to_string()])?;
    ensure!(sent == "None\nNone\n10000\n2500\n", "{sent}");
    Ok(())
}

/// Runs `code` in the probe and gives what it set `result` to.
fn result(world: &World, code: &str) -> Result<Value> {
    let step = world.step(PROBE, &json!({ "code": code }))?;
    ensure!(step["state"] == "succeeded", "{step}");
    Ok(step["outputs"]["result"].clone())
}

#[test]
fn what_python_finds_is_an_empty_world() -> Result<()> {
    let world = World::with(PROBE, &["code"], &["log"])?;
    let attempts = r#"
def attempt(do):
    try:
        return ["done", repr(do())]
    except Exception as error:
        return ["refused", type(error).__name__]

result = {
    "read": attempt(lambda: open("/etc/passwd").read()),
    "write": attempt(lambda: open("note.txt", "w")),
    "list": attempt(lambda: os.listdir("/")),
    "mkdir": attempt(lambda: os.mkdir("/tmp/x")),
    "connect": attempt(lambda: socket.create_connection(("127.0.0.1", 1), timeout=1)),
    "listen": attempt(lambda: socket.create_server(("127.0.0.1", 0))),
    "datagram": attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 1))),
    "resolve": attempt(lambda: socket.getaddrinfo("localhost", 80)),
    "fork": attempt(lambda: os.fork()),
    "thread": attempt(lambda: threading.Thread(target=print).start()),
}
"#;
    for (what, came) in result(&world, attempts)?.as_object().context("an object")? {
        ensure!(came[0] == "refused", "{what}: {came}");
    }
    let seen = result(
        &world,
        "result = {'variables': sorted(os.environ), 'input': sys.stdin.read() if sys.stdin else ''}",
    )?;
    let variables = seen["variables"].to_string();
    ensure!(["\"PATH\"", "\"HOME\"", "BELLWETHER"].iter().all(|name| !variables.contains(name)), "{seen}");
    ensure!(seen["input"] == "", "{seen}");
    // Time stands still and chance is the work's own, unless they are granted.
    let still = "before = time.time(), time.monotonic()\ntime.sleep(0.02)\nresult = before == (time.time(), time.monotonic())";
    ensure!(result(&world, still)? == true);
    world.granted("grants", PROBE, &["log", "clock", "random"])?;
    ensure!(result(&world, still)? == false);
    let draw = "result = [random.random(), str(uuid.uuid4()), secrets.token_hex(8)]";
    let (first, second) = (result(&world, draw)?, result(&world, draw)?);
    ensure!((0..3).all(|index| first[index] != second[index]), "{first} {second}");
    world.host.stop()
}

#[test]
fn what_goes_wrong_in_python_costs_one_clear_error() -> Result<()> {
    let world = World::with(PROBE, &["code"], &["log"])?;
    for (code, expected) in [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def f(): f()\nf()", "trapped"),
        ("while True: pass", "ran out of its"),
        ("time.sleep(3600)", "ran out of its"),
        ("x = []\nwhile True: x.append(bytes(1 << 20))", "memory"),
        ("os.abort()", "trapped"),
        ("os._exit(3)", "exit"),
        ("result = object()", "not JSON serializable"),
    ] {
        let step = world.step(PROBE, &json!({ "code": code }))?;
        let error = step["error"].as_str().with_context(|| format!("{code:?} fails: {step}"))?;
        ensure!(error.contains(expected) && !error.contains('\n'), "{code:?}: {error}");
        // The next call is well; and a plugin that only failed would be left alone after a few.
        ensure!(result(&world, "result = 'well'")? == "well");
    }
    // What is printed is bounded, and what was printed before a trap is kept.
    let flood = world.step(
        PROBE,
        &json!({"code": "print('first')\nfor n in range(5_000): print('x' * 100)\nresult = 1"}),
    )?;
    ensure!(flood["outputs"]["result"] == 1 && messages(&flood)[0] == "first", "{}", flood["error"]);
    let last = messages(&flood).last().copied().unwrap_or_default();
    ensure!(last.contains("the log is full"), "{last}");
    let trapped = world.step(PROBE, &json!({"code": "print('a')\nraise ValueError('c')"}))?;
    let said = messages(&trapped);
    ensure!(said.contains(&"a") && said.iter().any(|line| line.contains("Traceback")), "{said:?}");
    ensure!(result(&world, "result = 'well'")? == "well");
    world.host.stop()
}
