//! The engine: one per host, shared by everything that calls a component.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use wasmtime::component::{Component as Code, InstancePre, Linker};

use crate::room::Room;
use crate::turns::Turns;
use crate::{EngineError, EngineSettings, Guest, Sandbox, limits, meters};

/// Compiles and calls components. Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    /// Where components run, in the order of [`Sandbox::ALL`].
    rooms: Vec<Room>,
    /// One compilation at a time, in turns that organisations take: each uses every core, and much memory. Of the 10.8 s of
    /// processor time that the 26 bundled components take, 96 % is spread over the cores evenly: a second beside it gains
    /// nothing.
    compiler: Arc<Turns>,
}

/// A component's machine code, made for its sandbox.
#[derive(Clone)]
pub struct Component {
    code: Code,
    sandbox: Sandbox,
}

/// How busy the engine is in one sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Calls that may run at the same time.
    pub slots: usize,
    /// Calls that run now.
    pub running: usize,
    /// Calls that wait for a slot.
    pub waiting: usize,
}

impl Component {
    /// How the sandbox is set up for it.
    #[must_use]
    pub fn sandbox(&self) -> Sandbox {
        self.sandbox
    }

    /// Whether it imports anything whose name begins with `prefix`.
    #[must_use]
    pub fn imports_from(&self, prefix: &str) -> bool {
        self.code.component_type().imports(self.code.engine()).any(|(name, _)| name.starts_with(prefix))
    }

    /// Links it with what is in `linker`, which must be of its sandbox.
    ///
    /// # Errors
    /// [`EngineError::Link`] if it imports what is not there.
    pub fn link<T: 'static>(&self, linker: &Linker<Guest<T>>) -> Result<InstancePre<Guest<T>>, EngineError> {
        linker.instantiate_pre(&self.code).map_err(|error| EngineError::Link(format!("{error:#}")))
    }
}

impl Engine {
    /// Sets up the sandbox: reserves its address space, opens the compile cache, starts the ticker.
    ///
    /// # Errors
    /// [`EngineError::Setup`] if the machine does not give the address space, [`EngineError::Cache`] if the folder
    /// cannot be used.
    pub fn new(settings: &EngineSettings) -> Result<Self, EngineError> {
        meters::describe();
        let engine = Self(Arc::new(Inner {
            rooms: Sandbox::ALL
                .map(|sandbox| Room::new(sandbox, settings))
                .into_iter()
                .collect::<Result<_, _>>()?,
            compiler: Turns::new(1),
        }));
        start_ticker(Arc::downgrade(&engine.0))
            .map_err(|error| EngineError::Setup { calls: settings.calls, reason: error.to_string() })?;
        Ok(engine)
    }

