//! The same component on wasmtime alone: the same engine with the same settings, a linker with the one import it
//! needs, and neither limits, deadlines, grants nor counters.

use anyhow::{Context, Result};
use bellwether_engine::wasmtime::component::{Component, HasSelf, Linker};
use bellwether_engine::wasmtime::{self, Store};
use bellwether_engine::{Engine, Sandbox};

use crate::bindings::bellwether::host::types::{NamedValueParam, ValueParam, ValueResult};
use crate::bindings::bellwether::host::{clock, types};
use crate::bindings::exports::bellwether::plugin::app::Call;
use crate::bindings::{AppPlugin, AppPluginPre};

/// What the one import works on.
struct Time;

impl clock::Host for Time {
    fn now(&mut self) -> i64 {
        7
    }
}

impl types::Host for Time {}

/// The component, linked.
pub(crate) struct Bare {
    engine: wasmtime::Engine,
    app: AppPluginPre<Time>,
}

/// An instance that is called again and again.
pub(crate) struct Warm {
    store: Store<Time>,
    app: AppPlugin,
}

impl Bare {
    /// Compiles a component for the engine of `host`.
    pub(crate) fn new(host: &Engine, bytes: &[u8]) -> Result<Self> {
        let engine = host.linker::<()>(Sandbox::Small).engine().clone();
        let component = Component::from_binary(&engine, bytes)?;
        let mut linker = Linker::new(&engine);
        clock::add_to_linker::<_, HasSelf<Time>>(&mut linker, |time| time)?;
        types::add_to_linker::<_, HasSelf<Time>>(&mut linker, |time| time)?;
        let app = AppPluginPre::new(linker.instantiate_pre(&component)?)?;
        Ok(Self { engine, app })
    }

    /// A new instance.
    pub(crate) async fn instance(&self) -> Result<Warm> {
        let mut store = Store::new(&self.engine, Time);
        // The host's ticker advances the epoch; nothing here ends by it.
        store.set_epoch_deadline(u64::MAX >> 1);
        let app = self.app.instantiate_async(&mut store).await?;
        Ok(Warm { store, app })
    }
}

impl Warm {
    /// Counts the words of a text, after so many host calls.
    pub(crate) async fn run(&mut self, text: &str, calls: u32) -> Result<String> {
        let call = Call { idempotency_key: "bench", attempt: 1 };
        let inputs = [
            NamedValueParam { name: "text", value: ValueParam::Text(text) },
            NamedValueParam { name: "calls", value: ValueParam::Integer(i64::from(calls)) },
        ];
        let app = self.app.bellwether_plugin_app();
        let outputs = app.call_run(&mut self.store, call, &inputs).await?;
        let outputs = outputs.map_err(|error| anyhow::anyhow!("{}", error.message))?;
        match outputs.into_iter().next().context("one output")?.value {
            ValueResult::Text(text) => Ok(text),
            _ => anyhow::bail!("the output is text"),
        }
    }
}
