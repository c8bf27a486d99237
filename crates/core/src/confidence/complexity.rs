//! Change complexity: how large and how delicate the change from the running commit to the new one is.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use serde::{Deserialize, Serialize};

use super::{
    factor::{Fact, Factor, FactorKind},
    number::Points,
};

/// At most so many past releases are compared with.
const PAST_MAX: usize = 200;
/// With fewer, a fixed curve is used instead.
const PAST_MIN: usize = 20;
/// So many lines halve the value on the fixed curve.
const LINES_HALF: u64 = 400;
/// What a delicate change has at most.
const DELICATE_MOST: Points = Points::new(5_000);

/// One change, measured between the running commit and the new one; generated, vendored and lock files left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeSize {
    /// Lines added.
    pub lines_added: u64,
    /// Lines deleted.
    pub lines_deleted: u64,
    /// Files touched.
    pub files: u64,
    /// Directories touched.
    pub directories: u64,
    /// How evenly the change is spread over its files: `−Σ p·log₂ p / log₂ n`; 0 for one file or none.
    pub entropy: Points,
    /// Commits of the last 90 days in the touched files; `None` when the history does not reach so far.
    pub churn: Option<u64>,
    /// How little the change's authors know these files: 0 when all of the files' commits are theirs, 10,000 when none
    /// is; `None` without history.
    pub inexperience: Option<Points>,
    /// What makes it delicate, with an example each.
    pub delicate: Vec<Delicate>,
}

/// Something delicate in a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delicate {
    /// What.
    pub kind: DelicateKind,
    /// Where: a path, perhaps with a name and two versions.
    pub example: String,
}

/// What can make a change delicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DelicateKind {
    /// A migration of a database's schema: not undone by going back.
    SchemaMigration,
    /// Infrastructure or configuration.
    Infrastructure,
    /// Authentication, permissions or cryptography.
    Authentication,
    /// Another major version of a dependency.
    DependencyMajor,
}

impl DelicateKind {
    /// In sentences.
    pub const fn words(self) -> &'static str {
        match self {
            Self::SchemaMigration => "a schema migration",
            Self::Infrastructure => "infrastructure or configuration",
            Self::Authentication => "authentication or cryptography",
            Self::DependencyMajor => "a major version of a dependency",
        }
    }
}

/// How evenly a change is spread over its files: the entropy of the files' shares of the changed lines, over that of equal
/// shares. 0 when at most one file has changed lines.
pub fn spread(lines: &[u64]) -> Points {
    let total: f64 = lines.iter().map(|count| *count as f64).sum();
    let changed = lines.iter().filter(|count| **count > 0);
    let (mut bits, mut files) = (0.0, 0_u32);
    for count in changed {
        let share = *count as f64 / total;
        bits -= share * libm::log2(share);
        files = files.saturating_add(1);
    }
    if files < 2 {
        return Points::NONE;
    }
    Points::round(bits / libm::log2(f64::from(files))).unwrap_or(Points::NONE)
}

impl ChangeSize {
    /// Lines added and deleted.
    pub const fn lines(&self) -> u64 {
        self.lines_added.saturating_add(self.lines_deleted)
    }
}

