//! The one door to tagged series.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64};

use bellwether_kernel::{Clock, HostId, OrganisationId, Steady};
use bellwether_store::{Lost, Objects, SharedStore, Turns};
use parking_lot::RwLock;
use tokio::sync::mpsc;

use crate::heads::Heads;
use crate::index::Index;
use crate::layout::SegmentRow;
use crate::limits::{QUERIES, QUERY_PATIENCE, TOO_MANY_QUERIES};
use crate::listen::Listeners;
use crate::segment::{Cache, Segment};
use crate::upkeep::Looked;
use crate::writer::{self, Order};
use crate::{Limits, SeriesError, open};

/// What series are kept on.
#[derive(Clone)]
pub struct Parts {
    /// Rows: the log, what series there are, which segments.
    pub store: SharedStore,
    /// Segments.
    pub objects: Objects,
    /// Now.
    pub clock: Arc<dyn Clock>,
    /// Whose log and segments these are.
    pub host: HostId,
    /// How much there may be.
    pub limits: Limits,
}

/// The tagged series of every organisation on one store.
///
/// A write is in the store's log when it is acknowledged, and in memory; when memory holds enough, or for long
/// enough, its samples are packed into segments and their rows of the log go. Of several samples of one series at one
/// time, the one that was written last holds.
pub struct Series {
    pub(crate) shared: Arc<Shared>,
    pub(crate) orders: mpsc::Sender<Order>,
    /// Whether writes are acknowledged before the sync.
    pub(crate) early: bool,
}

/// What the writer, the packer and readers share.
pub(crate) struct Shared {
    pub(crate) parts: Parts,
    indexes: RwLock<HashMap<OrganisationId, Arc<RwLock<Index>>>>,
    pub(crate) state: RwLock<State>,
    pub(crate) cache: Cache,
    /// Segments that are missing or damaged.
    pub(crate) lost: Lost,
    /// The next series' number.
    pub(crate) next_series: AtomicU32,
    /// The next segment's number.
    pub(crate) next_segment: AtomicU64,
    /// The first row of the log that may be there.
    pub(crate) first_row: AtomicU64,
    /// Told of each write.
    pub(crate) listeners: Listeners,
    /// Whether the last commit of writes failed.
    pub(crate) failing: AtomicBool,
    /// What garbage was last looked for: how many deletes there had been, and the day, if it was known.
    pub(crate) swept: parking_lot::Mutex<Option<(u64, Option<i64>)>>,
    /// The day when series were last looked for of which nothing is left.
    pub(crate) forgot: AtomicI64,
    /// What roll-ups were last looked for.
    pub(crate) rolled_up: parking_lot::Mutex<Option<Looked>>,
    /// Whether the clock can be trusted.
    pub(crate) steady: parking_lot::Mutex<Steady>,
    /// Turns for queries: each holds a thread.
    pub(crate) queries: Turns,
    /// Held while samples are packed.
    pub(crate) packing: tokio::sync::Mutex<()>,
    /// Held while segments are merged or removed.
    pub(crate) merging: tokio::sync::Mutex<()>,
    /// Held for reading while something is said of a metric, for writing while what was said is forgotten.
    pub(crate) saying: tokio::sync::RwLock<()>,
}

/// Where samples are. Changes as a whole, so that no reader misses one or sees it twice.
#[derive(Default)]
pub(crate) struct State {
    /// The last row of the log that is in `active`.
    pub(crate) applied: u64,
    pub(crate) active: Heads,
    /// When `active` got its first sample.
    pub(crate) since: Option<bellwether_kernel::Timestamp>,
    /// The last row of the log that is in segments.
    pub(crate) packed: u64,
    /// What is being packed.
    pub(crate) frozen: Option<Arc<Frozen>>,
    /// In order of the writes they cover.
    pub(crate) segments: Arc<Vec<Arc<Placed>>>,
}

/// Heads that take no more, with the rows of the log they are in.
pub(crate) struct Frozen {
    pub(crate) heads: Heads,
    pub(crate) low: u64,
    pub(crate) high: u64,
}

/// A segment in use.
pub(crate) struct Placed {
    pub(crate) number: u64,
    pub(crate) row: SegmentRow,
    /// None if it is missing, or so damaged that it does not open.
    pub(super) segment: Option<Segment>,
    /// All that are lost.
    pub(super) lost: Lost,
    /// Whether others took its place: its file goes.
    pub(super) gone: AtomicBool,
}

