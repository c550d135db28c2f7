//! The plugin's own small store in memory, within the bounds and the quota a grant has that says nothing else.

use std::collections::BTreeMap;

use super::{MemoryHost, wrong};
use crate::host::{State, StateError};

/// The host's own numbers, of `host/plugins/src/limits.rs`: bytes of a key, of a value, those a row counts for beside its key
/// and value, and of all of them.
const KEY: usize = 200;
const VALUE: usize = 32_768;
const ROW: usize = 64;
const QUOTA: usize = 10 << 20;

#[derive(Debug, Default)]
pub(super) struct Rows {
    rows: BTreeMap<String, Vec<u8>>,
    /// Bytes they count for.
    held: usize,
    calls: usize,
    failures: Vec<(usize, StateError)>,
}

impl MemoryHost {
    /// Lets one of the state calls to come fail: after `calls` that do not, 0 being the next one.
    pub fn fail_state_after(&self, calls: usize, error: StateError) {
        let mut state = self.state.borrow_mut();
        let failing = state.calls + calls;
        state.failures.push((failing, error));
    }

    /// The keys of the state, in order.
    #[must_use]
    pub fn state_keys(&self) -> Vec<String> {
        self.state.borrow().rows.keys().cloned().collect()
    }
}

impl Rows {
    /// Takes note of one more call, which fails if the test says so.
    fn called(&mut self) -> Result<(), StateError> {
        let call = self.calls;
        self.calls += 1;
        match self.failures.iter().position(|(failing, _)| *failing == call) {
            Some(position) => Err(self.failures.swap_remove(position).1),
            None => Ok(()),
        }
    }

    fn put(&mut self, key: &str, value: Option<&[u8]>) -> Result<(), StateError> {
        let size = |value: &[u8]| key.len() + value.len() + ROW;
        let before = self.rows.get(key).map_or(0, |value| size(value));
        let (held, after) = (self.held, value.map_or(0, size));
        if after > before && held - before + after > QUOTA {
            let more = after - before;
            return Err(StateError::Quota(format!(
                "the plugin holds {held} of its {QUOTA} bytes of state, {more} more do not fit"
            )));
        }
        self.held = held - before + after;
        match value {
            Some(value) => self.rows.insert(key.to_owned(), value.to_vec()),
            None => self.rows.remove(key),
        };
        Ok(())
    }
}

impl State for MemoryHost {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        let mut state = self.state.borrow_mut();
        state.called()?;
        bounded(key, None)?;
        Ok(state.rows.get(key).cloned())
    }

    fn set(&self, key: &str, value: Option<&[u8]>) -> Result<(), StateError> {
        let mut state = self.state.borrow_mut();
        state.called()?;
        bounded(key, value)?;
        state.put(key, value)
    }

    fn swap(&self, key: &str, expected: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), StateError> {
        let mut state = self.state.borrow_mut();
        state.called()?;
        bounded(key, value)?;
        let present = state.rows.get(key);
        if present.map(Vec::as_slice) != expected {
            return Err(StateError::Changed(present.cloned()));
        }
        state.put(key, value)
    }

    fn list_keys(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, StateError> {
        let mut state = self.state.borrow_mut();
        state.called()?;
        let limit = wrong::limit(limit, 1000)
            .map_err(|_| StateError::Other(format!("limit is {limit}, expected 1 to 1000")))?;
        let keys = state
            .rows
            .keys()
            .filter(|key| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after));
        Ok(keys.take(limit).cloned().collect())
    }
}

fn bounded(key: &str, value: Option<&[u8]>) -> Result<(), StateError> {
    let most = |what: &str, length: usize, most: usize| match length > most {
        true => Err(StateError::TooLarge(format!("the {what} has {length} bytes, at most {most} are taken"))),
        false => Ok(()),
    };
    most("key", key.len(), KEY)?;
    most("value", value.map_or(0, <[u8]>::len), VALUE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_swaps_only_what_it_expects() {
        let host = MemoryHost::new();
        assert_eq!(host.swap("turn", None, Some(b"1")), Ok(()));
        assert_eq!(host.swap("turn", None, Some(b"2")), Err(StateError::Changed(Some(b"1".to_vec()))));
        assert_eq!(host.swap("turn", Some(b"1"), None), Ok(()));
        assert_eq!(host.get("turn"), Ok(None));
    }

    #[test]
    fn state_lists_keys_by_prefix_in_pages() {
        let host = MemoryHost::new();
        for key in ["a/2", "b", "a/1", "a/3"] {
            host.set(key, Some(b"")).expect("within bounds");
        }
        assert_eq!(host.list_keys("a/", None, 2), Ok(vec!["a/1".into(), "a/2".into()]));
        assert_eq!(host.list_keys("a/", Some("a/2"), 2), Ok(vec!["a/3".into()]));
    }

    #[test]
    fn what_is_too_much_is_refused_in_the_hosts_words() {
        let host = MemoryHost::new();
        let limit = StateError::Other("limit is 0, expected 1 to 1000".into());
        assert_eq!(host.list_keys("", None, 0), Err(limit));
        let key = StateError::TooLarge("the key has 201 bytes, at most 200 are taken".into());
        assert_eq!(host.set(&"k".repeat(201), None), Err(key));
        let value = StateError::TooLarge("the value has 32769 bytes, at most 32768 are taken".into());
        assert_eq!(host.set("k", Some(&[0; 32_769])), Err(value));
        let fill = |at: u32| host.set(&format!("{at:08}"), Some(&[0; VALUE - 8 - ROW]));
        (0..320).for_each(|at| fill(at).expect("within the quota"));
        let full =
            "the plugin holds 10485760 of its 10485760 bytes of state, 32768 more do not fit".to_owned();
        assert_eq!(fill(320), Err(StateError::Quota(full)));
        assert_eq!(host.set("00000000", Some(b"")), Ok(()), "to shrink is always allowed");
        assert_eq!(host.set("00000001", Some(&[1; VALUE - 8 - ROW])), Ok(()), "and to change");
    }

    #[test]
    fn a_state_call_fails_when_it_is_told_to() {
        let host = MemoryHost::new();
        host.fail_state_after(1, StateError::Unavailable("the disk is full".into()));
        assert_eq!(host.set("a", Some(b"1")), Ok(()));
        assert_eq!(host.set("a", Some(b"2")), Err(StateError::Unavailable("the disk is full".into())));
        assert_eq!(host.get("a"), Ok(Some(b"1".to_vec())), "a failed call changed nothing");
    }
}
