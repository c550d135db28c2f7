//! The plugins of a host: what is installed, and who finds which.

use std::collections::BTreeMap;
use std::sync::Arc;

use bellwether_access::AuditScope;
use bellwether_kernel::{Cursor, FieldError, OrganisationId, Page, PageRequest};
use bellwether_playbooks::{App, Apps};
use bellwether_store::{Batch, Direction, Precondition, decode, encode};
use bytes::Bytes;
use parking_lot::RwLock;

use crate::dialect::Dialect;
use crate::egress::Egress;
use crate::grant::{Grant, InvalidGrant, Privilege};
use crate::host::{Services, Shared};
use crate::inspect::{CONTRACT, Inspection, PluginRole, inspect};
use crate::limits::Limits;
use crate::plugin::{Loaded, Served};
use crate::row::{DialectSummary, Installed, Owner, Row};
use crate::{PluginError, state};

/// Every plugin that is installed, loaded and ready. A change replaces a plugin whole: calls in flight finish on what
/// they began with.
pub struct Plugins {
    pub(crate) shared: Arc<Shared>,
    table: RwLock<Arc<Table>>,
    /// One change at a time, so that the table and the store tell the same.
    changes: tokio::sync::Mutex<()>,
}

/// What is found by whom.
#[derive(Clone, Default)]
struct Table(BTreeMap<Owner, BTreeMap<String, Arc<Entry>>>);

/// One plugin and how it is called.
struct Entry {
    installed: Arc<Installed>,
    served: Served,
}

/// Rows read at once.
const PAGE: usize = 100;

impl Plugins {
    /// Opens the plugins that are installed on the store. One that does not load is kept, with its problem, and not
    /// called: the host starts all the same.
    ///
    /// # Errors
    /// If the store does not answer or is damaged.
    pub async fn open(services: Services, limits: Limits) -> Result<Arc<Self>, PluginError> {
        let shared = Arc::new(Shared { services, limits, egress: Egress::default() });
        let mut table = Table::default();
        let mut range = bellwether_store::Key::new(bellwether_store::Space::Plugin).prefix();
        loop {
            let rows = shared.services.store.scan(range.clone(), Direction::Forward, PAGE).await?;
            let Some((last, _)) = rows.last() else { break };
            range.start = last.successor();
            for (key, value) in &rows {
                let mut fields = key.fields();
                let place = fields.number().zip(fields.text());
                let (owner, name) = place.ok_or_else(|| {
                    bellwether_store::StoreError::Damaged(format!("the key of a plugin: {key:?}"))
                })?;
                let installed = decode::<Row>(value)?.into_installed(Owner::from_number(owner), name)?;
                table.put(load(&shared, installed).await);
            }
        }
        Ok(Arc::new(Self {
            shared,
            table: RwLock::new(Arc::new(table)),
            changes: tokio::sync::Mutex::default(),
        }))
    }

