//! Who of several controllers acts: a Lease of the API server, as every controller uses it.
//!
//! A candidate takes the Lease over when it has seen no renewal for the whole of its duration, by its own clock: nobody's
//! clock is compared with anybody else's. The holder counts from the moment before it sent its last renewal, and stops a
//! quarter of the duration earlier than anybody else may begin.
//!
//! Beside the standard fields the Lease carries the epoch: above that of every leader before, so that what a former one
//! still had on its way is refused by the objects themselves.

use std::time::{Duration, Instant};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};

use super::Held;
use crate::{
    fault::{Asked, ClusterError},
    kinds::Kind,
};

/// Holds the largest epoch that a leader wrote with.
const EPOCH: &str = "tidegate.dev/epoch";

/// Longest answer to one request.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// A Lease and who wants it.
#[derive(Clone, Debug)]
pub struct LeaseName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Who wants it: another one for each process, also for one that was started again in the same place.
    pub identity: String,
    /// Time without a renewal after which somebody else may take it: whole seconds, 3 to 60.
    pub duration: Duration,
}

/// Somebody who wants the Lease.
pub struct Candidate {
    leases: Api<Lease>,
    cluster: String,
    name: LeaseName,
    held: Held,
}

/// The holder of the Lease.
pub struct Leader {
    candidate: Candidate,
    lease: Lease,
}

/// Why a leader is none any more.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// Somebody else has it.
    #[error("the Lease {lease} was taken over by {by}")]
    Taken {
        /// The Lease.
        lease: String,
        /// The new holder.
        by: String,
    },
    /// It could not be renewed in time.
    #[error("the Lease {lease} could not be renewed in time: {why}")]
    Late {
        /// The Lease.
        lease: String,
        /// The last trouble.
        why: String,
    },
}

/// The Lease as it was seen, and since when it is so.
struct Seen {
    version: Option<String>,
    since: Instant,
}

impl Candidate {
    pub(super) fn new(client: Client, cluster: &str, name: LeaseName) -> Self {
        let leases = Api::namespaced(client, &name.namespace);
        Self { leases, cluster: cluster.to_owned(), name, held: Held::default() }
    }

    /// The right to act that comes with the Lease.
    pub fn held(&self) -> Held {
        self.held.clone()
    }

    /// Waits until the Lease is ours. Ends early only when that cannot become so without a person.
    pub async fn acquire(self) -> Result<Leader, ClusterError> {
        let mut seen: Option<Seen> = None;
        let mut told = None;
        loop {
            match self.look(&mut seen).await {
                Ok(Ok(lease)) => return Ok(Leader { candidate: self, lease }),
                Ok(Err(holder)) => {
                    if told.as_ref() != Some(&holder) {
                        tracing::info!(lease = self.shown(), holder, "another controller leads: waiting");
                        told = Some(holder);
                    }
                }
                Err(why) if why.is_permanent() => return Err(why),
                Err(why) => tracing::warn!(%why, "the Lease cannot be looked at"),
            }
            tokio::time::sleep(self.pause()).await;
        }
    }

    /// The Lease when it is ours from now on, else who has it.
    async fn look(&self, seen: &mut Option<Seen>) -> Result<Result<Lease, String>, ClusterError> {
        let sent = Instant::now();
        let Some(lease) = self.asked("get", self.leases.get_opt(&self.name.name)).await? else {
            let lease = self.taken(None);
            return self.won(self.create(&lease).await, sent);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.unwrap_or_default();
        let version = lease.metadata.resource_version.clone();
        let known = seen.as_ref().filter(|seen| seen.version == version);
        let lasts = u64::try_from(spec.lease_duration_seconds.unwrap_or_default()).unwrap_or_default();
        let over = known.is_some_and(|seen| seen.since.elapsed() >= Duration::from_secs(lasts));
        if !holder.is_empty() && !over {
            if known.is_none() {
                *seen = Some(Seen { version, since: Instant::now() });
            }
            return Ok(Err(holder));
        }
        // The version goes with it: of two who take it at once, one is refused.
        let lease = self.taken(Some(lease));
        self.won(self.replace(&lease).await, sent)
    }

    fn won(
        &self,
        answer: Result<Lease, ClusterError>,
        sent: Instant,
    ) -> Result<Result<Lease, String>, ClusterError> {
        match answer {
            Ok(lease) => {
                self.held.extend(self.end(sent));
                Ok(Ok(lease))
            }
            Err(ClusterError::Changed { .. }) => Ok(Err("somebody who was faster".to_owned())),
            Err(why) => Err(why),
        }
    }

    /// The Lease with us as its new holder.
    fn taken(&self, before: Option<Lease>) -> Lease {
        let mut lease = before.unwrap_or_else(|| Lease {
            metadata: ObjectMeta {
                name: Some(self.name.name.clone()),
                namespace: Some(self.name.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: None,
        });
        let known = lease.spec.as_ref().and_then(|spec| spec.lease_transitions);
        let transitions = known.map_or(0, |count| count.saturating_add(1));
        let epoch = epoch(&lease).max(u64::try_from(transitions).unwrap_or_default()).saturating_add(1);
        let now = MicroTime(Timestamp::now());
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.name.identity.clone()),
            lease_duration_seconds: i32::try_from(self.name.duration.as_secs()).ok(),
            lease_transitions: Some(transitions),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            ..LeaseSpec::default()
        });
        set_epoch(&mut lease, epoch);
        lease
    }

