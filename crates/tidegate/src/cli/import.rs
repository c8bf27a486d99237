//! `import`: manifests of other tools in Tidegate's words.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use serde_json::json;
use tidegate_import::{Difference, Imported, Level, Options, Written};

use super::{Common, out::sayln, print_json};
use crate::{
    config,
    fault::{Exit, Fault},
};

#[derive(Args)]
pub(super) struct ImportArgs {
    /// Files with Rollouts or Canaries, with the templates of their analyses and metrics, and with the Services and
    /// Deployments that they name.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where tidegate.yaml and the manifests beside it are written.
    #[arg(long, default_value = ".", value_name = "DIR")]
    out: PathBuf,
    /// Show every difference of meaning in full; without it, those that matter.
    #[arg(long)]
    explain: bool,
    /// Keep another tool's analysis as it is: its counting, its limits, and what it does about errors.
    #[arg(long, value_name = "TOOL")]
    compat: Option<Compat>,
    /// The Prometheus that metrics ask which name none.
    #[arg(long, value_name = "URL")]
    prometheus: Option<String>,
    /// Write although something that matters cannot be said in tidegate.yaml.
    #[arg(long)]
    anyway: bool,
    /// Write over files that are there.
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Compat {
    /// Argo Rollouts.
    Argo,
}

pub(super) fn import(common: &Common, args: &ImportArgs) -> Result<Exit, Fault> {
    let sources = config::foreign::sources(&args.files)
        .map_err(|rejected| Fault::refuse(super::project::rejection_of(&rejected, "the manifests")))?;
    let options = Options { compat: args.compat.is_some(), prometheus: args.prometheus.clone() };
    let imported = tidegate_import::import(&sources, &options);
    proven(&imported)?;
    let errors = imported.differences.iter().filter(|one| one.level == Level::Error).count();
    let writes = !imported.files.is_empty() && (errors == 0 || args.anyway);
    let written = if writes { write(&args.out, &imported.files, args.force)? } else { Vec::new() };
    if common.json {
        print_json(&json!({
            "services": imported.services,
            "files": written,
            "differences": imported.differences,
        }))?;
    } else {
        say(&imported, &written, args)?;
    }
    Ok(if writes { Exit::Success } else { Exit::Refused })
}

/// What is written is read again before it is: a file that would be refused is a defect, not an import.
fn proven(imported: &Imported) -> Result<(), Fault> {
    let Some(file) = imported.files.first() else { return Ok(()) };
    config::parse(Path::new(&file.name), &file.text).map(drop).map_err(|rejected| {
        let mut text = format!("the imported file would be refused; please report it\n\n{rejected}");
        text.truncate(text.floor_char_boundary(8_000));
        Fault::internal(std::io::Error::other(text))
    })
}

/// Writes all files or, when one is there already, none.
fn write(directory: &Path, files: &[Written], force: bool) -> Result<Vec<PathBuf>, Fault> {
    let paths: Vec<PathBuf> = files.iter().map(|file| directory.join(&file.name)).collect();
    if let Some(there) = paths.iter().find(|path| !force && path.exists()) {
        return Err(Fault::refuse(format!(
            "{} is there already: write into another directory with --out, or over it with --force",
            there.display()
        )));
    }
    std::fs::create_dir_all(directory).map_err(|why| trouble(directory, &why))?;
    for (path, file) in paths.iter().zip(files) {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).truncate(true).create(true).create_new(!force);
        let written = options.open(path).and_then(|mut open| open.write_all(file.text.as_bytes()));
        written.map_err(|why| trouble(path, &why))?;
    }
    Ok(paths)
}

fn trouble(path: &Path, why: &std::io::Error) -> Fault {
    Fault::trouble(format!("cannot write {}: {why}", path.display()))
}

fn say(imported: &Imported, written: &[PathBuf], args: &ImportArgs) -> Result<(), Fault> {
    let shown = |one: &&Difference| args.explain || one.level > Level::Note;
    for one in imported.differences.iter().filter(shown) {
        sayln!("{}", sentence(one));
    }
    let count = |level| imported.differences.iter().filter(|one| one.level == level).count();
    let (errors, warnings, notes) = (count(Level::Error), count(Level::Warning), count(Level::Note));
    sayln!("{}, {}, {}", number(errors, "error"), number(warnings, "warning"), number(notes, "note"));
    if notes > 0 && !args.explain {
        sayln!("the notes are in the file, or shown by --explain");
    }
    for path in written {
        sayln!("wrote {}", path.display());
    }
    if !written.is_empty() {
        sayln!("next: read it, then `tidegate plan --file {}`", args.out.join(config::FILE_NAME).display());
    } else if imported.files.is_empty() {
        sayln!("nothing is written");
    } else {
        sayln!("nothing is written: mend what the errors say, or write what can be said with --anyway");
    }
    Ok(())
}

fn number(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Two lines and a half: where, what it is there, and what it is here.
fn sentence(one: &Difference) -> String {
    let word = match one.level {
        Level::Note => "note",
        Level::Warning => "warning",
        Level::Error => "error",
    };
    let Difference { file, place, path, theirs, ours, .. } = one;
    let clean = |text: &str| -> String {
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(600).collect()
    };
    let (file, path) = (clean(file), clean(path));
    let path = if path.is_empty() { path } else { format!(" {path}") };
    // Nothing that is missing has a line.
    let line = if place.line > 0 { format!(":{}", place.line) } else { String::new() };
    format!("{word}: {file}{line}{path}\n  there: {}\n  here:  {}\n", clean(theirs), clean(ours))
}
