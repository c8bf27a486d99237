//! Dependencies that went to another major version, from the manifests that people write.
//!
//! Read by shape, not by every rule of every tool: a line that is not understood is no dependency. Versions below 1.0 break
//! with their second number, as most tools hold it.

use std::collections::BTreeMap;

use serde_json::Value;

/// Manifests larger than this are not looked at.
const MANIFEST_BYTES_MAX: usize = 1 << 20;

/// Names to the part of the version that breaks when it changes.
type Versions = BTreeMap<String, Breaking>;

/// The part of a version that breaks when it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Breaking {
    major: u64,
    /// Only below 1.0.
    minor: u64,
}

impl std::fmt::Display for Breaking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.major == 0 { write!(f, "0.{}", self.minor) } else { write!(f, "{}", self.major) }
    }
}

pub(super) fn is_manifest(path: &str) -> bool {
    reader(path).is_some()
}

/// The first dependency, by name, that is in both manifests with different major versions: `serde 1 to 2`.
pub(super) fn major_bump(path: &str, before: &str, after: &str) -> Option<String> {
    let read = reader(path)?;
    if before.len().max(after.len()) > MANIFEST_BYTES_MAX {
        return None;
    }
    let (before, after) = (read(before), read(after));
    after.iter().find_map(|(name, to)| {
        let from = before.get(name).filter(|from| *from != to)?;
        Some(format!("{name} {from} to {to}"))
    })
}

fn reader(path: &str) -> Option<fn(&str) -> Versions> {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name {
        "package.json" | "composer.json" => Some(json),
        "Cargo.toml" | "pyproject.toml" | "Pipfile" => Some(toml),
        "go.mod" => Some(go),
        "Gemfile" => Some(ruby),
        "pom.xml" => Some(maven),
        "build.gradle" | "build.gradle.kts" => Some(gradle),
        _ if name.starts_with("requirements") && has_ending(name, "txt") => Some(python),
        _ => None,
    }
}

fn has_ending(name: &str, ending: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, found)| found == ending)
}

/// The first version in a requirement: `^1.2`, `>=1.2,<2`, `~> 7.0`, `v1.2.3`.
fn breaking(requirement: &str) -> Option<Breaking> {
    let start = requirement.find(|letter: char| letter.is_ascii_digit())?;
    // A word before the number means something else: a path, a branch, an address.
    let before = requirement.get(..start)?;
    if !before.chars().all(|letter| " ^~=<>!v\"'[(".contains(letter)) {
        return None;
    }
    let version = requirement.get(start..)?;
    let version = version.split(|letter: char| !(letter.is_ascii_digit() || letter == '.')).next()?;
    let mut parts = version.split('.').map(str::parse);
    let major = parts.next()?.ok()?;
    let minor = if major == 0 { parts.next().and_then(Result::ok).unwrap_or(0) } else { 0 };
    Some(Breaking { major, minor })
}

fn keep(versions: &mut Versions, name: &str, requirement: &str) {
    let name = name.trim().trim_matches(['"', '\'']);
    if let Some(version) = breaking(requirement)
        && !name.is_empty()
    {
        versions.insert(name.to_owned(), version);
    }
}

/// Every object whose key speaks of dependencies or requirements.
fn json(text: &str) -> Versions {
    let mut versions = Versions::new();
    let Ok(Value::Object(root)) = serde_json::from_str(text) else { return versions };
    let tables = root.iter().filter(|(key, _)| key.ends_with("ependencies") || key.starts_with("require"));
    for (name, requirement) in tables.filter_map(|(_, table)| table.as_object()).flatten() {
        if let Some(requirement) = requirement.as_str() {
            keep(&mut versions, name, requirement);
        }
    }
    versions
}

/// `name = "1.2"` and `name = { version = "1.2" }` below a heading of dependencies, `[dependencies.name]` with a `version`,
/// and the quoted `"name>=1.2"` of Python's lists.
fn toml(text: &str) -> Versions {
    let mut versions = Versions::new();
    let mut heading = "";
    for line in text.lines().map(str::trim) {
        if let Some(inner) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            heading = inner.trim_matches(['[', ']']);
            continue;
        }
        if line.starts_with(['"', '\'']) && !line.contains(" = ") {
            keep_python(&mut versions, line.trim_matches([',', '"', '\'']));
            continue;
        }
        let of_dependencies = heading.contains("dependencies") || heading.ends_with("packages");
        let Some((key, value)) = line.split_once('=').filter(|_| of_dependencies) else { continue };
        let own_table = heading.rsplit_once("dependencies.").map(|(_, name)| name);
        match (own_table.filter(|_| !heading.ends_with("dependencies")), key.trim()) {
            (Some(name), "version") => keep(&mut versions, name, value.trim()),
            // Below `[tool.poetry.group.dev.dependencies]` and the like there is no own table.
            (Some(_), _) => {}
            (None, name) => keep(&mut versions, name, version_of(value)),
        }
    }
    versions
}

/// The version inside of `{ version = "1.2", features = [] }`, or the value itself.
fn version_of(value: &str) -> &str {
    let value = value.trim();
    if !value.starts_with('{') {
        return value;
    }
    let version = value.split_once("version").and_then(|(_, rest)| rest.trim_start().strip_prefix('='));
    version.map_or("", str::trim)
}

