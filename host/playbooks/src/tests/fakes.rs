//! What the tests put in the place of the world: apps made of closures, secrets in a map, a log of writes, a clock
//! that follows the runtime's own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use async_trait::async_trait;
use bellwether_access::AccessError;
use bellwether_kernel::{Clock, OrganisationId, RunId, Timestamp};
use bellwether_store::StoreError;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::*;

/// What an app does with a call.
type Work = dyn Fn(AppCall) -> BoxFuture<'static, AppReport> + Send + Sync;

struct FakeApp {
    version: String,
    description: AppDescription,
    work: Box<Work>,
    not_called: Arc<AtomicUsize>,
}

#[async_trait]
impl App for FakeApp {
    fn version(&self) -> &str {
        &self.version
    }

    fn description(&self) -> &AppDescription {
        &self.description
    }

    async fn run(&self, call: AppCall) -> AppReport {
        (self.work)(call).await
    }

    fn was_not_called(&self) {
        self.not_called.fetch_add(1, Ordering::SeqCst);
    }
}

/// The apps of every organisation; they outlive a crash, as plugins do.
#[derive(Default)]
pub(super) struct FakeApps {
    called: Mutex<HashMap<String, Arc<dyn App>>>,
    /// Versions that every run gets whose steps they fit.
    tried: Mutex<HashMap<String, Arc<dyn App>>>,
    /// Why those that are installed and not called are not.
    broken: Mutex<HashMap<String, String>>,
    /// How many calls were not made, as what they were to be given did not fit.
    pub(super) not_called: Arc<AtomicUsize>,
}

impl Apps for FakeApps {
    fn app(&self, _organisation: OrganisationId, name: &str) -> Option<Arc<dyn App>> {
        self.called.lock().get(name).cloned()
    }

    fn app_version(&self, organisation: OrganisationId, name: &str, version: &str) -> Option<Arc<dyn App>> {
        let tried = self.tried.lock().get(name).cloned();
        [self.app(organisation, name), tried].into_iter().flatten().find(|app| app.version() == version)
    }

    fn app_for(
        &self,
        organisation: OrganisationId,
        name: &str,
        _run: RunId,
        fits: &dyn Fn(&AppDescription) -> bool,
    ) -> Option<Arc<dyn App>> {
        let tried = self.tried.lock().get(name).cloned();
        tried.filter(|app| fits(app.description())).or_else(|| self.app(organisation, name))
    }

    fn why_not(&self, _: OrganisationId, name: &str, _version: Option<&str>) -> Option<String> {
        self.broken.lock().get(name).cloned()
    }
}

impl FakeApps {
    pub(super) fn put(
        &self,
        name: &str,
        description: AppDescription,
        work: impl Fn(AppCall) -> BoxFuture<'static, AppReport> + Send + Sync + 'static,
    ) {
        self.put_version(name, "1.2.0", description, work);
    }

    pub(super) fn put_version(
        &self,
        name: &str,
        version: &str,
        description: AppDescription,
        work: impl Fn(AppCall) -> BoxFuture<'static, AppReport> + Send + Sync + 'static,
    ) {
        let app = self.made(version, description, work);
        self.called.lock().insert(name.to_owned(), app);
    }

    /// A version that is tried beside the present one.
    pub(super) fn try_version(
        &self,
        name: &str,
        version: &str,
        description: AppDescription,
        work: impl Fn(AppCall) -> AppReport + Send + Sync + 'static,
    ) {
        let app = self.made(version, description, move |call| Box::pin(std::future::ready(work(call))));
        self.tried.lock().insert(name.to_owned(), app);
    }

    fn made(
        &self,
        version: &str,
        description: AppDescription,
        work: impl Fn(AppCall) -> BoxFuture<'static, AppReport> + Send + Sync + 'static,
    ) -> Arc<dyn App> {
        let (version, not_called) = (version.to_owned(), Arc::clone(&self.not_called));
        Arc::new(FakeApp { version, description, work: Box::new(work), not_called })
    }

