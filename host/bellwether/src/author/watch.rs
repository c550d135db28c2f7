//! Notices that a project's files changed.
//!
//! By looking: a plugin's sources are a few dozen files, and looking works the same on every system, over network
//! folders and through an editor that renames what it saves.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::vendored;

/// How often is looked.
pub(super) const INTERVAL: Duration = Duration::from_millis(300);

/// Files looked at, those nearest to the project's folder first: a project with more has something in it that is none of its
/// sources.
pub(super) const MOST: usize = 10_000;

/// Folders that hold what is built or fetched, and so is none of the plugin's sources.
const LEFT_OUT: [&str; 2] = ["target", "node_modules"];

/// Folders whose names begin with a dot are a tool's own, but these.
const DOTTED: [&str; 2] = [vendored::FOLDER, ".cargo"];

/// What a host's data have in them, either of which tells them: what a host writes there changes nothing of the plugin.
const DATA: [&str; 2] = ["store/lock", "host.key"];

/// A project's files as they were: when each was changed, and its size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    files: BTreeMap<PathBuf, (Option<SystemTime>, u64)>,
    /// Whether that is all of them.
    pub(super) whole: bool,
}

impl Snapshot {
    /// The files of `folder` as they are, but those in `target`, where cargo builds.
    pub(super) fn of(folder: &Path, target: &Path) -> Self {
        Self::of_at_most(MOST, folder, target)
    }

    fn of_at_most(most: usize, folder: &Path, target: &Path) -> Self {
        let mut files = BTreeMap::new();
        let mut folders = VecDeque::from([folder.to_owned()]);
        while let Some(folder) = folders.pop_front() {
            // What is deleted meanwhile is gone at the next look.
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for entry in entries.flatten() {
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.is_dir() && entry.path() != target && is_looked_into(&entry.path()) {
                    folders.push_back(entry.path());
                } else if metadata.is_file() {
                    if files.len() == most {
                        return Self { files, whole: false };
                    }
                    files.insert(entry.path(), (metadata.modified().ok(), metadata.len()));
                }
            }
        }
        Self { files, whole: true }
    }
}

/// Whether a folder of the project may hold sources of the plugin's.
fn is_looked_into(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let left_out = LEFT_OUT.contains(&&*name) || (name.starts_with('.') && !DOTTED.contains(&&*name));
    !left_out && DATA.iter().all(|file| !folder.join(file).exists())
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

    #[test]
    fn what_a_host_writes_within_the_project_is_no_change_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, out) = (|name: &str| folder.path().join(name), folder.path().join("target"));
        for name in ["src", "data/store", "kept"] {
            std::fs::create_dir_all(path(name)).unwrap();
        }
        std::fs::write(path("src/lib.rs"), "one").unwrap();
        // A host whose key is kept elsewhere, and one that is about to make its store.
        std::fs::write(path("data/store/lock"), "7").unwrap();
        std::fs::write(path("kept/host.key"), "a key").unwrap();
        let first = Snapshot::of(folder.path(), &out);
        assert_eq!(first.files.keys().collect::<Vec<_>>(), [&path("src/lib.rs")]);
        std::fs::write(path("data/store/journal"), "a commit").unwrap();
        std::fs::write(path("kept/restored"), "a row").unwrap();
        assert_eq!(Snapshot::of(folder.path(), &out), first);
        std::fs::write(path("src/lib.rs"), "three").unwrap();
        assert_ne!(Snapshot::of(folder.path(), &out), first);
    }

    #[test]
    fn a_save_is_seen_however_much_was_fetched_beside_the_sources() {
        let folder = tempfile::tempdir().unwrap();
        let (path, out) = (|name: &str| folder.path().join(name), folder.path().join("target"));
        for name in ["a/b/src", "node_modules/x", ".venv/lib", ".bellwether/sdk", ".cargo"] {
            std::fs::create_dir_all(path(name)).unwrap();
        }
        for at in 0..5 {
            std::fs::write(path(&format!("node_modules/x/{at}.js")), "").unwrap();
            std::fs::write(path(&format!(".venv/lib/{at}.py")), "").unwrap();
        }
        for file in ["a/b/src/lib.rs", ".bellwether/sdk/lib.rs", ".cargo/config.toml"] {
            std::fs::write(path(file), "").unwrap();
            let before = Snapshot::of_at_most(3, folder.path(), &out);
            assert!(before.whole);
            std::fs::write(path(file), "saved").unwrap();
            assert_ne!(Snapshot::of_at_most(3, folder.path(), &out), before, "{file}");
        }
        // Of too many those nearest are looked at, and that there are more is told.
        std::fs::write(path("Cargo.toml"), "").unwrap();
        let some = Snapshot::of_at_most(3, folder.path(), &out);
        assert!(!some.whole && some.files.contains_key(&path("Cargo.toml")));
        assert!(!some.files.contains_key(&path("a/b/src/lib.rs")));
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
