//! The key that seals what a store keeps secret: of the environment, or of a file in the data folder, never in the store.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bellwether_access::HostKey;
use bellwether_kernel::Randomness;

use crate::settings::HOST_KEY_VARIABLE;

/// Where a host with this data folder looks for its key.
pub(crate) struct Place {
    data: PathBuf,
    variable: Option<OsString>,
}

impl Place {
    /// As the environment of this process says; a variable that is empty says nothing.
    pub(crate) fn of(data: &Path) -> Self {
        Self::with(data, std::env::var_os(HOST_KEY_VARIABLE))
    }

    fn with(data: &Path, variable: Option<OsString>) -> Self {
        let variable = variable.filter(|text| !text.to_string_lossy().trim().is_empty());
        Self { data: data.to_owned(), variable }
    }

    /// The file, which nothing reads where the environment has the key.
    pub(crate) fn file(&self) -> PathBuf {
        self.data.join("host.key")
    }

    /// The key that is there.
    ///
    /// # Errors
    /// What is wrong with it; that there is none, beside a store that was made with one: no other key opens what it sealed.
    pub(crate) fn key(&self) -> anyhow::Result<Option<HostKey>> {
        if let Some(variable) = &self.variable {
            let text = variable.to_string_lossy();
            let key = HostKey::from_hex(&text).with_context(|| format!("{HOST_KEY_VARIABLE} is no host key"));
            return key.map(Some);
        }
        let key = HostKey::load(&self.file())?;
        if key.is_none() && self.data.join("store").exists() {
            anyhow::bail!("{} is not there\n{}", self.file().display(), self.what_is_lost());
        }
        Ok(key)
    }

    /// The key that is there, or for a new store a new one.
    ///
    /// # Errors
    /// As [`Self::key`]; that the file cannot be made.
    pub(crate) fn key_or_new(&self, randomness: &dyn Randomness) -> anyhow::Result<HostKey> {
        match self.key()? {
            Some(key) => Ok(key),
            None => Ok(HostKey::load_or_create(&self.file(), randomness)?),
        }
    }

    /// What nobody reads any more without the key a store was made with, and what can be done.
    pub(crate) fn what_is_lost(&self) -> String {
        format!(
            "hint: put back the host key that the store in {data} was made with: as {file} (mode 0600), or in\n\
             {HOST_KEY_VARIABLE}. It is kept apart from backups, in neither the store nor any of them.\n\
             Sealed with it are the values of secrets, what signed requests are checked with, the addresses of webhooks,\n\
             what open runs keep secret and remembered answers: without it no host opens this store, so that none goes\n\
             on with half of what it had. If the key is gone for good, so are they: begin a new store in another folder\n\
             (--data), with new keys and secrets.",
            data = self.data.display(),
            file = self.file().display(),
        )
    }
}

/// Says where the key comes from, as settings say it of theirs.
impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.variable {
            Some(_) => write!(f, "environment {HOST_KEY_VARIABLE}"),
            None => write!(f, "{}", self.file().display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use bellwether_kernel::SystemRandomness;

    use super::*;

    #[test]
    fn a_store_whose_key_was_left_behind_gets_no_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::with(folder.path(), None);
        assert!(place.key().unwrap().is_none(), "looking makes none");
        assert!(place.key_or_new(&SystemRandomness).is_ok(), "a new store gets a key");
        fs::create_dir(folder.path().join("store")).unwrap();
        assert!(place.key_or_new(&SystemRandomness).is_ok(), "and keeps it");
        fs::remove_file(place.file()).unwrap();
        let refused = place.key_or_new(&SystemRandomness).map(drop).unwrap_err().to_string();
        for part in ["host.key is not there", HOST_KEY_VARIABLE, "the values of secrets", "--data"] {
            assert!(refused.contains(part), "{part}: {refused}");
        }
        assert!(!place.file().exists());
    }

    #[test]
    fn a_key_that_is_none_is_found_where_it_stands_and_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let key = "5a".repeat(32);
        let refused = |place: &Place| format!("{:#}", place.key().map(drop).unwrap_err());
        for wrong in [OsString::from(&key[1..]), OsString::from("secret"), invalid()] {
            let refused = refused(&Place::with(folder.path(), Some(wrong)));
            assert!(refused.contains(HOST_KEY_VARIABLE) && refused.contains("64 hexadecimal"), "{refused}");
            assert!(!refused.contains("secret") && !refused.contains(&key[1..]), "{refused}");
        }
        let given = Place::with(folder.path(), Some(key.into()));
        assert!(given.key().unwrap().is_some());
        assert_eq!(given.to_string(), "environment BELLWETHER_HOST_KEY");
        for nothing in ["", " \n"] {
            let place = Place::with(folder.path(), Some(nothing.into()));
            assert!(place.key().unwrap().is_none());
            assert_eq!(place.to_string(), place.file().display().to_string());
        }
        let place = Place::with(folder.path(), None);
        place.key_or_new(&SystemRandomness).unwrap();
        fs::write(place.file(), "none").unwrap();
        let refused = refused(&place);
        assert!(refused.contains("host.key") && refused.contains("64 hexadecimal"), "{refused}");
    }

    fn invalid() -> OsString {
        use std::os::unix::ffi::OsStringExt as _;
        OsString::from_vec(vec![0xff; 64])
    }
}