    /// A linker with nothing in it, for components in `sandbox`: what is not added does not exist for them.
    #[must_use]
    pub fn linker<T: 'static>(&self, sandbox: Sandbox) -> Linker<Guest<T>> {
        Linker::new(&self.room(sandbox).engine)
    }

    /// As [`Self::compile_for`], for nobody.
    ///
    /// # Errors
    /// As [`Self::compile_for`].
    pub async fn compile(
        &self,
        bytes: impl AsRef<[u8]> + Send + 'static,
        memory: usize,
    ) -> Result<Component, EngineError> {
        self.compile_for(0, bytes, memory).await
    }

    /// Makes a component whose calls may hold `memory` bytes ready to be called: from the cache, or by compiling it on
    /// a thread of its own, when it is the turn of `tenant`: the organisation, or 0 for nobody.
    ///
    /// # Errors
    /// [`EngineError::TooLarge`] above [`limits::COMPONENT`], [`EngineError::Component`] if it does not compile. A
    /// cache that does not work is only logged.
    ///
    /// # Panics
    /// If the compiler does.
    pub async fn compile_for(
        &self,
        tenant: u64,
        bytes: impl AsRef<[u8]> + Send + 'static,
        memory: usize,
    ) -> Result<Component, EngineError> {
        let length = bytes.as_ref().len();
        if length > limits::COMPONENT {
            return Err(EngineError::TooLarge { size: length, limit: limits::COMPONENT });
        }
        let inner = Arc::clone(&self.0);
        let load = tokio::task::spawn_blocking(move || {
            let digest: [u8; 32] = Sha256::digest(bytes.as_ref()).into();
            let sandbox = Sandbox::needed(bytes.as_ref(), memory);
            match inner.room(sandbox).load(&digest) {
                Some(code) => Ok(Component { code, sandbox }),
                None => Err((bytes, digest, sandbox)),
            }
        });
        let (bytes, digest, sandbox) = match load.await.expect("loading does not panic") {
            Ok(component) => return Ok(component),
            Err(missing) => missing,
        };
        let turn = Arc::clone(&self.0.compiler).turn(tenant).await;
        let inner = Arc::clone(&self.0);
        let build = move || {
            // Its turn lasts as long as it compiles, whether anybody waits for that or not.
            let _turn = turn;
            inner.room(sandbox).build(bytes.as_ref(), &digest)
        };
        let code = tokio::task::spawn_blocking(build).await.expect("compiling does not panic")?;
        Ok(Component { code, sandbox })
    }

    /// The component with this SHA-256 digest from the cache, for calls that may hold `memory` bytes, so that it need
    /// not be read at all.
    ///
    /// # Panics
    /// If loading does.
    pub async fn cached(&self, digest: [u8; 32], memory: usize) -> Option<Component> {
        let inner = Arc::clone(&self.0);
        let load = move || {
            let fits = |sandbox: &Sandbox| memory <= sandbox.bounds().memory;
            let mut sandboxes = Sandbox::ALL.into_iter().filter(fits);
            sandboxes
                .find_map(|sandbox| Some(Component { code: inner.room(sandbox).load(&digest)?, sandbox }))
        };
        tokio::task::spawn_blocking(load).await.expect("loading does not panic")
    }

    /// Drops the machine code kept of the component with this SHA-256 digest; running calls go on.
    pub fn forget(&self, digest: &[u8; 32]) {
        for sandbox in Sandbox::ALL {
            self.room(sandbox).forget(digest);
        }
    }

    /// Drops the machine code kept of every component whose SHA-256 digest is not among `used`: what a host that ended
    /// while it tried one left behind.
    pub fn keep_only(&self, used: &HashSet<[u8; 32]>) {
        let used: HashSet<String> = used.iter().map(|digest| HEXLOWER.encode(digest)).collect();
        for sandbox in Sandbox::ALL {
            self.room(sandbox).clear_cache(|digest| used.contains(digest));
        }
    }

    /// How busy the engine is in `sandbox`.
    #[must_use]
    pub fn status(&self, sandbox: Sandbox) -> Status {
        let gate = &self.room(sandbox).gate;
        let (running, waiting) = gate.at_work();
        Status { slots: gate.slots() as usize, running: running as usize, waiting }
    }

    pub(crate) fn room(&self, sandbox: Sandbox) -> &Room {
        self.0.room(sandbox)
    }

    /// Who compiles, and who would.
    #[cfg(test)]
    pub(crate) fn compiler(&self) -> Arc<Turns> {
        Arc::clone(&self.0.compiler)
    }
}

impl Inner {
    fn room(&self, sandbox: Sandbox) -> &Room {
        &self.rooms[sandbox as usize]
    }
}

/// How often warm instances are looked at whose time may be over.
const SWEEP: Duration = Duration::from_secs(1);

/// Advances the epochs while calls run, and ends when the engine is gone.
fn start_ticker(inner: Weak<Inner>) -> std::io::Result<()> {
    let tick = move || {
        let mut swept = Instant::now();
        while let Some(inner) = inner.upgrade() {
            let mut idle = true;
            for room in &inner.rooms {
                idle &= room.gate.is_idle();
                room.engine.increment_epoch();
            }
            if swept.elapsed() >= SWEEP {
                inner.rooms.iter().for_each(Room::sweep);
                swept = Instant::now();
            }
            drop(inner);
            std::thread::sleep(if idle { limits::IDLE_TICK } else { limits::TICK });
        }
    };
    std::thread::Builder::new().name("ticker".to_owned()).spawn(tick).map(drop)
}
