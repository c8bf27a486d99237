//! Following a deployment: live in a terminal, line by line elsewhere.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use tidegate_core::{
    deployment::{Recorded, StateName, fold},
    plan::Plan,
    view,
};
use tidegate_engine::run;

use super::{
    Common,
    control::person,
    inspect::{now, why_of},
    out::{say, sayln},
    print_json, turn,
};
use crate::{
    client::Client,
    fault::{Exit, Fault},
    render,
    server::{Action, Glimpse},
};

/// Time between two looks at the journal.
const LOOK: Duration = Duration::from_millis(150);

/// Time between two looks at whether the engine still runs.
const ENSURE: Duration = Duration::from_secs(1);

/// Widest block that is drawn, columns; also where the terminal does not say how wide it is.
const WIDTH_MAX: usize = 100;

/// What was shown so far.
struct Shown<'a> {
    common: &'a Common,
    events: usize,
    /// Lines of the live block that stand below the events.
    block: usize,
    live: bool,
    /// Who is before it in the queue.
    before: Option<String>,
}

/// Follows a deployment to its end, or until it is held where nobody can be asked. Ctrl-C asks whether to detach.
pub(super) async fn follow(common: &Common, client: &Client, id: &str) -> Result<Exit, Fault> {
    let journal = client.journal()?.ok_or_else(|| Fault::refuse(format!("there is no deployment `{id}`")))?;
    let live = !common.json && draws();
    let mut shown = Shown { common, events: 0, block: 0, live, before: None };
    let mut ensured: Option<Instant> = None;
    loop {
        let history = run::history(&journal, id).await.map_err(Fault::world)?;
        let Some((plan, state)) = fold(&history) else {
            return Err(Fault::refuse(format!("there is no deployment `{id}`: see `tidegate history`")));
        };
        shown.events(&history)?;
        if let Some(exit) = end(state.name(), common) {
            finish(common, client, id, &history)?;
            return Ok(exit);
        }
        if shown.live {
            shown.block(&plan, &history, &client.live(id).await)?;
        }
        // Whoever follows wants it to end: an engine that died is started again and goes on where it was.
        if ensured.is_none_or(|at| at.elapsed() >= ENSURE) {
            client.ensure().await?;
            ensured = Some(Instant::now());
            shown.turn(if state.name() == StateName::Queued { turn::of(client, id).await? } else { None })?;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = tokio::signal::ctrl_c() => {
                if let Some(exit) = interrupted(client, id).await? {
                    return Ok(exit);
                }
                shown.block = 0;
            }
        }
    }
}

/// Whether the cursor can be moved: a terminal, and nobody asked for plain text.
fn draws() -> bool {
    let stdout = std::io::stdout();
    stdout.is_terminal() && anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never
}

/// Columns of the terminal, so that no line wraps and the block is found again.
fn width() -> usize {
    let columns = rustix::termios::tcgetwinsize(std::io::stdout()).map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { WIDTH_MAX } else { columns.min(WIDTH_MAX) }
}

impl Shown<'_> {
    /// Prints the events that were not printed yet, above the live block.
    fn events(&mut self, history: &[Recorded]) -> Result<(), Fault> {
        let lines = view::timeline(history);
        if lines.len() > self.events && self.block > 0 {
            say!("{}", render::redraw(self.block, &[]));
            self.block = 0;
        }
        for line in lines.iter().skip(self.events) {
            if self.common.json {
                let text = serde_json::to_string(line).map_err(Fault::internal)?;
                sayln!("{text}");
            } else {
                say!("{}", render::timeline(std::slice::from_ref(line)));
            }
        }
        self.events = lines.len();
        Ok(())
    }

    /// Says who is before it, whenever that is somebody else or in another state.
    fn turn(&mut self, before: Option<String>) -> Result<(), Fault> {
        let quiet = self.live || self.common.json || before == self.before;
        if let (Some(before), false) = (&before, quiet) {
            sayln!("  {}", render::clean(before));
        }
        self.before = before;
        Ok(())
    }

    /// Draws the live block in the place of the last one.
    fn block(&mut self, plan: &Plan, history: &[Recorded], glimpse: &Glimpse) -> Result<(), Fault> {
        let Some(mut summary) = view::summary(history, now()) else { return Ok(()) };
        turn::tell(&mut summary, self.before.clone());
        let progress = render::Progress {
            plan,
            summary: &summary,
            judgements: &glimpse.judgements,
            users: view::users(history, &glimpse.judgements),
            trouble: glimpse.trouble.as_deref(),
            now: now(),
        };
        let lines = render::progress(&progress, width());
        say!("{}", render::redraw(self.block, &lines));
        self.block = lines.len();
        Ok(())
    }
}

/// The exit of a state that ends the following.
fn end(state: StateName, common: &Common) -> Option<Exit> {
    let asks_nobody = common.json || !std::io::stdin().is_terminal();
    Exit::at(state, asks_nobody)
}

fn finish(common: &Common, client: &Client, id: &str, history: &[Recorded]) -> Result<(), Fault> {
    let why = why_of(history);
    if common.json {
        return print_json(&view::summary(history, now()));
    }
    sayln!("{id}: {}", render::clean(&why));
    sayln!("artifacts: {}", client.place().artifacts().display());
    Ok(())
}

/// Ctrl-C: the work goes on unless it is aborted.
async fn interrupted(client: &Client, id: &str) -> Result<Option<Exit>, Fault> {
    if !std::io::stdin().is_terminal() {
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
