//! One kept version of a plugin: loaded while it is the current one, and else when somebody calls it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use bellwether_playbooks::{App, AppCall, AppDescription, AppError, AppReport};
use bellwether_store::StoreError;
use parking_lot::RwLock;

use super::components::read_component;
use crate::app::retry;
use crate::canary::Watched;
use crate::host::Shared;
use crate::inspect::CONTRACT;
use crate::plugin::{Load, Loaded, Served};
use crate::row::{DialectSummary, Installed};
use crate::{PluginError, limits};

/// One kept version of a plugin. A change of it makes another; calls in flight keep this one.
pub(crate) struct Release {
    shared: Arc<Shared>,
    /// Its problem, and what it says of itself, come and go with loading.
    installed: RwLock<Arc<Installed>>,
    served: RwLock<Option<Arc<Served>>>,
    /// One loads it, the others wait.
    loading: tokio::sync::Mutex<()>,
    /// How often in a row it was found without a call.
    rests: AtomicU32,
    /// Why it is never loaded, if its row does not read.
    unread: Option<String>,
    /// Whether it was removed by force, from whoever keeps to it.
    is_taken_away: AtomicBool,
}

impl Release {
    /// A version that is not loaded.
    pub(super) fn idle(shared: &Arc<Shared>, installed: Installed) -> Arc<Self> {
        Self::new(shared, installed, None)
    }

    /// A version whose row does not read: `installed` is what is known of it.
    pub(super) fn not_read(shared: &Arc<Shared>, mut installed: Installed, why: String) -> Arc<Self> {
        installed.forget_roles();
        installed.problem = Some(why.clone());
        Self::new(shared, installed, Some(why))
    }

    fn new(shared: &Arc<Shared>, installed: Installed, unread: Option<String>) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::clone(shared),
            installed: RwLock::new(Arc::new(installed)),
            served: RwLock::default(),
            loading: tokio::sync::Mutex::default(),
            rests: AtomicU32::new(0),
            unread,
            is_taken_away: AtomicBool::new(false),
        })
    }

    /// Why it is never loaded, if its row does not read.
    pub(super) fn unread(&self) -> Option<&str> {
        self.unread.as_deref()
    }

    /// A version that is loaded.
    pub(super) fn ready(shared: &Arc<Shared>, installed: Installed, served: Served) -> Arc<Self> {
        let release = Self::idle(shared, described(installed, &served));
        *release.served.write() = Some(Arc::new(served));
        release
    }

    /// This version, not loaded, after `change`.
    pub(super) fn changed(&self, change: impl FnOnce(&mut Installed)) -> Arc<Self> {
        let mut installed = Installed::clone(&self.installed());
        change(&mut installed);
        Self::new(&self.shared, installed, self.unread.clone())
    }

    pub(crate) fn installed(&self) -> Arc<Installed> {
        Arc::clone(&self.installed.read())
    }

    /// The roles it serves, if it is loaded.
    pub(crate) fn held(&self) -> Option<Arc<Served>> {
        // Mostly it is 0, and a store would take the line from the other cores.
        if self.rests.load(Ordering::Relaxed) > 0 {
            self.rests.store(0, Ordering::Relaxed);
        }
        self.served.read().clone()
    }

    /// As [`Self::held`], without that being a call.
    pub(super) fn peek(&self) -> Option<Arc<Served>> {
        self.served.read().clone()
    }

    /// Has nobody call it any more who found it before it was removed.
    pub(super) fn take_away(&self) {
        self.is_taken_away.store(true, Ordering::Relaxed);
    }

    /// This version as it is installed now, for who found it some time ago: what was granted may be other, and it may be
    /// called no more. One that was removed because nobody kept to it is called as it was by who found it just before.
    pub(super) fn as_it_is(self: &Arc<Self>) -> Result<Arc<Self>, PluginError> {
        // Whoever is left while the host goes down goes on.
        let Some(plugins) = self.shared.plugins.get().and_then(Weak::upgrade) else {
            return Ok(Arc::clone(self));
        };
        let installed = self.installed();
        let Installed { owner, name, version, .. } = &*installed;
        let entry = plugins.known(*owner, name);
        let found = entry.and_then(|entry| Ok((Arc::clone(entry.release(version)?), entry.row.enabled)));
        match found {
            Ok((release, true)) => Ok(release),
            Ok((_, false)) => Err(PluginError::SwitchedOff(name.clone())),
            Err(_) if !self.is_taken_away.load(Ordering::Relaxed) => Ok(Arc::clone(self)),
            Err(error) => Err(error),
        }
    }

    /// The roles it serves; it is loaded if it was not, from the compile cache if it is there.
    pub(crate) async fn served(&self) -> Result<Arc<Served>, PluginError> {
        if let Some(served) = self.held() {
            return Ok(served);
        }
        if let Some(why) = &self.unread {
            return Err(StoreError::Damaged(why.clone()).into());
        }
        let _turn = self.loading.lock().await;
        if let Some(served) = self.held() {
            return Ok(served);
        }
        let installed = Installed { problem: None, ..Installed::clone(&self.installed()) };
        match load(&self.shared, &installed).await {
            Ok(served) => {
                *self.installed.write() = Arc::new(described(installed, &served));
                served.loaded.show();
                let served = Arc::new(served);
                *self.served.write() = Some(Arc::clone(&served));
                Ok(served)
            }
            Err(error) => {
                let (plugin, version) = (&installed.name, &installed.version);
                tracing::error!(plugin, version, %error, "an installed plugin does not load and is not called");
                let problem = Some(error.to_string());
                *self.installed.write() = Arc::new(Installed { problem, ..installed });
                Err(error)
            }
        }
    }

    /// Loads it, or makes sure that nobody finds it: what it says of itself is forgotten.
    pub(super) async fn load(&self) {
        if self.served().await.is_err() {
            let mut installed = self.installed.write();
            Arc::make_mut(&mut installed).forget_roles();
        }
    }

    /// Unloads it; calls in flight finish.
    pub(super) fn unload(&self) {
        *self.served.write() = None;
    }

    /// Unloads it if it was found without a call often enough.
    pub(super) fn rest(&self) {
        if self.rests.fetch_add(1, Ordering::Relaxed) >= limits::VERSION_RESTS {
            self.unload();
        }
    }
}

