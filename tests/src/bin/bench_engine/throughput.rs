//! Calls a second on every core, and how late they are at half of that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bellwether_playbooks::App;
use bellwether_plugins::Instances;

use crate::Settings;
use crate::calls::TEXT;
use crate::house::{House, component, order};
use crate::table::Figure;

/// Callers at the same time.
pub(crate) const CALLERS: [u32; 3] = [1, 8, 64];
/// Tasks that send the calls of the paced part.
const PACERS: u32 = 8;

/// What was measured.
pub(crate) struct Throughput {
    /// Calls a second with so many callers, the middle of the rounds.
    pub(crate) rates: Vec<(u32, f64)>,
    /// At half of the best rate 999 of 1,000 calls took at most so long from the moment they were due.
    pub(crate) late: Figure,
}

/// Measures it on a host of its own, in the runtime this is called in.
pub(crate) async fn measure(house: Arc<House>, settings: &Settings) -> Result<Throughput> {
    let app = house.install_app(component("bench/bench-guest.wasm")?, Instances::Fresh).await?;
    let time = Duration::from_secs_f64(f64::from(settings.seconds) / 3.0);
    let mut rates: Vec<(u32, Vec<f64>)> = CALLERS.map(|callers| (callers, Vec::new())).into();
    for _ in 0..settings.rounds {
        for (callers, rates) in &mut rates {
            rates.push(closed(&house, &app, *callers, time).await?);
        }
    }
    let rates: Vec<(u32, f64)> = rates
        .into_iter()
        .map(|(callers, mut rates)| {
            rates.sort_by(f64::total_cmp);
            (callers, rates[rates.len() / 2])
        })
        .collect();
    let peak = rates.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
    let mut late = Figure::default();
    for _ in 0..settings.rounds {
        late.push(paced(&house, &app, peak / 2.0, time).await?);
    }
    Ok(Throughput { rates, late })
}

/// Each caller calls again when it is answered. Gives calls a second.
async fn closed(house: &Arc<House>, app: &Arc<dyn App>, callers: u32, time: Duration) -> Result<f64> {
    let calls = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (house, app, calls) = (Arc::clone(house), Arc::clone(app), Arc::clone(&calls));
            tokio::spawn(async move {
                while began.elapsed() < time {
                    app.run(house.call(order(TEXT, 0))).await.result.map_err(|error| error.message)?;
                    calls.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
                Ok::<(), String>(())
            })
        })
        .collect();
    for task in tasks {
        task.await?.map_err(anyhow::Error::msg)?;
    }
    Ok(calls.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64())
}

/// Calls that are due at even distances, whether those before were answered or not. Gives the 99.9th percentile in
/// nanoseconds from when a call was due.
async fn paced(house: &Arc<House>, app: &Arc<dyn App>, rate: f64, time: Duration) -> Result<f64> {
    let distance = Duration::from_secs_f64(f64::from(PACERS) / rate);
    let calls = (time.as_secs_f64() / distance.as_secs_f64()) as u32;
    let began = Instant::now();
    let tasks: Vec<_> = (0..PACERS)
        .map(|pacer| {
            let (house, app) = (Arc::clone(house), Arc::clone(app));
            tokio::spawn(async move {
                let first = began + distance / PACERS * pacer;
                let mut late = Vec::with_capacity(calls as usize);
                for call in 0..calls {
                    let due = first + distance * call;
                    while Instant::now() < due {
                        tokio::task::yield_now().await;
                    }
                    app.run(house.call(order(TEXT, 0))).await.result.map_err(|error| error.message)?;
                    late.push(due.elapsed().as_nanos() as f64);
                }
                Ok::<_, String>(late)
            })
        })
        .collect();
    let mut late = Vec::new();
    for task in tasks {
        late.extend(task.await?.map_err(anyhow::Error::msg)?);
    }
    late.sort_by(f64::total_cmp);
    late.get(late.len() * 999 / 1000).copied().context("calls were made")
}
