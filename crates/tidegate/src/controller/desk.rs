//! One Rollout: from its spec to a deployment, and from that to its status.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tidegate_core::{
    deployment::Recorded,
    model::{Actor, ActorKind, Release},
    plan::{self, PlanError},
    view,
};
use tidegate_engine::{
    Submission, SubmitError,
    journal::{Digest, Filter, History, Request as Key},
    run,
};
use tidegate_kubernetes::{
    KubernetesSpec,
    control::{Control, Happened},
};

use super::{
    rollout::Rollout,
    status::{Came, Facts, camel, is_bad, is_ended, status},
    verbs,
};
use crate::{
    cli::now,
    compose::{self, kubernetes::Made},
    config::rollout::{self, Source},
    fault::chain,
    server::{TargetEngine, Targets, Unadopted, adopt},
};

/// A refused Rollout is looked at again after so long: what was in its way may be gone.
const AGAIN: Duration = Duration::from_secs(20);

/// One about which nothing more is to be expected is looked at after so long all the same: somebody may have written over
/// its status.
const REST: Duration = Duration::from_mins(10);

/// Events of one look at most: a deployment that nobody wrote about yet has more, and its journal has all.
const EVENTS_MAX: usize = 32;

/// Says why a release that was turned back may try again.
const LIFT: &str = "tidegate.dev/lift";

/// What all Rollouts share.
pub(super) struct Desk {
    pub(super) control: Control,
    pub(super) engine: TargetEngine,
    pub(super) targets: Targets,
    /// Where the objects are; `None` is where this runs.
    pub(super) kubeconfig: Option<PathBuf>,
    pub(super) root: PathBuf,
    pub(super) owner: String,
    pub(super) identity: String,
    pub(super) epoch: u64,
    pub(super) counts: Counts,
}

/// What was done so far.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) submitted: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) written: AtomicU64,
    pub(super) told: AtomicU64,
    pub(super) troubles: AtomicU64,
}

/// What is remembered of a Rollout between two looks.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    /// What was asked of the engine last, and what became of it.
    settled: Option<(String, Settled)>,
    /// What was answered to annotations.
    requests: Map<String, Value>,
    /// The deployment whose changes of state are told, and how many of them were.
    told: Option<(String, usize)>,
    /// Its template is somewhere else, or its deployment has not ended.
    moves: bool,
}

/// What became of a generation.
#[derive(Clone, Debug)]
enum Settled {
    Deployment,
    /// It serves already; `newest` is the deployment that was the newest then.
    Unchanged {
        tag: String,
        newest: Option<String>,
    },
    Refused {
        why: String,
        at: Instant,
    },
    /// The status says how it ended, and the journal that knew more is gone.
    Kept,
}

impl Memory {
    /// When the Rollout is to be looked at again without news.
    pub(super) fn again(&self) -> Duration {
        match &self.settled {
            Some((_, Settled::Refused { at, .. })) => AGAIN.saturating_sub(at.elapsed()),
            Some((_, Settled::Deployment | Settled::Unchanged { .. } | Settled::Kept)) if !self.moves => REST,
            _ => AGAIN,
        }
    }
}

impl Desk {
    /// Looks at a Rollout and does what is due. Answers with the Rollout as it is then; an error is tried again.
    pub(super) async fn look(&self, object: &Value, memory: &mut Memory) -> Result<Option<Value>, String> {
        let rollout = Rollout(object);
        if rollout.is_leaving() {
            return Ok(None);
        }
        if let Some(other) = rollout.said("owner").filter(|owner| *owner != self.owner) {
            let why = format!(
                "Rollout {}/{} is looked after by another Tidegate (`{other}`, this is `{}`): stop one of the two; to hand it \
                 over, `kubectl patch rollouts.tidegate.dev {} --subresource status --type merge -p \
                 '{{\"status\":{{\"owner\":null}}}}'`",
                rollout.namespace(),
                rollout.name(),
                self.owner,
                rollout.name()
            );
            self.warn(rollout, "Owned", &why).await?;
            return Err(why);
        }
        if memory.requests.is_empty()
            && let Some(known) = rollout.status().get("requests").and_then(Value::as_object)
        {
            memory.requests.clone_from(known);
        }
        self.settle(rollout, memory).await?;
        verbs::hear(&self.engine, rollout, rollout.namespace(), &mut memory.requests).await?;
        self.show(rollout, memory).await
    }

