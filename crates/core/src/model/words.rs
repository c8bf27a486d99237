//! Shares, names, releases and actors.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
};
use core::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize};

/// A share of traffic in basis points: `0` is none, `10_000` is all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Share(u16);

/// A number of basis points above 10,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} basis points are more than everything (10000)")]
pub struct BadShare(pub u16);

impl Share {
    /// No traffic.
    pub const NONE: Self = Self(0);
    /// All traffic.
    pub const ALL: Self = Self(10_000);

    /// So many basis points; above 10,000 is an error.
    pub const fn from_basis_points(points: u16) -> Result<Self, BadShare> {
        if points <= 10_000 { Ok(Self(points)) } else { Err(BadShare(points)) }
    }

    /// So many whole percent; more than 100 is everything.
    pub const fn percent(percent: u8) -> Self {
        if percent >= 100 { Self::ALL } else { Self(percent as u16 * 100) }
    }

    /// `part` of `whole`, rounded up to a basis point so that one instance is never nothing; everything when `whole` is 0.
    pub fn ratio(part: u32, whole: u32) -> Self {
        if part >= whole {
            return Self::ALL;
        }
        let points = (u64::from(part) * 10_000).div_ceil(u64::from(whole));
        Self(u16::try_from(points).unwrap_or(10_000))
    }

    /// Basis points, 0 to 10,000.
    pub const fn basis_points(self) -> u16 {
        self.0
    }

    /// What is left for the others.
    #[must_use]
    pub const fn rest(self) -> Self {
        Self(10_000 - self.0)
    }

    /// Whether this is all traffic.
    pub const fn is_all(self) -> bool {
        self.0 == 10_000
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_basis_points(u16::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Share {
    /// `5 %`, `12.5 %`, `0.01 %`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 100, self.0 % 100);
        match rest {
            0 => write!(f, "{whole} %"),
            _ if rest % 10 == 0 => write!(f, "{whole}.{} %", rest / 10),
            _ => write!(f, "{whole}.{rest:02} %"),
        }
    }
}

/// How much harm a failure of the service does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Criticality {
    /// Nobody would notice at once.
    Low,
    /// Users notice.
    #[default]
    Medium,
    /// Business stops for some.
    High,
    /// Business stops.
    Critical,
}

/// A word that is not one of a closed list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is not one of {known}")]
pub struct UnknownWord {
    /// What was written.
    pub word: String,
    /// What would be right, separated by commas.
    pub known: &'static str,
}

impl FromStr for Criticality {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        match word {
            "low" => Ok(Self::Low),
            "medium" => Ok(Self::Medium),
            "high" => Ok(Self::High),
            "critical" => Ok(Self::Critical),
            _ => Err(UnknownWord { word: word.to_owned(), known: "low, medium, high, critical" }),
        }
    }
}

/// How a release is rolled out; the plan's list of stages says the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// A small share of traffic first, then more.
    Canary,
    /// Everything beside the old release, then one switch.
    BlueGreen,
    /// Instances in batches, traffic in proportion.
    Rolling,
    /// One switch, as soon as the release is ready.
    AllAtOnce,
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Canary => "canary",
            Self::BlueGreen => "blue_green",
            Self::Rolling => "rolling",
            Self::AllAtOnce => "all_at_once",
        })
    }
}

/// One immutable thing to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// `{commit}-{unix seconds}`: unique per service; names the release everywhere.
    pub tag: String,
    /// The commit it was made from, when there is one; with [`Self::DIRTY`] behind it when changes are in it that the commit
    /// has not.
    pub commit: Option<String>,
    /// What it is made of.
    pub artifact: Artifact,
    /// How it is run: the target's own description, so that the last good release always starts again as it was.
    pub spec: TargetSpec,
}

impl Release {
    /// What stands behind a commit when changes are in the release that the commit has not.
    pub const DIRTY: &str = "-dirty";

    /// Whether changes are in it that its commit has not.
    pub fn is_dirty(&self) -> bool {
        self.commit.as_ref().is_some_and(|commit| commit.ends_with(Self::DIRTY))
    }

