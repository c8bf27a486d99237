//! Runs a proxy: `proxy DATA [WORKERS] [METRICS_ADDRESS]`.

use std::process::ExitCode;

use tidegate_proxy::{Options, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(data) = arguments.next() else {
        eprintln!("usage: proxy DATA [WORKERS] [METRICS_ADDRESS]");
        return ExitCode::from(2);
    };
    let workers = arguments.next().and_then(|text| text.parse().ok()).filter(|workers| *workers > 0);
    let metrics = arguments.next().and_then(|text| text.parse().ok());
    match run(Options { data: data.into(), workers, metrics }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut cause: &dyn std::error::Error = &error;
            eprint!("error: {cause}");
            while let Some(source) = cause.source() {
                eprint!(": {source}");
                cause = source;
            }
            eprintln!();
            ExitCode::FAILURE
        }
    }
}
