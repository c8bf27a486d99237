//! `logs`: what a release's instances wrote.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
    time::Duration,
};

use clap::Args;

use super::{
    Common,
    out::sayln,
    process::{node, node_fault},
};
use crate::{
    fault::{Exit, Fault},
    render,
};

/// Bytes of a log's end that are read before `--follow`.
const TAIL_BYTES: u64 = 256 * 1024;

#[derive(Args)]
pub(super) struct LogsArgs {
    /// The service; default: the only one that the proxy runs.
    service: Option<String>,
    /// Only this release.
    #[arg(long)]
    release: Option<String>,
    /// Lines of each instance.
    #[arg(long, short = 'n', default_value_t = 50)]
    lines: usize,
    /// Go on with what is written from now on.
    #[arg(long)]
    follow: bool,
}

pub(super) async fn logs(common: &Common, args: LogsArgs) -> Result<Exit, Fault> {
    let node = node(&common.place()?)?;
    let services = node.services().await.map_err(node_fault)?;
    let names: Vec<String> = services.into_iter().map(|status| status.table.service).collect();
    let service = match (args.service, names.as_slice()) {
        (Some(named), _) if names.contains(&named) => named,
        (Some(named), _) => {
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(Fault::refuse(format!("the proxy runs no service `{named}`; it runs {names}")));
        }
        (None, [only]) => only.clone(),
        (None, _) => return Err(Fault::refuse(format!("name a service: {}", names.join(", ")))),
    };
    let mut open = Vec::new();
    for run in node.runs(&service).await.map_err(node_fault)? {
        for instance in run.instances {
            if args.release.as_ref().is_none_or(|release| *release == run.release) {
                let end = print_tail(common, &instance.id, Path::new(&instance.log), args.lines)?;
                open.push((instance.id, instance.log, end));
            }
        }
    }
    if open.is_empty() {
        return Err(Fault::refuse(format!("no instance of `{service}` is known; see `tidegate status`")));
    }
    if !args.follow {
        return Ok(Exit::Success);
    }
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        for (id, log, end) in &mut open {
            *end = print_from(common, id, Path::new(log), *end)?;
        }
    }
}

/// Prints the last lines and says where the file ended.
fn print_tail(common: &Common, id: &str, log: &Path, lines: usize) -> Result<u64, Fault> {
    let (text, end) = read_from(log, None)?;
    let all: Vec<&str> = text.lines().collect();
    for line in all.iter().skip(all.len().saturating_sub(lines)) {
        print_line(common, id, line)?;
    }
    Ok(end)
}

fn print_from(common: &Common, id: &str, log: &Path, from: u64) -> Result<u64, Fault> {
    let (text, end) = read_from(log, Some(from))?;
    for line in text.lines() {
        print_line(common, id, line)?;
    }
    Ok(end)
}

/// One line of an instance; with `--json` one document per line.
fn print_line(common: &Common, id: &str, line: &str) -> Result<(), Fault> {
    if common.json {
        sayln!("{}", serde_json::json!({ "instance": id, "line": line }));
    } else {
        sayln!("{id} | {}", render::clean(line));
    }
    Ok(())
}

/// The text from a place on, or the end of the file; a file that got shorter was rotated and is read from its start.
fn read_from(log: &Path, from: Option<u64>) -> Result<(String, u64), Fault> {
    let trouble = |error| Fault::trouble(format!("cannot read {}: {error}", log.display()));
    let mut file = File::open(log).map_err(trouble)?;
    let length = file.metadata().map_err(trouble)?.len();
    let start = match from {
        Some(from) if from <= length => from.max(length.saturating_sub(TAIL_BYTES)),
        Some(_) => 0,
        None => length.saturating_sub(TAIL_BYTES),
    };
    file.seek(SeekFrom::Start(start)).map_err(trouble)?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes).map_err(trouble)?;
    let end = start + bytes.len() as u64;
    Ok((String::from_utf8_lossy(&bytes).into_owned(), end))
}
