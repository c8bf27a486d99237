//! Deployments whose owners ask for a guard by an annotation: one task for each, for as long as it asks.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use tidegate_core::model::{Actor, Millis};
use tidegate_kubernetes::{
    control::{Control, News, Scope},
    guard::Guarded,
};
use tokio::task::AbortHandle;

use super::fault;
use crate::{
    client::Client,
    config,
    fault::{Fault, chain},
    guard::{self, News as Told, Terms},
    render,
};

/// Asks for a guard with `true`.
const GUARD: &str = "tidegate.dev/guard";
/// How long a complete rollout is watched before it counts as good.
const BAKE: &str = "tidegate.dev/guard-bake";

/// The longest of those.
const BAKE_MAX_MS: u64 = 7 * 24 * 3_600_000;

/// Guards at once; a Deployment beyond that waits until another does not ask any more.
const GUARDS_MAX: usize = 2_000;

/// Wait before a guard that ended in trouble begins again.
const AGAIN: Duration = Duration::from_secs(15);

/// Namespace and name.
type Name = (String, String);

/// The guards that run.
struct Guards {
    /// Who speaks to the cluster for all of them.
    base: Guarded,
    client: Client,
    running: BTreeMap<Name, (Millis, AbortHandle)>,
}

/// Keeps a guard for each Deployment of the scope that asks for one.
pub(super) async fn run(
    control: &Control,
    scope: &Scope,
    base: Guarded,
    client: Client,
) -> Result<(), Fault> {
    let mut news = control.watch_deployments(scope);
    let mut guards = Guards { base, client, running: BTreeMap::new() };
    while let Some(news) = news.recv().await {
        match news {
            News::Is(object) => guards.see(&object),
            News::Gone { namespace, name } => guards.end(&(namespace, name)),
            News::Listed { namespace, all } => {
                let of_part = |name: &Name| namespace.as_ref().is_none_or(|part| *part == name.0);
                let gone: Vec<Name> = guards
                    .running
                    .keys()
                    .filter(|name| of_part(name) && !all.contains(*name))
                    .cloned()
                    .collect();
                for name in &gone {
                    guards.end(name);
                }
            }
            News::Trouble(why) if why.is_permanent() => return Err(fault(why)),
            News::Trouble(why) => tracing::warn!(why = chain(&why), "Deployments cannot be watched"),
        }
    }
    Err(Fault::trouble("nobody watches Deployments any more"))
}

impl Guards {
    fn see(&mut self, object: &Value) {
        let word = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let name = (word("/metadata/namespace"), word("/metadata/name"));
        match asks(object) {
            Some(bake) if self.running.get(&name).is_some_and(|(now, _)| *now == bake) => {}
            Some(bake) => {
                self.end(&name);
                self.begin(name, bake);
            }
            None => self.end(&name),
        }
    }

    fn begin(&mut self, name: Name, bake: Millis) {
        let what = format!("{}/{}", name.0, name.1);
        if self.running.len() >= GUARDS_MAX {
            tracing::warn!(deployment = what, "{GUARDS_MAX} Deployments are guarded; this one waits");
            return;
        }
        tracing::info!(deployment = what, "guarded from now on");
        let (guarded, client) = (self.base.beside(&name.0, &name.1), self.client.clone());
        let task = tokio::spawn(async move {
            let terms = Terms { bake, ..Terms::plain(Actor::engine()) };
            let mut tell = |news: Told<'_>| {
                told(&what, news);
                Ok(())
            };
            loop {
                match guard::watch(&guarded, &client, &terms, false, &mut tell).await {
                    Ok(_) => return,
                    Err(why) => {
                        tracing::warn!(deployment = what, why = why.message, "the guard begins again");
                    }
                }
                tokio::time::sleep(AGAIN).await;
            }
        });
        self.running.insert(name, (bake, task.abort_handle()));
    }

    fn end(&mut self, name: &Name) {
        if let Some((_, task)) = self.running.remove(name) {
            task.abort();
            tracing::info!(deployment = format!("{}/{}", name.0, name.1), "not guarded any more");
        }
    }
}

impl Drop for Guards {
    fn drop(&mut self) {
        self.running.values().for_each(|(_, task)| task.abort());
    }
}

/// The bake that a Deployment asks a guard for; `None` when it asks for none.
fn asks(object: &Value) -> Option<Millis> {
    let annotations = object.pointer("/metadata/annotations")?;
    let text = |key: &str| annotations.get(key).and_then(Value::as_str);
    if text(GUARD) != Some("true") {
        return None;
    }
    let usual = Terms::plain(Actor::engine()).bake;
    let Some(written) = text(BAKE) else { return Some(usual) };
    match config::duration(written, 0, BAKE_MAX_MS) {
        Ok(bake) => Some(Millis(bake)),
        Err(why) => {
            tracing::warn!(annotation = BAKE, why, "the usual time is taken instead");
            Some(usual)
        }
    }
}

fn told(what: &str, news: Told<'_>) {
    match news {
        Told::Says { kind: guard::Kind::Held | guard::Kind::Trouble, text } => {
            tracing::warn!(deployment = what, "{}", render::clean(text));
        }
        Told::Says { text, .. } => tracing::info!(deployment = what, "{}", render::clean(text)),
        Told::Happened { .. } => {}
        Told::Ended { deployment, why, .. } => tracing::info!(deployment, "{}", render::clean(why)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_deployment_that_says_true_is_guarded_and_a_time_that_is_none_is_the_usual_one() {
        let asked = |guard: &str, bake: Option<&str>| {
            asks(&json!({"metadata": {"annotations": {GUARD: guard, BAKE: bake}}}))
        };
        let usual = Terms::plain(Actor::engine()).bake;
        assert_eq!(asked("true", None), Some(usual));
        assert_eq!(asked("true", Some("5s")), Some(Millis::secs(5)));
        assert_eq!(asked("true", Some("soon")), Some(usual));
        assert_eq!((asked("false", Some("5s")), asks(&json!({"metadata": {}}))), (None, None));
    }
}
