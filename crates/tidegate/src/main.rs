//! Tidegate: takes a release to production and proves that it is healthy there.

mod artifacts;
mod cli;
mod client;
mod compose;
mod config;
mod controller;
mod demo;
mod fault;
mod guard;
mod place;
mod render;
mod server;

use std::{io::Write as _, process::ExitCode};

use clap::Parser;

/// Cheaper on the proxy's path than the system's own. Without huge pages (its feature `no_thp`): each thread would hold two
/// megabytes for the few kilobytes that it uses.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = cli::Cli::parse();
    match cli::dispatch(arguments) {
        Ok(exit) => exit.into(),
        Err(fault) => {
            // With nobody to tell, the exit code still says it.
            drop(writeln!(anstream::stderr(), "error: {fault}"));
            fault::Exit::from(fault.blame).into()
        }
    }
}