/// One measure: its name, its weight, and how to read it.
type Measure = (&'static str, u64, fn(&ChangeSize) -> Option<u64>);

/// Kamei et al. 2013 rank changes by such measures; as a verdict they are worth little, hence 10 % of the score. The
/// percentile of `ln(1 + lines)` is the percentile of the lines.
const MEASURES: [Measure; 6] = [
    ("lines", 35, |change| Some(change.lines())),
    ("files", 20, |change| Some(change.files)),
    ("entropy", 15, |change| Some(u64::from(change.entropy.basis_points()))),
    ("directories", 10, |change| Some(change.directories)),
    ("churn", 10, |change| change.churn),
    ("inexperience", 10, |change| change.inexperience.map(|points| u64::from(points.basis_points()))),
];

/// One minus the change's weighted percentile among the service's own last 200 releases (`past`, newest first): lines
/// 35 %, files 20, entropy 15, directories 10, churn 10, inexperience 10. Ties count half; a measure that is not known
/// of this change, or of fewer than 20 past ones, is left out and the others count in proportion. With fewer than 20
/// past releases it is `1 / (1 + lines/400)`. A delicate change has at most 0.5.
pub fn change_complexity(change: &ChangeSize, past: &[ChangeSize]) -> Factor {
    let past = past.get(..PAST_MAX).unwrap_or(past);
    let (plain, compared) = match percentile(change, past) {
        Some(percentile) => (percentile.rest(), past.len()),
        None => (by_lines(change.lines()), 0),
    };
    let value = if change.delicate.is_empty() { plain } else { plain.min(DELICATE_MOST) };
    let reason = sentence(change, plain, compared);
    Factor::known(FactorKind::Complexity, value, evidence(change, past, compared), reason)
}

fn by_lines(lines: u64) -> Points {
    Points::ratio(LINES_HALF, LINES_HALF.saturating_add(lines)).unwrap_or(Points::NONE)
}

fn percentile(change: &ChangeSize, past: &[ChangeSize]) -> Option<Points> {
    let (mut sum, mut known) = (0_u64, 0_u64);
    for (_, weight, read) in MEASURES {
        if let Some(rank) = rank(change, past, read) {
            sum += weight * u64::from(rank.basis_points());
            known += weight;
        }
    }
    Points::ratio(sum, known * 10_000)
}

/// The share of past changes that were smaller, ties half; `None` where it is not known of enough of them.
fn rank(change: &ChangeSize, past: &[ChangeSize], read: fn(&ChangeSize) -> Option<u64>) -> Option<Points> {
    let here = read(change)?;
    let known: Vec<u64> = past.iter().filter_map(read).collect();
    if known.len() < PAST_MIN {
        return None;
    }
    let smaller = known.iter().filter(|there| **there < here).count() as u64;
    let equal = known.iter().filter(|there| **there == here).count() as u64;
    Points::ratio(2 * smaller + equal, 2 * known.len() as u64)
}

fn evidence(change: &ChangeSize, past: &[ChangeSize], compared: usize) -> Vec<Fact> {
    let mut facts = alloc::vec![
        Fact::count("lines_added", change.lines_added),
        Fact::count("lines_deleted", change.lines_deleted),
        Fact::count("files", change.files),
        Fact::count("directories", change.directories),
        Fact::points("entropy", change.entropy),
        change.churn.map_or_else(
            || Fact::text("churn", "not known"),
            |churn| Fact::count("commits_in_these_files_90_days", churn)
        ),
        change.inexperience.map_or_else(
            || Fact::text("inexperience", "not known"),
            |points| Fact::points("inexperience", points)
        ),
        Fact::count("past_releases_compared", compared as u64),
    ];
    if compared > 0 {
        let ranks = MEASURES
            .iter()
            .filter_map(|(name, _, read)| rank(change, past, *read).map(|rank| (*name, rank)))
            .map(|(name, rank)| Fact::points(&format!("{name}_percentile"), rank));
        facts.extend(ranks);
    }
    facts.extend(change.delicate.iter().map(|delicate| Fact::text(delicate.kind.words(), &delicate.example)));
    facts
}

fn sentence(change: &ChangeSize, plain: Points, compared: usize) -> String {
    let size = format!("{} lines in {} files changed", change.lines(), change.files);
    let against = match compared {
        0 => "too few past releases to compare with".to_string(),
        some => format!("larger than {} of the last {some} releases", plain.rest()),
    };
    let mut kinds: Vec<&str> = change.delicate.iter().map(|delicate| delicate.kind.words()).collect();
    kinds.dedup();
    let delicate = if kinds.is_empty() {
        String::new()
    } else {
        format!("; it touches {}, so {DELICATE_MOST} at most", kinds.join(" and "))
    };
    format!("{size} ({against}){delicate}")
}
