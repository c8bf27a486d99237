//! Following a deployment: live in a terminal, line by line elsewhere.

use std::time::{Duration, Instant};

use tidegate_core::{
    deployment::{Recorded, StateName, fold},
    view,
};
use tidegate_engine::run;

use super::{Common, control::person, inspect::now, print_json};
use crate::{
    client::Client,
    fault::{Exit, Fault},
    render,
    server::Action,
};

/// Time between two looks at the journal.
const LOOK: Duration = Duration::from_millis(150);

/// Time between two looks at whether the engine still runs.
const ENSURE: Duration = Duration::from_secs(1);

/// Follows a deployment to its end, or until it is held where nobody can be asked. Ctrl-C asks whether to detach.
pub(super) async fn follow(common: &Common, client: &Client, id: &str) -> Result<Exit, Fault> {
    let journal = client.journal()?.ok_or_else(|| Fault::refuse(format!("there is no deployment `{id}`")))?;
    let mut shown = 0;
    let mut ensured: Option<Instant> = None;
    loop {
        let history = run::history(&journal, id).await.map_err(Fault::world)?;
        let Some((_, state)) = fold(&history) else {
            return Err(Fault::refuse(format!("there is no deployment `{id}`: see `tidegate history`")));
        };
        show(common, &history, &mut shown)?;
        if let Some(exit) = end(state.name(), common) {
            finish(common, client, id, &history)?;
            return Ok(exit);
        }
        // Whoever follows wants it to end: an engine that died is started again and goes on where it was.
        if ensured.is_none_or(|at| at.elapsed() >= ENSURE) {
            client.ensure().await?;
            ensured = Some(Instant::now());
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = tokio::signal::ctrl_c() => {
                if let Some(exit) = interrupted(client, id).await? {
                    return Ok(exit);
                }
            }
        }
    }
}

/// Prints the events that were not printed yet.
fn show(common: &Common, history: &[Recorded], shown: &mut usize) -> Result<(), Fault> {
    let lines = view::timeline(history);
    for line in lines.iter().skip(*shown) {
        if common.json {
            let text = serde_json::to_string(line).map_err(Fault::internal)?;
            anstream::println!("{text}");
        } else {
            anstream::print!("{}", render::timeline(std::slice::from_ref(line)));
        }
    }
    *shown = lines.len();
    Ok(())
}

/// The exit of a state that ends the following.
fn end(state: StateName, common: &Common) -> Option<Exit> {
    let asks_nobody = common.json || !std::io::IsTerminal::is_terminal(&std::io::stdin());
    match state {
        StateName::Verified => Some(Exit::Success),
        StateName::RolledBack | StateName::Failed | StateName::Cancelled => Some(Exit::RolledBack),
        StateName::Stuck => Some(Exit::Held),
        StateName::AwaitingApproval | StateName::Paused if asks_nobody => Some(Exit::Held),
        StateName::Queued
        | StateName::Checking
        | StateName::Init
        | StateName::Building
        | StateName::Deploying
        | StateName::AwaitingApproval
        | StateName::Canary
        | StateName::CanaryWaiting
        | StateName::CanaryEvaluating
        | StateName::Promoting
        | StateName::Promoted
        | StateName::Verifying
        | StateName::Paused
        | StateName::RollingBack => None,
    }
}

fn finish(common: &Common, client: &Client, id: &str, history: &[Recorded]) -> Result<(), Fault> {
    let why = view::why(history, now(), &render::clock).unwrap_or_default();
    if common.json {
        return print_json(&view::summary(history, now()));
    }
    anstream::println!("{id}: {}", render::clean(&why));
    anstream::println!("artifacts: {}", client.place().artifacts().display());
    Ok(())
}

/// Ctrl-C: the work goes on unless it is aborted.
async fn interrupted(client: &Client, id: &str) -> Result<Option<Exit>, Fault> {
    if !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        anstream::eprintln!(
            "{id} goes on by itself; `tidegate watch {id}` follows it, `tidegate abort {id}` turns it back"
        );
        return Ok(Some(Exit::Held));
    }
    anstream::eprint!("\n{id} is under way. [d]etach, [a]bort or [c]ontinue? ");
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    let answer = answer.await.map_err(Fault::internal)?.map_err(Fault::world)?;
    match answer.trim().chars().next() {
        Some('a') => {
            client.tell(id, Action::Abort, person(), "Ctrl-C".to_owned()).await?;
            Ok(None)
        }
        Some('c') => Ok(None),
        _ => {
            anstream::eprintln!("it goes on by itself; `tidegate watch {id}` follows it");
            Ok(Some(Exit::Held))
        }
    }
}
