//! The engine: one per host, shared by everything that calls a component.

use std::sync::{Arc, Weak};
use std::time::Instant;

use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use wasmtime::component::{Component, Linker};

use crate::cache::Cache;
use crate::{EngineError, EngineSettings, Guest, limits};

/// Compiles and calls components. Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    engine: wasmtime::Engine,
    /// One permit for each place in the pool, so that a call waits instead of failing.
    slots: Arc<Semaphore>,
    calls: u32,
    cache: Option<Cache>,
    /// One compilation at a time: each uses every core, and much memory.
    compiler: Semaphore,
}

/// How busy the engine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Calls that may run at the same time.
    pub slots: usize,
    /// Calls that run now.
    pub running: usize,
}

impl Engine {
    /// Sets up the sandbox: reserves its address space, opens the compile cache, starts the ticker.
    ///
    /// # Errors
    /// [`EngineError::Setup`] if the machine does not give the address space, [`EngineError::Cache`] if the folder
    /// cannot be used.
    pub fn new(settings: &EngineSettings) -> Result<Self, EngineError> {
        let calls = settings.calls.max(1);
        let setup = |error: wasmtime::Error| EngineError::Setup { calls, reason: format!("{error:#}") };
        let engine = wasmtime::Engine::new(&settings.config()).map_err(setup)?;
        let cache = settings.cache.as_deref().map(|folder| Cache::open(folder, &engine)).transpose()?;
        let slots = Arc::new(Semaphore::new(calls as usize));
        start_ticker(&engine, &slots, calls as usize).map_err(|error| setup(error.into()))?;
        Ok(Self(Arc::new(Inner { engine, slots, calls, cache, compiler: Semaphore::new(1) })))
    }

    /// A linker with nothing in it: what is not added does not exist for a component.
    #[must_use]
    pub fn linker<T: 'static>(&self) -> Linker<Guest<T>> {
        Linker::new(&self.0.engine)
    }

    /// Makes a component ready to be called: from the cache, or by compiling it on a thread of its own.
    ///
    /// # Errors
    /// [`EngineError::TooLarge`] above [`limits::COMPONENT`], [`EngineError::Component`] if it does not compile. A
    /// cache that does not work is only logged.
    ///
    /// # Panics
    /// If the compiler does.
    pub async fn compile(&self, bytes: impl AsRef<[u8]> + Send + 'static) -> Result<Component, EngineError> {
        let size = bytes.as_ref().len();
        if size > limits::COMPONENT {
            return Err(EngineError::TooLarge { size, limit: limits::COMPONENT });
        }
        let inner = Arc::clone(&self.0);
        let load = tokio::task::spawn_blocking(move || {
            let digest: [u8; 32] = Sha256::digest(bytes.as_ref()).into();
            match inner.load(&digest) {
                Some(component) => Ok(component),
                None => Err((bytes, digest)),
            }
        });
        let (bytes, digest) = match load.await.expect("loading does not panic") {
            Ok(component) => return Ok(component),
            Err(missing) => missing,
        };
        let _turn = self.0.compiler.acquire().await.expect("the semaphore is never closed");
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || inner.build(bytes.as_ref(), &digest))
            .await
            .expect("compiling does not panic")
    }

    /// The component with this SHA-256 digest from the cache, so that it need not be read at all.
    ///
    /// # Panics
    /// If loading does.
    pub async fn cached(&self, digest: [u8; 32]) -> Option<Component> {
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || inner.load(&digest)).await.expect("loading does not panic")
    }

    /// Drops the machine code kept of the component with this SHA-256 digest; running calls go on.
    pub fn forget(&self, digest: &[u8; 32]) {
        if let Some(cache) = &self.0.cache {
            cache.forget(digest);
        }
    }

    /// How busy the engine is.
    #[must_use]
    pub fn status(&self) -> Status {
        let slots = self.0.calls as usize;
        Status { slots, running: slots - self.0.slots.available_permits().min(slots) }
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.0.engine
    }

    pub(crate) fn slots(&self) -> &Semaphore {
        &self.0.slots
    }

    pub(crate) fn calls(&self) -> u32 {
        self.0.calls
    }
}

impl Inner {
    /// The component from the cache, if it is there and this engine takes it.
    fn load(&self, digest: &[u8; 32]) -> Option<Component> {
        let cache = self.cache.as_ref()?;
        let file = cache.file(digest);
        if !file.exists() {
            return None;
        }
        // SAFETY: the file was written by `Cache::keep` from this engine's own compiler and made durable before it got
        // its name; the folder is writable by this process's user alone, and no uploaded file is ever put there.
        #[expect(unsafe_code, reason = "machine code can only be loaded on trust")]
        let component = unsafe { Component::deserialize_file(&self.engine, &file) };
        match component {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(file = %file.display(), error = %format!("{error:#}"), "cached machine code is rejected and built again");
                cache.forget(digest);
                None
            }
        }
    }

    fn build(&self, bytes: &[u8], digest: &[u8; 32]) -> Result<Component, EngineError> {
        // Whoever waited for the compiler may find that the work was done meanwhile.
        if let Some(component) = self.load(digest) {
            return Ok(component);
        }
        let began = Instant::now();
        let component = Component::from_binary(&self.engine, bytes)
            .map_err(|error| EngineError::Component(format!("{error:#}")))?;
        tracing::debug!(
            bytes = bytes.len(),
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
}

/// Advances the epoch while calls run, and ends when the engine is gone.
fn start_ticker(engine: &wasmtime::Engine, slots: &Arc<Semaphore>, calls: usize) -> std::io::Result<()> {
    let (engine, slots): (_, Weak<Semaphore>) = (engine.weak(), Arc::downgrade(slots));
    let tick = move || {
        while let (Some(engine), Some(slots)) = (engine.upgrade(), slots.upgrade()) {
            let idle = slots.available_permits() == calls;
            engine.increment_epoch();
            drop((engine, slots));
            std::thread::sleep(if idle { limits::IDLE_TICK } else { limits::TICK });
        }
    };
    std::thread::Builder::new().name("ticker".to_owned()).spawn(tick).map(drop)
}
