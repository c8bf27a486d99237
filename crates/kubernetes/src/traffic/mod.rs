//! Routes, without IO: what to write into an object so that a release gets its share, and what share an object says.
//!
//! Every router is three functions over an object as it was read from the API server: `changes`, the JSON Patch (RFC 6902)
//! that brings about what is wanted, empty when it is so already; `at_rest`, the patch that takes everything back; and `read`.
//! A patch begins with a `test` of the object's version, touches only rules that point to our Services, and is made from the
//! wanted set each time: rules cannot pile up. All share [`Ends`], [`Wanted`] and [`Seen`].
//!
//! | where | what |
//! |---|---|
//! | [`http_route`] | Gateway API HTTPRoute |
//! | [`virtual_service`], [`destination_rule`] | Istio |
//! | [`ingress`] | ingress-nginx: a second Ingress, not a patch |
//! | `rules`, `split`, `memory` | what the first two share: rules, weights, what to return to |
//! | `patch` | JSON Patch out of two values |

pub mod destination_rule;
pub mod http_route;
pub mod ingress;
mod matches;
mod memory;
mod patch;
mod rules;
mod split;
pub mod virtual_service;

#[cfg(test)]
mod fixture;

use serde_json::Value;
use tidegate_core::model::Share;

/// Where traffic can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends<'a> {
    /// The Service that the users' manifest names; at rest the only one of ours in a route.
    pub root: &'a str,
    /// The Service that the stable release's share goes to. May be the root.
    pub stable: &'a str,
    /// The Service that reaches the new release; `None` when nothing is rolling out.
    pub new: Option<&'a str>,
    /// The Services' port. A rule that points to another port of the root is not ours.
    pub port: u16,
}

/// What a route should say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// Between whom.
    pub ends: Ends<'a>,
    /// The new release's share of the users.
    pub share: Share,
    /// The share of requests that the new release gets a copy of, its answers thrown away.
    pub mirror: Share,
    /// Requests that always go to the new release, each for itself.
    pub testers: &'a [TesterMatch],
}

/// A mark by which requests are told from others.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TesterMatch {
    /// A header.
    Header {
        /// Its name, in any case.
        name: String,
        /// Its value.
        value: HeaderValue,
    },
    /// A cookie.
    Cookie {
        /// Its name.
        name: String,
        /// Its whole value.
        value: String,
    },
}

/// What a header's value is compared with.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeaderValue {
    /// This, whole.
    Exact(String),
    /// This regular expression, in the router's dialect.
    Regex(String),
}

/// What a route says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The new release's share, by the weights that are there, to the nearest basis point; none only when its weight is 0,
    /// all only when stable's is. The largest, where the weights beside ours keep two rules from the same.
    pub share: Share,
    /// The share of requests that the new release gets a copy of.
    pub mirror: Share,
}

/// Why a route cannot be read or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// No rule is ours.
    #[error(
        "{object} has no rule that points to {wanted}; it points to {found}: name `{root}` as a backend of the rule that users come in by"
    )]
    NotFound {
        /// Kind, namespace and name.
        object: String,
        /// Our Services and their port.
        wanted: String,
        /// The backends that it has.
        found: String,
        /// The root Service.
        root: String,
    },
    /// The object is not what it should be.
    #[error("{object}: `{field}` should be {expected}, found {found}: correct it")]
    Malformed {
        /// Kind, namespace and name.
        object: String,
        /// JSON pointer.
        field: String,
        /// What belongs there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// What the users wrote cannot be told from what we would write.
    #[error("{object}: `{field}` {problem}: {todo}")]
    Ambiguous {
        /// Kind, namespace and name.
        object: String,
        /// JSON pointer.
        field: String,
        /// What stands in the way.
        problem: String,
        /// What to do.
        todo: String,
    },
    /// The router cannot do it.
    #[error("{object}: {router} cannot {what}: {todo}")]
    Unsupported {
        /// Kind, namespace and name.
        object: String,
        /// The router.
        router: &'static str,
        /// What was wanted.
        what: String,
        /// What to do.
        todo: String,
    },
    /// The object would become larger than its schema allows.
    #[error("{object}: `{field}` would have {would} entries and may have {limit}: {todo}")]
    Full {
        /// Kind, namespace and name.
        object: String,
        /// JSON pointer.
        field: String,
        /// Entries it would have.
        would: usize,
        /// Entries it may have.
        limit: usize,
        /// What to do.
        todo: &'static str,
    },
    /// The weights beside ours leave too little room.
    #[error(
        "{object}: `{field}` cannot give {asked}: with the weights beside it the nearest is {nearest}; write the others' weights as smaller numbers"
    )]
    Coarse {
        /// Kind, namespace and name.
        object: String,
        /// JSON pointer.
        field: String,
        /// The share that was wanted.
        asked: Share,
        /// The nearest that fits.
        nearest: Share,
    },
    /// Our rules say what cannot have been written for one share: somebody else wrote one of them. Writing again makes them agree.
    #[error(
        "{object}: `{field}` gives the new release {share} and another of our rules {other}: write the route again"
    )]
    Disagree {
        /// Kind, namespace and name.
        object: String,
        /// JSON pointer.
        field: String,
        /// What this rule says.
        share: Share,
        /// What a rule before it says.
        other: Share,
    },
    /// A share for nobody.
    #[error("{object}: {what} needs a new release, and none is named")]
    Nobody {
        /// Kind, namespace and name.
        object: String,
        /// What was wanted.
        what: &'static str,
    },
}

/// A Kubernetes object's kind, namespace and name, for messages.
pub(crate) fn title(object: &Value) -> String {
    let word = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or("?");
    format!("{} {}/{}", word("/kind"), word("/metadata/namespace"), word("/metadata/name"))
}

/// What a value is, for messages.
pub(crate) fn found(value: Option<&Value>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(Value::Object(_)) => "an object".to_owned(),
        Some(Value::Array(list)) => format!("a list of {}", list.len()),
        Some(value @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_))) => {
            let mut text = value.to_string();
            if let Some((end, _)) = text.char_indices().nth(80) {
                text.truncate(end);
            }
            text
        }
    }
}

impl Wanted<'_> {
    /// A share, copies or testers for a release that is not named cannot be.
    fn check(&self, object: &Value) -> Result<(), RouteError> {
        if self.ends.new.is_some() {
            return Ok(());
        }
        let refuse = |what| Err(RouteError::Nobody { object: title(object), what });
        match (self.share, self.mirror, self.testers) {
            (Share::NONE, Share::NONE, []) => Ok(()),
            (Share::NONE, Share::NONE, _) => refuse("a rule for testers"),
            (Share::NONE, _, _) => refuse("a mirror"),
            (_, _, _) => refuse("a share of traffic"),
        }
    }
}
