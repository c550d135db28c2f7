//! What is relied on in an app.

use serde_json::{Map, Value};

use super::settings::{made_up, odd};
use super::{Battery, Bench, Seen};
use crate::author::sandbox::{Ran, Sandbox};

const OF: &str = "app";

pub(super) async fn check(battery: &mut Battery, bench: &Bench<'_>) {
    let sandbox = match bench.sandbox().await {
        Ok(sandbox) => sandbox,
        Err(error) => return battery.tell(OF, "it can be called", Err(error)),
    };
    let Some(description) = sandbox.installed().app.clone() else { return };
    let mut calls = Calls { sandbox };
    let inputs = made_up(&description.inputs, bench.given);
    battery.tell(
        OF,
        "inputs that are made up come to outputs or to a clear error",
        calls.usual(&inputs).await,
    );
    let odd = odd(&description.inputs, &inputs);
    if odd.is_empty() {
        battery.idle(
            OF,
            "odd inputs come to outputs or to a clear error",
            "it has no inputs that could be odd",
        );
    } else {
        battery.tell(OF, "odd inputs come to outputs or to a clear error", calls.odd(odd).await);
    }
    let promise = "the same inputs get the same outputs";
    if bench.component.inspection.requests.is_empty() {
        battery.tell(OF, promise, calls.alike(bench, &inputs).await);
    } else {
        battery.idle(
            OF,
            promise,
            "it asks for privileges, so its outputs may depend on more than its inputs",
        );
    }
}

struct Calls {
    sandbox: Sandbox,
}

impl Calls {
    /// What a call came to: outputs, or the app's own error. Whatever the host says of it is a broken promise.
    async fn call(
        &mut self,
        inputs: &Map<String, Value>,
    ) -> Result<Result<Map<String, Value>, String>, String> {
        let installed = self.sandbox.installed();
        let host_says = format!("plugin {} {}: app.run: ", installed.name, installed.version);
        match self.sandbox.run(inputs).await {
            Ok(Ran { result: Err(error), .. }) if error.starts_with(&host_says) => Err(error),
            Ok(Ran { result, .. }) => Ok(result),
            Err(error) => Err(super::plain(&error)),
        }
    }

    async fn usual(&mut self, inputs: &Map<String, Value>) -> Seen {
        Ok(match self.call(inputs).await? {
            Ok(outputs) => format!("{} outputs", outputs.len()),
            Err(error) => format!("error: {error}"),
        })
    }

    async fn odd(&mut self, odd: Vec<(String, Map<String, Value>)>) -> Seen {
        let count = odd.len();
        let mut refused = 0;
        for (name, inputs) in odd {
            let outcome = self.call(&inputs).await.map_err(|error| format!("{name}: {error}"))?;
            refused += usize::from(outcome.is_err());
        }
        Ok(format!("{count} sets, {refused} refused"))
    }

    async fn alike(&mut self, bench: &Bench<'_>, inputs: &Map<String, Value>) -> Seen {
        let first = self.call(inputs).await?;
        let again = self.call(inputs).await?;
        let fresh = Self { sandbox: bench.sandbox().await? }.call(inputs).await?;
        match again == first && fresh == first {
            true => Ok("3 times".to_owned()),
            false => Err(format!("once {first:?}, then {again:?}, on another host {fresh:?}")),
        }
    }
}
