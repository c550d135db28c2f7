//! The first keys of a new store: made and printed once, so that nobody is locked out if the host dies in between.
//!
//! A file in the data folder says that the keys may not have been printed. It is there before the keys are, and goes
//! when they are printed; a start that finds it makes new keys and revokes the ones nobody has seen.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bellwether_access::{Access, AccessError, CreatedKey, NewKey, Organisation, Role};
use bellwether_kernel::{KeyId, OrganisationId, PageRequest};

use crate::client::DEFAULT_URL;
use crate::output;

/// Who made them, in the audit log.
const ACTOR: &str = "host";
const OPERATOR: &str = "first operator";
const ADMIN: &str = "first admin";

/// Makes and prints the first keys if this is a new store, or if an earlier start may have died before it printed
/// them; with commands that work as they stand, against the host at `url`.
pub(super) async fn print_once(
    access: &Access,
    data: &Path,
    organisation: &str,
    url: &str,
    print: impl FnOnce(&str) -> io::Result<()>,
) -> anyhow::Result<()> {
    let pending = Pending(data.join("first-start"));
    if !access.has_operator() {
        pending.mark()?;
    } else if !pending.is_marked() {
        return Ok(());
    }
    let (organisation, operator, admin) = make(access, organisation).await?;
    print(&tell(&organisation, &operator, &admin, url))
        .context("the first keys could not be printed; the next start makes new ones")?;
    pending.clear()
}

/// A new key of the operator; the others stay.
pub(super) async fn recover(access: &Access) -> Result<CreatedKey, AccessError> {
    access.create_operator_key(ACTOR, "recovered operator", None).await
}

/// Makes the keys, then revokes those of the same names that nobody has seen.
async fn make(access: &Access, name: &str) -> Result<(Organisation, CreatedKey, CreatedKey), AccessError> {
    let organisation = match access.create_organisation(ACTOR, name, "UTC").await {
        Err(AccessError::Exists { .. }) => access.organisation_named(name)?,
        other => other?,
    };
    let unseen =
        [(None, OPERATOR), (Some(organisation.id), ADMIN)].map(|(owner, name)| unseen(access, owner, name));
    let operator = access.create_operator_key(ACTOR, OPERATOR, None).await?;
    let new = NewKey { name: ADMIN.to_owned(), role: Role::Admin, expires: None, signing: true };
    let admin = access.create_key(ACTOR, organisation.id, new).await?;
    for (owner, ids) in [None, Some(organisation.id)].into_iter().zip(unseen) {
        for id in ids? {
            access.revoke_key(ACTOR, owner, &id).await?;
        }
    }
    Ok((organisation, operator, admin))
}

/// The keys of that name that work and were never used.
fn unseen(access: &Access, owner: Option<OrganisationId>, name: &str) -> Result<Vec<KeyId>, AccessError> {
    let keys = access.keys(owner, &PageRequest::first(1000))?;
    let unseen = keys
        .items
        .into_iter()
        .filter(|key| key.name == name && key.revoked.is_none() && key.last_used.is_none());
    Ok(unseen.map(|key| key.id).collect())
}

fn tell(organisation: &Organisation, operator: &CreatedKey, admin: &CreatedKey, url: &str) -> String {
    let rows = [
        ("operator key", operator.token.as_str()),
        ("admin key", admin.token.as_str()),
        ("access id", admin.signing.as_ref().map_or("", |pair| pair.access_id.as_str())),
        ("secret key", admin.signing.as_ref().map_or("", |pair| pair.secret.as_str())),
    ];
    let rows = rows.map(|(name, value)| vec![name.to_owned(), value.to_owned()]);
    // The command line looks there by itself.
    let url = if url == DEFAULT_URL { String::new() } else { format!("  export BELLWETHER_URL={url}\n") };
    format!(
        "This is a new store. Its first keys, shown this once and kept nowhere:\n\n{}\n\
         The operator runs the host: organisations, plugins for all, backups. The admin runs the organisation {:?}:\n\
         metrics, playbooks, keys. The access id and secret are the admin's too, for clients that sign requests.\n\n  \
         export BELLWETHER_KEY={}\n{url}  bellwether metric list\n\n",
        output::aligned(&rows),
        organisation.name,
        admin.token,
    )
}

