//! What is done to requests instead of carrying them out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;

use super::asked::{Asked, Verb};

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spoil {
    /// It is not carried out, and answered so with a `Status` object.
    Answered {
        /// The HTTP status.
        status: u16,
        /// `Conflict`, `TooManyRequests`, as the API server names it.
        reason: &'static str,
        /// Words for people.
        message: &'static str,
        /// The header `Retry-After`, seconds.
        retry_after_s: Option<u32>,
    },
    /// It is not carried out, and nothing is answered for as long as the connection lasts.
    Unheard,
    /// It is carried out, and the connection ends without an answer.
    Unanswered,
    /// It waits until the rule is taken back, and is carried out then, whether anybody still waits for it or not.
    Held,
    /// A watch ends again and again in the middle of what it says.
    WatchCut,
    /// A watch is told that its version is too old (410), and ends.
    WatchGone,
    /// A watch goes on without another word, for good.
    WatchSilent,
}

/// Which requests are spoiled, and how.
#[derive(Debug, Clone)]
pub struct Rule {
    spoil: Spoil,
    /// Empty: all.
    verbs: Vec<Verb>,
    /// Empty: all.
    resources: Vec<String>,
    /// `None`: for as long as the rule is there.
    left: Option<Arc<AtomicU32>>,
}

impl Rule {
    /// Every request.
    pub fn every(spoil: Spoil) -> Self {
        Self { spoil, verbs: Vec::new(), resources: Vec::new(), left: None }
    }

    /// Only these verbs.
    #[must_use]
    pub fn of(mut self, verbs: &[Verb]) -> Self {
        self.verbs.extend(verbs);
        self
    }

    /// Only these resources, `deployments`, as [`Asked::resource`] has them.
    #[must_use]
    pub fn on(mut self, resources: &[&str]) -> Self {
        self.resources.extend(resources.iter().map(|one| (*one).to_owned()));
        self
    }

    /// Only the first so many.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.left = Some(Arc::new(AtomicU32::new(times)));
        self
    }

    fn fits(&self, asked: &Asked) -> bool {
        (self.verbs.is_empty() || self.verbs.contains(&asked.verb))
            && (self.resources.is_empty() || self.resources.contains(&asked.resource))
    }

    fn is_left(&self) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        self.left
            .as_ref()
            .is_none_or(|left| left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok())
    }
}

impl Spoil {
    /// Whether it is done to the answer of a watch rather than to a request.
    const fn is_of_watches(&self) -> bool {
        matches!(self, Self::WatchCut | Self::WatchGone | Self::WatchSilent)
    }
}

/// What becomes of this request before it is carried out: the first rule that fits says it.
pub(super) fn request<'r>(rules: &'r [Rule], asked: &Asked) -> Option<&'r Spoil> {
    let fits = |rule: &&Rule| !rule.spoil.is_of_watches() && rule.fits(asked) && rule.is_left();
    rules.iter().find(fits).map(|rule| &rule.spoil)
}

/// What becomes of this watch while it goes on.
pub(super) fn watch<'r>(rules: &'r [Rule], asked: &Asked) -> Option<&'r Spoil> {
    let fits = |rule: &&Rule| {
        asked.verb == Verb::Watch && rule.spoil.is_of_watches() && rule.fits(asked) && rule.is_left()
    };
    rules.iter().find(fits).map(|rule| &rule.spoil)
}

/// The API server's `Status` object for a failure.
pub(super) fn status(status: u16, reason: &str, message: &str) -> String {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": status,
    })
    .to_string()
}
