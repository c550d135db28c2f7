//! How many durable commits a second this machine does: merges into counters, from 1, 8, 64 and 512 committers.
//!
//! `cargo run --release -p bellwether-store --example commit_rate -- [FOLDER] [SECONDS] [COMMITTERS …]`

use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bellwether_store::{Batch, Key, SledSettings, SledStore, Space, Store};

fn add(existing: Option<&[u8]>, operand: &[u8]) -> Result<Vec<u8>, bellwether_store::MergeError> {
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    Ok((existing.map_or(0, number) + number(operand)).to_le_bytes().to_vec())
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let parent = arguments.next().unwrap_or_else(|| ".".to_owned());
    let seconds = arguments.next().map_or(3.0, |text| text.parse().expect("SECONDS is a number"));
    let mut committers: Vec<u64> =
        arguments.map(|text| text.parse().expect("COMMITTERS are numbers")).collect();
    if committers.is_empty() {
        committers = vec![1, 8, 64, 512];
    }
    let folder = Path::new(&parent).join(format!("commit-rate-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    sync_times(&folder);
    println!("committers   commits/s   syncs/s   batches per sync   p50 ms   p99 ms   processor µs/commit");
    let runtime = tokio::runtime::Runtime::new().expect("the runtime starts");
    for committers in committers {
        runtime.block_on(measure(&folder, committers, Duration::from_secs_f64(seconds)));
    }
    sync_times(&folder);
    println!("resident memory: {} KiB", resident());
    std::fs::remove_dir_all(&folder).expect("the folder can be removed");
}

async fn measure(folder: &Path, committers: u64, time: Duration) {
    let path = folder.join(committers.to_string());
    let store = Arc::new(SledStore::open(&path, SledSettings::default()).expect("the store opens"));
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (syncs, began, processor) = (store.health().syncs, Instant::now(), processor_time());
    let tasks: Vec<_> = (0..committers)
        .map(|committer| {
            let (store, stop, done) = (store.clone(), stop.clone(), done.clone());
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                let mut number = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let key =
                        Key::new(Space::Bucket).number(1).number(committer).number(number % 100).number(7);
                    let mut batch = Batch::new();
                    batch.merge(key, 1_u64.to_le_bytes().to_vec(), add);
                    let asked = Instant::now();
                    store.commit(batch).await.expect("the commit is taken");
                    latencies.push(asked.elapsed());
                    number += 1;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                latencies
            })
        })
        .collect();
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("a committer ends"));
    }
    let elapsed = began.elapsed().as_secs_f64();
    let processor = processor_time() - processor;
    let commits = done.load(Ordering::Relaxed) as f64;
    let syncs = (store.health().syncs - syncs) as f64;
    latencies.sort_unstable();
    let at = |share: f64| latencies[(latencies.len() as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{committers:>10} {:>11.0} {:>9.0} {:>18.1} {:>8.2} {:>8.2} {:>21.1}",
        commits / elapsed,
        syncs / elapsed,
        commits / syncs,
        at(0.5),
        at(0.99),
        processor / commits * 1e6,
    );
}

/// What one sync of this disk costs: 4 KiB overwritten, then made durable.
fn sync_times(folder: &Path) {
    let path = folder.join("sync");
    let mut file = std::fs::File::create(&path).expect("a file can be made");
    file.write_all(&vec![1; 4096 * 256]).and_then(|()| file.sync_all()).expect("the file can be written");
    let mut times: Vec<_> = (0..256)
        .map(|block| {
            let began = Instant::now();
            file.write_all_at(&[2; 4096], block * 4096)
                .and_then(|()| file.sync_data())
                .expect("a sync works");
            began.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_unstable_by(f64::total_cmp);
    println!("disk sync: p10 {:.2} ms, p50 {:.2} ms, p90 {:.2} ms", times[25], times[128], times[230]);
    std::fs::remove_file(&path).expect("the file can be removed");
}

/// Processor time of this process in seconds, all threads and the kernel on their behalf; 0 where the system does not
/// say.
fn processor_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name in parentheses: user and system time are the 12th and 13th field, in hundredths of a second.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Resident memory of this process in KiB, 0 where the system does not say.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}