/// The mark that keys may not have been printed.
struct Pending(PathBuf);

impl Pending {
    fn mark(&self) -> anyhow::Result<()> {
        File::create(&self.0)
            .and_then(|file| file.sync_all())
            .and_then(|()| File::open(self.0.parent().unwrap_or(Path::new(".")))?.sync_all())
            .with_context(|| format!("{} does not write", self.0.display()))
    }

    fn is_marked(&self) -> bool {
        self.0.exists()
    }

    fn clear(&self) -> anyhow::Result<()> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("{} does not go away", self.0.display()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bellwether_access::HostKey;
    use bellwether_kernel::{SystemClock, SystemRandomness};
    use bellwether_store::MemoryStore;

    use super::*;

    async fn access() -> Access {
        let key = HostKey::from_hex(&"ab".repeat(32)).unwrap();
        let store = Arc::new(MemoryStore::new());
        Access::open(store, Arc::new(SystemClock), Arc::new(SystemRandomness), key).await.unwrap()
    }

    fn working(access: &Access, owner: Option<OrganisationId>) -> usize {
        let keys = access.keys(owner, &PageRequest::first(100)).unwrap();
        keys.items.iter().filter(|key| key.revoked.is_none()).count()
    }

    #[tokio::test]
    async fn a_start_that_died_before_printing_is_made_up_for_and_its_keys_revoked() {
        let access = access().await;
        let folder = tempfile::tempdir().unwrap();
        let pending = folder.path().join("first-start");

        // Died after making the keys: the mark is still there.
        File::create(&pending).unwrap();
        let (organisation, unseen, _) = make(&access, "default").await.unwrap();
        let mut printed = String::new();
        let print = |text: &str| {
            printed.push_str(text);
            Ok(())
        };
        print_once(&access, folder.path(), "default", DEFAULT_URL, print).await.unwrap();
        assert!(printed.contains("admin key") && !pending.exists());
        assert!(
            access.authenticate_token(&unseen.token).is_err(),
            "nobody has seen it, so nobody may use it"
        );
        assert_eq!((working(&access, None), working(&access, Some(organisation.id))), (1, 1));

        // From then on nothing is made.
        print_once(&access, folder.path(), "default", DEFAULT_URL, |text| panic!("{text}")).await.unwrap();
        assert_eq!((working(&access, None), working(&access, Some(organisation.id))), (1, 1));
    }

    #[tokio::test]
    async fn keys_that_could_not_be_printed_are_made_again() {
        let access = access().await;
        let folder = tempfile::tempdir().unwrap();
        let refused = print_once(&access, folder.path(), "default", DEFAULT_URL, |_| {
            Err(io::ErrorKind::BrokenPipe.into())
        })
        .await;
        assert!(refused.is_err());
        let mut printed = String::new();
        let print = |text: &str| {
            printed.push_str(text);
            Ok(())
        };
        print_once(&access, folder.path(), "default", DEFAULT_URL, print).await.unwrap();
        assert!(printed.contains("operator key"));
    }

    #[tokio::test]
    async fn what_is_printed_is_what_works() {
        let access = access().await;
        let (organisation, operator, admin) = make(&access, "default").await.unwrap();
        let text = tell(&organisation, &operator, &admin, DEFAULT_URL);
        assert!(!text.contains("BELLWETHER_URL"), "the command line looks there by itself:\n{text}");
        let elsewhere = tell(&organisation, &operator, &admin, "http://127.0.0.1:9000");
        assert!(elsewhere.contains("\n  export BELLWETHER_URL=http://127.0.0.1:9000\n"), "{elsewhere}");
        let value = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
        };
        for name in ["operator key", "admin key"] {
            access.authenticate_token(&value(name).unwrap()).unwrap();
        }
        assert_eq!(value("access id"), admin.signing.as_ref().map(|pair| pair.access_id.clone()));
        assert_eq!(value("secret key"), admin.signing.as_ref().map(|pair| pair.secret.clone()));
    }
}
