//! What is kept of segments that were read, for whoever reads the same again: a dashboard does every few seconds.

use std::sync::Arc;

use super::Entry;
use crate::limits::{BLOCK_CACHE, PAGE_CACHE};
use crate::sample::Samples;

/// Pages of entries and unpacked blocks of any segment; the least used go when there are too many.
#[derive(Clone)]
pub(crate) struct Cache {
    /// By the number of a segment and of a page.
    pages: moka::sync::Cache<(u64, u32), Arc<Vec<Entry>>>,
    /// By the number of a segment and where the block begins.
    blocks: moka::sync::Cache<(u64, u64), Arc<Samples>>,
}

impl Cache {
    pub(crate) fn new() -> Self {
        let bytes = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let page = move |_: &_, page: &Arc<Vec<Entry>>| bytes(page.len() * size_of::<Entry>());
        let block = move |_: &_, block: &Arc<Samples>| bytes(block.len() * 16);
        Self {
            pages: moka::sync::Cache::builder().max_capacity(PAGE_CACHE).weigher(page).build(),
            blocks: moka::sync::Cache::builder().max_capacity(BLOCK_CACHE).weigher(block).build(),
        }
    }

    pub(super) fn page(&self, segment: u64, page: u32) -> Option<Arc<Vec<Entry>>> {
        self.pages.get(&(segment, page))
    }

    pub(super) fn keep_page(&self, segment: u64, page: u32, entries: &Arc<Vec<Entry>>) {
        self.pages.insert((segment, page), Arc::clone(entries));
    }

    /// The samples of a block, if they are here.
    pub(super) fn block(&self, segment: u64, entry: &Entry) -> Option<Arc<Samples>> {
        if entry.is_kept() { self.blocks.get(&(segment, entry.offset)) } else { None }
    }

    pub(super) fn keep_block(&self, segment: u64, entry: &Entry, samples: &Arc<Samples>) {
        self.blocks.insert((segment, entry.offset), Arc::clone(samples));
    }
}
