//! `docs/reference`, and what is generated below `deploy`: written by the binary itself, so that it cannot tell another story
//! than the code.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::scratch::Scratch;
use crate::step;

/// Files by their path below a folder.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A folder that the binary writes to.
struct Place {
    /// Below the root of the workspace.
    folder: &'static str,
    /// How the binary is told.
    flags: &'static [&'static str],
    /// Whether nothing else may be there.
    alone: bool,
}

const PLACES: [Place; 2] = [
    Place { folder: "docs/reference", flags: &[], alone: true },
    // Beside what is written by hand: the chart's templates.
    Place { folder: "deploy", flags: &["--deploy"], alone: false },
];

/// Lets the binary write its reference and its manifests, then compares them with what is there or puts them there.
pub(crate) fn generate(check: bool) -> anyhow::Result<()> {
    PLACES.iter().try_for_each(|place| place.generate(check))
}

impl Place {
    fn generate(&self, check: bool) -> anyhow::Result<()> {
        let fresh = Scratch::new("reference")?;
        let folder =
            fresh.path().to_str().context("the folder for temporary files has a name that is not UTF-8")?;
        let mut command = step::cargo(&["run", "--quiet", "--package", "tidegate", "--", "gen"]);
        step::run(command.args(self.flags).arg(folder))?;
        let wanted = files(fresh.path())?;
        if wanted.is_empty() {
            bail!("`tidegate gen` wrote nothing");
        }
        let place = step::root().join(self.folder);
        let mut found = if place.is_dir() { files(&place)? } else { Files::new() };
        found.retain(|path, _| self.alone || wanted.contains_key(path));
        let differing = differences(&wanted, &found);
        if check {
            return match differing.first() {
                Some(first) => bail!(
                    "{} of {} out of date, the first is {}: run `cargo xtask gen`",
                    differing.len(),
                    self.folder,
                    first.display()
                ),
                None => Ok(()),
            };
        }
        replace(&place, &wanted, &differing)
    }
}

/// Paths that are missing, too many, or have another content.
fn differences(wanted: &Files, found: &Files) -> Vec<PathBuf> {
    let changed =
        wanted.iter().filter(|(path, content)| found.get(*path) != Some(content)).map(|(path, _)| path);
    let extra = found.keys().filter(|path| !wanted.contains_key(*path));
    changed.chain(extra).cloned().collect()
}

fn replace(place: &Path, wanted: &Files, differing: &[PathBuf]) -> anyhow::Result<()> {
    for path in differing {
        let file = place.join(path);
        if let Some(content) = wanted.get(path) {
            let parent = file.parent().unwrap_or(place);
            std::fs::create_dir_all(parent)
                .with_context(|| format!("could not create {}", parent.display()))?;
            std::fs::write(&file, content).with_context(|| format!("could not write {}", file.display()))?;
            println!("wrote {}", file.display());
        } else {
            std::fs::remove_file(&file).with_context(|| format!("could not remove {}", file.display()))?;
            println!("removed {}", file.display());
        }
    }
    Ok(())
}

/// Every file below a folder.
fn files(folder: &Path) -> anyhow::Result<Files> {
    let mut found = Files::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).with_context(|| format!("could not list {}", next.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                let content =
                    std::fs::read(&path).with_context(|| format!("could not read {}", path.display()))?;
                found.insert(path.strip_prefix(folder)?.to_path_buf(), content);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_missing_changed_or_left_over_is_out_of_date() {
        let file = |path: &str, content: &str| (PathBuf::from(path), content.as_bytes().to_vec());
        let wanted = Files::from([file("same", "1"), file("changed", "2"), file("missing", "3")]);
        let found = Files::from([file("same", "1"), file("changed", "x"), file("left_over", "4")]);
        let differing = differences(&wanted, &found);
        assert_eq!(differing, ["changed", "missing", "left_over"].map(PathBuf::from));
    }
}
