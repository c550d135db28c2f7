//! Playbooks: one trigger, steps in order, inputs as templates; and runs, recorded step by step.
//!
//! What a step calls is an [`App`]: a trait defined here. This crate does not know that apps are WebAssembly.

mod app;
mod compile;
mod convert;
mod document;
mod error;
mod position;
mod progress;
mod rows;
mod run;
mod runner;
mod runs;
#[allow(dead_code)] // complete ahead of the triggers that call it
mod schedule;
mod secrets;
mod service;
#[allow(dead_code)] // complete ahead of the triggers that call it
mod signature;
mod step;
mod template;
mod trigger;

pub use app::{
    App, AppCall, AppDescription, AppError, AppReport, Apps, EffectScope, Input, LogLevel, LogLine, Output,
    Retry, Value, ValueType,
};
pub use document::{Document, Format, Step, Trigger};
pub use error::PlaybookError;
pub use run::{Run, RunFilter, RunState, RunSummary, StepResult, StepState, TriggeredBy};
pub use service::{Limits, Playbook, Playbooks, StartedRun, WebhookRequest};

#[cfg(test)]
mod tests;
