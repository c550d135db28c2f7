//! The file that remembers how far an import came, and the lock that keeps a second import off it.

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::source::{Columns, Place};
use crate::failure::Failure;

/// What an import is: the same file into the same metric in the same way. Everything here is part of each batch's
/// `Idempotency-Key`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// SHA-256 of the file.
    pub(crate) file: String,
    /// Which organisation.
    pub(crate) organisation: String,
    /// Whether its rows are samples of tagged series, and not of an interval metric.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) series: bool,
    /// Which metric, by name; empty where a column says.
    pub(crate) metric: String,
    /// Which of that name, by its id and when it was made: one made again, or one of another host, is another. Of tagged
    /// series, which organisation, by when it was made.
    pub(crate) metric_made: String,
    /// Tags of every row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<String>,
    /// Which columns.
    pub(crate) columns: Columns,
    /// How times are written.
    pub(crate) time_format: String,
    /// Where times without an offset are from.
    pub(crate) time_zone: String,
    /// What separates fields.
    pub(crate) delimiter: char,
    /// Samples of one batch.
    pub(crate) batch: usize,
    /// Random: an import that was started over is another one.
    pub(crate) attempt: String,
}

impl Identity {
    /// What [`Self::difference`] answers where only batches are cut otherwise: no matter once all are written.
    pub(crate) const BATCH: &'static str = "--batch";
    /// What [`Self::difference`] answers where the file itself is another.
    pub(crate) const CONTENT: &'static str = "the file's content";

    /// The first thing another identity says otherwise, as the option that sets it; the attempt aside.
    pub(crate) fn difference(&self, other: &Self) -> Option<&'static str> {
        let pairs = [
            (self.organisation == other.organisation, "the key's organisation"),
            (self.series == other.series, "--series"),
            (self.metric == other.metric, "--metric"),
            (
                self.metric_made == other.metric_made,
                "the metric itself (made again since, or of another host)",
            ),
            (self.columns.time == other.columns.time, "--time"),
            (self.columns.value == other.columns.value, "--value"),
            (self.columns.key == other.columns.key, "--key"),
            (self.columns.weight == other.columns.weight, "--weight"),
            (self.columns.metric == other.columns.metric, "--metric-column"),
            (self.columns.tags == other.columns.tags, "--tag-column"),
            (self.tags == other.tags, "--tag"),
            (self.time_format == other.time_format, "--time-format"),
            (self.time_zone == other.time_zone, "--time-zone"),
            (self.delimiter == other.delimiter, "--delimiter"),
            (self.file == other.file, Self::CONTENT),
            (self.batch == other.batch, Self::BATCH),
        ];
        pairs.into_iter().find_map(|(same, what)| (!same).then_some(what))
    }

    /// The `Idempotency-Key` of the batch between two places, `left_out` being lines the host refused in it.
    pub(crate) fn batch_key(&self, from: Place, to: Place, left_out: &[u64]) -> String {
        let named = serde_json::to_vec(&(self, from, to, left_out)).expect("plain data is JSON");
        let digest = Sha256::digest(&named);
        format!("import-{}", data_encoding::HEXLOWER.encode(&digest[..16]))
    }
}

/// How far an import came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Which import.
    pub(crate) identity: Identity,
    /// Everything before this place is done; the batch that begins here may or may not be.
    pub(crate) place: Place,
    /// Rows read so far.
    pub(crate) read: u64,
    /// Samples written so far.
    pub(crate) written: u64,
    /// Rows left out so far.
    pub(crate) skipped: u64,
    /// Samples of one batch, where the host takes no bodies as large as those asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) smaller: Option<usize>,
    /// When this was last saved.
    pub(crate) saved: jiff::Timestamp,
    /// Whether the import is over.
    pub(crate) finished: bool,
}

impl Progress {
    /// Nothing done yet.
    pub(crate) fn beginning(identity: Identity, place: Place) -> Self {
        Self {
            identity,
            place,
            read: 0,
            written: 0,
            skipped: 0,
            smaller: None,
            saved: jiff::Timestamp::now(),
            finished: false,
        }
    }

    /// Samples of one batch.
    pub(crate) fn batch(&self) -> usize {
        self.smaller.unwrap_or(self.identity.batch)
    }

    /// Where the progress of importing `file` is kept, unless said otherwise: beside it.
    pub(crate) fn beside(file: &Path) -> PathBuf {
        with_ending(file, ".bellwether-import.json")
    }

    /// Reads the progress kept at `path`, if there is any.
    pub(crate) fn load(path: &Path) -> Result<Option<Self>, Failure> {
        match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                let path = path.display();
                Failure::Usage(format!("{path} is not the progress of an import ({error}); move it away, or name another with --progress-file"))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::Usage(format!("{} does not read: {error}", path.display()))),
        }
    }

    /// Keeps the progress of now at `path`.
    pub(crate) fn save_now(&mut self, path: &Path) -> anyhow::Result<()> {
        self.saved = jiff::Timestamp::now();
        self.save(path).with_context(|| format!("{} does not write", path.display()))
    }

    /// Keeps the progress at `path`: afterwards the file holds this or, after a crash, what it held before.
    pub(crate) fn save(&self, path: &Path) -> io::Result<()> {
        let new = with_ending(path, ".new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec_pretty(self).map_err(io::Error::other)?)?;
        file.sync_all()?;
        std::fs::rename(new, path)
    }
}