    /// Hands a generation that was not seen yet to the engine.
    async fn settle(&self, rollout: Rollout<'_>, memory: &mut Memory) -> Result<(), String> {
        let lift = rollout.annotation(LIFT);
        let (asked, manifest) = match self.manifest(rollout).await? {
            Ok((manifest, digest)) => (key(rollout, lift, digest.as_deref()), Ok(manifest)),
            Err(why) => (key(rollout, lift, None), Err(why)),
        };
        let due = |settled: &Settled| matches!(settled, Settled::Refused { at, .. } if at.elapsed() >= AGAIN);
        if memory.settled.as_ref().is_some_and(|(before, settled)| *before == asked && !due(settled)) {
            return Ok(());
        }
        let known = self.engine.journal().request(&asked).await.map_err(|why| chain(&why))?;
        let settled = match manifest {
            _ if known.is_some() => Settled::Deployment,
            _ if rollout.said("request") == Some(&asked) && rollout.said("state").is_some_and(is_ended) => {
                self.kept(rollout).await?
            }
            Err(why) => self.refused(why),
            Ok((spec, manifest)) => self.submit(rollout, &spec, &manifest, &asked, lift).await?,
        };
        memory.settled = Some((asked, settled));
        Ok(())
    }

    /// The spec as it is understood, with its manifest; beside it what tells the manifest from others where it is not a part
    /// of the spec. The inner error is the Rollout's own fault.
    async fn manifest(
        &self,
        rollout: Rollout<'_>,
    ) -> Result<Result<((rollout::RolloutSpec, Value), Option<String>), String>, String> {
        let kubeconfig = self.kubeconfig.as_ref().map(|path| path.to_string_lossy().into_owned());
        let read =
            rollout::rollout(rollout.namespace(), rollout.name(), kubeconfig.as_deref(), rollout.spec());
        let spec = match read {
            Ok(spec) => spec,
            Err(why) => return Ok(Err(why)),
        };
        if let Some(written) =
            rollout.written().filter(|written| rollout::dropped(written, rollout.0).is_some())
        {
            // What is missing may have been taken out since; only what no Rollout has was dropped.
            let spec = written.get("spec").unwrap_or(&Value::Null);
            let read = rollout::rollout(rollout.namespace(), rollout.name(), kubeconfig.as_deref(), spec);
            if let Err(why) = read {
                return Ok(Err(format!("as it was last applied with kubectl: {why}")));
            }
        }
        match &spec.source {
            Source::Template(template) => {
                let manifest = deployment(template);
                Ok(Ok(((spec, manifest), None)))
            }
            Source::Deployment(name) => {
                let found = self.control.deployment(rollout.namespace(), name).await;
                let Some(found) = found.map_err(|why| chain(&why))? else {
                    return Ok(Err(format!(
                        "spec.workload.deployment: there is no Deployment `{name}` in namespace {}",
                        rollout.namespace()
                    )));
                };
                let template = found.pointer("/spec/template").cloned().unwrap_or_default();
                let digest = hex(&Sha256::digest(template.to_string().as_bytes()), 8);
                Ok(Ok(((spec, deployment(&template)), Some(digest))))
            }
        }
    }

    /// Where the journal is gone, what it made is still in the cluster, and the status says how it ended.
    async fn kept(&self, rollout: Rollout<'_>) -> Result<Settled, String> {
        let newest = self.newest(rollout).await?;
        Ok(if newest.is_some() { Settled::Deployment } else { Settled::Kept })
    }

    fn refused(&self, why: String) -> Settled {
        self.counts.refused.fetch_add(1, Ordering::Relaxed);
        Settled::Refused { why, at: Instant::now() }
    }