    /// An app that answers at once.
    pub(super) fn put_quick(
        &self,
        name: &str,
        description: AppDescription,
        work: impl Fn(AppCall) -> AppReport + Send + Sync + 'static,
    ) {
        self.put(name, description, move |call| Box::pin(std::future::ready(work(call))));
    }

    pub(super) fn remove(&self, name: &str) {
        self.called.lock().remove(name);
    }

    /// It is still installed, and not called.
    pub(super) fn break_off(&self, name: &str, why: &str) {
        self.remove(name);
        self.broken.lock().insert(name.to_owned(), why.to_owned());
    }
}

/// Named secrets, the same for every organisation.
#[derive(Default)]
pub(super) struct FakeSecrets(Mutex<HashMap<String, String>>);

impl FakeSecrets {
    pub(super) fn put(&self, name: &str, value: &str) {
        self.0.lock().insert(name.to_owned(), value.to_owned());
    }

    pub(super) fn remove(&self, name: &str) {
        self.0.lock().remove(name);
    }
}

#[async_trait]
impl SecretSource for FakeSecrets {
    async fn secret(&self, _: OrganisationId, name: &str) -> Result<Option<Zeroizing<String>>, AccessError> {
        Ok(self.0.lock().get(name).cloned().map(Zeroizing::new))
    }
}

/// A log of writes in memory.
#[derive(Default)]
pub(super) struct FakeWrites {
    log: Mutex<Vec<Write>>,
    pub(super) watched: Mutex<HashMap<OrganisationId, Vec<String>>>,
    changed: Notify,
}

impl FakeWrites {
    /// Logs a write to the key `k`.
    pub(super) fn push(&self, organisation: OrganisationId, metric: &str, before: Option<f64>, value: f64) {
        self.push_keyed(organisation, metric, Some("k"), before, value);
    }

    /// Logs a write.
    pub(super) fn push_keyed(
        &self,
        organisation: OrganisationId,
        metric: &str,
        key: Option<&str>,
        before: Option<f64>,
        value: f64,
    ) {
        let mut log = self.log.lock();
        let sequence = log.len() as u64 + 1;
        log.push(Write {
            sequence,
            organisation,
            metric: metric.into(),
            key: key.map(str::to_owned),
            interval_start: Timestamp::default(),
            before,
            value,
        });
        self.changed.notify_one();
    }
}

#[async_trait]
impl Writes for FakeWrites {
    fn watch(&self, organisation: OrganisationId, metrics: &[String]) {
        self.watched.lock().insert(organisation, metrics.to_vec());
    }

    async fn after(&self, sequence: u64, limit: usize) -> Result<Vec<Write>, StoreError> {
        let log = self.log.lock();
        Ok(log.iter().filter(|write| write.sequence > sequence).take(limit).cloned().collect())
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }

    async fn forget(&self, _: u64) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A clock that goes as the runtime's does, which stands still or leaps in a paused one; and that can be set.
pub(super) struct TestClock {
    start: Instant,
    at: AtomicI64,
    is_distrusted: AtomicBool,
}

impl TestClock {
    pub(super) fn new(at: Timestamp) -> Self {
        let at = AtomicI64::new(at.as_milliseconds());
        Self { start: Instant::now(), at, is_distrusted: AtomicBool::new(false) }
    }

    /// Is not steady from now on, or is again.
    pub(super) fn distrust(&self, is_distrusted: bool) {
        self.is_distrusted.store(is_distrusted, Ordering::SeqCst);
    }

    pub(super) fn advance(&self, milliseconds: i64) {
        self.at.fetch_add(milliseconds, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.start.elapsed().as_millis()).unwrap();
        Timestamp::from_milliseconds(self.at.load(Ordering::SeqCst)).unwrap().saturating_add(passed)
    }

    fn steady(&self) -> Option<Timestamp> {
        (!self.is_distrusted.load(Ordering::SeqCst)).then(|| self.now())
    }
}
