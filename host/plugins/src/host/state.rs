//! `bellwether:host/state`: rows of the plugin's own, apart for every organisation, within the grant's quota.
//!
//! How much a plugin holds is a number beside its rows that every change merges its difference into, in the same
//! batch, so that no number of concurrent calls can pass the quota. A row counts with its key, its value and
//! [`limits::STATE_ROW`]; of rows that an earlier host wrote that is not in the number, which never falls below 0.

use bellwether_access::Role;
use bellwether_kernel::OrganisationId;
use bellwether_store::{Batch, Direction, Key, MergeError, Precondition, Space, StoreError};
use bytes::Bytes;

use super::convert::store_refused;
use super::effects::{Answer, Effect};
use super::{Call, contract};
use crate::limits;
use contract::state::{Host, StateError};

impl Host for Call {
    async fn get(&mut self, key: String) -> Result<Option<Vec<u8>>, StateError> {
        self.takes(key.len());
        let drawer = self.drawer().await?;
        let value = self.value(&drawer.row(&key)?).await?;
        Ok(value.map(Vec::from))
    }

    async fn set(&mut self, key: String, value: Option<Vec<u8>>) -> Result<(), StateError> {
        self.takes(key.len() + value.as_ref().map_or(0, Vec::len));
        let drawer = self.drawer().await?;
        let row = drawer.row(&key)?;
        let value = checked(value)?;
        self.act().await.map_err(StateError::Other)?;
        let effect = self.effect_of_state("state.set", drawer.organisation, &key, None, value.as_deref());
        for _ in 0..limits::STATE_ATTEMPTS {
            if self.changed_before(effect.as_ref()).await? {
                return Ok(());
            }
            let before = self.value(&row).await?;
            if self.change(&drawer, &key, before, value.clone(), effect.as_ref()).await? {
                return Ok(());
            }
        }
        Err(busy())
    }

    async fn swap(
        &mut self,
        key: String,
        expected: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
    ) -> Result<(), StateError> {
        self.takes(key.len() + [&expected, &value].into_iter().flatten().map(Vec::len).sum::<usize>());
        let drawer = self.drawer().await?;
        let row = drawer.row(&key)?;
        let value = checked(value)?;
        self.act().await.map_err(StateError::Other)?;
        let (organisation, wanted) = (drawer.organisation, expected.as_deref());
        let effect = self.effect_of_state("state.swap", organisation, &key, wanted, value.as_deref());
        for _ in 0..limits::STATE_ATTEMPTS {
            if self.changed_before(effect.as_ref()).await? {
                return Ok(());
            }
            let before = self.value(&row).await?;
            if before.as_deref() != expected.as_deref() {
                return Err(StateError::Changed(before.map(Vec::from)));
            }
            if self.change(&drawer, &key, before, value.clone(), effect.as_ref()).await? {
                return Ok(());
            }
        }
        Err(busy())
    }

    async fn list_keys(
        &mut self,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> Result<Vec<String>, StateError> {
        self.takes(prefix.len() + after.as_ref().map_or(0, String::len));
        let drawer = self.drawer().await?;
        if !(1..=limits::PAGE).contains(&limit) {
            return Err(StateError::Other(format!("limit is {limit}, expected 1 to {}", limits::PAGE)));
        }
        let mut range = drawer.rows().text_prefix(&prefix).prefix();
        if let Some(after) = after {
            range.start = range.start.max(drawer.rows().text(&after).successor());
        }
        if range.start >= range.end {
            return Ok(Vec::new());
        }
        let rows = self
            .services()
            .store
            .scan(range, Direction::Forward, limit as usize)
            .await
            .map_err(unavailable)?;
        let key = |key: &Key| {
            let mut fields = key.fields();
            fields.number().and_then(|_| fields.text()).and_then(|_| fields.text())
        };
        let keys: Option<Vec<String>> = rows.iter().map(|(row, _)| key(row)).collect();
        keys.ok_or_else(|| unavailable(StoreError::Damaged("a key of a plugin's state".to_owned())))
    }
}

/// Where one plugin keeps what belongs to one organisation.
struct Drawer {
    organisation: OrganisationId,
    plugin: String,
}

impl Drawer {
    fn rows(&self) -> Key {
        rows(self.organisation, &self.plugin)
    }

    fn row(&self, key: &str) -> Result<Key, StateError> {
        if key.len() > limits::STATE_KEY {
            return Err(StateError::TooLarge(format!(
                "the key has {} bytes, at most {} are taken",
                key.len(),
                limits::STATE_KEY
            )));
        }
        Ok(self.rows().text(key))
    }
}

/// Every row of what `plugin` keeps for `organisation` begins so.
pub(crate) fn rows(organisation: OrganisationId, plugin: &str) -> Key {
    Key::new(Space::PluginState).number(organisation.0).text(plugin)
}

/// Where it is written how much that is.
pub(crate) fn size(organisation: OrganisationId, plugin: &str) -> Key {
    Key::new(Space::PluginStateSize).number(organisation.0).text(plugin)
}

impl Call {
    async fn drawer(&mut self) -> Result<Drawer, StateError> {
        let organisation = self.reach(Role::Read).await.map_err(StateError::Other)?.organisation;
        Ok(Drawer { organisation, plugin: self.scope.state.clone() })
    }

