//! Playbooks: a trigger, steps in order, inputs as templates; and runs that are durable. A firing is claimed once,
//! every step's result is committed before the next step begins, and a host that dies takes its runs up again.
//!
//! What a step calls is an [`App`]: a trait defined here. This crate does not know that apps are WebAssembly.

mod app;
mod compile;
mod document;
mod dry;
mod engine;
mod erase;
mod error;
mod history;
mod meters;
mod position;
mod rows;
mod run;
mod schedule;
mod secrets;
mod service;
mod signature;
mod sources;
mod template;
mod trigger;

pub use app::{
    App, AppCall, AppDescription, AppError, AppReport, Apps, EffectScope, LogLevel, LogLine, Output, Pin,
    PinnedBy, Pins, Retry,
};
pub use bellwether_kernel::Period;
pub use bellwether_kernel::value::{Input, Misfit, Value, ValueType, misfit};
use bellwether_kernel::value::{convert, shape};
pub use document::{
    AlertMove, Concurrency, DeclaredInput, Document, ErrorAction, Format, Missed, OnError, OnItemError,
    Policy, Retention, RetryRule, SignatureCheck, Step, Stop, Trigger, TriggerKind, TriggerOn,
};
pub use dry::{DryRun, DryStep};
pub use engine::IncidentActions;
pub use error::PlaybookError;
pub use history::ReplayFrom;
pub use run::{
    Attempt, ItemCounts, Run, RunFilter, RunState, RunSummary, StepKind, StepResult, StepState, TriggeredBy,
};
pub use secrets::Secrets;
pub use service::{Limits, Parts, Playbook, Playbooks, StartedRun, Status, Version, WebhookRequest};
pub use signature::SignatureScheme;
pub use sources::{MetricLog, NoSecrets, SecretSource, Write, Writes};

#[cfg(test)]
mod tests;