    async fn submit(
        &self,
        rollout: Rollout<'_>,
        spec: &rollout::RolloutSpec,
        manifest: &Value,
        asked: &str,
        lift: Option<&str>,
    ) -> Result<Settled, String> {
        let mut request = match self.request(rollout, spec, manifest) {
            Ok(request) => request,
            Err(why) => return Ok(self.refused(why)),
        };
        request.lifted = lift.is_some();
        // Its journal was lost on the way: its objects are there, and it goes on as what it was.
        if let (Some(tag), true) = (rollout.said("release"), rollout.said("request") == Some(asked)) {
            tag.clone_into(&mut request.release.tag);
        }
        match adopt(&self.engine, &self.targets, &mut request).await {
            Ok(()) => {}
            Err(Unadopted::Journal(why)) => return Err(chain(&why)),
            Err(Unadopted::Unclear(why)) => return Ok(self.refused(why.why)),
        }
        if let Some(tag) = serves(spec, manifest, request.stable.as_ref()) {
            return Ok(Settled::Unchanged { tag, newest: self.newest(rollout).await? });
        }
        let reason = lift.or_else(|| rollout.annotation("kubernetes.io/change-cause")).unwrap_or_default();
        let submission = Submission {
            request,
            queue: compose::queue(&spec.service),
            key: Some(Key { key: asked.to_owned(), digest: Digest(Sha256::digest(asked.as_bytes()).into()) }),
            actor: Actor {
                kind: ActorKind::Token,
                name: format!("Rollout {}/{}", rollout.namespace(), rollout.name()),
            },
            reason: reason.to_owned(),
        };
        match self.engine.submit(submission).await {
            Ok(id) => {
                self.counts.submitted.fetch_add(1, Ordering::Relaxed);
                tracing::info!(rollout = rollout.name(), namespace = rollout.namespace(), id, "submitted");
                Ok(Settled::Deployment)
            }
            Err(SubmitError::Plan(PlanError::Unchanged { tag, .. })) => {
                Ok(Settled::Unchanged { tag, newest: self.newest(rollout).await? })
            }
            Err(why) => Ok(self.refused(lifting(&why))),
        }
    }

    fn request(
        &self,
        rollout: Rollout<'_>,
        spec: &rollout::RolloutSpec,
        manifest: &Value,
    ) -> Result<plan::Request, String> {
        let made = Made { manifest, from: "spec.template" };
        let at = now().0 / 1_000;
        let release = compose::kubernetes::release_of(
            &self.root,
            &spec.service,
            &spec.kubernetes,
            made,
            None,
            None,
            at,
        );
        let release = release.map_err(|fault| fault.message)?;
        let request = compose::request_of(&self.root, rollout.name(), &spec.service, release, Some(made));
        let request = request.map_err(|fault| fault.message)?;
        // The namespace is the environment: the same name in two of them is two services.
        Ok(plan::Request { environment: rollout.namespace().to_owned(), ..request })
    }

    /// The newest deployment of the service.
    async fn newest(&self, rollout: Rollout<'_>) -> Result<Option<String>, String> {
        let filter = Filter {
            service: Some(rollout.name().to_owned()),
            environment: Some(rollout.namespace().to_owned()),
            limit: Some(1),
            ..Filter::default()
        };
        let found = self.engine.journal().deployments(filter).await.map_err(|why| chain(&why))?;
        Ok(found.into_iter().next().map(|kept| kept.deployment))
    }

    /// Writes the status, where it changed, and tells what happened since the last time.
    async fn show(&self, rollout: Rollout<'_>, memory: &mut Memory) -> Result<Option<Value>, String> {
        let Some((asked, settled)) = memory.settled.clone() else { return Ok(None) };
        let newest = self.newest(rollout).await?;
        let history = match &newest {
            Some(id) => Some(run::history(&**self.engine.journal(), id).await.map_err(|why| chain(&why))?),
            None => None,
        };
        let came = match &settled {
            Settled::Kept if history.is_none() => return Ok(None),
            Settled::Unchanged { newest: then, .. } if *then != newest => Came::Deployment,
            Settled::Deployment | Settled::Kept => Came::Deployment,
            Settled::Unchanged { tag, .. } => Came::Unchanged(tag),
            Settled::Refused { why, .. } => Came::Refused(why),
        };
        let facts = Facts {
            generation: rollout.generation(),
            owner: &self.owner,
            epoch: self.epoch,
            request: &asked,
            came,
            // What serves is not what was turned back last.
            history: history.as_deref().filter(|_| !matches!(came, Came::Unchanged(_))),
            trouble: newest.as_ref().and_then(|id| self.engine.live(id)).and_then(|live| live.trouble),
            requests: &memory.requests,
            now: now(),
        };
        let wanted = status(&facts, rollout.status());
        let word = wanted.get("state").and_then(Value::as_str).unwrap_or_default();
        memory.moves = rollout.spec().get("workload").is_some() || !is_ended(word);
        if let (Some(id), Some(history)) = (&newest, &history) {
            self.tell(rollout, id, history, memory).await?;
        }
        if let Came::Refused(why) = came
            && rollout.said("message") != Some(why)
        {
            self.warn(rollout, "Refused", why).await?;
        }
        if is_same(&wanted, rollout.status()) {
            return Ok(None);
        }
        let (namespace, name) = (rollout.namespace(), rollout.name());
        let put = self.control.put_status(namespace, name, &wanted, rollout.version()).await;
        self.counts.written.fetch_add(1, Ordering::Relaxed);
        put.map(Some).map_err(|why| chain(&why))
    }

