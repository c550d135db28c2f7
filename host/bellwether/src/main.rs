//! The binary `bellwether`: `serve` runs a host, `backup`, `restore` and `config` look after one, and every other
//! command is a client of a running host's HTTP API. This crate wires; what it wires lives in the crates below it.

mod author;
mod client;
mod commands;
mod failure;
mod host_key;
mod import;
mod output;
mod serve;
mod settings;

use std::process::ExitCode;

use clap::Parser;
use failure::Failure;

#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let command_line = match commands::CommandLine::try_parse() {
        Ok(command_line) => command_line,
        Err(error) if error.use_stderr() && commands::asks_for_json(std::env::args_os().skip(1)) => {
            return fail(&Failure::from(&error), true);
        }
        // Help, versions and what people did wrong clap tells itself, in colour.
        Err(error) => error.exit(),
    };
    let json = command_line.json;
    // Every TLS connection of the process, in or out, uses the one provider.
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("nothing installed a provider before main");
    match command_line.command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail(&failure, json),
    }
}

/// Tells why it came to nothing, and gives what a script sees.
fn fail(failure: &Failure, json: bool) -> ExitCode {
    crate::output::note!("{}", if json { failure.for_programs() } else { failure.for_people() });
    ExitCode::from(failure.exit_code())
}
