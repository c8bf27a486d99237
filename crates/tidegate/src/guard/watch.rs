//! The loop.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tidegate_core::{
    deployment::{Recorded, StateName},
    view::{self, Line, SUPERSEDED},
};
use tidegate_kubernetes::guard::{Changes, GuardError, Guarded, Ran, Revision, Sight};

use super::{
    Desk, Past, Stand, Terms, before, fault, past, request,
    step::{Step, of_another, step},
};
use crate::{
    cli::now,
    fault::{Blame, Exit, Fault},
    render,
};

/// The Deployment is looked at this often even when nothing is heard of it: news can be lost without a word.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Time between two looks at most often, however much news there is.
const LOOK: Duration = Duration::from_millis(500);

/// Time between two looks at the journal while something is under way.
const READ: Duration = Duration::from_millis(250);

/// Time between two looks at whether the engine still runs.
const ATTEND: Duration = Duration::from_secs(1);

/// A change that its controller has not seen for so long is worth a word.
const UNSEEN: Duration = Duration::from_secs(5);

/// What a guard has to say.
#[derive(Clone, Copy, Debug)]
pub(crate) enum News<'a> {
    /// A sentence: what kind of news it is, and what it says.
    Says { kind: Kind, text: &'a str },
    /// Something happened to a deployment.
    Happened { deployment: &'a str, line: &'a Line },
    /// A deployment has ended.
    Ended { deployment: &'a str, state: StateName, why: &'a str },
}

/// What kind of news a sentence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// The good revision runs.
    Good,
    /// A rollout is judged from now on.
    Judging,
    /// Nothing can be said yet.
    Waiting,
    /// Something does not work and is tried again.
    Trouble,
    /// A person is needed.
    Held,
}

/// What was said so far, so that nothing is said twice.
#[derive(Default)]
struct Told {
    last: Option<(Kind, String)>,
    /// Lines of each deployment under way.
    lines: BTreeMap<String, usize>,
}

/// Guards a Deployment until the caller drops it; with `once` until the rollout that is there now has been judged. Fails when
/// the Deployment cannot be guarded or the cluster refuses, and at the first look also when nobody answers.
pub(crate) async fn watch<D: Desk>(
    guarded: &Guarded,
    desk: &D,
    terms: &Terms,
    once: bool,
    tell: &mut (dyn FnMut(News<'_>) -> Result<(), Fault> + Send),
) -> Result<Exit, Fault> {
    let mut changes = guarded.changes();
    let mut sight = guarded.first_look_to_guard().await.map_err(fault)?;
    let mut guard = Guard {
        guarded,
        desk,
        terms,
        told: Told::default(),
        known: Vec::new(),
        begun: false,
        attended: None,
        waits: None,
        owner: desk.owner().await?,
    };
    let mut looked = Instant::now();
    let mut stale = false;
    let mut judged: Option<String> = None;
    loop {
        if (stale && looked.elapsed() >= LOOK) || looked.elapsed() >= LOOK_AGAIN {
            looked = Instant::now();
            stale = guard.look(&mut sight, stale, tell).await?;
        }
        let (past, ended) = guard.past(&sight, tell).await?;
        if let (true, Some(exit)) = (once, judged.as_ref().and_then(|id| exit_of(&past, id))) {
            return Ok(exit);
        }
        // What it ended with may have changed what is there.
        stale |= ended;
        let mut next = READ;
        if !stale {
            let other = of_another(&sight, &guard.owner);
            let step = other.map_or_else(|| step(&sight, &past, now()), Step::Hold);
            let under_way = past.iter().any(|past| !past.is_over());
            match guard.take(&step, &sight, under_way, tell).await? {
                Some(id) => judged = Some(id),
                None => next = pause(&step, under_way),
            }
            if let (true, None, Some(exit)) = (once, &judged, exit_at(&step)) {
                return Ok(exit);
            }
        }
        stale |= changed(&mut changes, next).await;
    }
}

/// Time until the next round when nothing is heard.
fn pause(step: &Step, under_way: bool) -> Duration {
    match step {
        _ if under_way => READ,
        Step::Wait(_) => LOOK,
        Step::Good
        | Step::Follow(_)
        | Step::Leave(_)
        | Step::Judge { .. }
        | Step::Later { .. }
        | Step::Hold(_) => LOOK_AGAIN,
    }
}

/// Waits for news, at most so long.
async fn changed(changes: &mut Changes, within: Duration) -> bool {
    tokio::time::timeout(within, changes.next()).await.is_ok()
}

/// What it means for a guard that was to see one rollout when there is none to judge.
const fn exit_at(step: &Step) -> Option<Exit> {
    match step {
        Step::Good => Some(Exit::Success),
        Step::Hold(_) => Some(Exit::Held),
        Step::Wait(_) | Step::Follow(_) | Step::Leave(_) | Step::Judge { .. } | Step::Later { .. } => None,
    }
}

/// What the end of a deployment means for a guard that was to see one rollout.
fn exit_of(past: &[Past], id: &str) -> Option<Exit> {
    let one = past.iter().find(|past| past.deployment == id)?;
    if one.stand() == Stand::Back && one.is_bad() && one.good.is_none() {
        // It is bad, and it is still there.
        return Some(Exit::Held);
    }
    Exit::at(one.state, true)
}

struct Guard<'a, D> {
    guarded: &'a Guarded,
    desk: &'a D,
    terms: &'a Terms,
    told: Told,
    known: Vec<Past>,
    /// Whether the journal was read once: what was over before is no news.
    begun: bool,
    attended: Option<Instant>,
    /// Since when nothing can be said.
    waits: Option<Instant>,
    /// Our name where we write.
    owner: String,
}

type Tell<'t> = dyn FnMut(News<'_>) -> Result<(), Fault> + Send + 't;