    /// One event for each change of state that was not told yet.
    async fn tell(
        &self,
        rollout: Rollout<'_>,
        id: &str,
        history: &[Recorded],
        memory: &mut Memory,
    ) -> Result<(), String> {
        let all = view::transitions(history);
        let said = (rollout.said("deployment") == Some(id))
            .then(|| rollout.status().get("transitions").and_then(Value::as_u64).unwrap_or_default());
        let told = match &memory.told {
            Some((before, told)) if before == id => *told,
            _ => usize::try_from(said.unwrap_or_default()).unwrap_or(usize::MAX),
        };
        let planned = history.first().map(|first| first.at.0).unwrap_or_default();
        let first = told.max(all.len().saturating_sub(EVENTS_MAX));
        for (number, change) in all.iter().enumerate().skip(first) {
            let happened = Happened {
                // The same change is the same event, whoever writes it down after whichever crash.
                name: format!("{}.{planned:x}.{number}", rollout.name()),
                rollout: rollout.0.clone(),
                warning: is_bad(change.to_state),
                reason: camel(change.to_state.as_str()),
                note: format!("{id}: {}", change.reason),
                at: micros(change.at),
                instance: self.identity.clone(),
            };
            self.control.tell(&happened).await.map_err(|why| chain(&why))?;
            self.counts.told.fetch_add(1, Ordering::Relaxed);
        }
        memory.told = Some((id.to_owned(), all.len()));
        Ok(())
    }

    /// One event for each thing that is wrong with a generation.
    async fn warn(&self, rollout: Rollout<'_>, reason: &str, why: &str) -> Result<(), String> {
        let digest = hex(&Sha256::digest(why.as_bytes()), 4);
        let happened = Happened {
            name: format!("{}.{}.{}.{digest}", rollout.name(), reason.to_lowercase(), rollout.generation()),
            rollout: rollout.0.clone(),
            warning: true,
            reason: reason.to_owned(),
            note: why.to_owned(),
            at: micros(now()),
            instance: self.identity.clone(),
        };
        self.control.tell(&happened).await.map_err(|why| chain(&why))
    }
}

/// The tag of what serves, when that is the very Deployment that the Rollout names, as it is now.
fn serves(spec: &rollout::RolloutSpec, manifest: &Value, stable: Option<&Release>) -> Option<String> {
    let (Source::Deployment(named), Some(stable)) = (&spec.source, stable) else { return None };
    let known = KubernetesSpec::of(stable).ok()?;
    let is_it = known.adopted.is_some_and(|adopted| adopted.kind.is_deployment() && adopted.name == *named);
    (is_it && manifest.pointer("/spec/template") == Some(&known.template.value())).then(|| stable.tag.clone())
}

/// What was asked for by this Rollout as it is: the same answer for the same key, after whichever crash.
fn key(rollout: Rollout<'_>, lift: Option<&str>, manifest: Option<&str>) -> String {
    let lift = lift.map(|why| format!("/lift-{}", hex(&Sha256::digest(why.as_bytes()), 4)));
    let manifest = manifest.map(|digest| format!("/{digest}"));
    format!(
        "rollout/{}/{}{}{}",
        rollout.uid(),
        rollout.generation(),
        manifest.unwrap_or_default(),
        lift.unwrap_or_default()
    )
}

/// Whether there is nothing new to say. That there is a new leader alone is nothing new.
fn is_same(wanted: &Value, present: &Value) -> bool {
    let part = |status: &Value| {
        let mut status = status.as_object().cloned().unwrap_or_default();
        status.remove("epoch");
        status
    };
    part(wanted) == part(present)
}

fn deployment(template: &Value) -> Value {
    serde_json::json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": template}})
}

/// The refusal, with the way that somebody with `kubectl` has.
fn lifting(why: &SubmitError) -> String {
    let text = chain(why);
    if let SubmitError::TurnedBack { .. } = why {
        let (first, _) = text.split_once(": change it").unwrap_or((&text, ""));
        return format!("{first}: change it, or say why it may try again with the annotation `{LIFT}: WHY`");
    }
    text
}

fn micros(at: tidegate_core::model::Timestamp) -> String {
    let text = view::rfc3339(at);
    format!("{}000Z", text.trim_end_matches('Z'))
}

/// The first bytes of a digest.
fn hex(bytes: &[u8], count: usize) -> String {
    bytes.iter().take(count).fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}