    /// The tag of a release made from `commit` at `at_secs` seconds since the Unix epoch. The commit is cut to 12
    /// characters, to 7 before the mark of uncommitted changes; without one it is the first 12 of the artifact's digest.
    pub fn tag_for(commit: Option<&str>, artifact: &Artifact, at_secs: i64) -> String {
        if let Some(commit) = commit.and_then(|commit| commit.strip_suffix(Self::DIRTY)) {
            let name: String = commit.chars().take(7).collect();
            return format!("{name}{}-{at_secs}", Self::DIRTY);
        }
        let name: String = commit.unwrap_or_else(|| artifact.hex()).chars().take(12).collect();
        format!("{name}-{at_secs}")
    }

    /// The tag that this release would have had a second later.
    pub fn later_tag(&self) -> String {
        let (name, secs) = self.tag.rsplit_once('-').unwrap_or((&self.tag, ""));
        format!("{name}-{}", secs.parse::<i64>().unwrap_or(0).saturating_add(1))
    }

    /// Whether both would run the same bytes in the same way; tags may differ, and so may the way to the target.
    pub fn same_content(&self, other: &Self) -> bool {
        let (own, its) = (&self.spec, &other.spec);
        self.artifact == other.artifact && own.kind == its.kind && own.json == its.json
    }
}

/// What a release is made of, by content: a name that moves is not an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Artifact {
    /// Files, by the SHA-256 of their sorted manifest (paths, modes, contents), 64 hex digits.
    Files {
        /// The digest.
        sha256: String,
    },
    /// A container image by digest: `name@sha256:…`.
    Image {
        /// Name and digest.
        reference: String,
    },
}

impl Artifact {
    /// The digest's hex digits.
    pub fn hex(&self) -> &str {
        match self {
            Self::Files { sha256 } => sha256,
            Self::Image { reference } => reference.rsplit(':').next().unwrap_or(reference),
        }
    }
}

impl fmt::Display for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files { sha256 } => write!(f, "files sha256:{}", sha256.get(..12).unwrap_or(sha256)),
            Self::Image { reference } => f.write_str(reference),
        }
    }
}

/// A target's own description of how to run and route a release: JSON text that the core carries and never reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetSpec {
    /// Which target understands it: `local`, `kubernetes`, `hosts`.
    pub kind: String,
    /// The description.
    pub json: String,
    /// Where the target is, as whoever asked for the release reached it: no part of what the release is. `None` where there is
    /// nothing to say, and in journals of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

/// Who asked. Every input carries one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// What kind of asker.
    pub kind: ActorKind,
    /// Its name: a user, a token's name, the part of the engine.
    pub name: String,
}

impl Actor {
    /// The engine itself.
    pub fn engine() -> Self {
        Self { kind: ActorKind::Engine, name: "tidegate".to_string() }
    }

    /// A person at a terminal.
    pub fn person(name: &str) -> Self {
        Self { kind: ActorKind::Person, name: name.to_owned() }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// What kind of asker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A person.
    Person,
    /// An API token.
    Token,
    /// The engine.
    Engine,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_prints_as_percent_and_never_exceeds_everything() {
        for (points, text) in [(0, "0 %"), (500, "5 %"), (1_250, "12.5 %"), (1, "0.01 %"), (10_000, "100 %")]
        {
            assert_eq!(Share::from_basis_points(points).unwrap().to_string(), text);
        }
        assert_eq!(Share::from_basis_points(10_001), Err(BadShare(10_001)));
        assert!(serde_json::from_str::<Share>("10001").is_err());
        assert_eq!(Share::ratio(1, 3).basis_points(), 3_334);
        assert_eq!(Share::ratio(3, 3), Share::ALL);
        assert_eq!(Share::ratio(0, 0), Share::ALL);
    }

    #[test]
    fn a_tag_is_commit_and_seconds_and_falls_back_to_the_digest() {
        let files = Artifact::Files { sha256: "ab12cd34ef567890".into() };
        assert_eq!(Release::tag_for(Some("abc123"), &files, 1_641_024_000), "abc123-1641024000");
        assert_eq!(Release::tag_for(None, &files, 7), "ab12cd34ef56-7");
        assert_eq!(Release::tag_for(Some("abc123def4567890-dirty"), &files, 7), "abc123d-dirty-7");
    }
}
