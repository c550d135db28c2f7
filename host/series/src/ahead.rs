//! Reading many series: threads read ahead, and make of what they read what one goes through.

use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use bellwether_store::StoreError;
use roaring::RoaringBitmap;

use crate::SeriesError;
use crate::read::{Piece, Snapshot};

/// From so many samples on several threads unpack them: to start threads takes as long as some ten thousand.
const MANY: u64 = 100_000;

/// Series that are read before it is known how many samples there may be.
const TRIED: usize = 4;

/// A series takes as long to find as so many samples to unpack.
const FINDING: u64 = 100;

/// Series that lie together and are read by one thread, at most.
const CHUNK: usize = 64;

/// Samples a thread hands over at once, but for those of one series.
const PORTION: u64 = 20_000;

/// Threads of one query: as many as there are processors, at most eight. Asked for once: to find it out reads files.
static THREADS: LazyLock<usize> =
    LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from).min(8));

/// What a thread hands over at once: each series' number, what was made of its samples, and how many were unpacked for
/// that; and whether it is the end of a chunk.
type Portion<T> = Result<(Vec<(u32, T, u64)>, bool), SeriesError>;

impl Snapshot<'_> {
    /// Calls `each` with the number of every series, in order, what `make` makes of its samples, and how many were
    /// unpacked for them; as [`Self::read`].
    pub(crate) fn each<T: Send>(
        mut self,
        series: &RoaringBitmap,
        steps: Option<(i64, i64)>,
        make: impl Fn(Piece) -> T + Sync,
        mut each: impl FnMut(u32, T, u64) -> Result<(), SeriesError>,
    ) -> Result<(), SeriesError> {
        let numbers: Vec<u32> = series.iter().collect();
        let (tried, rest) = numbers.split_at(TRIED.min(numbers.len()));
        let mut one_by_one = |numbers: &[u32], snapshot: &mut Self| {
            numbers.iter().try_for_each(|number| {
                let before = snapshot.unpacked;
                let piece = snapshot.read(*number, steps)?;
                each(*number, make(piece), snapshot.unpacked - before)
            })
        };
        one_by_one(tried, &mut self)?;
        let expected = rest.len() as u64 * (self.unpacked / TRIED as u64 + FINDING);
        let threads = *THREADS;
        if threads == 1 || expected < MANY {
            return one_by_one(rest, &mut self);
        }
        let chunks: Vec<&[u32]> = rest.chunks((rest.len() / threads / 4).clamp(1, CHUNK)).collect();
        let snapshots = (0..threads).map(|_| self.another()).collect::<Result<Vec<_>, _>>()?;
        let make = &make;
        std::thread::scope(|scope| {
            let mut readers: Vec<Receiver<Portion<T>>> = Vec::with_capacity(threads);
            for (at, mut snapshot) in snapshots.into_iter().enumerate() {
                let own = chunks.iter().skip(at).step_by(threads);
                // One is gone through, one waits, and the next is read.
                let (sender, receiver) = sync_channel(1);
                readers.push(receiver);
                scope.spawn(move || {
                    for chunk in own {
                        if !snapshot.hand_over(chunk, steps, make, &sender) {
                            return;
                        }
                    }
                });
            }
            for at in 0..chunks.len() {
                let mut end = false;
                while !end {
                    let ended = |_| StoreError::Failed("a thread that reads samples ended".to_owned());
                    let portion;
                    (portion, end) = readers[at % threads].recv().map_err(ended)??;
                    for (number, made, unpacked) in portion {
                        each(number, made, unpacked)?;
                    }
                }
            }
            Ok(())
        })
    }

    /// Reads a chunk; false if it failed, which is handed over too, or nobody takes more.
    fn hand_over<T>(
        &mut self,
        chunk: &[u32],
        steps: Option<(i64, i64)>,
        make: &impl Fn(Piece) -> T,
        sender: &SyncSender<Portion<T>>,
    ) -> bool {
        let (mut portion, mut held) = (Vec::new(), 0);
        for number in chunk {
            let before = self.unpacked;
            match self.read(*number, steps) {
                Ok(piece) => portion.push((*number, make(piece), self.unpacked - before)),
                Err(error) => {
                    let _ = sender.send(Err(error));
                    return false;
                }
            }
            held += self.unpacked - before;
            if held >= PORTION {
                held = 0;
                if sender.send(Ok((std::mem::take(&mut portion), false))).is_err() {
                    return false;
                }
            }
        }
        sender.send(Ok((portion, true))).is_ok()
    }
}
