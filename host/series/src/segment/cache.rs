//! What is kept of segments that were read, for whoever reads the same again: a dashboard does every few seconds.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use bellwether_store::StoreError;
use hashbrown::DefaultHashBuilder;
use parking_lot::Mutex;

use super::Entry;
use crate::limits::{BLOCK_CACHE, OPEN_FILES, PAGE_CACHE};
use crate::sample::Samples;

/// Pages of entries and unpacked blocks of any segment; the least used go when there are too many.
#[derive(Clone)]
pub(crate) struct Cache {
    /// By the number of a segment and of a page.
    pages: moka::sync::Cache<(u64, u32), Arc<Vec<Entry>>>,
    /// By the number of a segment and where the block begins.
    blocks: moka::sync::Cache<(u64, u64), Arc<Samples>>,
    files: Arc<Mutex<Files>>,
}

/// Open files, by the number of their segment; the one that was not used for longest is closed when there are too many,
/// and at once: a cache that does it later would pass the limit this is for.
#[derive(Default)]
struct Files {
    open: HashMap<u64, (Arc<File>, u64), DefaultHashBuilder>,
    /// Counts uses.
    uses: u64,
}

impl Files {
    fn get(&mut self, segment: u64) -> Option<Arc<File>> {
        self.uses += 1;
        let (file, used) = self.open.get_mut(&segment)?;
        *used = self.uses;
        Some(Arc::clone(file))
    }

    fn keep(&mut self, segment: u64, file: &Arc<File>) {
        if self.open.len() >= OPEN_FILES
            && let Some(oldest) =
                self.open.iter().min_by_key(|(_, (_, used))| *used).map(|(oldest, _)| *oldest)
        {
            self.open.remove(&oldest);
        }
        self.open.insert(segment, (Arc::clone(file), self.uses));
    }
}

impl Cache {
    pub(crate) fn new() -> Self {
        let bytes = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let page = move |_: &_, page: &Arc<Vec<Entry>>| bytes(page.len() * size_of::<Entry>());
        let block = move |_: &_, block: &Arc<Samples>| bytes(block.len() * 16);
        Self {
            pages: moka::sync::Cache::builder().max_capacity(PAGE_CACHE).weigher(page).build(),
            blocks: moka::sync::Cache::builder().max_capacity(BLOCK_CACHE).weigher(block).build(),
            files: Arc::default(),
        }
    }

    /// The file of a segment, opened by `open` if it is not.
    pub(crate) fn file(
        &self,
        segment: u64,
        open: impl FnOnce() -> Result<File, StoreError>,
    ) -> Result<Arc<File>, StoreError> {
        if let Some(file) = self.files.lock().get(segment) {
            return Ok(file);
        }
        let file = Arc::new(open()?);
        self.files.lock().keep(segment, &file);
        Ok(file)
    }

    /// Closes the file of a segment that is no longer in use; who reads it reads on.
    pub(crate) fn close(&self, segment: u64) {
        self.files.lock().open.remove(&segment);
    }

    #[cfg(test)]
    pub(crate) fn open_files(&self) -> usize {
        self.files.lock().open.len()
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