impl<D: Desk> Guard<'_, D> {
    /// Looks again, at everything where something has changed; answers whether what is known is still the old.
    async fn look(&mut self, sight: &mut Sight, changed: bool, tell: &mut Tell<'_>) -> Result<bool, Fault> {
        let seen = if changed {
            self.guarded.look_to_guard().await.map(Some)
        } else {
            self.guarded.look_again_to_guard(sight).await
        };
        match seen {
            Ok(seen) => {
                if let Some(seen) = seen {
                    *sight = seen;
                }
                Ok(false)
            }
            // Somebody may be making it anew just now.
            Err(error @ GuardError::NoDeployment { .. }) => {
                self.say(Kind::Waiting, &trouble(&error), tell)?;
                Ok(true)
            }
            Err(error) if error.is_permanent() => Err(fault(error)),
            Err(error) => {
                self.say(Kind::Trouble, &trouble(&error), tell)?;
                Ok(true)
            }
        }
    }

    /// Earlier rollouts, after what is new of them was told; and whether one has just ended.
    async fn past(&mut self, sight: &Sight, tell: &mut Tell<'_>) -> Result<(Vec<Past>, bool), Fault> {
        let (name, environment) = (self.guarded.name(), sight.environment());
        let first = !std::mem::replace(&mut self.begun, true);
        let all = past::newest(self.desk, name, &environment, &mut self.known).await?;
        let mut ended = false;
        for (past, history) in all.iter().rev() {
            // What was over when the guard began is no news.
            if history.is_empty() || (first && past.is_over()) {
                continue;
            }
            self.happened(past, history, tell)?;
            ended |= past.is_over();
        }
        if all.iter().any(|(past, _)| !past.is_over())
            && self.attended.is_none_or(|at| at.elapsed() >= ATTEND)
        {
            self.desk.attended().await?;
            self.attended = Some(Instant::now());
        }
        Ok((all.into_iter().map(|(past, _)| past).collect(), ended))
    }

    fn happened(&mut self, past: &Past, history: &[Recorded], tell: &mut Tell<'_>) -> Result<(), Fault> {
        let id = &past.deployment;
        let lines = view::timeline(history);
        let told = self.told.lines.get(id).copied().unwrap_or_default();
        for line in lines.iter().skip(told) {
            tell(News::Happened { deployment: id, line })?;
        }
        if past.is_over() {
            self.told.lines.remove(id);
            let why = view::why(history, now(), &render::clock).unwrap_or_default();
            return tell(News::Ended { deployment: id, state: past.state, why: &why });
        }
        self.told.lines.insert(id.clone(), lines.len());
        Ok(())
    }

    /// Takes the step; answers with the deployment that judges, where there is one.
    async fn take(
        &mut self,
        step: &Step,
        sight: &Sight,
        under_way: bool,
        tell: &mut Tell<'_>,
    ) -> Result<Option<String>, Fault> {
        let present = || sight.present().map_or_else(String::new, Revision::called);
        if !matches!(step, Step::Wait(_)) {
            self.waits = None;
        }
        match step {
            // Every change is unseen for a moment: that is no news.
            Step::Wait(why) => {
                if self.waits.get_or_insert_with(Instant::now).elapsed() >= UNSEEN {
                    self.say(Kind::Waiting, why, tell)?;
                }
            }
            // Its pods may still be on their way back.
            Step::Good if under_way => {}
            Step::Good => self.say(Kind::Good, &format!("{} runs, and is good", present()), tell)?,
            Step::Hold(why) => self.say(Kind::Held, why, tell)?,
            Step::Later { at, bad: false } => {
                let why = format!("{} is judged anew at {}", present(), render::clock(*at));
                self.say(Kind::Waiting, &why, tell)?;
            }
            Step::Later { at, bad: true } => {
                let why = format!(
                    "{} is bad and stays, because nothing good is known to go back to: name a revision with `tidegate undo \
                     deployment/{} --namespace {} --to-revision N`, or roll something else out; it is judged anew at {}",
                    present(),
                    sight.deployment,
                    sight.namespace,
                    render::clock(*at)
                );
                self.say(Kind::Held, &why, tell)?;
            }
            Step::Follow(id) => {
                self.say(Kind::Judging, &format!("{} is judged by {id}", present()), tell)?;
                return Ok(Some(id.clone()));
            }
            Step::Leave(id) => self.leave(id, &present(), tell).await?,
            Step::Judge { tries } => return self.judge(sight, *tries, tell).await,
        }
        Ok(None)
    }

    async fn judge(
        &mut self,
        sight: &Sight,
        tries: usize,
        tell: &mut Tell<'_>,
    ) -> Result<Option<String>, Fault> {
        let Some(present) = sight.present() else { return Ok(None) };
        let mut submit = request::judge(self.guarded, sight, present, self.terms, tries)?;
        let ran = self.ran(sight, tries).await;
        if let Some(ran) = &ran {
            submit = request::judged_before(submit, ran, self.terms);
        }
        match self.desk.submit(&submit).await {
            Ok(id) if ran.is_some() => {
                let text = format!("{} is judged by {id} at once: {}", present.called(), submit.reason);
                self.say(Kind::Judging, &text, tell)?;
                Ok(Some(id))
            }
            Ok(id) => {
                let back = match (&submit.request.stable, &sight.good) {
                    (Some(good), _) => format!("; {} is what it goes back to", good.tag),
                    (None, Some(gone)) => format!(
                        "; the ReplicaSet of the good revision ({gone}) is gone (see `revisionHistoryLimit`), so only what \
                         Tidegate itself remembers can be gone back to"
                    ),
                    (None, None) => {
                        "; nothing was good before it, so there is nothing to go back to".to_owned()
                    }
                };
                self.say(Kind::Judging, &format!("{} is judged by {id}{back}", present.called()), tell)?;
                Ok(Some(id))
            }
            Err(why) if why.blame == Blame::Us => Err(why),
            Err(why) => {
                self.say(Kind::Trouble, &format!("{} cannot be judged yet: {why}", present.called()), tell)?;
                Ok(None)
            }
        }
    }

    /// What the present revision has shown before anybody judged it, where that is enough.
    async fn ran(&self, sight: &Sight, tries: usize) -> Option<Ran> {
        let good = |past: &Past| past.spec.uid == sight.uid && past.left().is_some();
        let recorded = sight.good.is_some() || self.known.iter().any(good);
        if !before::may_count(self.terms, recorded, tries) {
            return None;
        }
        match self.guarded.ran(sight).await {
            Ok(ran) => ran.filter(|ran| before::counts(ran, self.terms)),
            // Who judges it meets the same trouble, and says it.
            Err(why) => {
                tracing::debug!(why = trouble(&why), "what was before cannot be told");
                None
            }
        }
    }

    /// What nobody wishes any more is not judged to its end.
    async fn leave(&mut self, id: &str, present: &str, tell: &mut Tell<'_>) -> Result<(), Fault> {
        let reason = format!("deployment/{} {SUPERSEDED}, back to {present}", self.guarded.name());
        match self.desk.abort(id, &self.terms.actor, &reason).await {
            Ok(()) => Ok(()),
            // It may be ending just now; the next look tells.
            Err(why) => self.say(Kind::Trouble, &format!("{id} cannot be ended yet: {why}"), tell),
        }
    }

    /// Says what was not just said.
    fn say(&mut self, kind: Kind, text: &str, tell: &mut Tell<'_>) -> Result<(), Fault> {
        let same = |(was, said): &(Kind, String)| {
            *was == kind && (said == text || kind == Kind::Judging && said.starts_with(text))
        };
        if self.told.last.as_ref().is_some_and(same) {
            return Ok(());
        }
        self.told.last = Some((kind, text.to_owned()));
        tell(News::Says { kind, text })
    }
}

fn trouble(error: &GuardError) -> String {
    crate::fault::chain(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Client;

    /// A controller runs one beside the other, on whatever thread.
    #[expect(dead_code, reason = "that it compiles is the proof")]
    fn spawned<'a>(
        guarded: &'a Guarded,
        desk: &'a Client,
        terms: &'a Terms,
        tell: &'a mut Tell<'static>,
    ) -> impl Future<Output = Result<Exit, Fault>> + Send + 'a {
        watch(guarded, desk, terms, false, tell)
    }

    #[test]
    fn what_is_left_to_look_at_decides_how_long_a_guard_sleeps() {
        let wait = Step::Wait(String::new());
        assert!(
            pause(&Step::Good, true) < pause(&wait, false) && pause(&wait, false) < pause(&Step::Good, false)
        );
        assert_eq!((exit_at(&Step::Good), exit_at(&wait)), (Some(Exit::Success), None));
        assert_eq!(exit_at(&Step::Hold(String::new())), Some(Exit::Held));
    }
}
