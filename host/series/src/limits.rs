//! How much there may be, and why so much.

use std::time::Duration;

/// How much one organisation may have, and one write or query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Series of one organisation. Each takes some 450 bytes of memory, four tags included, and some 180 more while it has
    /// samples in memory.
    pub series: u64,
    /// Metrics of one organisation that have series; and, beside them, as many that are described and have none.
    pub metrics: usize,
    /// Bytes of a metric's name.
    pub name_bytes: usize,
    /// Tags of one series.
    pub tags: usize,
    /// Bytes of one tag, key and value.
    pub tag_bytes: usize,
    /// Samples of one write.
    pub samples: usize,
    /// Series one query may read.
    pub query_series: u64,
    /// Samples one query may unpack.
    pub query_samples: u64,
    /// Points one query may answer, all its series together.
    pub query_points: usize,
    /// Samples kept in memory before they are packed: 16 bytes each, and up to as many again while they are.
    pub head_samples: usize,
    /// Days samples are kept where their metric does not say; 0 means for ever.
    pub keep_days: u32,
    /// How long the clock must have gone on as time does before samples are freed or rolled up for their age: one that
    /// is wrong after a start or a jump is given as long to be set right.
    pub steady: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            series: 1_000_000,
            metrics: 100_000,
            name_bytes: 200,
            tags: 64,
            tag_bytes: 400,
            samples: 200_000,
            query_series: 100_000,
            query_samples: 200_000_000,
            query_points: 1_000_000,
            head_samples: 2_000_000,
            keep_days: 0,
            steady: Duration::from_secs(60 * 60),
        }
    }
}

/// Samples of one segment lie within as much time: what retention frees at once. A week of one sample a minute is ten
/// full blocks.
pub(crate) const PARTITION: i64 = 7 * 24 * 60 * 60 * 1000;

/// Rows of the log before heads are packed, full or not: what a start has to read again.
pub(crate) const LOG_ROWS: u64 = 100_000;

/// Bytes of one row of the log; well below the store's largest value.
pub(crate) const LOG_ROW: usize = 28 * 1024;

/// Bytes of one write, the rows of the series it makes and what joins it included: with what else is in its commit, the
/// store's largest batch. So 500 series of 64 long tags, or 60,000 of a few short ones, can be made at once.
pub(crate) const WRITE_BYTES: usize = bellwether_store::MAX_BATCH - 1024 * 1024;

/// Samples of one commit, before the next begins.
pub(crate) const GROUP_SAMPLES: usize = 1_000_000;

/// Writes that wait for the writer; beyond, callers wait to hand theirs over.
pub(crate) const QUEUE: usize = 1024;

/// No merge makes a larger segment: it is built in memory.
pub(crate) const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// Nor is one of more samples merged with others: where all of four are of one series, and none lies apart from the rest,
/// they are unpacked together, 16 bytes each.
pub(crate) const MERGED_SAMPLES: u64 = 25_000_000;

/// Samples of one series that a merge gathers from blocks that lie apart before it packs them anew: as many full blocks as
/// make the last, which is not full, of no weight.
pub(crate) const GATHERED_SAMPLES: u64 = 64 * 1024;

/// Queries at work at once; others wait their turn.
pub(crate) const QUERIES: usize = 8;

/// For how long: about as long as who asks for a page does.
pub(crate) const QUERY_PATIENCE: Duration = Duration::from_secs(30);

/// What is told who waited for longer.
pub(crate) const TOO_MANY_QUERIES: &str = "too many queries are at work; try again, or ask for less at once";

/// Points that the functions and operators of one query go through, all together: as many as there are samples it may
/// read, some seconds of one core.
pub(crate) const WORKED_POINTS: u64 = 200_000_000;

/// Samples that a query looks at and unpacks where it is asked, a millisecond or two, before it goes on on another thread.
pub(crate) const AT_ONCE_SAMPLES: u64 = 100_000;

/// Points that its functions and operators go through there.
pub(crate) const AT_ONCE_POINTS: u64 = 1_000_000;

/// Wildcards and regular expressions of one filter: each is held against every value of a tag's key, of which there may be a
/// million. Values that are named are found at once, however many.
pub(crate) const FILTER_PATTERNS: usize = 64;

/// Tags' keys a query groups by: as many as a series has tags.
pub(crate) const GROUPED_BY: usize = 64;

/// Groups of one query that a series is in, of those by keys of which it has several values: two keys of 32 values each are
/// all the tags a series has, and more keys could make billions.
pub(crate) const SERIES_GROUPS: usize = 1024;

/// Segments of about one size that are merged into one.
pub(crate) const MERGE: usize = 4;

/// Index pages of segments kept in memory, in bytes.
pub(crate) const PAGE_CACHE: u64 = 32 * 1024 * 1024;

/// Files of segments that are open, of the thousands there may be: well below what a process may open, which connections
/// share.
pub(crate) const OPEN_FILES: usize = 512;

/// How often a query begins anew because a segment it had yet to read was merged into another meanwhile.
pub(crate) const ATTEMPTS: usize = 16;

/// Samples of one series that a query unpacks at once, 16 bytes each: one a second for more than a year.
pub(crate) const SERIES_SAMPLES: u64 = 40_000_000;

/// Unpacked blocks kept in memory, in bytes, 16 a sample: two million samples, a hundred series of a week by the minute
/// twice over.
pub(crate) const BLOCK_CACHE: u64 = 32 * 1024 * 1024;

/// Blocks of fewer samples are unpacked as fast as they are found among those that are kept.
pub(crate) const CACHED_BLOCK: u32 = 256;

/// A segment is written anew when so large a part of it is of deleted series or beyond its retention: one in this many
/// bytes.
pub(crate) const GARBAGE: u64 = 4;

/// Segments one packing makes. Samples scattered over more partitions share one of no partition.
pub(crate) const PACKED_PARTITIONS: usize = 256;

/// Rows deleted in one commit.
pub(crate) const DELETED_ROWS: usize = 10_000;
