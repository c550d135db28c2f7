//! Objects that rows refer to and that are not there as they were put: told once in the log, and kept in mind for whoever
//! asks how the host is.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::{Digest, LeftOut, Objects, StoreError};

/// The lost ones among somebody's objects. Clones share them.
#[derive(Clone, Debug)]
pub struct Lost {
    objects: Objects,
    known: Arc<Mutex<BTreeMap<Digest, Known>>>,
}

#[derive(Clone, Debug)]
struct Known {
    /// "the logs from … to …".
    what: String,
    /// "is missing".
    wrong: String,
}

impl Lost {
    /// None of `objects` is known to be lost.
    #[must_use]
    pub fn new(objects: Objects) -> Self {
        Self { objects, known: Arc::default() }
    }

    /// Looks whether an object's file is there and has so many bytes, without reading it; tells if not. `what` it holds
    /// is the subject of a sentence: "the logs from … to …"; `None` if by now no row refers to it, and its file may be gone.
    pub fn look(&self, digest: &Digest, bytes: u64, what: impl FnOnce() -> Option<String>) {
        if let Some(wrong) = self.objects.wrong(digest, bytes)
            && let Some(what) = what()
        {
            self.tell(digest, what, wrong);
        }
    }

    /// Tells in the log, the first time, that an object is lost, and says why.
    pub fn tell(&self, digest: &Digest, what: String, wrong: String) -> LeftOut {
        let known = Known { what, wrong };
        let left_out = LeftOut { digest: *digest, why: self.why(digest, &known) };
        if self.known.lock().insert(*digest, known).is_none() {
            tracing::error!("lost: {}", left_out.why);
        }
        left_out
    }

    /// Why what a caller asked for cannot be read: which object it needs, if that is lost.
    #[must_use]
    pub fn error(&self, digest: &Digest) -> Option<StoreError> {
        let known = self.known.lock();
        let Known { what, wrong } = known.get(digest)?;
        Some(StoreError::Lost(format!(
            "{what} cannot be read: their segment, components/{digest}, {wrong}; the host's operator puts it back from \
             a backup"
        )))
    }

    /// Whether it is lost, as far as is known.
    #[must_use]
    pub fn has(&self, digest: &Digest) -> bool {
        self.known.lock().contains_key(digest)
    }

    /// No row refers to it any more.
    pub fn forget(&self, digest: &Digest) {
        self.known.lock().remove(digest);
    }

    /// All of them, with what an operator is to do about each.
    #[must_use]
    pub fn all(&self) -> Vec<LeftOut> {
        let known = self.known.lock();
        known
            .iter()
            .map(|(digest, known)| LeftOut { digest: *digest, why: self.why(digest, known) })
            .collect()
    }

    fn why(&self, digest: &Digest, Known { what, wrong }: &Known) -> String {
        format!(
            "{what}: the segment {} {wrong}: restore a backup to another folder, copy components/{digest} from there to \
             its place, and start the host again",
            self.objects.path(digest).display()
        )
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_missing_or_cut_short_is_told_with_its_file_and_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open(folder.path()).unwrap();
        let (there, short) = (objects.put(b"there").unwrap(), objects.put(b"short").unwrap());
        let missing = Digest::of(b"missing");
        fs::write(objects.path(&short), b"sh").unwrap();
        let lost = Lost::new(objects.clone());
        for digest in [there, short, missing] {
            lost.look(&digest, if digest == missing { 7 } else { 5 }, || Some("the logs of May".to_owned()));
        }
        lost.look(&Digest::of(b"removed"), 7, || None);
        assert!(!lost.has(&there) && lost.error(&there).is_none());
        let all = lost.all();
        assert_eq!(all.len(), 2);
        for (digest, wrong) in [(short, "has 2 bytes and not 5"), (missing, "is missing")] {
            let why = &all.iter().find(|left_out| left_out.digest == digest).unwrap().why;
            let path = objects.path(&digest);
            assert!(
                why.starts_with(&format!("the logs of May: the segment {} {wrong}: ", path.display())),
                "{why}"
            );
            let error = lost.error(&digest).unwrap().to_string();
            assert!(error.starts_with("the logs of May cannot be read: "), "{error}");
            assert!(error.contains(&format!("components/{digest}, {wrong};")), "{error}");
            assert!(
                !error.contains(folder.path().to_str().unwrap()),
                "where the host keeps it is no caller's concern"
            );
        }
        lost.forget(&short);
        assert!(!lost.has(&short));
    }
}
