//! Which release a deployment returns to: the journal's last good one, or what its owner has put in its place since.

use tidegate_core::{
    model::{Millis, Release},
    plan,
};
use tokio::sync::MutexGuard;

use crate::{
    engine::Engine,
    journal::{BoxFuture, Journal},
    run::RunError,
    world::{Successor, World},
};

/// Longest wait for the target's word on it. A target that is away must not keep the queue of a service for ever.
const ANSWER_MAX: Millis = Millis::secs(20);

/// The last good release, and what the target says of it.
pub(crate) struct Good {
    release: Release,
    successor: Result<Option<Successor>, String>,
}

impl Good {
    /// Makes it what the request returns to. An error says why nothing can be returned to; the request then has the journal's.
    pub(crate) fn into_request(self, request: &mut plan::Request) -> Result<(), String> {
        let Self { release, successor } = self;
        (request.stable, request.stable_note) = (Some(release), None);
        if let Some(Successor { release, note }) = successor? {
            (request.stable, request.stable_note) = (Some(release), Some(note));
        }
        Ok(())
    }
}

impl<J: Journal, W: World> Engine<J, W> {
    /// Closes the door behind a request, with what is good now. Nobody else waits there while a target is asked.
    pub(crate) async fn enter(
        &self,
        service: &str,
        environment: &str,
    ) -> Result<(MutexGuard<'_, ()>, Option<Good>), RunError> {
        let door = self.door().lock().await;
        let Some(release) = self.last_good(service, environment).await? else { return Ok((door, None)) };
        let Some(asked) = self.world().successor(service, &release) else {
            return Ok((door, Some(Good { release, successor: Ok(None) })));
        };
        drop(door);
        let successor = self.answer(asked).await;
        let door = self.door().lock().await;
        let now = self.last_good(service, environment).await?;
        // Where another one became good meanwhile, that is asked about when the request's turn comes.
        let same = now.as_ref() == Some(&release);
        Ok((door, now.map(|release| Good { release, successor: if same { successor } else { Ok(None) } })))
    }

    /// The same for a release that is known.
    pub(crate) async fn good(&self, service: &str, release: Release) -> Good {
        let successor = match self.world().successor(service, &release) {
            Some(asked) => self.answer(asked).await,
            None => Ok(None),
        };
        Good { release, successor }
    }

    async fn answer(
        &self,
        asked: BoxFuture<Result<Option<Successor>, String>>,
    ) -> Result<Option<Successor>, String> {
        let world = self.world();
        tokio::select! {
            biased;
            answer = asked => answer,
            () = world.sleep_until(world.now().after(ANSWER_MAX)) => Err(format!(
                "the target did not say within {ANSWER_MAX} whether the last good release still stands: deploy again when it \
                 answers"
            )),
        }
    }
}
