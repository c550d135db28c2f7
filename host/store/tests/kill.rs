//! `kill -9` in a loop while clients write: every acknowledged write is there afterwards, whole and in order.

#[path = "../examples/numbered/mod.rs"]
mod numbered;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bellwether_store::{SledSettings, SledStore, StoreError};

/// Where the child finds its store. Without it this program is the test.
const FOLDER: &str = "BELLWETHER_KILL_FOLDER";
const WRITERS: u64 = 16;
/// How often the child is killed, by default.
const KILLS: u64 = 25;

/// Not a test: what the test starts, and kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the test below"]
async fn child() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        // Ends the line that the test harness has begun.
        println!();
        numbered::write(Path::new(&folder), WRITERS).await;
    }
}

fn start(folder: &Path, journal_bytes: u64) -> Child {
    Command::new(std::env::current_exe().expect("a test knows its own file"))
        .args(["--exact", "child", "--ignored", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env("BELLWETHER_JOURNAL_BYTES", journal_bytes.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the child starts")
}

#[test]
fn a_second_process_is_told_which_one_has_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = start(folder.path(), 8 << 20);
    let output = BufReader::new(child.stdout.take().unwrap());
    // It has the store once it acknowledges writes.
    output.lines().find(|line| line.as_ref().is_ok_and(|line| line.starts_with("0 "))).unwrap().unwrap();
    let error = SledStore::open(folder.path(), SledSettings::default()).unwrap_err();
    child.kill().unwrap();
    let holder = child.id();
    child.wait().unwrap();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    assert!(error.to_string().contains(&format!("by process {holder};")), "{error}");
    // The lock went with the process.
    SledStore::open(folder.path(), SledSettings::default()).unwrap();
}

#[tokio::test]
async fn every_acknowledged_write_survives_kill_9() {
    let kills = std::env::var("BELLWETHER_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeMap::new();
    for kill in 0..kills {
        // Every other time with a journal so small that rows are settling most of the time.
        let mut child = start(folder.path(), if kill % 2 == 0 { 100_000 } else { 8 << 20 });
        // Killed after so many acknowledgements, not after a time: each kill hits a store that is being written.
        let wanted = 20 + kill * 37 % 400;
        let mut printed = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let mut seen = 0;
        let mut killed = false;
        while output.read_line(&mut line).unwrap() > 0 {
            if line.starts_with(|first: char| first.is_ascii_digit()) {
                printed.push_str(&line);
                seen += 1;
            }
            line.clear();
            if seen == wanted && !killed {
                child.kill().unwrap();
                killed = true;
            }
        }
        child.wait().unwrap();
        assert!(killed, "the writer ended by itself after {seen} writes");
        acknowledged.extend(numbered::acknowledged(&printed));
        let wrong = numbered::check(folder.path(), WRITERS, &acknowledged).await;
        assert!(wrong.is_empty(), "after kill {kill}: {wrong:#?}");
    }
    let writes: u64 = acknowledged.values().map(|number| number + 1).sum();
    println!("{kills} kills, {writes} acknowledged writes, none lost");
}
