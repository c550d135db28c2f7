//! What a plugin author depends on.
//!
//! A Bellwether plugin is a sandboxed WebAssembly component. An author writes a function; the macros make it a role
//! (an [`mod@app`], a [`mod@dialect`], a [`mod@formatter`], a [`mod@detector`], a [`mod@forecaster`]), and what the function asks of its host becomes the component's imports, which
//! are its permission request: nothing else is linked, nothing else can be asked for.
//!
//! # An app
//!
//! ```
//! use bellwether_sdk::host::{Log, MetricsWrite};
//! use bellwether_sdk::metrics::Samples;
//! use bellwether_sdk::{AppError, Inputs, Outputs, app};
//!
//! #[derive(Inputs)]
//! struct Push {
//!     /// Who pushed.
//!     author: String,
//!     /// How many commits.
//!     #[input(default = 1)]
//!     commits: u32,
//! }
//!
//! #[derive(Outputs)]
//! struct Counted {
//!     /// The author's commits today.
//!     total: f64,
//! }
//!
//! /// Counts commits by author.
//! #[app]
//! fn count(host: &(impl MetricsWrite + Log), push: Push) -> Result<Counted, AppError> {
//!     let written = host.write_one(Samples::of("commits").key(&push.author).value(push.commits.into()))?;
//!     host.debug(&format!("{} has {}", push.author, written.value));
//!     Ok(Counted { total: written.value })
//! }
//!
//! // The host of a unit test: `cargo test` needs no WebAssembly.
//! use bellwether_sdk::host::Clock;
//! use bellwether_sdk::metrics::{DataType, Definition, Interval};
//! use bellwether_sdk::testing::MemoryHost;
//!
//! let host = MemoryHost::new();
//! host.define(&Definition::new("commits", DataType::Sum, Interval::Daily).keyed())?;
//! count(&host, Push { author: "jill".into(), commits: 2 })?;
//! let counted = count(&host, Push { author: "jill".into(), commits: 3 })?;
//! assert_eq!(counted.total, 5.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The bounds of `host` are the app's permissions, and the compiler keeps it to them:
//!
//! ```compile_fail,E0599
//! # use bellwether_sdk::host::Log;
//! # use bellwether_sdk::{AppError, app};
//! /// Means to write a line, and to look at metrics besides.
//! #[app]
//! fn curious(host: &impl Log, _: ()) -> Result<(), AppError> {
//!     host.metrics(0, 10)?;
//!     Ok(())
//! }
//! ```
//!
//! # Building
//!
//! `bellwether plugin new` makes a project whose tests run as they are, `bellwether plugin build` makes its component. The
//! crate is a `cdylib` for the component, and an `rlib` for its tests:
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib", "rlib"]
//! ```
//!
//! # In a component
//!
//! There are no files, no threads, no environment and no clock of `std`'s: `Instant::now` and `SystemTime::now` panic,
//! and [`host::Clock`] is what tells the time. A panic ends the call with an error that begins with what it says and
//! where; the host and the next call are none the worse. Nothing a call leaves in memory is there for the next one: [`host::State`] is.

// The macros name this crate, and its own tests use them.
extern crate self as bellwether_sdk;

pub mod alerts;
pub mod app;
#[allow(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    reason = "generated from the contract"
)]
#[doc(hidden)]
pub mod bindings;
pub mod detector;
pub mod dialect;
pub mod forecaster;
pub mod formatter;
pub mod formatting;
pub mod host;
pub mod http;
#[cfg(any(target_arch = "wasm32", test))]
mod last_words;
pub mod metrics;
pub mod records;
pub mod series;
mod settings;
mod shapes;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod time;
mod value;

/// The pages of the guide, whose examples are compiled and run with those of the documentation.
#[cfg(doctest)]
mod guide {
    macro_rules! pages {
        ($($page:ident: $path:literal;)+) => {$(
            #[doc = include_str!($path)]
            mod $page {}
        )+};
    }

    pages! {
        app: "../../docs/guide/app.md";
        dialect: "../../docs/guide/dialect.md";
        formatter: "../../docs/guide/formatter.md";
        detector: "../../docs/guide/detector.md";
        forecaster: "../../docs/guide/forecaster.md";
        testing: "../../docs/guide/testing.md";
        privileges: "../../docs/guide/privileges.md";
        threatconnect: "../../docs/guide/threatconnect.md";
    }
}

pub use app::{AppError, Call, Inputs, Outputs};
/// Makes an enum without fields a fixed set of texts. See the trait of that name.
pub use bellwether_sdk_macros::Choice;
/// Reads a struct from an app's inputs. See the trait of that name.
pub use bellwether_sdk_macros::Inputs;
/// Makes an app's outputs from a struct. See the trait of that name.
pub use bellwether_sdk_macros::Outputs;
/// Reads a struct from a role's settings. See the trait of that name.
pub use bellwether_sdk_macros::Settings;
/// Makes the component an app that runs the function it stands on:
/// `fn name(host: &impl …, inputs: In) -> Result<Out, AppError>`, or with `call: &Call` before the inputs.
///
/// The first paragraph of the function's documentation is the app's summary; `#[app(summary = "…")]` gives another.
pub use bellwether_sdk_macros::app;
/// JSON: what a [`KeyValue`]'s value is made of.
pub use serde_json;
#[doc(hidden)]
pub use settings::expanded as settings_expanded;
pub use settings::{Secret, SettingError, Settings};
pub use shapes::{Entity, KeyValue};
pub use time::{Date, Timestamp, TimestampError};
pub use value::{Binary, Choice, FromValue, IntoValue, Json, Mismatch, NamedValue, Value, ValueType};
