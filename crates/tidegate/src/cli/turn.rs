//! Who is before a deployment that waits for its turn, and what that one needs.

use tidegate_core::{deployment::StateName, view::Summary};
use tidegate_engine::{
    journal::{Kept, Standing},
    record,
};

use crate::{client::Client, fault::Fault};

/// Newest deployments of a service that are looked at.
const ROWS_MAX: usize = 500;

/// The one before a deployment, in a sentence without a full stop; nothing where none is or it does not wait.
pub(super) async fn of(client: &Client, id: &str) -> Result<Option<String>, Fault> {
    let service = client.deployments(None, ROWS_MAX).await?;
    Ok(before(&service, id))
}

/// The same, where the rows are known.
pub(super) fn before(rows: &[Kept], id: &str) -> Option<String> {
    let own = rows.iter().find(|kept| kept.deployment == id)?;
    if record::state_name(&own.row) != Some(StateName::Queued) {
        return None;
    }
    let same = |kept: &&Kept| {
        let (row, own) = (&kept.row, &own.row);
        row.service == own.service && row.environment == own.environment && row.turn != own.turn
    };
    let running = rows.iter().filter(same).find(|kept| kept.row.standing == Standing::Running);
    // One that a person has paused in the queue lets others pass.
    let earlier = |kept: &&Kept| {
        kept.row.turn < own.row.turn && record::state_name(&kept.row) == Some(StateName::Queued)
    };
    let next = || rows.iter().filter(same).filter(earlier).min_by_key(|kept| kept.row.turn);
    running.or_else(next).map(told)
}

/// Puts it to what a deployment waits for.
pub(super) fn tell(summary: &mut Summary, before: Option<String>) {
    if let (Some(waits), Some(before), StateName::Queued) = (&mut summary.waits, before, summary.state) {
        waits.what = format!("{}; {before}", waits.what);
    }
}

fn told(before: &Kept) -> String {
    let id = &before.deployment;
    match record::state_name(&before.row) {
        Some(StateName::Stuck) => format!(
            "{id} is before it and stuck, a person is needed: `tidegate why {id}`, then `tidegate retry {id}`, or `tidegate abort \
             {id}` to give it up"
        ),
        Some(StateName::Paused) => format!(
            "{id} is before it and paused: `tidegate resume {id}` lets it go on, `tidegate abort {id}` turns it back"
        ),
        Some(StateName::AwaitingApproval) => format!(
            "{id} is before it and waits for a person: `tidegate why {id}`, then `tidegate approve {id}` or `tidegate abort {id}`"
        ),
        _ => format!("{id} is before it ({}): `tidegate why {id}`", before.row.state),
    }
}
