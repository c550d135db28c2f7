//! The native API under `/v1`, one file for each resource. The OpenAPI document is made from these very routes.

#![expect(unused_qualifications, reason = "what utoipa's macros write")]

pub(crate) mod actions;
pub(crate) mod audit;
pub(crate) mod calendar;
pub(crate) mod channels;
mod correlated;
pub(crate) mod deliveries;
pub(crate) mod feedback;
pub(crate) mod host;
pub(crate) mod incidents;
pub(crate) mod keys;
pub(crate) mod metrics;
pub(crate) mod monitors;
pub(crate) mod mutes;
pub(crate) mod organisations;
pub(crate) mod playbooks;
pub(crate) mod plugins;
mod recorded;
pub(crate) mod records;
pub(crate) mod routes;
pub(crate) mod runs;
pub(crate) mod samples;
pub(crate) mod secrets;
pub(crate) mod series;
pub(crate) mod series_metrics;
pub(crate) mod series_query;
mod trials;
mod values;
mod versions;
mod words;

pub(crate) use words::{Fill, MetricKind, TriggerKind};

use axum::middleware;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::idempotency;
use crate::services::Shared;

/// Answers above this many bytes are compressed where the caller takes gzip: below, the work costs more than the
/// wire.
const COMPRESSED_ABOVE: u64 = 16 * 1024;

/// Every route of the native API, with its document.
pub(crate) fn router(services: &Shared) -> OpenApiRouter<Shared> {
    // What may be large and holds no secret.
    let large = OpenApiRouter::new()
        .routes(routes!(values::values))
        .routes(routes!(metrics::keys))
        .routes(routes!(series_query::get, series_query::post))
        .layer(CompressionLayer::new().gzip(true).compress_when(SizeAbove::new(COMPRESSED_ABOVE)));
    let once = || middleware::from_fn_with_state(services.clone(), idempotency::once);
    // Components come whole, and what changes which version is called may have to compile it first.
    let uploads = OpenApiRouter::new()
        .routes(routes!(plugins::list, plugins::install))
        .routes(routes!(plugins::inspect))
        .layer(once())
        .layer(middleware::from_fn_with_state(services.clone(), plugins::of_components));
    let compiling = OpenApiRouter::new()
        .routes(routes!(plugins::get, plugins::remove, plugins::change))
        .routes(routes!(plugins::grant))
        .routes(routes!(plugins::versions::roll_back))
        .routes(routes!(plugins::canary::set, plugins::canary::abort))
        .routes(routes!(plugins::canary::promote))
        .routes(routes!(plugins::seen::limits, plugins::seen::set_limits))
        .layer(once())
        .layer(middleware::from_fn_with_state(services.clone(), plugins::compiling));
    let rest = OpenApiRouter::new()
        .routes(routes!(organisations::whoami))
        .routes(routes!(metrics::list, metrics::define))
        .routes(routes!(metrics::get, metrics::delete))
        .routes(routes!(series_metrics::list))
        .routes(routes!(series_metrics::get, series_metrics::describe, series_metrics::delete))
        .routes(routes!(series_metrics::keys))
        .routes(routes!(series_metrics::values))
        .routes(routes!(records::events, records::append_events))
        .routes(routes!(records::event))
        .routes(routes!(records::logs, records::append_logs))
        .routes(routes!(records::log))
        .routes(routes!(records::retention, records::set_retention))
        .routes(routes!(plugins::manifest))
        .routes(routes!(plugins::settings::get, plugins::settings::put))
        .routes(routes!(plugins::versions::list))
        .routes(routes!(plugins::versions::remove))
        .routes(routes!(plugins::seen::stats))
        .routes(routes!(plugins::seen::all_stats))
        .routes(routes!(plugins::seen::logs))
        .routes(routes!(plugins::seen::traps))
        .routes(routes!(trials::detect))
        .routes(routes!(trials::forecast))
        .routes(routes!(trials::format))
        .routes(routes!(playbooks::list, playbooks::create))
        .routes(routes!(playbooks::validate))
        .routes(routes!(versions::dry_run))
        .routes(routes!(playbooks::get, playbooks::replace, playbooks::delete))
        .routes(routes!(versions::list))
        .routes(routes!(versions::get))
        .routes(routes!(versions::publish))
        .routes(routes!(versions::roll_back))
        .routes(routes!(versions::enable))
        .routes(routes!(runs::start))
        .routes(routes!(runs::list))
        .routes(routes!(runs::get))
        .routes(routes!(runs::items))
        .routes(routes!(runs::cancel))
        .routes(routes!(runs::replay))
        .routes(routes!(monitors::list, monitors::create))
        .routes(routes!(monitors::get, monitors::replace, monitors::delete))
        .routes(routes!(monitors::pause))
        .routes(routes!(monitors::resume))
        .routes(routes!(monitors::versions))
        .routes(routes!(monitors::series))
        .routes(routes!(monitors::trace))
        .routes(routes!(incidents::list))
        .routes(routes!(incidents::get))
        .routes(routes!(incidents::trace))
        .routes(routes!(correlated::events))
        .routes(routes!(incidents::acknowledge))
        .routes(routes!(incidents::assign))
        .routes(routes!(incidents::comment))
        .routes(routes!(calendar::snooze))
        .routes(routes!(feedback::put, feedback::withdraw))
        .routes(routes!(feedback::list))
        .routes(routes!(calendar::list, calendar::create))
        .routes(routes!(calendar::get, calendar::replace, calendar::delete))
        .routes(routes!(incidents::resolve))
        .routes(routes!(actions::list))
        .routes(routes!(actions::act))
        .routes(routes!(mutes::list, mutes::create))
        .routes(routes!(mutes::get, mutes::change, mutes::delete))
        .routes(routes!(channels::list))
        .routes(routes!(channels::get, channels::put, channels::delete))
        .routes(routes!(channels::pause))
        .routes(routes!(channels::resume))
        .routes(routes!(channels::test))
        .routes(routes!(deliveries::list))
        .routes(routes!(deliveries::get))
        .routes(routes!(deliveries::resend))
        .routes(routes!(routes::rules, routes::put_rules))
        .routes(routes!(routes::test))
        .routes(routes!(routes::tables))
        .routes(routes!(routes::table, routes::put_table, routes::delete_table))
        .routes(routes!(secrets::list))
        .routes(routes!(secrets::put, secrets::delete))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::get, keys::revoke))
        .routes(routes!(organisations::own, organisations::change_own))
        .routes(routes!(organisations::list, organisations::create))
        .routes(routes!(organisations::get, organisations::change, organisations::delete))
        .routes(routes!(organisations::suspend))
        .routes(routes!(organisations::resume))
        .routes(routes!(organisations::list_keys, organisations::create_key))
        .routes(routes!(organisations::revoke_key))
        .routes(routes!(audit::list))
        .routes(routes!(host::get))
        .routes(routes!(host::backup))
        .layer(once());
    // What writes nothing ends with its caller.
    let questions = OpenApiRouter::new().routes(routes!(monitors::test));
    // The hot path stands apart: it joins its answer to its own commit and pays for none of the layers above.
    let samples =
        OpenApiRouter::new().routes(routes!(samples::write)).routes(routes!(series::write, series::list));
    OpenApiRouter::new()
        .merge(large)
        .merge(uploads)
        .merge(compiling)
        .merge(rest)
        .merge(questions)
        .merge(samples)
}
