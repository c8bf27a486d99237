//! The gates alone, for `tidegate judge`: read as strictly as `tidegate.yaml`, from the same table.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    Rejected, fields,
    finding::{Findings, Place},
    gates::Gates,
    judgement::{self, Judgement},
    read_file, reader, relations,
    table::Kind,
    tree,
};

/// What to do about a file that is not there.
const MISSING: &str =
    "it has the keys `gates`, `judgement`, `criticality` and `shares`; each may be left out";

/// What is asked of batches that come from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Judged {
    criticality: super::Criticality,
    /// Shares of the stages in basis points; empty when only the batches say.
    pub(crate) shares: Vec<u16>,
    /// The gates.
    pub(crate) gates: Gates,
    /// How they judge.
    pub(crate) judgement: Judgement,
}

/// Reads and checks the file at `path`.
pub(crate) fn load_judged(path: &Path) -> Result<Judged, Rejected> {
    let source = super::plain_lines(&read_file(path, MISSING)?);
    let mut findings = Findings::new(&path.display().to_string());
    match checked(&source, &mut findings) {
        Some(judged) if findings.is_empty() => Ok(judged),
        _ => Err(Rejected { findings: findings.sorted(), source }),
    }
}

fn checked(source: &str, findings: &mut Findings) -> Option<Judged> {
    let root = tree::grow(source, findings)?;
    let (value, places) = reader::read(&root, &Kind::Block(&fields::JUDGED), findings);
    let mut value = value?;
    relations::check_gates(&value, &places, findings);
    if !findings.is_empty() {
        return None;
    }
    judgement::fill(&mut value);
    match serde_json::from_value(value) {
        Ok(judged) => Some(judged),
        Err(error) => {
            findings.add(Place::default(), "", super::defect(&error));
            None
        }
    }
}
