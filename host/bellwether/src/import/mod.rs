//! Loading a CSV file as samples of an interval metric or of tagged series, so that a kill at any moment adds nothing twice.
//!
//! [`source`] reads rows and says which are bad, [`time`] reads times, [`progress`] is the file that remembers how
//! far an import came, [`load`] sends the batches. A batch is named by where it begins and ends in the file; its
//! `Idempotency-Key` follows from that, from the file's content and from the mapping, so a batch whose answer was
//! lost is sent again under the same key and the host repeats its answer instead of adding it again.

pub(crate) mod load;
pub(crate) mod progress;
pub(crate) mod report;
pub(crate) mod source;
pub(crate) mod time;
