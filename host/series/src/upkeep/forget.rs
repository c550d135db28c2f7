//! Series go when nothing is left of them: what was written is past its retention. So does what was said of metrics that
//! have none.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bellwether_store::{Batch, StoreError, blocking};
use roaring::RoaringBitmap;
use tokio::sync::oneshot;

use super::DAY;
use crate::index::Index;
use crate::service::{Placed, Series};
use crate::writer::{DeleteOrder, Order, closed};

/// What was said in passing of metrics without series goes when they are so large a part of those there may be: one in this
/// many.
const SAID: usize = 2;

/// What was looked at.
#[derive(Clone, Default)]
struct Looked {
    segments: HashSet<u64>,
    /// Series with something in them that is kept.
    left: RoaringBitmap,
}

impl Looked {
    fn is_new(&self, placed: &Placed) -> bool {
        !self.segments.contains(&placed.number)
    }
}

impl Series {
    /// Forgets the series of which nothing is left; looks once a day, by a clock that can be trusted. None goes while a
    /// segment is lost: whoever puts it back finds its series as they were.
    pub(super) async fn forget(&self) -> Result<(), StoreError> {
        let shared = &self.shared;
        let _turn = shared.merging.lock().await;
        let (now, trusted) = shared.now();
        let day = now.as_milliseconds().div_euclid(DAY);
        if !trusted || shared.forgot.load(Ordering::Relaxed) == day {
            return Ok(());
        }
        // Before what is kept, so that a series that is missing there is wanted.
        let indexes = shared.all_indexes().into_iter().map(|(organisation, index)| {
            let before = index.write().look_anew();
            (organisation, index, before)
        });
        let indexes: Vec<_> = indexes.collect();
        for (organisation, index, _) in &indexes {
            let many = index.read().unwritten_metrics() > shared.parts.limits.metrics / SAID;
            if many {
                let unwritten = index.read().unwritten();
                shared.forget_said(*organisation, index, &unwritten).await?;
            }
        }
        let (kept, mut looked) = (Arc::new(shared.kept()), Looked::default());
        loop {
            let segments = Arc::clone(&shared.state.read().segments);
            for placed in segments.iter().filter(|placed| looked.is_new(placed)).cloned().collect::<Vec<_>>()
            {
                let (number, kept) = (placed.number, Arc::clone(&kept));
                let entries = match blocking("looking at segments", move || {
                    let mut entries = placed.all()?;
                    entries.retain(|entry| kept.first(entry.series).is_some_and(|from| entry.last >= from));
                    Ok(entries)
                })
                .await
                {
                    Err(StoreError::Lost(_)) => return Ok(()),
                    entries => entries?,
                };
                looked.left.extend(entries.iter().map(|entry| entry.series));
                looked.segments.insert(number);
            }
            for (organisation, index, before) in &indexes {
                // Before the writer's turn, in which every write would wait for it. What comes later is wanted.
                let (gone, metrics) = {
                    let index = index.read();
                    let gone = index.all() - &looked.left;
                    let metrics = index.metrics_of(&gone);
                    (gone, metrics)
                };
                if gone.is_empty() {
                    continue;
                }
                let (all, looked, before) = (Arc::clone(shared), looked.clone(), before.clone());
                // In the writer's turn: what it did before is in memory or in segments.
                let select = move |index: &Index| {
                    let state = all.state.read();
                    let moved = state.segments.iter().any(|placed| looked.is_new(placed));
                    if moved || before.strong_count() > 0 {
                        return Vec::new();
                    }
                    let frozen = state.frozen.as_ref().map(|frozen| &frozen.heads);
                    let waits = |number| {
                        frozen.into_iter().chain([&state.active]).any(|heads| heads.of(number).is_some())
                    };
                    let goes =
                        |number: &u32| index.has(*number) && !index.is_wanted(*number) && !waits(*number);
                    gone.into_iter().filter(goes).collect()
                };
                let (reply, done) = oneshot::channel();
                let order = DeleteOrder {
                    organisation: *organisation,
                    index: Arc::clone(index),
                    select: Box::new(select),
                    spares: true,
                    join: Batch::new(),
                    reply,
                };
                self.orders.send(Order::Delete(order)).await.map_err(|_| closed())?;
                done.await.map_err(|_| closed())??;
                shared.forget_said(*organisation, index, &metrics).await?;
            }
            // What was packed meanwhile held the others up.
            if !shared.state.read().segments.iter().any(|placed| looked.is_new(placed)) {
                break;
            }
        }
        if indexes.iter().all(|(.., before)| before.strong_count() == 0) {
            shared.forgot.store(day, Ordering::Relaxed);
        }
        Ok(())
    }
}
