//! Which crate may use which: the table of `ARCHITECTURE.md`, compared with what cargo knows.

use super::Finding;
use crate::package::{Metadata, Package};

/// A crate of the workspace and the crates of the workspace that it may use. A new edge is a decision: it gets a page in
/// `docs/adr` first.
const EDGES: &[(&str, &[&str])] = &[
    ("tidegate-statistics", &[]),
    ("tidegate-core", &["tidegate-statistics"]),
    ("tidegate-engine", &["tidegate-core"]),
    ("tidegate-proxy", &[]),
    ("tidegate-yaml", &[]),
    ("tidegate-import", &["tidegate-core", "tidegate-yaml"]),
    ("tidegate-adapters", &["tidegate-core", "tidegate-engine", "tidegate-proxy"]),
    ("tidegate-sim", &["tidegate-core", "tidegate-engine"]),
    (BED, &[]),
    ("tidegate-kubernetes", &["tidegate-core", "tidegate-engine", "tidegate-adapters"]),
    (
        "tidegate",
        &[
            "tidegate-core",
            "tidegate-engine",
            "tidegate-proxy",
            "tidegate-adapters",
            "tidegate-import",
            "tidegate-kubernetes",
            "tidegate-sim",
            "tidegate-yaml",
        ],
    ),
    ("xtask", &[]),
];

/// A control plane for tests: every crate may test with it, and none may ship it.
const BED: &str = "tidegate-bed";

/// What the core may use of the world: nothing that knows a clock, a file or a runtime.
const CORE_OUTSIDE: &[&str] = &["serde", "thiserror", "libm", "tidegate-statistics"];

/// Edges that are not in the table, crates that are not in it, and the core's dependencies.
pub(super) fn findings(metadata: &Metadata) -> Vec<Finding> {
    metadata.packages.iter().flat_map(of_package).collect()
}

fn of_package(package: &Package) -> Vec<Finding> {
    let found = |what: String| Finding::new("Cargo.toml", 1, what);
    let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == package.name) else {
        return vec![found(format!("crate `{}` is not in the table of edges", package.name))];
    };
    let ours = package.dependencies.iter().filter(|dependency| dependency.path.is_some());
    let mut findings: Vec<Finding> = ours
        .filter(|dependency| dependency.name != BED || dependency.kind.as_deref() != Some("dev"))
        .filter(|dependency| !allowed.contains(&dependency.name.as_str()))
        .map(|dependency| found(format!("`{}` must not use `{}`", package.name, dependency.name)))
        .collect();
    if package.name == "tidegate-core" {
        let outside = package.dependencies.iter().filter(|dependency| dependency.kind.is_none());
        findings.extend(
            outside
                .filter(|dependency| !CORE_OUTSIDE.contains(&dependency.name.as_str()))
                .map(|dependency| found(format!("the core must not use `{}`", dependency.name))),
        );
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(packages: &str) -> Vec<String> {
        let text = format!("{{\"target_directory\": \"t\", \"packages\": {packages}}}");
        let metadata: Metadata = serde_json::from_str(&text).unwrap();
        findings(&metadata).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn an_edge_that_is_not_in_the_table_is_found() {
        let edge = |from: &str, to: &str| {
            format!(
                "[{{\"name\": \"{from}\", \"dependencies\": [{{\"name\": \"{to}\", \"kind\": null, \"path\": \"p\"}}]}}]"
            )
        };
        assert_eq!(told(&edge("tidegate-engine", "tidegate-core")), Vec::<String>::new());
        assert_eq!(
            told(&edge("tidegate-proxy", "tidegate-engine")),
            ["`tidegate-proxy` must not use `tidegate-engine`"]
        );
        assert_eq!(told(&edge("new", "tidegate-core")), ["crate `new` is not in the table of edges"]);
    }

    #[test]
    fn a_control_plane_is_for_tests_alone() {
        let uses = |kind: &str| {
            format!(
                "[{{\"name\": \"tidegate\", \"dependencies\": [{{\"name\": \"tidegate-bed\", \"kind\": {kind}, \"path\": \"p\"}}]}}]"
            )
        };
        assert_eq!(told(&uses("\"dev\"")), Vec::<String>::new());
        assert_eq!(told(&uses("null")), ["`tidegate` must not use `tidegate-bed`"]);
    }

    #[test]
    fn the_core_may_test_with_more_than_it_may_ship() {
        let tokio = |kind: &str| {
            format!(
                "[{{\"name\": \"tidegate-core\", \"dependencies\": [{{\"name\": \"tokio\", \"kind\": {kind}, \"path\": null}}]}}]"
            )
        };
        assert_eq!(told(&tokio("null")), ["the core must not use `tokio`"]);
        assert_eq!(told(&tokio("\"dev\"")), Vec::<String>::new());
    }
}