    /// Installs a plugin, or with `replace` puts a new version in the place of the one there. Whatever is refused is
    /// refused before anything is changed; calls in flight finish on the old version.
    ///
    /// # Errors
    /// If the file is no plugin this host can serve, if what it asks for and what is granted are not the same, if what
    /// it says of itself makes no sense, or if it is there already.
    pub async fn install(
        &self,
        owner: Owner,
        actor: &str,
        bytes: Bytes,
        grants: Vec<Grant>,
        replace: bool,
    ) -> Result<Arc<Installed>, PluginError> {
        let inspected = tokio::task::spawn_blocking({
            let bytes = bytes.clone();
            move || inspect(&bytes)
        });
        let inspection = inspected.await.expect("inspecting does not panic")?;
        let (name, version) = ready(&inspection)?;
        check_grants(&name, inspection.requests.iter().map(|request| request.privilege), &grants)?;
        if owner != Owner::Host && inspection.roles.contains(&PluginRole::Dialect) {
            return Err(PluginError::HostOnly(name));
        }
        let component = self.shared.services.engine.compile(bytes.clone()).await?;
        let state = owner.state_name(&name);
        let loaded = Loaded::link(&self.shared, &component, &name, &version, state, &grants)?;
        let served = loaded.serve(&inspection.roles).await?;

        let change = self.changes.lock().await;
        let before = self.find(owner, &name);
        if let Some(before) = before.as_ref().filter(|_| !replace) {
            let (name, version) = (before.installed.name.clone(), before.installed.version.clone());
            return Err(PluginError::Exists { name, version });
        }
        let objects = self.shared.services.objects.clone();
        let kept = tokio::task::spawn_blocking(move || objects.put(&bytes));
        let digest = kept.await.expect("keeping an object does not panic")?;
        let installed = Installed {
            owner,
            name,
            version,
            description: inspection.description,
            contract: inspection.contract.unwrap_or_else(|| CONTRACT.to_owned()),
            roles: inspection.roles,
            grants,
            digest,
            size: inspection.size,
            installed: self.shared.services.clock.now(),
            actor: actor.to_owned(),
            enabled: true,
            problem: None,
            app: None,
            dialect: None,
        };
        let mut details = vec![("version", installed.version.clone()), ("digest", digest.to_string())];
        if let Some(before) = &before {
            details.push(("replaces", before.installed.version.clone()));
        }
        details.push(("grants", grants_text(&installed.grants)));
        let entry = Entry::new(installed, served);
        let installed = self.commit(before.as_deref(), entry, actor, "plugin.install", &details).await?;
        drop(change);
        if let Some(before) = before {
            self.forget(&before.installed).await;
        }
        Ok(installed)
    }

    /// Changes the scopes a plugin's privileges are granted within. Calls in flight finish under the old ones.
    ///
    /// # Errors
    /// If there is no such plugin, or what it asks for and what is granted are not the same.
    pub async fn set_grants(
        &self,
        owner: Owner,
        actor: &str,
        name: &str,
        grants: Vec<Grant>,
    ) -> Result<Arc<Installed>, PluginError> {
        let _change = self.changes.lock().await;
        let before = self.find(owner, name).ok_or_else(|| PluginError::Unknown(name.to_owned()))?;
        check_grants(name, before.installed.grants.iter().map(Grant::privilege), &grants)?;
        let details = [("grants", grants_text(&grants)), ("before", grants_text(&before.installed.grants))];
        let entry = load(&self.shared, Installed { grants, ..(*before.installed).clone() }).await;
        self.commit(Some(&before), entry, actor, "plugin.grant", &details).await
    }

    /// Switches a plugin on or off. Calls in flight finish.
    ///
    /// # Errors
    /// If there is no such plugin.
    pub async fn set_enabled(
        &self,
        owner: Owner,
        actor: &str,
        name: &str,
        enabled: bool,
    ) -> Result<Arc<Installed>, PluginError> {
        let _change = self.changes.lock().await;
        let before = self.find(owner, name).ok_or_else(|| PluginError::Unknown(name.to_owned()))?;
        let entry = load(&self.shared, Installed { enabled, ..(*before.installed).clone() }).await;
        let action = if enabled { "plugin.enable" } else { "plugin.disable" };
        self.commit(Some(&before), entry, actor, action, &[]).await
    }

    /// Removes a plugin and all state it kept. Calls in flight finish.
    ///
    /// # Errors
    /// If there is no such plugin.
    pub async fn remove(&self, owner: Owner, actor: &str, name: &str) -> Result<(), PluginError> {
        let _change = self.changes.lock().await;
        let before = self.find(owner, name).ok_or_else(|| PluginError::Unknown(name.to_owned()))?;
        let mut batch = Batch::new();
        batch.delete(owner.row(name));
        let details = [("version", before.installed.version.clone())];
        self.shared.services.access.audit(
            &mut batch,
            audit_scope(owner),
            actor,
            "plugin.remove",
            name,
            &details,
        );
        self.shared.services.store.commit(batch).await?;
        self.change_table(|table| table.remove(owner, name));
        self.forget(&before.installed).await;
        state::clear(&self.shared.services, owner, name).await
    }

