//! Metric triggers: the host's log of writes is read from a durable cursor, which moves behind what is acted on. Of each
//! organisation that goes on by itself (`lines.rs`), so that none waits for another's conditions.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bellwether_kernel::{OrganisationId, PlaybookId};
use bellwether_store::{Batch, Key, Precondition, Space, StoreError, Versioned, Walk, encode};
use serde_json::json;
use tokio::task::JoinSet;

use super::context::holds;
use super::lines::{Lines, Next};
use super::{Firing, outcome};
use crate::rows::{StartedBy, Watch, WatchCursor};
use crate::service::Loaded;
use crate::{PlaybookError, Playbooks, TriggerOn, Write, Writes, rows, trigger};

/// Writes read at once.
const WRITES: usize = 256;
/// How long the log is left alone if nobody says that it changed.
const IDLE: Duration = Duration::from_secs(60);

/// A playbook that watches metrics, as it is kept in memory.
#[derive(Clone, Debug)]
pub(crate) struct Watching {
    playbook: PlaybookId,
    version: u32,
    metric: String,
}

impl Playbooks {
    /// Reads which playbooks watch what, of one organisation or of all, and tells the log.
    pub(super) async fn read_watches(&self, only: Option<OrganisationId>) -> Result<(), StoreError> {
        let Some(writes) = &self.writes else { return Ok(()) };
        let found: Vec<_> = self.each_of::<Watch>(Space::PlaybookWatch, only).await?;
        let mut watches = self.watches.write();
        // Those of whom nobody watches anything any more are told so too.
        let mut organisations: BTreeSet<OrganisationId> =
            found.iter().map(|(organisation, ..)| *organisation).collect();
        match only {
            Some(organisation) => {
                organisations.insert(organisation);
                watches.remove(&organisation);
            }
            None => organisations.extend(watches.drain().map(|(organisation, _)| organisation)),
        }
        for (organisation, playbook, Watch { version, metric }) in found {
            watches.entry(organisation).or_default().push(Watching { playbook, version, metric });
        }
        for organisation in organisations {
            let watching = watches.get(&organisation).map_or(&[][..], Vec::as_slice);
            let metrics: Vec<String> = watching.iter().map(|watching| watching.metric.clone()).collect();
            writes.watch(organisation, &metrics);
        }
        Ok(())
    }

    /// The rows of a space by organisation and playbook, of one organisation or of all.
    pub(super) async fn each_of<T: Versioned>(
        &self,
        space: Space,
        only: Option<OrganisationId>,
    ) -> Result<Vec<(OrganisationId, PlaybookId, T)>, StoreError> {
        let prefix = Key::new(space);
        let range = only.map_or(prefix.clone(), |organisation| prefix.number(organisation.0)).prefix();
        let (mut rows_of, mut found) = (Walk::forward(&*self.store, range), Vec::new());
        while let Some((.., ((organisation, playbook), row))) = rows_of.next_read(rows::of_playbook).await? {
            found.push((organisation, playbook, row));
        }
        Ok(found)
    }

    /// Acts on the writes behind the cursor, on those of each organisation beside the others', until something fails: then it
    /// begins anew at the cursor, and what a write has started it does not start again.
    pub(super) async fn keep_watch(self: Arc<Self>) -> Result<(), PlaybookError> {
        let Some(writes) = self.writes.clone() else { return Ok(()) };
        let key = rows::watch_cursor(self.owner.host);
        let mut stored = self.store.get(&key).await?;
        let mut moved = self.cursor_in(&key, stored.as_deref()).0;
        let mut lines = Lines::behind(moved);
        let mut at_work = JoinSet::new();
        loop {
            let page = writes.after(lines.read(), WRITES).await?;
            let is_through = page.is_empty();
            lines.take(page);
            for (organisation, next) in lines.begin() {
                at_work.spawn(Arc::clone(&self).look_at(Arc::clone(&writes), organisation, next));
            }
            if lines.dealt_with() > moved {
                moved = lines.dealt_with();
                let (before, cursor) = (stored, encode(&WatchCursor(moved)));
                let mut batch = Batch::new();
                batch.require(key.clone(), before.map_or(Precondition::Absent, Precondition::ValueIs));
                batch.put(key.clone(), cursor.clone());
                self.store.commit(batch).await?;
                stored = Some(cursor);
                writes.forget(moved).await?;
            }
            tokio::select! {
                biased;
                Some(ended) = at_work.join_next() => {
                    let (organisation, up_to) = outcome(ended)?;
                    lines.end(organisation, up_to);
                }
                () = tokio::task::yield_now(), if !is_through => {}
                () = writes.changed() => {}
                () = tokio::time::sleep(IDLE) => {}
            }
        }
    }

