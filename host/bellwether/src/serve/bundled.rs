//! The plugins this binary carries, and their installation for every organisation.

use std::sync::atomic::{AtomicUsize, Ordering};

use bellwether_front::Progress;
use bellwether_plugins::{Bundled, Plugins};
use futures::StreamExt as _;

/// Plugins installed at once: a compilation is spread over the cores but for its ends, and waits for the disk.
const AT_ONCE: usize = 4;

/// Every component the binary carries.
pub(super) const BUNDLED: &[Bundled] = include!(concat!(env!("OUT_DIR"), "/bundled.rs"));

/// Installs what the host does not have, or has older. A plugin that does not install is told and left out; the host
/// starts all the same.
pub(super) async fn install(plugins: &Plugins, progress: &Progress) {
    if BUNDLED.is_empty() {
        tracing::warn!(
            "this binary carries no plugins: it was built without them; install some with `bellwether plugin install`"
        );
    }
    let missing = plugins.unlike_bundled();
    let all = missing.len();
    if all == 0 {
        return;
    }
    let told = |done: usize| progress.tell(format!("compiling plugin {} of {all}", (done + 1).min(all)));
    let done = AtomicUsize::new(0);
    told(0);
    let (told, done) = (&told, &done);
    let installs = missing.into_iter().map(|bundled| async move {
        if let Err(error) = plugins.keep_up_with(bundled).await {
            tracing::error!(plugin = bundled.name, %error, "a bundled plugin was not installed");
        }
        told(done.fetch_add(1, Ordering::Relaxed) + 1);
    });
    futures::stream::iter(installs).for_each_concurrent(AT_ONCE, |install| install).await;
}