    /// An owner's plugins, ordered by name.
    ///
    /// # Errors
    /// If the cursor is not of this list.
    pub fn list(&self, owner: Owner, page: &PageRequest) -> Result<Page<Arc<Installed>>, PluginError> {
        let after = page.cursor.as_ref().map(|cursor| {
            let name = std::str::from_utf8(&cursor.0).ok();
            name.ok_or_else(|| FieldError::new("cursor", cursor, "`next` of the previous page, unchanged"))
        });
        let after = after.transpose()?;
        let table = self.table();
        let own = table.0.get(&owner).into_iter().flatten();
        let mut rest = own
            .filter(|(name, _)| after.is_none_or(|after| name.as_str() > after))
            .map(|(_, entry)| &entry.installed);
        let items: Vec<_> = rest.by_ref().take(page.limit.max(1)).cloned().collect();
        let next = rest.next().and(items.last()).map(|last| Cursor(last.name.clone().into_bytes()));
        Ok(Page { items, next })
    }

    /// One of an owner's plugins.
    #[must_use]
    pub fn get(&self, owner: Owner, name: &str) -> Option<Arc<Installed>> {
        self.find(owner, name).map(|entry| Arc::clone(&entry.installed))
    }

    /// The dialects that are served, ordered by name.
    #[must_use]
    pub fn dialects(&self) -> Vec<Arc<Dialect>> {
        let table = self.table();
        table
            .0
            .get(&Owner::Host)
            .into_iter()
            .flatten()
            .filter_map(|(_, entry)| entry.served.dialect.clone())
            .collect()
    }

    /// The dialect of that name.
    #[must_use]
    pub fn dialect(&self, name: &str) -> Option<Arc<Dialect>> {
        self.find(Owner::Host, name)?.served.dialect.clone()
    }

    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read())
    }

    fn find(&self, owner: Owner, name: &str) -> Option<Arc<Entry>> {
        self.table.read().0.get(&owner)?.get(name).cloned()
    }

    /// Only under `changes`, so that no change is lost.
    fn change_table(&self, change: impl FnOnce(&mut Table)) {
        let mut table = Table::clone(&self.table());
        change(&mut table);
        *self.table.write() = Arc::new(table);
    }

    /// Writes `entry` with its audit entry, then lets it be found.
    async fn commit(
        &self,
        before: Option<&Entry>,
        entry: Entry,
        actor: &str,
        action: &str,
        details: &[(&str, String)],
    ) -> Result<Arc<Installed>, PluginError> {
        let installed = Arc::clone(&entry.installed);
        let key = installed.owner.row(&installed.name);
        let mut batch = Batch::new();
        let there = before.map_or(Precondition::Absent, |before| {
            Precondition::ValueIs(encode(&Row::of(&before.installed)))
        });
        batch.require(key.clone(), there).put(key, encode(&Row::of(&installed)));
        let Services { access, store, .. } = &self.shared.services;
        access.audit(&mut batch, audit_scope(installed.owner), actor, action, &installed.name, details);
        store.commit(batch).await?;
        self.change_table(|table| table.put(entry));
        Ok(installed)
    }

    /// Drops the component of a plugin that is not installed any more, unless another is the same.
    async fn forget(&self, gone: &Installed) {
        let digest = gone.digest;
        if self.table().0.values().flat_map(BTreeMap::values).any(|entry| entry.installed.digest == digest) {
            return;
        }
        let Services { objects, engine, .. } = self.shared.services.clone();
        let dropped = tokio::task::spawn_blocking(move || {
            engine.forget(digest.as_bytes());
            objects.remove(&digest)
        });
        if let Err(error) = dropped.await.expect("removing a file does not panic") {
            tracing::warn!(%digest, %error, "a component that nothing refers to stays behind");
        }
    }
}

impl Apps for Plugins {
    fn app(&self, organisation: OrganisationId, name: &str) -> Option<Arc<dyn App>> {
        // An organisation's own plugin stands before the host's, even while it is switched off or broken: nobody
        // should be given another program than the one they chose.
        let own = self.find(Owner::Organisation(organisation), name);
        let entry = own.or_else(|| self.find(Owner::Host, name))?;
        entry.served.app.clone().map(|app| app as Arc<dyn App>)
    }
}

impl Table {
    fn put(&mut self, entry: Entry) {
        let installed = &entry.installed;
        self.0.entry(installed.owner).or_default().insert(installed.name.clone(), Arc::new(entry));
    }

    fn remove(&mut self, owner: Owner, name: &str) {
        if let Some(own) = self.0.get_mut(&owner) {
            own.remove(name);
        }
    }
}

