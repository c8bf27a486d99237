//! The files of the tree, as text.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::Finding;

/// Folders that nobody wrote.
const NOT_OURS: &[&str] = &["target", ".git", ".tidegate"];

/// One text file.
pub(super) struct Text {
    /// Its path below the root.
    pub(super) path: PathBuf,
    /// What it says.
    pub(super) content: String,
}

impl Text {
    /// Whether it is Rust.
    pub(super) fn is_rust(&self) -> bool {
        self.has_extension("rs")
    }

    /// Whether it ends in `.` and this.
    pub(super) fn has_extension(&self, extension: &str) -> bool {
        self.path.extension().is_some_and(|found| found == extension)
    }
}

/// Every file of the tree that is UTF-8, in the order of the paths. Needs no git, so that a tree without history can be
/// checked too.
pub(super) fn texts(root: &Path) -> anyhow::Result<Vec<Text>> {
    let mut found = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in
            std::fs::read_dir(&folder).with_context(|| format!("could not list {}", folder.display()))?
        {
            let entry = entry?;
            let path = entry.path();
            let kind = entry.file_type()?;
            if kind.is_dir() && !NOT_OURS.iter().any(|name| entry.file_name() == *name) {
                open.push(path);
            } else if kind.is_file() {
                let bytes =
                    std::fs::read(&path).with_context(|| format!("could not read {}", path.display()))?;
                if let Ok(content) = String::from_utf8(bytes) {
                    found.push(Text { path: path.strip_prefix(root)?.to_path_buf(), content });
                }
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

/// Paths of the machine that the tree happens to lie on have no business in it: the tree's own folder, and the folder
/// around it unless half the world's machines have that one.
pub(super) fn machine_paths(file: &Text, root: &Path) -> Vec<Finding> {
    let shared =
        [Path::new("/"), Path::new("/root"), Path::new("/home"), Path::new("/tmp"), Path::new("/srv")];
    let around = root.parent().filter(|parent| !shared.contains(parent) && **parent != std::env::temp_dir());
    let paths = [Some(root), around].into_iter().flatten().map(|path| format!("{}/", path.display()));
    let paths: Vec<String> = paths.collect();
    let lines = file.content.lines().enumerate();
    lines
        .filter(|(_, line)| paths.iter().any(|path| line.contains(path.as_str())))
        .map(|(index, _)| {
            Finding::new(&file.path, index + 1, "names a path of the machine it was written on")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_the_machine_is_found_where_it_stands() {
        let file = |content: &str| Text { path: "a.md".into(), content: content.to_owned() };
        let root = Path::new("/somewhere/tree");
        let found = machine_paths(&file("fine\nsee /somewhere/notes/x\n"), root);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 2);
        assert!(machine_paths(&file("see /tmp/x and /home/me"), Path::new("/tmp/tree")).is_empty());
    }
}
