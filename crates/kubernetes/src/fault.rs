//! What can go wrong at an API server, in words that say what to do.

use kube::core::Status;

use crate::{kinds::Kind, rights::Need};

/// Why an object could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No way to connect is known.
    #[error("no cluster is known: {0}; set KUBECONFIG, or `kubeconfig` and `context` under `run.kubernetes`")]
    Configuration(String),
    /// The context is not in the configuration.
    #[error("the kubeconfig has no context `{context}`; it has {}", known.join(", "))]
    Context {
        /// What was asked for.
        context: String,
        /// What is there.
        known: Vec<String>,
    },
    /// Nobody answers.
    #[error("the API server of {cluster} does not answer to {what}: {why}")]
    Unreachable {
        /// The cluster's address.
        cluster: String,
        /// What was asked.
        what: String,
        /// Why.
        why: String,
    },
    /// The credentials are refused.
    #[error(
        "{cluster} does not accept the credentials for {what}: log in again, or renew the certificate or token"
    )]
    Unauthorized {
        /// The cluster's address.
        cluster: String,
        /// What was asked.
        what: String,
    },
    /// A role is missing.
    #[error(
        "not allowed to {verb} {rule} in namespace {namespace}: bind a Role with `apiGroups: [{}], resources: [{}], verbs: [{verb}]`",
        parts(rule).1, parts(rule).0
    )]
    Forbidden {
        /// The verb.
        verb: String,
        /// Resource and group, `deployments.apps`.
        rule: String,
        /// Where.
        namespace: String,
    },
    /// Several things are not allowed, which were not asked for yet.
    #[error(
        "not allowed to {} in namespace {namespace}: bind a Role with {}",
        spoken(missing),
        rules(missing)
    )]
    Lacking {
        /// Resource and group, `deployments.apps`, and verbs.
        missing: Vec<(String, Vec<&'static str>)>,
        /// Where.
        namespace: String,
    },
    /// The namespace is not there.
    #[error(
        "there is no namespace {namespace} for {what}: make it first (`kubectl create namespace {namespace}`)"
    )]
    NoNamespace {
        /// Its name.
        namespace: String,
        /// The object.
        what: String,
    },
    /// The kind is not known there.
    #[error(
        "{cluster} does not know {rule}: install its CustomResourceDefinition, or use another kind of `traffic`"
    )]
    UnknownKind {
        /// The cluster's address.
        cluster: String,
        /// Resource and group.
        rule: String,
    },
    /// Somebody else owns a field.
    #[error("{what} is managed by somebody else too: {why}; take that field out of one of the two")]
    Conflict {
        /// The object.
        what: String,
        /// Which field, and who.
        why: String,
    },
    /// It was changed between reading and writing.
    #[error("{what} was changed while it was being written")]
    Changed {
        /// The object.
        what: String,
    },
    /// The server does not take the object.
    #[error("{what} is refused: {why}")]
    Refused {
        /// The object.
        what: String,
        /// The server's, a webhook's or a policy's words.
        why: String,
    },
    /// Another process leads by now.
    #[error("{what} is not asked: this process does not lead any more")]
    NotLeading {
        /// What would have been asked.
        what: String,
    },
    /// The server has trouble of its own.
    #[error("the API server of {cluster} could not {verb} {what}: {why}")]
    Trouble {
        /// The cluster's address.
        cluster: String,
        /// The verb.
        verb: &'static str,
        /// The object.
        what: String,
        /// Why.
        why: String,
    },
}

/// One request, for messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) cluster: &'a str,
    pub(crate) verb: &'static str,
    pub(crate) kind: Kind,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

impl Asked<'_> {
    /// `Deployment shop/shop-4f2a` for a person.
    pub(crate) fn what(&self) -> String {
        format!("{} {}/{}", self.kind.name(), self.namespace, self.name)
    }
}

