//! How a new release takes over, as configured. Durations are milliseconds, shares basis points.

use serde::{Deserialize, Serialize};

/// How a new release takes over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Strategy {
    /// Steps of traffic.
    Canary(Canary),
    /// Both at full size, one switch.
    BlueGreen(BlueGreen),
    /// Batches of instances.
    Rolling(Rolling),
    /// One switch.
    AllAtOnce(AllAtOnce),
}

impl Strategy {
    /// The longest time that one exposure is watched.
    pub(crate) fn bake_max_ms(&self) -> u64 {
        match self {
            Self::Canary(canary) => {
                canary.steps.iter().map(|step| step.bake_ms).max().unwrap_or(canary.bake_ms)
            }
            Self::BlueGreen(BlueGreen { bake_ms, .. })
            | Self::Rolling(Rolling { bake_ms, .. })
            | Self::AllAtOnce(AllAtOnce { bake_ms }) => *bake_ms,
        }
    }
}

/// Steps of traffic; their shares rise, and there is at least one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Canary {
    /// The steps, each with its own bake.
    pub(crate) steps: Vec<Step>,
    /// The bake of steps that do not say.
    pub(crate) bake_ms: u64,
}

/// One step of a canary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// Share of the traffic in basis points, 1 to 10,000.
    pub(crate) share_bp: u16,
    /// How long it is watched.
    pub(crate) bake_ms: u64,
    /// Whether a person has to agree first.
    pub(crate) approval: bool,
}

/// Both releases at full size, one switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BlueGreen {
    /// How long the new release is watched after the switch.
    pub(crate) bake_ms: u64,
    /// Whether it is smoke-tested before.
    pub(crate) preview: bool,
    /// How long it is watched before.
    pub(crate) preview_bake_ms: u64,
    /// Whether a person has to agree first.
    pub(crate) approval: bool,
}

/// Batches of instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rolling {
    /// How many at a time.
    pub(crate) batch: Batch,
    /// How long each batch is watched.
    pub(crate) bake_ms: u64,
}

/// How many instances are replaced at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Batch {
    /// A share of them in basis points; rounded up, at least one.
    Share(u16),
    /// So many; never more than there are.
    Instances(u32),
}

/// One switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AllAtOnce {
    /// How long the new release is watched after the switch.
    pub(crate) bake_ms: u64,
}

/// Copies of users' requests for the new release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shadow {
    /// Share of the requests in basis points.
    pub(crate) share_bp: u16,
    /// How long the phase lasts.
    pub(crate) bake_ms: u64,
    /// Copies that may fail or have another status, basis points.
    pub(crate) status_max_bp: u16,
    /// Copies with the same status that may have another body, basis points.
    pub(crate) differing_max_bp: u16,
    /// Copies that may be slower, basis points.
    pub(crate) slower_max_bp: u16,
    /// Methods that may be copied.
    pub(crate) methods: Vec<String>,
    /// Largest body that is copied.
    pub(crate) body_max_bytes: u64,
    /// JSON pointers to leave out; `None` compares bodies byte by byte.
    pub(crate) json_ignore: Option<Vec<String>>,
}