impl Placed {
    /// Whether it has samples from `first` to `last`, both included.
    pub(crate) fn is_within(&self, first: i64, last: i64) -> bool {
        self.row.first <= last && self.row.last >= first
    }
}

/// How the series of a host are doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Series that are known.
    pub series: u64,
    /// Series with samples in memory.
    pub active_series: u64,
    /// Samples in memory.
    pub head_samples: u64,
    /// Samples in segments.
    pub packed_samples: u64,
    /// Bytes of segments.
    pub packed_bytes: u64,
    /// Segments.
    pub segments: u64,
}

impl Series {
    /// Opens the series of a host: reads which there are, and the log of what is not in segments. Needs a Tokio runtime,
    /// on which the writer runs until this is dropped.
    ///
    /// # Errors
    /// If the store's. Segments that are missing or do not open are told in the log, and the host does without.
    pub async fn open(parts: Parts) -> Result<Self, SeriesError> {
        let shared = Arc::new(open::open(parts).await?);
        let (orders, queue) = mpsc::channel(crate::limits::QUEUE);
        tokio::spawn(writer::run(Arc::clone(&shared), queue));
        Ok(Self { shared, orders, early: false })
    }

    /// How much there is, of every organisation together.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let series = self.shared.indexes.read().values().map(|index| index.read().len() as u64).sum();
        let state = self.shared.state.read();
        let frozen = state.frozen.as_ref().map_or(0, |frozen| frozen.heads.samples());
        Totals {
            series,
            active_series: state.active.series() as u64,
            head_samples: (state.active.samples() + frozen) as u64,
            packed_samples: state.segments.iter().map(|placed| placed.row.samples).sum(),
            packed_bytes: state.segments.iter().map(|placed| placed.row.bytes).sum(),
            segments: state.segments.len() as u64,
        }
    }

    /// How many series each organisation has that has any, or had some since the start.
    #[must_use]
    pub fn series_by_organisation(&self) -> Vec<(OrganisationId, u64)> {
        let counts = self.shared.indexes.read();
        counts.iter().map(|(organisation, index)| (*organisation, index.read().len() as u64)).collect()
    }

    /// How much one organisation may have.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.shared.parts.limits
    }
}

impl Shared {
    pub(crate) fn new(
        parts: Parts,
        indexes: HashMap<OrganisationId, Index>,
        state: State,
        (cache, lost): (Cache, Lost),
        (next_series, next_segment): (u32, u64),
        first_row: u64,
    ) -> Self {
        let indexes = indexes.into_iter().map(|(id, index)| (id, Arc::new(RwLock::new(index)))).collect();
        Self {
            parts,
            indexes: RwLock::new(indexes),
            listeners: Listeners::default(),
            state: RwLock::new(state),
            cache,
            lost,
            next_series: AtomicU32::new(next_series),
            next_segment: AtomicU64::new(next_segment),
            first_row: AtomicU64::new(first_row),
            failing: AtomicBool::new(false),
            swept: parking_lot::Mutex::new(None),
            forgot: AtomicI64::new(i64::MIN),
            rolled_up: parking_lot::Mutex::new(None),
            steady: parking_lot::Mutex::new(Steady::new()),
            queries: Turns::new(QUERIES, QUERY_PATIENCE, TOO_MANY_QUERIES),
            packing: tokio::sync::Mutex::new(()),
            merging: tokio::sync::Mutex::new(()),
            saying: tokio::sync::RwLock::new(()),
        }
    }

    /// An organisation's index.
    pub(crate) fn index(&self, organisation: OrganisationId) -> Arc<RwLock<Index>> {
        if let Some(index) = self.indexes.read().get(&organisation) {
            return Arc::clone(index);
        }
        Arc::clone(self.indexes.write().entry(organisation).or_default())
    }

    /// Knows no more of an organisation of which nothing is left. What was deleted of it is no longer counted: what was looked
    /// for is looked for again.
    pub(crate) fn forget_index(&self, organisation: OrganisationId) {
        self.indexes.write().remove(&organisation);
        *self.swept.lock() = None;
    }

    /// Every organisation's index.
    pub(crate) fn all_indexes(&self) -> Vec<(OrganisationId, Arc<RwLock<Index>>)> {
        self.indexes.read().iter().map(|(id, index)| (*id, Arc::clone(index))).collect()
    }
}
