//! All rows that begin alike.

use crate::{Direction, Key, Row, Store, StoreError};

/// Rows read at once.
const PAGE: usize = 4096;

/// Hands every row whose key begins with `prefix` to `row`, in order.
///
/// # Errors
/// The store's, and the first of `row`.
pub async fn each_row(
    store: &dyn Store,
    prefix: Key,
    mut row: impl FnMut(Row) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut range = prefix.prefix();
    loop {
        let page = store.scan(range.clone(), Direction::Forward, PAGE).await?;
        let more = page.len() == PAGE;
        if let Some((last, _)) = page.last() {
            range.start = last.successor();
        }
        page.into_iter().try_for_each(&mut row)?;
        if !more {
            return Ok(());
        }
    }
}
