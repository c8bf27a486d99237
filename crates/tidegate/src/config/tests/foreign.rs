//! What is imported is read by the very loader that reads every other `tidegate.yaml`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tidegate_import::{Options, import};

use super::super::{foreign, manifest, parse};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/import")
}

fn manifests() -> Vec<(String, String)> {
    let both = [folder(), folder().join("refused")];
    let mut all: Vec<(String, String)> = both
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap()))
        .collect();
    all.sort();
    assert!(all.len() >= 25);
    all
}

/// The files that a text comes to are accepted; how many services they hold.
fn accepted(name: &str, text: &str, compat: bool) -> usize {
    let (Some(source), _) = foreign::documents(name, text) else { return 0 };
    let imported =
        import(&[source], &Options { compat, prometheus: Some("http://prometheus:9090".to_owned()) });
    let Some((main, manifests)) = imported.files.split_first() else { return 0 };
    let config = parse(Path::new("tidegate.yaml"), &main.text)
        .unwrap_or_else(|why| panic!("{name}, compat {compat}:\n{why}\n{}", main.text));
    let directory = tempfile::tempdir().unwrap();
    for file in manifests {
        let path = directory.path().join(&file.name);
        fs::write(&path, &file.text).unwrap();
        manifest(&path, "Deployment").unwrap_or_else(|why| panic!("{name}:\n{why}\n{}", file.text));
    }
    assert_eq!(
        config.services.keys().collect::<Vec<_>>(),
        imported.services.iter().collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    );
    config.services.len()
}

#[test]
fn every_manifest_becomes_a_configuration_that_is_accepted() {
    let mut services = 0;
    for (name, text) in manifests() {
        for compat in [false, true] {
            services += accepted(&name, &text, compat);
        }
    }
    assert!(services > 30, "{services}");
}

#[test]
fn a_manifest_with_any_value_in_any_place_becomes_a_configuration_that_is_accepted_or_none() {
    const VALUES: [&str; 12] = [
        "-1",
        "0",
        "99999999999",
        "{}",
        "[]",
        "null",
        "\"\"",
        "true",
        "\"é: #☃\"",
        "1h",
        "150%",
        "Not_A-Name.9/x",
    ];
    let mut random = fastrand::Rng::with_seed(7);
    let mut services = 0;
    for (name, text) in manifests() {
        let lines: Vec<&str> = text.lines().collect();
        for _ in 0..60 {
            let at = random.usize(..lines.len());
            let value = VALUES[random.usize(..VALUES.len())];
            let mut changed: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            changed[at] = match lines[at].match_indices(": ").map(|(at, _)| at).collect::<Vec<_>>().as_slice()
            {
                [] => continue,
                cuts => {
                    let cut = cuts[random.usize(..cuts.len())];
                    let (key, rest) = lines[at].split_at(cut);
                    // Up to the end of the value, where it stands in brackets with others.
                    let end = rest.find([',', '}', ']']).unwrap_or(rest.len());
                    format!("{key}: {value}{}", &rest[end..])
                }
            };
            services += accepted(&name, &changed.join("\n"), random.bool());
        }
    }
    assert!(services > 500, "{services}");
}

#[test]
fn manifests_of_other_tools_are_told_from_a_configuration() {
    let file = |name: &str| folder().join(name);
    let checked = foreign::check(&file("blue-green.yaml")).unwrap().unwrap();
    assert_eq!(
        checked.objects,
        ["Rollout billing", "AnalysisTemplate smoke", "ClusterAnalysisTemplate errors"]
    );
    let refused = foreign::check(&file("refused/unknown-and-duplicate-fields.yaml")).unwrap().unwrap_err();
    let text = refused.to_string();
    for words in
        ["did you mean `maxSurge`?", "did you mean `replicas`?", "`stableService` is already there on line"]
    {
        assert!(text.contains(words), "{words} is missing:\n{text}");
    }
    let own = tempfile::tempdir().unwrap();
    let path = own.path().join("tidegate.yaml");
    fs::write(&path, "version: 1 # not argoproj.io/v1alpha1\nservices: {}\n").unwrap();
    assert!(foreign::check(&path).is_none());
}