/// `installed` with what it says of itself.
fn described(mut installed: Installed, served: &Served) -> Installed {
    installed.app = served.app.as_ref().map(|app| app.description().clone());
    installed.dialect = served.dialect.as_ref().map(|dialect| DialectSummary {
        summary: dialect.summary().to_owned(),
        routes: dialect.routes().iter().map(|route| format!("{} {}", route.method(), route.path())).collect(),
        settings: dialect.settings().to_vec(),
    });
    installed.detector = served.detector.as_ref().map(|role| role.description().clone());
    installed.forecaster = served.forecaster.as_ref().map(|role| role.description().clone());
    installed.formatter = served.formatter.as_ref().map(|role| role.description().clone());
    installed
}

async fn load(shared: &Arc<Shared>, installed: &Installed) -> Result<Served, PluginError> {
    let Installed { owner, name, version, digest, grants, roles, contract, limits, instances, .. } =
        installed;
    if contract != CONTRACT {
        let problems =
            vec![format!("it is made for version {contract} of the contract, this host speaks {CONTRACT}")];
        return Err(PluginError::Problems { name: name.clone(), problems });
    }
    let engine = &shared.services.engine;
    let memory = shared.limits.with(&limits.of(*owner, &shared.limits)).call.memory;
    let component = match engine.cached(*digest.as_bytes(), memory).await {
        Some(component) => component,
        None => engine.compile_for(owner.number(), read_component(shared, *digest).await?, memory).await?,
    };
    let load = Load { owner: *owner, name, version, grants, limits: *limits, instances: *instances };
    Loaded::link(shared, &component, load)?.serve(roles).await
}

/// One version of an app, as playbooks call it.
pub(super) struct ReleasedApp {
    release: Arc<Release>,
    installed: Arc<Installed>,
    watched: Option<Watched>,
}

impl ReleasedApp {
    /// `None` if the version is no app, or did not load.
    pub(super) fn new(release: &Arc<Release>, watched: Option<Watched>) -> Option<Self> {
        let installed = release.installed();
        installed.app.is_some().then(|| Self { release: Arc::clone(release), installed, watched })
    }
}

#[async_trait]
impl App for ReleasedApp {
    fn version(&self) -> &str {
        &self.installed.version
    }

    fn description(&self) -> &AppDescription {
        self.installed.app.as_ref().expect("only made for apps")
    }

    async fn run(&self, call: AppCall) -> AppReport {
        let served = async {
            let served = self.release.as_it_is()?.served().await?;
            let app = served.app.clone();
            app.ok_or_else(|| PluginError::Unknown(self.installed.name.clone()))
        };
        let (report, tells) = match served.await {
            Ok(app) => app.run(call).await,
            Err(error) => {
                let result = Err(AppError { message: error.to_string(), retry: retry(&error) });
                (AppReport { result, log: Vec::new() }, error.is_fault())
            }
        };
        if let Some(watched) = self.watched.as_ref().filter(|_| tells) {
            watched.count(report.result.is_err());
        }
        report
    }

    fn was_not_called(&self) {
        if let Some(watched) = &self.watched {
            watched.count(true);
        }
    }
}
