//! Where the components of one sandbox run: wasmtime's engine, the slots, and the machine code made for it.

use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;
use wasmtime::component::Component as Code;

use crate::cache::Cache;
use crate::gate::Gate;
use crate::interruptible::interruptible;
use crate::warm::{Places, Sweep};
use crate::{EngineError, EngineSettings, Sandbox};

/// Where the components of one sandbox run.
pub(crate) struct Room {
    sandbox: Sandbox,
    pub(crate) engine: wasmtime::Engine,
    pub(crate) gate: Gate,
    cache: Option<Cache>,
    /// Where instances are kept between calls.
    pub(crate) places: Arc<Places>,
    /// Whose: each is gone with its plugin.
    warm: Mutex<Vec<Weak<dyn Sweep>>>,
}

impl Room {
    /// Reserves its address space.
    pub(crate) fn new(sandbox: Sandbox, settings: &EngineSettings) -> Result<Self, EngineError> {
        let slots = settings.slots(sandbox);
        let setup =
            |error: wasmtime::Error| EngineError::Setup { calls: slots, reason: format!("{error:#}") };
        let engine = wasmtime::Engine::new(&settings.config(sandbox)).map_err(setup)?;
        let cache =
            settings.cache.as_deref().map(|folder| Cache::open(folder, sandbox, &engine)).transpose()?;
        Ok(Self {
            sandbox,
            engine,
            gate: Gate::new(slots),
            cache,
            places: Places::new(sandbox.bounds().warm),
            warm: Mutex::default(),
        })
    }

    /// Has a plugin's warm instances looked at from now on.
    pub(crate) fn watch(&self, warm: Weak<dyn Sweep>) {
        self.warm.lock().push(warm);
    }

    /// Drops warm instances whose time is over.
    pub(crate) fn sweep(&self) {
        let mut all = self.warm.lock();
        all.retain(|warm| warm.strong_count() > 0);
        let alive: Vec<_> = all.iter().filter_map(Weak::upgrade).collect();
        drop(all);
        alive.iter().for_each(|warm| warm.sweep());
    }

    /// The component from the cache, if it is there and this engine takes it.
    pub(crate) fn load(&self, digest: &[u8; 32]) -> Option<Code> {
        let cache = self.cache.as_ref()?;
        let file = cache.file(digest);
        if !file.exists() {
            return None;
        }
        // SAFETY: the file was written by `Cache::keep` from this engine's own compiler and made durable before it got
        // its name; the folder is writable by this process's user alone, and no uploaded file is ever put there.
        #[expect(unsafe_code, reason = "machine code can only be loaded on trust")]
        let component = unsafe { Code::deserialize_file(&self.engine, &file) };
        match component {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(file = %file.display(), error = %format!("{error:#}"), "cached machine code is rejected and built again");
                cache.forget(digest);
                None
            }
        }
    }

    pub(crate) fn build(&self, bytes: &[u8], digest: &[u8; 32]) -> Result<Code, EngineError> {
        // Whoever waited for the compiler may find that the work was done meanwhile.
        if let Some(component) = self.load(digest) {
            return Ok(component);
        }
        let began = Instant::now();
        let component = interruptible(bytes)
            .map_err(wasmtime::Error::from)
            .and_then(|made| Code::from_binary(&self.engine, &made))
            .map_err(|error| EngineError::Component(format!("{error:#}")))?;
        tracing::debug!(
            bytes = bytes.len(),
            sandbox = %self.sandbox,
            milliseconds = began.elapsed().as_millis(),
            "a component was compiled"
        );
        if let Some(cache) = &self.cache {
            let kept = component
                .serialize()
                .map_err(|error| format!("{error:#}"))
                .and_then(|code| cache.keep(digest, &code).map_err(|error| error.to_string()));
            if let Err(error) = kept {
                tracing::warn!(error, "machine code is not kept: the next start compiles again");
            }
        }
        Ok(component)
    }

    /// Drops the machine code kept of components that `is_used` does not know by their digest in hexadecimal.
    pub(crate) fn clear_cache(&self, is_used: impl Fn(&str) -> bool) {
        if let Some(cache) = &self.cache
            && let Err(error) = cache.sweep(is_used)
        {
            tracing::warn!(%error, "files of the compile cache that nobody uses stay behind");
        }
    }

    /// Drops the machine code kept of a component.
    pub(crate) fn forget(&self, digest: &[u8; 32]) {
        if let Some(cache) = &self.cache {
            cache.forget(digest);
        }
    }
}