    async fn value(&self, row: &Key) -> Result<Option<Bytes>, StateError> {
        self.services().store.get(row).await.map_err(unavailable)
    }

    /// Whether a change has happened before, as an effect of the same step.
    async fn changed_before(&mut self, effect: Option<&Effect>) -> Result<bool, StateError> {
        Ok(self.repeated(effect).await.map_err(unavailable)?.is_some())
    }

    /// Puts `after` in the place of `before`; false if that is not what is there any more, or the effect has happened
    /// meanwhile.
    async fn change(
        &mut self,
        drawer: &Drawer,
        key: &str,
        before: Option<Bytes>,
        after: Option<Bytes>,
        effect: Option<&Effect>,
    ) -> Result<bool, StateError> {
        let row = drawer.row(key)?;
        let difference = size_of(key, after.as_deref()) - size_of(key, before.as_deref());
        let mut batch = Batch::new();
        batch.require(row.clone(), before.map_or(Precondition::Absent, Precondition::ValueIs));
        match after {
            Some(value) => batch.put(row.clone(), value),
            None => batch.delete(row.clone()),
        };
        if difference != 0 {
            let size = size(drawer.organisation, &drawer.plugin);
            batch.merge(size, growth(difference, self.scope.quota), add_within_quota);
        }
        if let Some(effect) = effect {
            batch.append(effect.batch(Answer::Changed));
        }
        match self.services().store.commit(batch).await {
            Ok(_) => {
                self.counted(effect);
                Ok(true)
            }
            Err(StoreError::Conflict(_)) => Ok(false),
            Err(StoreError::Merge(error)) => Err(StateError::Quota(error.to_string())),
            Err(error) => Err(unavailable(error)),
        }
    }
}

/// What a row counts with, if there is one.
fn size_of(key: &str, value: Option<&[u8]>) -> i64 {
    value.map_or(0, |value| (key.len() + value.len() + limits::STATE_ROW) as i64)
}

fn checked(value: Option<Vec<u8>>) -> Result<Option<Bytes>, StateError> {
    match value {
        Some(value) if value.len() > limits::STATE_VALUE => {
            let (size, limit) = (value.len(), limits::STATE_VALUE);
            Err(StateError::TooLarge(format!("the value has {size} bytes, at most {limit} are taken")))
        }
        value => Ok(value.map(Bytes::from)),
    }
}

fn busy() -> StateError {
    StateError::Unavailable("others change this key all the time; try again".to_owned())
}

#[expect(clippy::needless_pass_by_value, reason = "it is passed to map_err by name")]
fn unavailable(error: StoreError) -> StateError {
    StateError::Unavailable(store_refused(&error))
}

/// The operand of [`add_within_quota`].
fn growth(difference: i64, quota: u64) -> Vec<u8> {
    let mut operand = difference.to_be_bytes().to_vec();
    operand.extend_from_slice(&quota.to_be_bytes());
    operand
}

/// Adds a difference to the bytes held; refuses a growth above the quota. To shrink is always allowed: the quota may
/// have been lowered meanwhile.
fn add_within_quota(existing: Option<&[u8]>, operand: &[u8]) -> Result<Vec<u8>, MergeError> {
    let number = |bytes: &[u8]| {
        bytes
            .try_into()
            .map(u64::from_be_bytes)
            .map_err(|_| MergeError("the size of a plugin's state does not read".to_owned()))
    };
    let held = existing.map_or(Ok(0), number)?;
    let (difference, quota) =
        operand.split_at_checked(8).ok_or_else(|| MergeError("no difference".to_owned()))?;
    let (difference, quota) = (number(difference)? as i64, number(quota)?);
    let after = held.saturating_add_signed(difference);
    if difference > 0 && after > quota {
        return Err(MergeError(format!(
            "the plugin holds {held} of its {quota} bytes of state, {difference} more do not fit; a key counts {} beside \
             its name and value",
            limits::STATE_ROW
        )));
    }
    Ok(after.to_be_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_counts_more_than_its_key_and_value_so_that_tiny_ones_take_no_more_than_the_quota() {
        assert_eq!(size_of("key", None), 0);
        assert_eq!(size_of("k", Some(b"")), 65);
        assert_eq!(size_of("key", Some(b"value")), 72);
    }

    #[test]
    fn the_quota_stops_growth_and_nothing_else() {
        let add = |held: Option<u64>, difference, quota| {
            let held = held.map(u64::to_be_bytes);
            add_within_quota(held.as_ref().map(|bytes| &bytes[..]), &growth(difference, quota))
                .map(|bytes| u64::from_be_bytes(bytes.try_into().unwrap()))
        };
        assert_eq!(add(None, 100, 100), Ok(100));
        assert_eq!(add(Some(60), 40, 100), Ok(100));
        assert!(add(Some(60), 41, 100).is_err());
        assert_eq!(add(Some(500), -10, 100), Ok(490), "a lowered quota lets a plugin tidy up");
        assert_eq!(add(Some(5), -10, 100), Ok(0));
    }
}
