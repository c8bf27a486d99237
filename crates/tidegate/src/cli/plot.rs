//! `plot`: the evidence of a deployment as pictures.

use std::path::{Path, PathBuf};

use clap::Args;
use tidegate_core::{
    deployment::{Event, Recorded},
    judge::{Batch, chart::Chart},
    plan::Plan,
};
use tidegate_engine::evidence;

use super::{
    Common,
    control::which,
    out::{say, sayln},
    print_json,
};
use crate::{
    client::Client,
    fault::{Exit, Fault},
    render,
};

/// Columns where nobody sees the plots.
const WIDTH: usize = 100;

#[derive(Args)]
pub(super) struct PlotArgs {
    /// The deployment, or a service: its newest; default: the one under way, else the newest.
    deployment: Option<String>,
    /// Write SVG files into this directory instead.
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
}

pub(super) async fn plot(common: &Common, args: PlotArgs) -> Result<Exit, Fault> {
    let client = common.client()?;
    let id = which(&client, args.deployment).await?;
    let history = client.history(&id).await?;
    let batches = batches(&client, &id).await?;
    let plan = planned(&history).ok_or_else(|| Fault::refuse(format!("{id} has no plan")))?;
    let chart = Chart::of(plan, &batches).ok_or_else(|| {
        Fault::refuse(format!(
            "no evidence of {id} is kept: it had no traffic, or its batches were removed by age"
        ))
    })?;
    let written = match &args.svg {
        Some(directory) => write(directory, &render::plots_svg(&chart, &id))?,
        None => Vec::new(),
    };
    if common.json {
        print_json(&serde_json::json!({ "deployment": id, "chart": chart, "written": written }))?;
    } else if written.is_empty() {
        say!("{}", render::plots_text(&chart, &id, width()));
    } else {
        for path in written {
            sayln!("{}", path.display());
        }
    }
    Ok(Exit::Success)
}

/// The plan in force: the last one that was made.
pub(super) fn planned(history: &[Recorded]) -> Option<&Plan> {
    history.iter().rev().find_map(|recorded| {
        if let Event::Planned { plan, .. } | Event::Replanned { plan } = &recorded.event {
            Some(plan.as_ref())
        } else {
            None
        }
    })
}

/// Every batch of a deployment that is kept.
pub(super) async fn batches(client: &Client, id: &str) -> Result<Vec<Batch>, Fault> {
    let Some(journal) = client.journal()? else { return Ok(Vec::new()) };
    let chunks = evidence::chunks(&journal, id).await.map_err(Fault::world)?;
    Ok(chunks.into_iter().flat_map(|(_, chunk)| chunk.batches).collect())
}

fn write(directory: &Path, pictures: &[(&'static str, String)]) -> Result<Vec<PathBuf>, Fault> {
    let trouble =
        |path: &Path, why: &std::io::Error| Fault::trouble(format!("cannot write {}: {why}", path.display()));
    if directory.exists() && !directory.is_dir() {
        return Err(Fault::refuse(format!("{} is not a directory: --svg needs one", directory.display())));
    }
    std::fs::create_dir_all(directory).map_err(|why| trouble(directory, &why))?;
    let mut written = Vec::new();
    for (name, svg) in pictures {
        let path = directory.join(name);
        std::fs::write(&path, svg).map_err(|why| trouble(&path, &why))?;
        written.push(path);
    }
    Ok(written)
}

fn width() -> usize {
    let columns = rustix::termios::tcgetwinsize(std::io::stdout()).map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { WIDTH } else { columns }
}