    /// Where the log is read from. Where that does not read, from the first write that is kept: what a write has started it
    /// does not start again.
    fn cursor_in(&self, key: &Key, stored: Option<&[u8]>) -> WatchCursor {
        stored.and_then(|row| self.store.unread().decode(key, row)).unwrap_or_default()
    }

    /// Acts on writes of an organisation, and gives up to which write of the log that is done.
    async fn look_at(
        self: Arc<Self>,
        writes: Arc<dyn Writes>,
        organisation: OrganisationId,
        next: Next,
    ) -> Result<(OrganisationId, u64), PlaybookError> {
        let (page, up_to) = match next {
            Next::Writes(page) => {
                let last = page.last().map_or(0, |write| write.sequence);
                (page, last)
            }
            Next::Logged(first, last) => {
                let mut page = writes.after(first - 1, WRITES).await?;
                page.retain(|write| write.sequence <= last);
                let up_to = page.last().map_or(last, |write| write.sequence);
                page.retain(|write| write.organisation == organisation);
                (page, up_to)
            }
        };
        for write in &page {
            self.start_by(write).await?;
        }
        Ok((organisation, up_to))
    }

    /// Starts what a write causes.
    async fn start_by(self: &Arc<Self>, write: &Write) -> Result<(), PlaybookError> {
        let organisation = write.organisation;
        let watching = self.watches.read().get(&organisation).cloned().unwrap_or_default();
        for watching in watching.iter().filter(|watching| matches(&watching.metric, &write.metric)) {
            let Some(loaded) = self.load_to_start(organisation, watching.playbook, watching.version).await?
            else {
                continue;
            };
            // What costs little is worked out here, between others' tasks.
            tokio::task::yield_now().await;
            if !self.meets(&loaded, write).await {
                continue;
            }
            let by = StartedBy::Metric(write.metric.clone(), write.key.clone().unwrap_or_default());
            let name = format!("write:{}:{}", self.owner.host, write.sequence);
            let firing = Firing::unasked(name, by, trigger::metric(write));
            match self.accept(organisation, Arc::clone(&loaded), firing).await {
                Ok(_) => self.is_started(organisation, &loaded),
                Err(error) if error.concerns_all() => return Err(error),
                Err(error) => self.was_refused(organisation, &loaded, &error),
            }
        }
        Ok(())
    }

    /// Whether every condition of a metric trigger holds for a write.
    async fn meets(&self, loaded: &Arc<Loaded>, write: &Write) -> bool {
        let TriggerOn::Metric { key, rises_above, falls_below, .. } = &loaded.compiled.document.trigger.on
        else {
            return false;
        };
        if key.as_ref().is_some_and(|pattern| !matches(pattern, write.key.as_deref().unwrap_or_default())) {
            return false;
        }
        let (before, value) = (write.before, write.value);
        // What begins an interval rises from nothing, and has not fallen.
        let rises = |bound: f64| value > bound && before.is_none_or(|before| before <= bound);
        let falls = |bound: f64| value < bound && before.is_some_and(|before| before >= bound);
        if rises_above.is_some_and(|bound| !rises(bound)) || falls_below.is_some_and(|bound| !falls(bound)) {
            return false;
        }
        if loaded.compiled.when.is_none() {
            return true;
        }
        let fired = json!({
            "metric": write.metric,
            "key": write.key,
            "value": write.value,
            "before": write.before,
            "interval_start": write.interval_start.to_string(),
        });
        holds(loaded, &fired, &self.conditions).await
    }
}

/// Whether `text` is what `pattern` says, in which `*` stands for any characters.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        let cases = [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("*", "anything", true),
            ("github.*", "github.pushes", true),
            ("github.*", "gitlab.pushes", false),
            ("*.errors", "api.errors", true),
            ("*.errors", "api.errors.total", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("ab*ba", "aba", false),
            ("", "", true),
            ("", "a", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern, text), expected, "{pattern:?} and {text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_text_with_parts_left_out_for_stars_matches(parts in proptest::collection::vec("[ab]{0,3}", 1..5), gaps in proptest::collection::vec("[ab]{0,3}", 4)) {
            let pattern = parts.join("*");
            let mut text = String::new();
            for (index, part) in parts.iter().enumerate() {
                if index > 0 {
                    text.push_str(&gaps[index - 1]);
                }
                text.push_str(part);
            }
            prop_assert!(matches(&pattern, &text), "{} and {}", pattern, text);
        }
    }
}
