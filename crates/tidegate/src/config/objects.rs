//! Manifests of Kubernetes beside the configuration: all objects of a file, and where in it a field stands.

use std::path::Path;

use serde_json::Value;

use super::{
    Rejected,
    finding::{Code, Complaint, Findings, Place},
    plain_lines, read_file, reader,
    tree::{self, Content, Node},
};

/// All objects of a manifest, each with the line that it begins on. An error shows nothing of the file's text: it may hold a
/// secret.
pub(crate) fn objects(path: &Path) -> Result<Vec<(usize, Value)>, Rejected> {
    let hushed = |rejected: Rejected| Rejected { source: String::new(), ..rejected };
    let source = plain_lines(&read_file(path, "write it, or name the one that is there").map_err(hushed)?);
    let mut findings = Findings::new(&path.display().to_string());
    let nodes: Vec<Node> =
        documents(&source).iter().filter_map(|text| tree::grow(text, &mut findings)).collect();
    if findings.is_empty() && nodes.is_empty() {
        let complaint = Complaint::new(Code::Empty, "there is no object in it".to_owned());
        findings.add(Place::default(), "", complaint.help("write a ConfigMap or a Secret"));
    }
    if !findings.is_empty() {
        return Err(hushed(Rejected { findings: findings.sorted(), source }));
    }
    Ok(nodes.iter().map(|node| (node.place.line, reader::as_written(node))).collect())
}

/// The same for who writes them to a cluster later.
pub(crate) fn read_objects(path: &Path) -> Result<Vec<Value>, String> {
    let objects = objects(path).map_err(|rejected| rejected.to_string())?;
    Ok(objects.into_iter().map(|(_, object)| object).collect())
}

/// What is wrong with fields of the first object of a kind, each where it stands.
pub(crate) fn rejected(path: &Path, kind: &str, wrong: Vec<(String, Complaint)>) -> Rejected {
    let mut findings = Findings::new(&path.display().to_string());
    for (field, complaint) in wrong {
        findings.add(place_of(path, kind, &field).unwrap_or_default(), &field, complaint);
    }
    let source = read_file(path, "").map(|text| plain_lines(&text)).unwrap_or_default();
    Rejected { findings: findings.sorted(), source }
}

/// The line that a field (`spec.template.spec.containers[0].image`) stands on in the first object of this kind, or what is
/// nearest around it; `None` when the file cannot be read any more.
pub(crate) fn line_of(path: &Path, kind: &str, field: &str) -> Option<usize> {
    Some(place_of(path, kind, field)?.line)
}

/// The same with the column: that of the value where it is a scalar, else that of its key.
fn place_of(path: &Path, kind: &str, field: &str) -> Option<Place> {
    let source = plain_lines(&read_file(path, "").ok()?);
    let mut findings = Findings::new("");
    let nodes = documents(&source)
        .into_iter()
        .filter_map(|text| tree::grow(&text, &mut findings))
        .collect::<Vec<_>>();
    let is_kind = |node: &&Node| reader::as_written(node).get("kind").and_then(Value::as_str) == Some(kind);
    let mut node = nodes.iter().find(is_kind)?;
    let mut found = node.place;
    for step in field.replace('[', ".[").split('.') {
        let next = match (&node.content, step.strip_prefix('[')) {
            (Content::Map(entries), None) => {
                entries.iter().find(|(key, _)| key.text == step).map(|(key, node)| {
                    let is_scalar = matches!(node.content, Content::Scalar(_)) && node.place.length > 0;
                    (if is_scalar { node.place } else { key.place }, node)
                })
            }
            (Content::List(items), Some(index)) => {
                let index = index.trim_end_matches(']').parse::<usize>().ok()?;
                items.get(index).map(|node| (node.place, node))
            }
            (Content::Scalar(_) | Content::List(_) | Content::Map(_), _) => None,
        };
        let Some(next) = next else { break };
        (found, node) = next;
    }
    Some(found)
}

/// The documents of a file. The lines before each are blank, so that its own keep their number.
pub(super) fn documents(source: &str) -> Vec<String> {
    let mut start = 0;
    let mut documents = Vec::new();
    for part in source.split("\n---") {
        let text = part.trim_start_matches("---");
        if !text.trim().is_empty() {
            documents.push(format!("{}{text}", "\n".repeat(start)));
        }
        start += part.matches('\n').count() + 1;
    }
    documents
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_line_and_an_error_shows_nothing_of_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.yaml");
        let text = "kind: Service\n---\nkind: Deployment\nspec:\n  template:\n    spec:\n      containers:\n      - name: a\n        \
                    securityContext:\n          privileged: true\n";
        std::fs::write(&path, text).unwrap();
        let line = |field: &str| line_of(&path, "Deployment", field);
        assert_eq!(line("spec.template.spec.containers[0].securityContext.privileged"), Some(10));
        assert_eq!(line("spec.template.spec.securityContext.runAsUser"), Some(6), "what is around it");
        assert_eq!(objects(&path).unwrap().len(), 2);
        std::fs::write(&path, "kind: Secret\nstringData:\n  a: hunter2\n  a: [hunter2\n").unwrap();
        let text = read_objects(&path).unwrap_err();
        assert!(text.contains("a.yaml") && !text.contains("hunter2"), "{text}");
    }
}
