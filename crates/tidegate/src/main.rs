//! Tidegate: takes a release to production and proves that it is healthy there.

mod artifacts;
mod cli;
mod client;
mod compose;
mod config;
mod demo;
mod fault;
mod place;
mod render;
mod server;

use std::process::ExitCode;

use clap::Parser;

/// Cheaper on the proxy's path than the system's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = cli::Cli::parse();
    match cli::dispatch(arguments) {
        Ok(exit) => exit.into(),
        Err(fault) => {
            anstream::eprintln!("error: {fault}");
            fault::Exit::from(fault.blame).into()
        }
    }
}
