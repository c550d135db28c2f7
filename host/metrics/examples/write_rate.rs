//! How many single samples a second the service takes on the memory store: what a write costs apart from making it
//! durable.
//!
//! `cargo run --release -p bellwether-metrics --example write_rate -- [SECONDS] [WRITERS …]`

use std::sync::Arc;
use std::time::{Duration, Instant};

use bellwether_kernel::{HostId, OrganisationId, SystemClock};
use bellwether_metrics::{DataType, Definition, Interval, Limits, MetricReference, Metrics, Sample};
use bellwether_store::{Batch, MemoryStore};

const OURS: OrganisationId = OrganisationId(1);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(2.0, |text| text.parse().expect("SECONDS is a number"));
    let mut writers: Vec<usize> = arguments.map(|text| text.parse().expect("WRITERS are numbers")).collect();
    if writers.is_empty() {
        writers = vec![1, 8, 64];
    }
    let runtime = tokio::runtime::Runtime::new().expect("the runtime starts");
    println!("metric   writers   samples/s");
    for keyed in [false, true] {
        for writers in &writers {
            let rate = runtime.block_on(measure(keyed, *writers, Duration::from_secs_f64(seconds)));
            println!("{}   {writers:>7}   {rate:>9.0}", if keyed { "keyed " } else { "plain " });
        }
    }
}

async fn measure(keyed: bool, writers: usize, time: Duration) -> f64 {
    let store = Arc::new(MemoryStore::new());
    let metrics = Metrics::open(store, Arc::new(SystemClock), HostId(1), Limits::default()).await;
    let metrics = Arc::new(metrics.expect("the metrics open"));
    let name = "logins";
    let definition = Definition {
        name: name.to_owned(),
        data_type: DataType::Sum,
        interval: Interval::Daily,
        keyed,
        description: None,
    };
    metrics.define(OURS, "Europe/Berlin", definition).await.expect("the metric is defined");
    let end = Instant::now() + time;
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let metrics = Arc::clone(&metrics);
            let samples = [Sample {
                metric: MetricReference::Name(name.to_owned()),
                key: keyed.then(|| format!("host-{}.example.net", writer % 100)),
                value: Some(1.5),
                time: None,
                weight: None,
            }];
            tokio::spawn(async move {
                let mut written = 0_u64;
                while Instant::now() < end {
                    for _ in 0..100 {
                        metrics.write(OURS, &samples, Batch::new()).await.expect("the write is taken");
                    }
                    written += 100;
                }
                written
            })
        })
        .collect();
    let mut written = 0;
    for task in tasks {
        written += task.await.expect("the writer ends");
    }
    written as f64 / time.as_secs_f64()
}
