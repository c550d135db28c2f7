//! The front over a whole host in memory: what callers, organisations and the operator can rely on.

#![expect(clippy::unwrap_used, reason = "what these helpers unwrap fails the test that called them")]

mod alerts;
mod deletion;
mod dialects;
mod document;
mod log;
mod metric_pages;
mod monitor_pages;
mod pages;
mod playbooks;
mod plugin_pages;
mod plugins;
mod problems;
mod records;
mod roles;
mod series;
mod speaker;
mod support;
mod surface;
