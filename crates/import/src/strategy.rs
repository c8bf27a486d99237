//! How a release takes over, as it will stand in `tidegate.yaml`.

use crate::{
    duration::said,
    form::WEEK_MS,
    out::{Value, map, plain},
};

/// How a release takes over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// Steps; the last one is everything.
    Canary(Vec<Step>),
    BlueGreen {
        preview_ms: u64,
        bake_ms: u64,
        approval: bool,
    },
    /// Batches of this size.
    Rolling(String),
    AllAtOnce,
}

/// One step of a canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Basis points, 1 to 10,000.
    pub(crate) share_bp: u16,
    pub(crate) bake_ms: u64,
    /// Whether a person agrees first.
    pub(crate) approval: bool,
}

/// Copies of users' requests before the first of them is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shadow {
    pub(crate) percent: u16,
    pub(crate) bake_ms: u64,
}

impl Strategy {
    /// Whether a person is asked somewhere.
    pub(crate) fn asks(&self) -> bool {
        match self {
            Self::Canary(steps) => steps.iter().any(|step| step.approval),
            Self::BlueGreen { approval, .. } => *approval,
            Self::Rolling(_) | Self::AllAtOnce => false,
        }
    }

    /// What stands under `strategy`.
    pub(crate) fn value(&self) -> Value {
        match self {
            Self::Canary(steps) => {
                let steps = steps.iter().map(Step::value).collect();
                map([("canary", map([("steps", Value::List(steps))]))])
            }
            Self::BlueGreen { preview_ms, bake_ms, approval } => map([(
                "blue_green",
                map([
                    ("preview_bake", plain(bake(*preview_ms))),
                    ("approval", plain(approval)),
                    ("bake", plain(bake(*bake_ms))),
                ]),
            )]),
            Self::Rolling(batch) => map([("rolling", map([("batch", plain(batch)), ("bake", plain("0s"))]))]),
            Self::AllAtOnce => map([("all_at_once", map([("bake", plain("0s"))]))]),
        }
    }
}

impl Step {
    fn value(&self) -> Value {
        let mut step = map([("share", plain(share(self.share_bp))), ("bake", plain(bake(self.bake_ms)))]);
        if self.approval {
            step.put("approval", plain(true));
        }
        step
    }
}

/// What a route copies: it does not look at methods.
const METHODS: [&str; 7] = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"];

impl Shadow {
    /// What stands under `shadow`: copies are sent, and nothing is asked of the answers.
    pub(crate) fn value(&self) -> Value {
        let any = || plain("100%");
        map([
            ("share", plain(format!("{}%", self.percent))),
            ("bake", plain(bake(self.bake_ms.max(1_000)))),
            ("methods", Value::List(METHODS.map(plain).to_vec())),
            ("status_max", any()),
            ("differing_max", any()),
            ("slower_max", any()),
        ])
    }
}

fn bake(ms: u64) -> String {
    said(ms.min(WEEK_MS))
}

/// `12.5%`.
pub(crate) fn share(points: u16) -> String {
    let (whole, rest) = (points / 100, points % 100);
    match (rest, rest % 10) {
        (0, _) => format!("{whole}%"),
        (_, 0) => format!("{whole}.{}%", rest / 10),
        _ => format!("{whole}.{rest:02}%"),
    }
}
