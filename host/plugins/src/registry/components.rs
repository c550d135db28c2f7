//! The components of what is installed, as files: read, put back where the host's binary carries one that is lost, and
//! told of where nobody can.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use bellwether_store::{Digest, Key, LeftOut, Loose, Objects, Space, StoreError};
use bytes::Bytes;

use super::{Bundled, Entry, Plugins, Table};
use crate::PluginError;
use crate::host::{Services, Shared};
use crate::row::{Installed, Owner};

impl Plugins {
    /// The components that are missing or damaged, and what to do about each: what a backup cannot hold. Every one is
    /// read. Those the binary carries are put back instead.
    ///
    /// # Errors
    /// The store's, if the file system fails.
    pub async fn lost_components(&self) -> Result<Vec<LeftOut>, PluginError> {
        let mut all = BTreeMap::<Digest, Vec<Arc<Installed>>>::new();
        // Of one whose row does not read nobody knows which its component is.
        for installed in self.table().installed().into_iter().filter(|installed| installed.is_known()) {
            all.entry(installed.digest).or_default().push(installed);
        }
        let mut lost = Vec::new();
        for (digest, versions) in all {
            match read_component(&self.shared, digest).await {
                Ok(_) => {}
                Err(error @ PluginError::Lost(_)) => {
                    let plugins: Vec<_> = versions.iter().map(|installed| self.whose(installed)).collect();
                    let why = format!("{}: {error}", plugins.join(", "));
                    tracing::warn!(%digest, why, "a component is lost");
                    lost.push(LeftOut { digest, why });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(lost)
    }

    /// What of an owner's plugins runs from the cache alone, as its component's file is gone: with what to do about each.
    /// Files are only looked for, not read.
    #[must_use]
    pub fn missing_components(&self, owner: Owner) -> Vec<String> {
        let of_owner = self.table().installed().into_iter().filter(|installed| installed.owner == owner);
        let missing = of_owner.filter(|installed| is_missing(&self.shared, installed));
        missing
            .map(|installed| format!("{}: {}", self.whose(&installed), lost(&self.shared, &installed)))
            .collect()
    }

    /// `plugin judge 1.0.0 of the organisation acme`.
    fn whose(&self, Installed { owner, name, version, .. }: &Installed) -> String {
        match owner {
            Owner::Host => format!("plugin {name} {version}"),
            Owner::Organisation(id) => {
                let organisation = self.shared.services.access.organisation(*id);
                let organisation = organisation.map_or_else(|_| id.to_string(), |found| found.name);
                format!("plugin {name} {version} of the organisation {organisation}")
            }
        }
    }
}

impl Plugins {
    /// The components of `before` that no version of any plugin has once `after` is in its place.
    pub(super) fn unused(&self, before: Option<&Entry>, after: Option<&Entry>) -> Vec<Digest> {
        let Some(before) = before else { return Vec::new() };
        let table = self.table();
        let others = table.0.values().flat_map(BTreeMap::values);
        let others = others.filter(|other| (other.owner, &other.name) != (before.owner, &before.name));
        let kept: Vec<&Entry> = others.map(|other| &**other).chain(after).collect();
        let had: BTreeSet<_> = before.releases.values().map(|release| release.installed().digest).collect();
        had.into_iter().filter(|digest| !kept.iter().any(|entry| entry.has(digest))).collect()
    }

    /// Whether a version of any plugin has that component.
    pub(super) fn is_installed(&self, digest: &Digest) -> bool {
        self.table().0.values().flat_map(BTreeMap::values).any(|entry| entry.has(digest))
    }

    /// Drops a component and its machine code, unless a version that is installed has it.
    pub(super) async fn forget(&self, digest: Digest) {
        if self.forget_code(digest).await {
            self.components.discard(vec![digest]).await;
        }
    }

    /// Drops the machine code of a component, unless a version that is installed has it; gives whether none has.
    pub(super) async fn forget_code(&self, digest: Digest) -> bool {
        if self.is_installed(&digest) {
            return false;
        }
        let engine = self.shared.services.engine.clone();
        let dropped = tokio::task::spawn_blocking(move || engine.forget(digest.as_bytes()));
        dropped.await.expect("removing a file does not panic");
        true
    }
}

/// Where components are put before the row of a version refers to them. The number is no host's: the table every host of a
/// store reads says what is in use.
pub(super) fn loose(services: &Services) -> Loose {
    let all = Key::new(Space::PluginLoose).number(0);
    Loose::new(Arc::clone(&services.store), services.objects.clone(), all)
}

/// Removes what a crash left of components that were not installed, or not any more: files and machine code.
pub(super) async fn clear(shared: &Shared, components: &Loose, table: &Table) -> Result<(), PluginError> {
    let installed = table.installed();
    let used: HashSet<_> = installed.iter().map(|installed| *installed.digest.as_bytes()).collect();
    components.clear(|digest| used.contains(digest.as_bytes())).await?;
    let engine = shared.services.engine.clone();
    let swept = tokio::task::spawn_blocking(move || engine.keep_only(&used));
    swept.await.expect("removing files does not panic");
    Ok(())
}

/// The component with this digest, as it was installed. One the binary carries is put back where its file is lost.
pub(super) async fn read_component(shared: &Shared, digest: Digest) -> Result<Bytes, PluginError> {
    let (objects, bundled) = (shared.services.objects.clone(), shared.services.bundled);
    let read = tokio::task::spawn_blocking(move || {
        let lost = match objects.get(&digest) {
            Ok(Some(bytes)) => return Ok(Bytes::from(bytes)),
            Ok(None) => missing(&objects, digest),
            Err(StoreError::Damaged(what)) => what,
            Err(error) => return Err(error.into()),
        };
        let Some(carried) = carried(bundled, digest) else { return Err(PluginError::Lost(lost)) };
        objects.put(carried.component)?;
        tracing::warn!(plugin = carried.name, %digest, "the lost component of a bundled plugin is put back");
        Ok(Bytes::from_static(carried.component))
    });
    read.await.expect("reading an object does not panic")
}

/// Puts back what the binary carries of the components that are gone, also where their machine code is still in the cache,
/// and tells of the others.
pub(super) async fn put_back(shared: &Shared, table: &Table) -> Result<(), PluginError> {
    for installed in table.installed().into_iter().filter(|installed| is_missing(shared, installed)) {
        if carried(shared.services.bundled, installed.digest).is_some() {
            read_component(shared, installed.digest).await?;
        } else {
            let (plugin, version, error) = (&installed.name, &installed.version, lost(shared, &installed));
            tracing::warn!(plugin, version, %error, "a plugin runs only as long as it is in the cache");
        }
    }
    Ok(())
}

fn is_missing(shared: &Shared, installed: &Installed) -> bool {
    installed.problem.is_none() && !shared.services.objects.path(&installed.digest).exists()
}

fn lost(shared: &Shared, installed: &Installed) -> PluginError {
    PluginError::Lost(missing(&shared.services.objects, installed.digest))
}

fn missing(objects: &Objects, digest: Digest) -> String {
    format!("{} is missing", objects.path(&digest).display())
}

/// The one with this digest of what the binary carries.
fn carried(bundled: &'static [Bundled], digest: Digest) -> Option<&'static Bundled> {
    bundled.iter().find(|bundled| bundled.digest == *digest.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing::{House, named_app};

    fn probe(name: &str) -> Bytes {
        named_app(name, "1.0.0", "", "", "(global.get $ok)")
    }

    /// A house with the plugin `own` and the plugin `carried`, which its binary carries.
    async fn house() -> (House, Arc<Plugins>) {
        let mut house = House::new().await;
        let component: &'static [u8] = probe("carried").to_vec().leak();
        let digest = *Digest::of(component).as_bytes();
        house.services.bundled = Box::leak(Box::new([Bundled { name: "carried", digest, component }]));
        let plugins = house.plugins().await;
        plugins.install_bundled("key", "carried", Vec::new(), false).await.unwrap();
        plugins.install(Owner::Host, "key", probe("own"), Vec::new(), false).await.unwrap();
        assert_eq!(plugins.lost_components().await.unwrap(), []);
        (house, plugins)
    }

    #[tokio::test]
    async fn what_is_lost_is_named_with_its_file_and_what_to_do_and_comes_back_by_installing_it_again() {
        let (house, plugins) = house().await;
        let path = house.services.objects.path(&Digest::of(&probe("own")));
        for (lose, told) in [
            (&(|| fs::remove_file(&path).unwrap()) as &dyn Fn(), " is missing: "),
            (&|| fs::write(&path, b"damaged").unwrap(), " has the digest "),
        ] {
            lose();
            let lost = plugins.lost_components().await.unwrap();
            assert_eq!(lost.len(), 1, "{lost:?}");
            let why = &lost[0].why;
            assert!(why.starts_with(&format!("plugin own 1.0.0: the component {}", path.display())), "{why}");
            assert!(why.contains(told) && why.ends_with("install that version again, or remove it"), "{why}");
            // It is loaded still, and the current version: nothing but the file changes.
            plugins.install(Owner::Host, "key", probe("own"), Vec::new(), false).await.unwrap();
            assert_eq!(plugins.lost_components().await.unwrap(), []);
        }
    }

    #[tokio::test]
    async fn a_host_that_lost_every_component_starts_and_puts_back_what_its_binary_carries() {
        let (house, plugins) = house().await;
        drop(plugins);
        let components = house.services.objects.path(&Digest::of(b"")).parent().unwrap().to_owned();
        let lose_all = || {
            fs::read_dir(&components)
                .unwrap()
                .for_each(|file| fs::remove_file(file.unwrap().path()).unwrap());
        };
        lose_all();
        // Their machine code is in the cache.
        let plugins = house.plugins().await;
        assert!(plugins.get(Owner::Host, "own").unwrap().problem.is_none());
        let missing = plugins.missing_components(Owner::Host);
        assert_eq!(missing.len(), 1, "{missing:?}");
        assert!(missing[0].starts_with("plugin own 1.0.0: the component "), "{missing:?}");
        assert_eq!(house.services.objects.list().unwrap(), [Digest::of(&probe("carried"))]);
        drop(plugins);

        lose_all();
        for name in ["carried", "own"] {
            house.services.engine.forget(Digest::of(&probe(name)).as_bytes());
        }
        let plugins = house.plugins().await;
        let problem = |name| plugins.get(Owner::Host, name).unwrap().problem.clone();
        assert_eq!(problem("carried"), None);
        let told = problem("own").unwrap();
        assert!(told.contains(" is missing"), "{told}");
        assert_eq!(plugins.lost_components().await.unwrap().len(), 1);
    }
}