    /// Time between two looks, and between two renewals.
    fn pause(&self) -> Duration {
        self.name.duration / 6
    }

    /// Until when a renewal that was sent at this moment holds.
    fn end(&self, sent: Instant) -> Instant {
        sent + self.name.duration * 3 / 4
    }

    fn shown(&self) -> String {
        format!("{}/{}", self.name.namespace, self.name.name)
    }

    async fn create(&self, lease: &Lease) -> Result<Lease, ClusterError> {
        let parameters = PostParams::default();
        self.asked("create", self.leases.create(&parameters, lease)).await
    }

    /// Only over the version that was read.
    async fn replace(&self, lease: &Lease) -> Result<Lease, ClusterError> {
        let parameters = PostParams::default();
        self.asked("update", self.leases.replace(&self.name.name, &parameters, lease)).await
    }

    async fn asked<T>(
        &self,
        verb: &'static str,
        answer: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, ClusterError> {
        let LeaseName { namespace, name, .. } = &self.name;
        let asked = Asked { cluster: &self.cluster, verb, kind: Kind::Lease, namespace, name };
        match tokio::time::timeout(ANSWER_MAX, answer).await {
            Ok(answer) => answer.map_err(|why| ClusterError::of(why, asked)),
            Err(_) => Err(ClusterError::late(asked, ANSWER_MAX)),
        }
    }
}

impl Leader {
    /// Above the epoch of every leader before.
    pub fn epoch(&self) -> u64 {
        epoch(&self.lease)
    }

    /// Who leads now.
    pub fn identity(&self) -> &str {
        &self.candidate.name.identity
    }

    /// Writes down that this epoch is used from now on. Nothing may be done under it before this has answered.
    pub async fn raise(&mut self, to: u64) -> Result<(), ClusterError> {
        if to > self.epoch() {
            set_epoch(&mut self.lease, to);
            self.renew().await?;
        }
        Ok(())
    }

    /// Renews the Lease until that does not succeed any more; the right to act has ended then.
    pub async fn keep(&mut self) -> Lost {
        let mut trouble = "no answer".to_owned();
        let (held, pause) = (self.candidate.held(), self.candidate.pause());
        loop {
            tokio::time::sleep(pause.min(held.left())).await;
            match tokio::time::timeout(held.left(), self.renewed()).await {
                Ok(Ok(())) | Err(_) => {}
                Ok(Err((_, Some(by)))) => {
                    held.end();
                    return Lost::Taken { lease: self.candidate.shown(), by };
                }
                Ok(Err((why, None))) => trouble = tidegate_adapters::chain(&why),
            }
            if !held.is_held() {
                return Lost::Late { lease: self.candidate.shown(), why: trouble };
            }
        }
    }

    /// Gives the Lease back, so that another one need not wait. Nothing may be done any more.
    pub async fn release(mut self) {
        self.candidate.held.end();
        if let Some(spec) = &mut self.lease.spec {
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
        }
        if let Err(why) = self.candidate.replace(&self.lease).await {
            tracing::info!(%why, "the Lease was not given back: it ends by itself");
        }
    }

    /// Renews it, or says why not and who else has it.
    async fn renewed(&mut self) -> Result<(), (ClusterError, Option<String>)> {
        match self.renew().await {
            Ok(()) => Ok(()),
            Err(why) => Err((why, self.who_else().await)),
        }
    }

    async fn renew(&mut self) -> Result<(), ClusterError> {
        let sent = Instant::now();
        if let Some(spec) = &mut self.lease.spec {
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        self.lease = self.candidate.replace(&self.lease).await?;
        self.candidate.held.extend(self.candidate.end(sent));
        Ok(())
    }

    /// Somebody else who has the Lease by now. Where only its version is another one, that is taken over.
    async fn who_else(&mut self) -> Option<String> {
        let Candidate { leases, name, .. } = &self.candidate;
        let now = self.candidate.asked("get", leases.get_opt(&name.name)).await.ok()?;
        let holder = now.as_ref().and_then(|lease| lease.spec.as_ref()?.holder_identity.clone());
        if holder.as_deref() == Some(&name.identity) {
            self.lease.metadata = ObjectMeta {
                annotations: self.lease.metadata.annotations.take(),
                ..now.map(|lease| lease.metadata).unwrap_or_default()
            };
            return None;
        }
        Some(
            holder.filter(|holder| !holder.is_empty()).unwrap_or_else(|| "nobody: it was removed".to_owned()),
        )
    }
}

fn epoch(lease: &Lease) -> u64 {
    let all = lease.metadata.annotations.as_ref();
    all.and_then(|all| all.get(EPOCH)?.parse().ok()).unwrap_or_default()
}

fn set_epoch(lease: &mut Lease, epoch: u64) {
    lease.metadata.annotations.get_or_insert_default().insert(EPOCH.to_owned(), epoch.to_string());
}
