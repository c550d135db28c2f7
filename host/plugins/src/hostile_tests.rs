//! Plugins that do what the SDK's language cannot: several memories and tables, answers that are none, and a
//! description that never comes. What one built with the SDK can do is in `tests/hostile`.

use bellwether_kernel::{ErrorKind, OrganisationId};
use bellwether_playbooks::{AppReport, Apps, Retry};
use bytes::Bytes;

use crate::testing::{House, app, app_call, named_app};
use crate::{Owner, PluginError, Plugins};

const ORGANISATION: OrganisationId = OrganisationId(1);

/// Ends the function it stands in, so that what follows is its module's, up to the function the next text ends.
const MORE: &str = "(unreachable))";

async fn install(plugins: &Plugins, bytes: Bytes) -> Result<(), PluginError> {
    plugins.install(Owner::Host, "host", bytes, Vec::new(), false).await.map(drop)
}

async fn run(plugins: &Plugins, name: &str) -> AppReport {
    plugins.app(ORGANISATION, name).unwrap().run(app_call()).await
}

/// What an app fails with, and that another still answers after it.
async fn fault(body: &str) -> String {
    let house = House::new().await;
    let plugins = house.plugins().await;
    install(&plugins, app("", "", body)).await.unwrap();
    install(&plugins, named_app("quiet", "1.0.0", "", "", "(global.get $ok)")).await.unwrap();
    let error = run(&plugins, "probe").await.result.unwrap_err();
    assert!(run(&plugins, "quiet").await.result.is_ok(), "another plugin goes on");
    assert_eq!(error.retry, Retry::No, "it would fail the same way again");
    let fault = error.message.strip_prefix("plugin probe 1.2.3: app.run: ");
    fault.unwrap_or_else(|| panic!("{}", error.message)).to_owned()
}

#[tokio::test]
async fn several_memories_share_one_limit() {
    let grow = |memory: u32| {
        format!("(loop (br_if 0 (i32.ne (memory.grow {memory} (i32.const 4)) (i32.const -1))))")
    };
    let body = format!(
        "(call $grow) {MORE} (memory 1) (memory 1) (func $grow {} {} {} (unreachable)) (func (result i32) (i32.const 0)",
        grow(0),
        grow(1),
        grow(2)
    );
    assert_eq!(fault(&body).await, "ran out of its 8 MiB of memory");
}

#[tokio::test]
async fn a_table_that_grows_ends_at_its_limit() {
    let body = format!(
        "(call $grow) {MORE} (table $t 1 funcref)
            (func $grow (loop (br_if 0 (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)))) (unreachable))
            (func (result i32) (i32.const 0)"
    );
    let fault = fault(&body).await;
    assert!(fault.contains("tables") || fault.starts_with("trapped"), "{fault}");
}

#[tokio::test]
async fn an_answer_that_lies_outside_of_the_memory_or_claims_a_gigabyte_is_not_read() {
    for (what, body) in [
        ("where", "(i32.const -8)"),
        ("how many", "(i32.store (i32.const 1212) (i32.const 0x40000000)) (global.get $ok)"),
        ("how long", "(i32.store (i32.const 1252) (i32.const 0x40000000)) (global.get $ok)"),
        ("which case", "(i32.store8 (i32.const 1200) (i32.const 9)) (global.get $ok)"),
    ] {
        let fault = fault(body).await;
        assert!(fault.starts_with("trapped: ") || fault.starts_with("handed the host"), "{what}: {fault}");
    }
}

/// The same output, a million times over: little for the guest, much for the host.
#[tokio::test]
async fn an_answer_that_copies_to_more_than_it_is_ends_at_what_a_call_may_hand_over() {
    // Its name becomes 60,000 zeros, and 40,000 times the same output is a list of 960 KB.
    let body = "(i32.store (i32.const 1248) (i32.const 2048)) (i32.store (i32.const 1252) (i32.const 60000))
        (i32.store (i32.const 1208) (i32.const 65536)) (i32.store (i32.const 1212) (i32.const 40000))
        (drop (memory.grow (i32.const 20)))
        (call $fill) (global.get $ok) ) (func $fill (local $at i32)
            (loop
                (memory.copy (i32.add (i32.const 65536) (local.get $at)) (i32.const 1248) (i32.const 24))
                (local.set $at (i32.add (local.get $at) (i32.const 24)))
                (br_if 0 (i32.lt_u (local.get $at) (i32.const 960000)))))
        (func (result i32) (i32.const 0)";
    let fault = fault(body).await;
    assert!(fault.contains("the host"), "{fault}");
}

#[tokio::test]
async fn a_description_that_never_comes_is_given_up_and_leaves_nothing_behind() {
    let house = House::new().await;
    let plugins = house.plugins().await;
    let error = install(&plugins, app("", "(loop (br 0))", "(global.get $ok)")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert_eq!(error.to_string(), "plugin probe 1.2.3: app.describe: ran out of its 300 ms");
    assert!(plugins.get(Owner::Host, "probe").is_none());
    install(&plugins, named_app("quiet", "1.0.0", "", "", "(global.get $ok)")).await.unwrap();
    assert!(run(&plugins, "quiet").await.result.is_ok());
}
