//! The runtime baseline: what the runtimes of languages like Python and JavaScript import of WASI, whether the plugin's
//! author uses it or not, answered by an empty world.
//!
//! There are no files, no sockets, no names to resolve, no arguments, no environment and nothing to read; asking for
//! them is an error the language knows, not a missing import. What is printed becomes lines of the call's log. Three
//! interfaces stand for privileges, as *optional* ones ([`optional`]): with the grant they give what the privilege of
//! that name gives, without it
//!
//! - clocks stand still at the time the call began,
//! - chance starts from a seed that is the same for every attempt at the same work,
//! - requests to the outside are denied.
//!
//! A pure call has none of the three whatever is granted, and its time is that of what it is given: the same input, the
//! same output. Only components that import WASI are linked with any of this.

mod counted;
mod http;
mod print;
#[cfg(test)]
mod tests;
mod time;

use std::sync::Arc;

use bellwether_engine::wasmtime::component::{HasData, ResourceTable};
use bellwether_engine::wasmtime_wasi::cli::{WasiCli, WasiCliCtxView};
use bellwether_engine::wasmtime_wasi::clocks::{WasiClocks, WasiClocksCtxView};
use bellwether_engine::wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemCtxView};
use bellwether_engine::wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, random, sockets};
use bellwether_engine::wasmtime_wasi::random::{WasiRandom, WasiRandomCtx};
use bellwether_engine::wasmtime_wasi::sockets::{WasiSockets, WasiSocketsCtxView};
use bellwether_engine::wasmtime_wasi::{WasiCtx, WasiCtxView};
use bellwether_engine::wasmtime_wasi_http::p2::bindings::http::{outgoing_handler, types};
use bellwether_engine::wasmtime_wasi_http::{WasiHttp, WasiHttpCtx, WasiHttpCtxView};
use bellwether_engine::wasmtime_wasi_io::bindings::wasi::io;
use bellwether_engine::{Guest, Linker, wasmtime};
use bellwether_kernel::Timestamp;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::egress::Spent;
use crate::grant::Privilege;
use crate::host::{Call, Scope};
use crate::limits;
use http::Gate;
pub(crate) use print::Printed;

/// What every interface of WASI begins with.
pub(crate) const WASI: &str = "wasi:";

/// The versions of WASI this is: 0.2 and whatever follows the second dot.
const VERSION: &str = "0.2.";

/// Its interfaces, by package.
const INTERFACES: [(&str, &[&str]); 7] = [
    (
        "cli",
        &[
            "environment",
            "exit",
            "stdin",
            "stdout",
            "stderr",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
        ],
    ),
    ("io", &["error", "poll", "streams"]),
    ("clocks", &["monotonic-clock", "wall-clock"]),
    ("random", &["random", "insecure", "insecure-seed"]),
    ("filesystem", &["types", "preopens"]),
    (
        "sockets",
        &[
            "network",
            "instance-network",
            "ip-name-lookup",
            "tcp",
            "tcp-create-socket",
            "udp",
            "udp-create-socket",
        ],
    ),
    ("http", &["types", "outgoing-handler"]),
];

/// Package and interface of an import that is part of the baseline.
fn interface(import: &str) -> Option<(&str, &str)> {
    let (package, rest) = import.strip_prefix(WASI)?.split_once('/')?;
    let (name, version) = rest.split_once('@')?;
    let (_, names) = INTERFACES.iter().find(|(known, _)| *known == package)?;
    (version.starts_with(VERSION) && names.contains(&name)).then_some((package, name))
}

/// Whether an import is part of the baseline.
pub(crate) fn is_baseline(import: &str) -> bool {
    interface(import).is_some()
}

/// The privilege that an import of the baseline can be given.
pub(crate) fn optional(import: &str) -> Option<Privilege> {
    match interface(import)? {
        ("clocks", _) => Some(Privilege::Clock),
        ("random", _) => Some(Privilege::Random),
        ("http", "outgoing-handler") => Some(Privilege::HttpClient),
        _ => None,
    }
}

/// What a call finds of a world.
pub(crate) struct World {
    /// Never locked: the library's own parts are for one thread at a time.
    things: Mutex<Things>,
    pub(crate) printed: Printed,
}

struct Things {
    context: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    gate: Gate,
}

/// When a call takes place and where its chance starts, unless it is granted the host's own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) time: Timestamp,
    pub(crate) seed: [u8; 32],
    /// Whether nothing of the host's is given, whatever is granted.
    pub(crate) pure: bool,
}