/// The path with something more at its end.
fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// One import at a time keeps its progress in a file. Held, it is a locked file beside that one, which saving replaces;
/// a process that dies lets go of it.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    /// Held while it is open.
    _file: File,
}

impl Lock {
    /// Takes the progress kept at `progress` for this import alone.
    ///
    /// # Errors
    /// [`Failure::Usage`] if another import has it.
    pub(crate) fn take(progress: &Path) -> Result<Self, Failure> {
        let path = with_ending(progress, ".lock");
        let wrong = |error: &io::Error| {
            Failure::Usage(format!(
                "{} cannot be locked ({error}); keep the progress elsewhere with --progress-file",
                path.display()
            ))
        };
        loop {
            let file =
                File::options().create(true).append(true).open(&path).map_err(|error| wrong(&error))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(Failure::Usage(format!(
                        "another import keeps its progress in {}: let it end, or give this one a file of its own with \
                         --progress-file",
                        progress.display()
                    )));
                }
                Err(TryLockError::Error(error)) => return Err(wrong(&error)),
            }
            // Whoever had it before may have taken it away since it was opened: then it keeps nobody off.
            let same = |there: std::fs::Metadata| Ok(there.ino() == file.metadata()?.ino());
            if std::fs::metadata(&path).and_then(same).unwrap_or(false) {
                return Ok(Self { path, _file: file });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Left there it would do no harm.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_import_with_the_same_progress_is_refused_until_the_first_has_ended() {
        let folder = tempfile::tempdir().expect("a folder");
        let progress = folder.path().join("p.json");
        let first = Lock::take(&progress).expect("nobody has it");
        let Err(Failure::Usage(told)) = Lock::take(&progress) else { panic!("it is taken") };
        assert!(told.contains("p.json:") && told.contains("--progress-file"), "{told}");
        Lock::take(&folder.path().join("q.json")).expect("another file");
        drop(first);
        drop(Lock::take(&progress).expect("it is free again"));
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0, "nothing is left");
        // What a killed import leaves keeps nobody off.
        std::fs::write(folder.path().join("p.json.lock"), "").expect("written");
        Lock::take(&progress).expect("nobody has it");
        let nowhere = Lock::take(&folder.path().join("none/p.json")).expect_err("no folder").for_people();
        assert!(nowhere.contains("none/p.json.lock") && nowhere.contains("--progress-file"), "{nowhere}");
    }

    fn identity() -> Identity {
        Identity {
            file: "f".to_owned(),
            organisation: "default".to_owned(),
            series: false,
            metric: "m".to_owned(),
            metric_made: "1 2026-01-01T00:00:00Z".to_owned(),
            tags: Vec::new(),
            columns: Columns { time: "t".to_owned(), value: Some("v".to_owned()), ..Columns::default() },
            time_format: "auto".to_owned(),
            time_zone: "UTC".to_owned(),
            delimiter: ',',
            batch: 1000,
            attempt: String::new(),
        }
    }

    const START: Place = Place { byte: 10, line: 2 };
    const END: Place = Place { byte: 90, line: 9 };

    #[test]
    fn a_batch_has_the_same_key_however_often_it_is_sent_and_no_other_has_it() {
        let key = identity().batch_key(START, END, &[]);
        assert_eq!(key, identity().batch_key(START, END, &[]));
        let others = [
            identity().batch_key(START, START, &[]),
            identity().batch_key(END, END, &[]),
            identity().batch_key(START, END, &[4]),
            Identity { file: "g".to_owned(), ..identity() }.batch_key(START, END, &[]),
            Identity { metric: "n".to_owned(), ..identity() }.batch_key(START, END, &[]),
            Identity { time_zone: "Asia/Tokyo".to_owned(), ..identity() }.batch_key(START, END, &[]),
            Identity { attempt: "2".to_owned(), ..identity() }.batch_key(START, END, &[]),
            Identity { series: true, ..identity() }.batch_key(START, END, &[]),
            Identity { tags: vec!["env:prod".to_owned()], ..identity() }.batch_key(START, END, &[]),
        ];
        for other in others {
            assert_ne!(key, other);
        }
    }

    #[test]
    fn progress_is_read_back_and_a_torn_or_foreign_file_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = Progress::beside(&folder.path().join("a.csv"));
        assert_eq!(path.file_name().and_then(|name| name.to_str()), Some("a.csv.bellwether-import.json"));
        assert!(Progress::load(&path).expect("nothing there").is_none());
        let progress = Progress {
            identity: identity(),
            place: END,
            read: 7,
            written: 6,
            skipped: 1,
            smaller: Some(5),
            saved: jiff::Timestamp::UNIX_EPOCH,
            finished: false,
        };
        progress.save(&path).expect("saved");
        assert_eq!(Progress::load(&path).expect("readable"), Some(progress));
        std::fs::write(&path, "{\"identity\":").expect("written");
        assert!(matches!(Progress::load(&path), Err(Failure::Usage(_))));
    }

    #[test]
    fn a_difference_is_named_by_the_option_that_makes_it() {
        assert_eq!(identity().difference(&identity()), None);
        assert_eq!(identity().difference(&Identity { attempt: "2".to_owned(), ..identity() }), None);
        assert_eq!(identity().difference(&Identity { batch: 7, ..identity() }), Some(Identity::BATCH));
        assert_eq!(
            identity().difference(&Identity { file: "g".to_owned(), ..identity() }),
            Some(Identity::CONTENT)
        );
    }
}
