//! Manifests of other tools: what they become, what is refused of them, and that nothing of it depends on their being sane.
//!
//! `TIDEGATE_BLESS=1` writes the expected files anew; look at the difference before it is committed.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test reports")]

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use tidegate_import::{Imported, Level, Options, Source, check, import};
use tidegate_yaml::{
    finding::{Finding, Findings},
    tree,
};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/import").join(name)
}

/// The manifests of a folder, by name.
fn manifests(of: &str) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = fs::read_dir(folder(of))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .map(|path| {
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap())
        })
        .collect();
    all.sort();
    assert!(all.len() >= 10, "{of}");
    all
}

/// The documents as far as they can be read, and what is wrong with them as YAML.
fn read(name: &str, text: &str) -> (Option<Source>, Vec<Finding>) {
    let file = format!("{name}.yaml");
    let mut findings = Findings::new(&file);
    let documents = tree::grow_all(text, &mut findings);
    (documents.map(|documents| Source { file, documents }), findings.sorted())
}

fn imported(name: &str, text: &str, compat: bool) -> Imported {
    import(&[read(name, text).0.unwrap()], &Options { compat, prometheus: None })
}

/// Compares with a kept file, or writes it.
fn is_as_kept(name: &str, found: &str) {
    let path = folder("expected").join(name);
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        fs::write(&path, found).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == found, "{name} is not as kept; now it is:\n{found}");
}

#[test]
fn every_manifest_becomes_the_files_that_are_kept_with_every_difference_in_them() {
    for (name, text) in manifests(".") {
        for (compat, end) in [(false, ""), (true, ".compat")] {
            let imported = imported(&name, &text, compat);
            let mut all = String::new();
            for file in &imported.files {
                write!(all, "=== {}\n{}", file.name, file.text).unwrap();
            }
            let same = self::imported(&name, &text, false) == imported;
            if !compat || !same {
                is_as_kept(&format!("{name}{end}.txt"), &all);
            }
        }
    }
}

#[test]
fn what_argo_accepts_is_accepted() {
    for (name, text) in manifests(".") {
        let findings = check(&[read(&name, &text).0.unwrap()]);
        // Argo takes these conditions and providers; that they cannot be said here is the import's to say.
        assert!(findings.is_empty(), "{name}: {findings:#?}");
    }
}

/// What Argo's linter takes since 1.10: Services that take turns behind Istio, and a plugin that weighs an experiment.
#[test]
fn routers_that_argo_learned_of_late_are_accepted() {
    let (name, plain) = manifests(".").into_iter().find(|(name, _)| name == "canary-plain").unwrap();
    let istio = "    canary:\n      pingPong: {pingService: a, pongService: b}\n      trafficRouting: {istio: {virtualService: {name: x}}}\n";
    let plugin = "    canary:\n      trafficRouting: {plugins: {a/b: {}}}\n      steps: [{experiment: {templates: [{name: x, specRef: canary, weight: 5}]}}]\n";
    let (before, _) = plain.split_once("    canary:\n").unwrap();
    for strategy in [istio, plugin] {
        let findings = check(&[read(&name, &format!("{before}{strategy}")).0.unwrap()]);
        assert!(findings.is_empty(), "{strategy}: {findings:#?}");
    }
}

#[test]
fn what_argo_refuses_is_refused_by_line_field_and_what_to_write() {
    for (name, text) in manifests("refused") {
        let (source, mut findings) = read(&name, &text);
        findings.extend(source.map(|source| check(&[source])).unwrap_or_default());
        assert!(!findings.is_empty(), "{name} is accepted");
        let mut all = String::new();
        for Finding { place, path, message, help, .. } in &findings {
            assert!(place.line > 0, "{name}: {message}");
            let help = help.as_deref().unwrap_or_default();
            writeln!(all, "{}:{} {path}\n    {message}\n    {help}", place.line, place.column).unwrap();
        }
        is_as_kept(&format!("refused-{name}.txt"), &all);
    }
}

/// The words of the other tools' fields that the table knows and that stand in no manifest here are still said: nothing is
/// dropped in silence.
#[test]
fn a_field_that_nobody_knows_is_said() {
    let (name, text) = manifests(".").into_iter().find(|(name, _)| name == "canary-plain").unwrap();
    let text =
        text.replace("      maxSurge: 2\n", "      maxSurge: 2\n      maxSugre: 3\n      surprise: {a: 1}\n");
    let imported = imported(&name, &text, false);
    let said: Vec<(&str, &str)> = imported
        .differences
        .iter()
        .filter(|one| one.level == Level::Warning)
        .map(|one| (one.path.as_str(), one.ours.as_str()))
        .collect();
    assert!(
        said.contains(&("spec.strategy.canary.maxSugre", "left out; did you mean `maxSurge`?")),
        "{said:?}"
    );
    assert!(said.iter().any(|(path, _)| *path == "spec.strategy.canary.surprise"), "{said:?}");
}