impl World {
    /// The world of one call, whose requests count with those it `spent` otherwise.
    pub(crate) fn new(scope: &Arc<Scope>, moment: Moment, spent: Arc<Spent>) -> Self {
        let services = &scope.shared.services;
        let printed = Printed::new(Arc::clone(&services.clock), &scope.limits);
        let mut seed = moment.seed;
        if scope.random && !moment.pure {
            services.randomness.fill(&mut seed);
        }
        let mut chance = StdRng::from_seed(seed);
        let mut builder = WasiCtx::builder();
        builder
            .stdout(printed.output())
            .stderr(printed.errors())
            .insecure_random_seed(chance.random())
            .insecure_random(StdRng::from_rng(&mut chance))
            .secure_random(chance)
            .max_random_size(u64::from(limits::RANDOM))
            // No address may be connected to as it is; neither may a socket be made.
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false);
        if scope.clock && !moment.pure {
            builder.wall_clock(time::Running(Arc::clone(&services.clock)));
            builder.monotonic_clock(time::Coarse::default());
        } else {
            builder.wall_clock(time::Still(moment.time)).monotonic_clock(time::Still(moment.time));
        }
        let mut table = ResourceTable::new();
        table.set_max_capacity(bellwether_engine::limits::HANDLES);
        let gate = Gate::new(Arc::clone(scope), moment.pure, printed.clone(), spent);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(limits::HTTP_HEADER_BYTES);
        let things = Things { context: builder.build(), http, table, gate };
        Self { things: Mutex::new(things), printed }
    }
}

impl Things {
    fn view(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.context, table: &mut self.table }
    }
}

/// The table alone: streams and polls need nothing else.
struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

fn things(guest: &mut Guest<Call>) -> &mut Things {
    let world = guest.host_call().world.as_deref_mut();
    world.expect("a component that imports WASI is called with a world").things.get_mut()
}

fn table(guest: &mut Guest<Call>) -> &mut ResourceTable {
    &mut things(guest).table
}

fn on_cli(guest: &mut Guest<Call>) -> WasiCliCtxView<'_> {
    let WasiCtxView { ctx, table } = things(guest).view();
    WasiCliCtxView { ctx: ctx.cli(), table }
}

fn on_clocks(guest: &mut Guest<Call>) -> WasiClocksCtxView<'_> {
    let WasiCtxView { ctx, table } = things(guest).view();
    WasiClocksCtxView { ctx: ctx.clocks(), table }
}

fn on_random(guest: &mut Guest<Call>) -> &mut WasiRandomCtx {
    things(guest).context.random()
}

fn on_files(guest: &mut Guest<Call>) -> WasiFilesystemCtxView<'_> {
    let WasiCtxView { ctx, table } = things(guest).view();
    WasiFilesystemCtxView { ctx: ctx.filesystem(), table }
}

fn on_sockets(guest: &mut Guest<Call>) -> WasiSocketsCtxView<'_> {
    let WasiCtxView { ctx, table } = things(guest).view();
    WasiSocketsCtxView { ctx: ctx.sockets(), table }
}

fn on_http(guest: &mut Guest<Call>) -> WasiHttpCtxView<'_> {
    let Things { http, table, gate, .. } = things(guest);
    WasiHttpCtxView { ctx: http, table, hooks: gate }
}

/// Adds every interface of the baseline, each by itself: what the library learns to do later is not linked.
pub(crate) fn link(linker: &mut Linker<Guest<Call>>) -> wasmtime::Result<()> {
    let l = linker;
    io::error::add_to_linker::<_, Table>(l, table)?;
    io::poll::add_to_linker::<_, Table>(l, table)?;
    io::streams::add_to_linker::<_, Table>(l, table)?;
    cli::environment::add_to_linker::<_, WasiCli>(l, on_cli)?;
    cli::exit::add_to_linker::<_, WasiCli>(l, on_cli)?;
    cli::stdin::add_to_linker::<_, WasiCli>(l, on_cli)?;
    cli::stdout::add_to_linker::<_, WasiCli>(l, on_cli)?;
    cli::stderr::add_to_linker::<_, WasiCli>(l, on_cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(l, on_cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(l, on_cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(l, on_cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(l, on_cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(l, on_cli)?;
    clocks::wall_clock::add_to_linker::<_, WasiClocks>(l, on_clocks)?;
    clocks::monotonic_clock::add_to_linker::<_, WasiClocks>(l, on_clocks)?;
    random::random::add_to_linker::<_, WasiRandom>(l, on_random)?;
    random::insecure::add_to_linker::<_, WasiRandom>(l, on_random)?;
    random::insecure_seed::add_to_linker::<_, WasiRandom>(l, on_random)?;
    filesystem::types::add_to_linker::<_, WasiFilesystem>(l, on_files)?;
    filesystem::preopens::add_to_linker::<_, WasiFilesystem>(l, on_files)?;
    sockets::network::add_to_linker::<_, WasiSockets>(
        l,
        &sockets::network::LinkOptions::default(),
        on_sockets,
    )?;
    sockets::instance_network::add_to_linker::<_, WasiSockets>(l, on_sockets)?;
    sockets::ip_name_lookup::add_to_linker::<_, WasiSockets>(l, on_sockets)?;
    sockets::tcp::add_to_linker::<_, WasiSockets>(l, on_sockets)?;
    sockets::tcp_create_socket::add_to_linker::<_, WasiSockets>(l, on_sockets)?;
    sockets::udp::add_to_linker::<_, WasiSockets>(l, on_sockets)?;
    sockets::udp_create_socket::add_to_linker::<_, WasiSockets>(l, on_sockets)?;
    outgoing_handler::add_to_linker::<_, WasiHttp>(l, on_http)?;
    types::add_to_linker::<_, WasiHttp>(l, &types::LinkOptions::default(), on_http)?;
    counted::link(l)
}