impl ClusterError {
    /// All that an account may not do in a namespace; nothing when that is nothing.
    pub(crate) fn lacking(namespace: &str, lacks: &[Need]) -> Option<Self> {
        let mut missing = Vec::<(String, Vec<&'static str>)>::new();
        for (kind, verb) in lacks {
            match missing.iter_mut().find(|(rule, _)| *rule == kind.rule()) {
                Some((_, verbs)) => verbs.push(verb),
                None => missing.push((kind.rule(), vec![*verb])),
            }
        }
        (!missing.is_empty()).then(|| Self::Lacking { missing, namespace: namespace.to_owned() })
    }

    /// Whether trying again cannot help until a person has done something.
    pub const fn is_permanent(&self) -> bool {
        match self {
            Self::Configuration(_)
            | Self::Context { .. }
            | Self::Forbidden { .. }
            | Self::Lacking { .. }
            | Self::NoNamespace { .. }
            | Self::UnknownKind { .. }
            | Self::Conflict { .. }
            | Self::Refused { .. } => true,
            Self::Unreachable { .. }
            | Self::Unauthorized { .. }
            | Self::NotLeading { .. }
            | Self::Changed { .. }
            | Self::Trouble { .. } => false,
        }
    }

    /// What a failed request means.
    pub(crate) fn of(error: kube::Error, asked: Asked<'_>) -> Self {
        if let kube::Error::Api(status) = error {
            return Self::answered(*status, asked);
        }
        if let kube::Error::SerdeError(why) = &error {
            return Self::trouble_in(asked, why);
        }
        Self::Unreachable {
            cluster: asked.cluster.to_owned(),
            what: format!("{} {}", asked.verb, asked.what()),
            why: tidegate_adapters::chain(&error),
        }
    }

    /// Nobody answered in time.
    pub(crate) fn late(asked: Asked<'_>, after: std::time::Duration) -> Self {
        Self::Unreachable {
            cluster: asked.cluster.to_owned(),
            what: format!("{} {}", asked.verb, asked.what()),
            why: format!("no answer in {} s", after.as_secs()),
        }
    }

    /// Nobody is asked by who does not lead any more.
    pub(crate) fn not_leading(asked: Asked<'_>) -> Self {
        Self::NotLeading { what: format!("{} {}", asked.verb, asked.what()) }
    }

    /// Trouble with what was said rather than with who was asked.
    pub(crate) fn trouble_in(asked: Asked<'_>, why: &dyn std::fmt::Display) -> Self {
        let Asked { cluster, verb, .. } = asked;
        Self::Trouble { cluster: cluster.to_owned(), verb, what: asked.what(), why: why.to_string() }
    }

    fn answered(status: Status, asked: Asked<'_>) -> Self {
        let Status { code, message, reason, .. } = status;
        let Asked { cluster, verb, kind, namespace, .. } = asked;
        match code {
            401 => {
                Self::Unauthorized { cluster: cluster.to_owned(), what: format!("{verb} {}", asked.what()) }
            }
            // A quota or a policy answers so too, and says it; a role's refusal names the user.
            403 if let Some(verb) = refused_verb(&message) => {
                Self::Forbidden { verb: verb.to_owned(), rule: kind.rule(), namespace: namespace.to_owned() }
            }
            404 if reason != "NotFound" || message.contains("could not find the requested resource") => {
                Self::UnknownKind { cluster: cluster.to_owned(), rule: kind.rule() }
            }
            404 if message.starts_with("namespaces \"") => {
                Self::NoNamespace { namespace: namespace.to_owned(), what: asked.what() }
            }
            409 if message.contains("conflict with") => Self::Conflict { what: asked.what(), why: message },
            409 => Self::Changed { what: asked.what() },
            400 | 403 | 413 | 422 => Self::Refused { what: asked.what(), why: message },
            _ => Self::trouble_in(asked, &format!("{message} ({code})")),
        }
    }
}

/// The verb that a role does not allow. It need not be the one that was asked: to apply what is not there is to create it.
pub(crate) fn refused_verb(message: &str) -> Option<&str> {
    let (_, after) = message.split_once(" cannot ")?;
    after.split_once(" resource ").map(|(verb, _)| verb)
}

/// `patch services, create and delete ingresses.networking.k8s.io`.
fn spoken(missing: &[(String, Vec<&'static str>)]) -> String {
    let one = |(rule, verbs): &(String, Vec<&'static str>)| format!("{} {rule}", verbs.join(" and "));
    missing.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What a Role needs for it.
fn rules(missing: &[(String, Vec<&'static str>)]) -> String {
    let one = |(rule, verbs): &(String, Vec<&'static str>)| {
        let (resource, group) = parts(rule);
        format!("`apiGroups: [{group}], resources: [{resource}], verbs: [{}]`", verbs.join(", "))
    };
    missing.iter().map(one).collect::<Vec<_>>().join(" and ")
}

/// Resource and group of `deployments.apps`; the group of `pods` is empty.
fn parts(rule: &str) -> (&str, &str) {
    rule.split_once('.').unwrap_or((rule, "\"\""))
}