#[test]
fn a_condition_outside_of_the_language_is_an_error_that_names_the_token() {
    let (name, text) = manifests(".").into_iter().find(|(name, _)| name == "analysis").unwrap();
    let imported = imported(&name, &text, false);
    let error = imported.differences.iter().find(|one| one.ours.contains("`matches`")).unwrap();
    assert_eq!(error.level, Level::Error);
    assert!(error.ours.contains("column 8"), "{}", error.ours);
    assert!(error.path.ends_with("metrics[1].successCondition") && error.place.line > 1, "{error:?}");
}

#[test]
fn of_a_pause_without_end_it_is_said_that_nothing_runs_only_where_nothing_is_copied() {
    let (name, plain) = manifests(".").into_iter().find(|(name, _)| name == "canary-istio").unwrap();
    let (before, rest) = plain.split_once("      steps:\n").unwrap();
    let (_, after) = rest.split_once("\n---\n").unwrap();
    let mirror = "{setMirrorRoute: {name: m, percentage: 5, match: [{path: {prefix: /}}]}}";
    for (first, said) in [(mirror, false), ("{setCanaryScale: {replicas: 1}}", true)] {
        let text = format!("{before}      steps: [{first}, {{pause: {{}}}}, {{setWeight: 5}}]\n---\n{after}");
        let found = imported(&name, &text, false);
        let pause = found.differences.iter().any(|one| one.path.ends_with("steps[1].pause"));
        assert_eq!(pause, said, "{first}: {:?}", found.differences);
    }
}

/// Flagger's controller knows the router; shares by numbers of pods in its place would be others.
#[test]
fn a_canary_without_a_provider_keeps_a_router() {
    let (name, text) = manifests(".").into_iter().find(|(name, _)| name == "flagger-istio").unwrap();
    let without = text.replacen("  provider: istio\n", "", 1);
    let ingress = without.replacen("spec:\n", "spec:\n  ingressRef: {name: door}\n", 1);
    for (text, written) in [(&without, "virtual_service: "), (&ingress, "ingress: door")] {
        let imported = imported(&name, text, false);
        assert!(imported.files[0].text.contains(written), "{}", imported.files[0].text);
        let said = imported.differences.iter().find(|one| one.theirs.contains("-mesh-provider")).unwrap();
        assert_eq!(said.level, Level::Warning);
    }
}

#[test]
fn a_prometheus_that_only_the_controller_knows_is_named_by_an_option() {
    let (name, text) = manifests(".").into_iter().find(|(name, _)| name == "analysis").unwrap();
    let options = Options { compat: false, prometheus: Some("http://prometheus.example:9090".to_owned()) };
    let imported = import(&[read(&name, &text).0.unwrap()], &options);
    assert!(imported.files[0].text.contains("address: http://prometheus.example:9090"));
}

/// A manifest with some of its lines gone, doubled, swapped or changed.
fn damaged(text: &str, wounds: &[(u8, u16, u16)]) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (kind, at, with) in wounds {
        let at = usize::from(*at) % lines.len().max(1);
        let with = usize::from(*with);
        let Some(line) = lines.get(at).cloned() else { continue };
        let values =
            ["-1", "{}", "[]", "null", "\"\"", "99999999999999999999", "true", "{{args.x}}", "é☃", "1h", "0"];
        let value = values[with % values.len()];
        match kind % 7 {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, line),
            2 => {
                lines[at] =
                    line.split_once(": ").map_or_else(|| line.clone(), |(key, _)| format!("{key}: {value}"));
            }
            3 => lines[at] = line.replacen(|c: char| c.is_ascii_digit(), value, 1),
            4 => lines[at] = line.chars().take(with % (line.chars().count() + 1)).collect(),
            5 => lines[at] = format!("  {line}"),
            _ => lines[at] = line.replacen(", ", &format!(", x{with}: {value}, "), 1),
        }
    }
    lines.join("\n")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn no_manifest_makes_it_panic_and_what_is_written_can_be_read(
        which in any::<u16>(),
        wounds in proptest::collection::vec(any::<(u8, u16, u16)>(), 1..6),
        compat in any::<bool>(),
    ) {
        let all: Vec<(String, String)> = manifests(".").into_iter().chain(manifests("refused")).collect();
        let (name, text) = &all[usize::from(which) % all.len()];
        let text = damaged(text, &wounds);
        let (Some(source), _) = read(name, &text) else { return Ok(()) };
        let sources = [source];
        let _ = check(&sources);
        let imported = import(&sources, &Options { compat, prometheus: None });
        for file in &imported.files {
            let mut findings = Findings::new(&file.name);
            let read = tree::grow(&file.text, &mut findings);
            prop_assert!(read.is_some() && findings.is_empty(), "{}\n{:?}", file.text, findings);
        }
    }
}
