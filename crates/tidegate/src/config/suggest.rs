//! What somebody may have meant by a key or word that is not known here.

pub(crate) use tidegate_yaml::near::{nearest, slip};

use super::table::Block;

/// Places that are named for a misplaced key.
const PLACES_MAX: usize = 3;

/// Where in the file a key of this very name belongs: `services.<name>.strategy.canary`, nearest to the root first.
pub(super) fn homes(key: &str, root: &'static Block) -> Vec<String> {
    let mut found = Vec::new();
    collect(key, root, "", &mut found);
    found.sort_by_key(|path: &String| path.matches('.').count());
    found.truncate(PLACES_MAX);
    found
}

/// Recursion is as deep as the table of fields, which has no circles.
fn collect(key: &str, block: &'static Block, path: &str, found: &mut Vec<String>) {
    for field in block.fields {
        if field.key == key {
            found.push(path.to_owned());
        }
        if let Some((step, inner)) = field.kind.below() {
            let dot = if path.is_empty() { "" } else { "." };
            collect(key, inner, &format!("{path}{dot}{}{step}", field.key), found);
        }
    }
}