/// `module/path v1.2.3`, in a block or after `require`; a `/v2` at the end of the path is the major version itself.
fn go(text: &str) -> Versions {
    let mut versions = Versions::new();
    for line in text.lines().map(|line| line.trim().trim_start_matches("require ").trim()) {
        let mut words = line.split_whitespace();
        let (Some(path), Some(version)) = (words.next(), words.next()) else { continue };
        if path.contains('/') && version.starts_with('v') {
            let base =
                path.rsplit_once("/v").filter(|(_, end)| end.bytes().all(|byte| byte.is_ascii_digit()));
            keep(&mut versions, base.map_or(path, |(base, _)| base), version);
        }
    }
    versions
}

/// `gem "rails", "~> 7.0"`.
fn ruby(text: &str) -> Versions {
    let mut versions = Versions::new();
    for line in text.lines().filter_map(|line| line.trim().strip_prefix("gem ")) {
        if let Some((name, rest)) = line.split_once(',') {
            keep(&mut versions, name, rest.split(',').next().unwrap_or_default().trim());
        }
    }
    versions
}

/// `name==1.2`, `name[extra]>=1.2`.
fn python(text: &str) -> Versions {
    let mut versions = Versions::new();
    for line in text.lines() {
        keep_python(&mut versions, line.split('#').next().unwrap_or_default());
    }
    versions
}

fn keep_python(versions: &mut Versions, requirement: &str) {
    if let Some(end) = requirement.find(['=', '<', '>', '~', '!', '[']) {
        let (name, rest) = requirement.split_at(end);
        let rest = rest.split_once(']').map_or(rest, |(_, rest)| rest);
        keep(versions, &name.to_ascii_lowercase(), rest);
    }
}

/// An `<artifactId>` and the `<version>` after it, before the next one.
fn maven(text: &str) -> Versions {
    let mut versions = Versions::new();
    // The first piece stands before any artifact.
    for piece in text.split("<artifactId>").skip(1) {
        let name = piece.split('<').next().unwrap_or_default();
        if let Some(version) = piece.split_once("<version>").and_then(|(_, rest)| rest.split('<').next()) {
            keep(&mut versions, name, version);
        }
    }
    versions
}

/// `'group:name:1.2.3'`, in either kind of quotes.
fn gradle(text: &str) -> Versions {
    let mut versions = Versions::new();
    // An address with a port has three parts too.
    for quoted in text.split(['"', '\'']).filter(|quoted| !quoted.contains('/')) {
        if let [group, name, version] = quoted.split(':').collect::<Vec<_>>().as_slice() {
            keep(&mut versions, &format!("{group}:{name}"), version);
        }
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_major_version_is_found_in_every_manifest_and_a_minor_one_in_none() {
        for (path, text) in [
            ("Cargo.toml", "[package]\nname = \"x\"\nversion = \"9.0.0\"\n[dependencies]\nlib = \"V\"\n"),
            ("a/Cargo.toml", "[workspace.dependencies]\nlib = { version = \"V\", features = [\"x\"] }\n"),
            ("Cargo.toml", "[dependencies.lib]\nversion = \"V\"\n"),
            ("web/package.json", r#"{"version": "9.1.2", "devDependencies": {"lib": "^V"}}"#),
            ("composer.json", r#"{"require": {"lib": "~V"}}"#),
            ("requirements-dev.txt", "# tools\nLib[extra]>=V,<9 # why\n"),
            ("pyproject.toml", "[project]\nversion = \"9.0\"\ndependencies = [\n  \"lib>=V\",\n]\n"),
            ("pyproject.toml", "[tool.poetry.dependencies]\nlib = \"^V\"\n"),
            ("Gemfile", "source 'https://x'\ngem 'lib', '~> V', require: false\n"),
            (
                "pom.xml",
                "<project><artifactId>me</artifactId><dependency><artifactId>lib</artifactId>\n<version>V</version>",
            ),
        ] {
            let bump =
                |from: &str, to: &str| major_bump(path, &text.replace('V', from), &text.replace('V', to));
            assert_eq!(bump("1.4.0", "2.0.0").as_deref(), Some("lib 1 to 2"), "{path}");
            assert_eq!(bump("1.4.0", "1.5.1"), None, "{path}");
            assert_eq!(bump("0.4.0", "0.5.1").as_deref(), Some("lib 0.4 to 0.5"), "{path}");
        }
        let gradle = |version: &str| format!("implementation \"org.x:lib:{version}\"\n");
        let bump = major_bump("build.gradle", &gradle("1.4"), &gradle("2.0"));
        assert_eq!(bump.as_deref(), Some("org.x:lib 1 to 2"));
        let go =
            |path: &str, version: &str| format!("module m\nrequire (\n\t{path} {version} // indirect\n)\n");
        let bump = major_bump("go.mod", &go("x.io/lib", "v1.9.0"), &go("x.io/lib/v2", "v2.0.1"));
        assert_eq!(bump.as_deref(), Some("x.io/lib 1 to 2"));
    }

    #[test]
    fn what_is_no_version_is_no_dependency() {
        assert_eq!(breaking("git+https://x/y2"), None);
        assert_eq!(breaking("workspace:*"), None);
        assert_eq!(breaking(""), None);
        assert_eq!(breaking("99999999999999999999999"), None);
        assert!(!is_manifest("src/main.rs"));
        assert_eq!(major_bump("package.json", "{", "[1]"), None);
    }
}
