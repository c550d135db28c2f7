//! Notices that a project's files changed.
//!
//! By looking: a plugin's sources are a few dozen files, and looking works the same on every system, over network
//! folders and through an editor that renames what it saves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How often is looked.
pub(super) const INTERVAL: Duration = Duration::from_millis(300);

/// Files looked at: a project with more has something in it that is none of its sources.
const MOST: usize = 10_000;

/// Folders that hold what is built, or what is none of the plugin's.
const LEFT_OUT: [&str; 2] = ["target", ".git"];

/// A project's files as they were: when each was changed, and its size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot(BTreeMap<PathBuf, (Option<SystemTime>, u64)>);

impl Snapshot {
    /// The files of `folder` as they are, but those in `target`, where cargo builds.
    pub(super) fn of(folder: &Path, target: &Path) -> Self {
        let mut files = BTreeMap::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            // What is deleted meanwhile is gone at the next look.
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for entry in entries.flatten() {
                let Ok(metadata) = entry.metadata() else { continue };
                let left_out =
                    entry.path() == target || LEFT_OUT.iter().any(|name| entry.file_name() == *name);
                if metadata.is_dir() && !left_out {
                    folders.push(entry.path());
                } else if metadata.is_file() && files.len() < MOST {
                    files.insert(entry.path(), (metadata.modified().ok(), metadata.len()));
                }
            }
        }
        Self(files)
    }
}

/// Waits until a file differs from `earlier` and then for as long as more do; gives the files as they are now.
pub(super) async fn changed(folder: &Path, target: &Path, earlier: &Snapshot) -> Snapshot {
    let mut last = earlier.clone();
    loop {
        tokio::time::sleep(INTERVAL).await;
        let now = Snapshot::of(folder, target);
        if now != *earlier && now == last {
            return now;
        }
        last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_made_or_deleted_is_a_change_and_what_is_built_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["src", "target", ".git", "out"] {
            std::fs::create_dir(path(name)).unwrap();
        }
        std::fs::write(path("src/lib.rs"), "one").unwrap();
        let first = Snapshot::of(folder.path(), &folder.path().join("out"));
        std::fs::write(path("target/x.wasm"), "built").unwrap();
        std::fs::write(path("out/x.wasm"), "built").unwrap();
        std::fs::write(path(".git/index"), "").unwrap();
        assert_eq!(Snapshot::of(folder.path(), &folder.path().join("out")), first);
        std::fs::write(path("src/lib.rs"), "three").unwrap();
        let second = Snapshot::of(folder.path(), &folder.path().join("out"));
        assert_ne!(second, first);
        std::fs::write(path("src/new.rs"), "").unwrap();
        let third = Snapshot::of(folder.path(), &folder.path().join("out"));
        assert_ne!(third, second);
        std::fs::remove_file(path("src/new.rs")).unwrap();
        assert_eq!(Snapshot::of(folder.path(), &folder.path().join("out")), second);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_waited_for_until_the_last_file_is_written() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), "1").unwrap();
        let before = Snapshot::of(folder.path(), &folder.path().join("out"));
        std::fs::write(folder.path().join("a"), "22").unwrap();
        let after = changed(folder.path(), &folder.path().join("out"), &before).await;
        assert_eq!(after, Snapshot::of(folder.path(), &folder.path().join("out")));
    }
}