impl Entry {
    fn new(mut installed: Installed, served: Served) -> Self {
        installed.app = served.app.as_ref().map(|app| app.description().clone());
        installed.dialect = served.dialect.as_ref().map(|dialect| DialectSummary {
            summary: dialect.summary().to_owned(),
            routes: dialect
                .routes()
                .iter()
                .map(|route| format!("{} {}", route.method(), route.path()))
                .collect(),
        });
        Self { installed: Arc::new(installed), served }
    }
}

/// Loads what is installed, from the compile cache if it is there. What goes wrong is the entry's problem.
async fn load(shared: &Arc<Shared>, mut installed: Installed) -> Entry {
    installed.problem = None;
    let nothing = Served { app: None, dialect: None };
    if !installed.enabled {
        return Entry { installed: Arc::new(installed), served: nothing };
    }
    match try_load(shared, &installed).await {
        Ok(served) => Entry::new(installed, served),
        Err(error) => {
            let (plugin, version) = (&installed.name, &installed.version);
            tracing::error!(plugin, version, %error, "an installed plugin does not load and is not called");
            installed.problem = Some(error.to_string());
            installed.app = None;
            installed.dialect = None;
            Entry { installed: Arc::new(installed), served: nothing }
        }
    }
}

async fn try_load(shared: &Arc<Shared>, installed: &Installed) -> Result<Served, PluginError> {
    let Installed { owner, name, version, digest, grants, roles, contract, .. } = installed;
    if contract != CONTRACT {
        let problems =
            vec![format!("it is made for version {contract} of the contract, this host speaks {CONTRACT}")];
        return Err(PluginError::Problems { name: name.clone(), problems });
    }
    let Services { engine, objects, .. } = &shared.services;
    let component = match engine.cached(*digest.as_bytes()).await {
        Some(component) => component,
        None => {
            let (objects, digest) = (objects.clone(), *digest);
            let read = tokio::task::spawn_blocking(move || objects.get(&digest));
            let bytes = read.await.expect("reading an object does not panic")?;
            let missing = || {
                bellwether_store::StoreError::Damaged(format!(
                    "the component {digest} is missing; install the plugin again"
                ))
            };
            engine.compile(bytes.ok_or_else(missing)?).await?
        }
    };
    Loaded::link(shared, &component, name, version, owner.state_name(name), grants)?.serve(roles).await
}

/// Name and version of a component that can be installed.
fn ready(inspection: &Inspection) -> Result<(String, String), PluginError> {
    match (&inspection.name, &inspection.version) {
        (Some(name), Some(version)) if inspection.problems.is_empty() => Ok((name.clone(), version.clone())),
        (name, _) => {
            let name = name.clone().unwrap_or_else(|| "without a name".to_owned());
            Err(PluginError::Problems { name, problems: inspection.problems.clone() })
        }
    }
}

/// Whether exactly what is asked for is granted, each once.
fn check_grants(
    name: &str,
    requested: impl Iterator<Item = Privilege>,
    grants: &[Grant],
) -> Result<(), PluginError> {
    let requested: Vec<Privilege> = requested.collect();
    let mut granted: Vec<Privilege> = Vec::new();
    for grant in grants {
        grant.check()?;
        let privilege = grant.privilege();
        if granted.contains(&privilege) {
            let reason = format!("{privilege} is granted twice; put everything into one");
            return Err(InvalidGrant { text: grant.to_string(), reason }.into());
        }
        granted.push(privilege);
    }
    let missing: Vec<_> =
        requested.iter().copied().filter(|privilege| !granted.contains(privilege)).collect();
    if !missing.is_empty() {
        return Err(PluginError::NotGranted { name: name.to_owned(), missing });
    }
    granted.retain(|privilege| !requested.contains(privilege));
    if !granted.is_empty() {
        return Err(PluginError::NotRequested { name: name.to_owned(), surplus: granted });
    }
    Ok(())
}

fn grants_text(grants: &[Grant]) -> String {
    grants.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn audit_scope(owner: Owner) -> AuditScope {
    match owner {
        Owner::Host => AuditScope::Host,
        Owner::Organisation(id) => AuditScope::Organisation(id),
    }
}
