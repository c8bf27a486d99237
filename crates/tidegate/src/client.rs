//! The command line's side of the server: starts one when none answers, and asks it.

use std::{
    fs::OpenOptions,
    os::unix::fs::OpenOptionsExt,
    process::Stdio,
    time::{Duration, Instant},
};

use hyper::{Method, StatusCode};
use tidegate_adapters::unix_http::{CallError, Socket};
use tidegate_core::{deployment::Recorded, model::Actor};
use tidegate_engine::{
    journal::{Filter, History, Kept, OpenError, SqliteReader},
    run,
};

use crate::{
    fault::Fault,
    place::Place,
    server::{Action, Glimpse, Labelled, ServerStatus, Submit, Submitted, Tell, Told},
};

/// The server answers at once or not at all.
const CALL: Duration = Duration::from_secs(20);

/// A started server must answer within this time: it may have a thousand deployments to take over.
const START: Duration = Duration::from_secs(20);

/// A server that somebody else is just starting owns the data directory before it answers.
const OTHER_START: Duration = Duration::from_secs(5);

/// A server that was started by a command ends by itself after so long without work.
const IDLE_EXIT_SECS: u64 = 60;

/// The server of a data directory.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    place: Place,
    socket: Socket,
}

impl Client {
    pub(crate) fn new(place: Place) -> Self {
        let socket = Socket::new(place.socket(), CALL);
        Self { place, socket }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) async fn status(&self) -> Result<ServerStatus, Fault> {
        self.socket.get("/v1/status").await.map_err(fault)
    }

    /// Starts the server when none answers. It outlives this command.
    pub(crate) async fn ensure(&self) -> Result<(), Fault> {
        let began = Instant::now();
        let until = began + START;
        let mut child = None;
        loop {
            match self.socket.get::<ServerStatus>("/v1/status").await {
                Ok(_) => return Ok(()),
                Err(CallError::NoOne { .. }) if child.is_none() && Instant::now() < until => {
                    child = Some(self.start()?);
                }
                Err(CallError::NoOne { .. }) if Instant::now() < until => {}
                Err(error) => return Err(fault(error)),
            }
            if let Some(ended) =
                child.as_mut().and_then(|child: &mut tokio::process::Child| child.try_wait().ok()).flatten()
                && self.status().await.is_err()
            {
                if began.elapsed() > OTHER_START || !self.lost_the_race() {
                    return Err(self.start_failed(ended));
                }
                child = None;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn start(&self) -> Result<tokio::process::Child, Fault> {
        let trouble = |error| {
            Fault::trouble(format!("cannot start the engine in {}: {error}", self.place.root().display()))
        };
        self.place.make()?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(self.place.log())
            .map_err(trouble)?;
        let errors = log.try_clone().map_err(trouble)?;
        tokio::process::Command::new(std::env::current_exe().map_err(trouble)?)
            .arg("server")
            .arg("--data")
            .arg(self.place.root())
            .args(["--idle-exit", &IDLE_EXIT_SECS.to_string()])
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(trouble)
    }

    /// Whether the server that was started found another one that was faster.
    fn lost_the_race(&self) -> bool {
        let text = std::fs::read_to_string(self.place.log()).unwrap_or_default();
        text.lines().rev().take(4).any(|line| line.contains("is in use by process"))
    }

    /// The server ended at once: its last error says why, when it ended with one.
    fn start_failed(&self, ended: std::process::ExitStatus) -> Fault {
        let text = std::fs::read_to_string(self.place.log()).unwrap_or_default();
        let error = text.lines().rev().find_map(|line| line.strip_prefix("error: "));
        match (ended.code(), error) {
            (Some(2), Some(why)) => Fault::refuse(why),
            (Some(_), Some(why)) => Fault::trouble(why),
            (_, None) | (None, _) => {
                let log = self.place.log();
                Fault::trouble(format!(
                    "the engine ended as soon as it was started ({ended}): see {}",
                    log.display()
                ))
            }
        }
    }

    pub(crate) async fn submit(&self, submit: &Submit) -> Result<String, Fault> {
        let answer: Submitted =
            self.socket.call(Method::POST, "/v1/deployments", Some(submit)).await.map_err(fault)?;
        Ok(answer.deployment)
    }

    pub(crate) async fn tell(
        &self,
        id: &str,
        action: Action,
        actor: Actor,
        reason: String,
    ) -> Result<Told, Fault> {
        let tell = Tell { action, actor, reason };
        self.socket
            .call(Method::POST, &format!("/v1/deployments/{id}/verbs"), Some(&tell))
            .await
            .map_err(fault)
    }

    /// Keeps what a person says that a deployment turned out to be.
    pub(crate) async fn label(&self, id: &str, said: &Labelled) -> Result<(), Fault> {
        self.socket
            .call(Method::POST, &format!("/v1/deployments/{id}/label"), Some(said))
            .await
            .map_err(fault)
    }

    /// What the engine shows beyond the journal; nothing when it does not run.
    pub(crate) async fn live(&self, id: &str) -> Glimpse {
        self.socket.get(&format!("/v1/deployments/{id}/live")).await.unwrap_or_default()
    }

    pub(crate) async fn shutdown(&self) -> Result<bool, Fault> {
        match self.socket.send(Method::POST, "/v1/shutdown", None::<&()>).await {
            Ok(_) => Ok(true),
            Err(CallError::NoOne { .. }) => Ok(false),
            Err(error) => Err(fault(error)),
        }
    }

    /// The journal, read beside a running engine or without one; `None` when nothing was ever deployed from here.
    pub(crate) fn journal(&self) -> Result<Option<SqliteReader>, Fault> {
        match SqliteReader::open(&self.place.journal()) {
            Ok(reader) => Ok(Some(reader)),
            Err(OpenError::NotFound { .. }) => Ok(None),
            Err(error) => Err(Fault::world(error)),
        }
    }

    /// Deployments, newest first.
    pub(crate) async fn deployments(&self, service: Option<&str>, limit: usize) -> Result<Vec<Kept>, Fault> {
        let Some(reader) = self.journal()? else { return Ok(Vec::new()) };
        let filter = Filter { service: service.map(str::to_owned), limit: Some(limit), ..Filter::default() };
        reader.deployments(filter).await.map_err(Fault::world)
    }

    /// A deployment's whole history.
    pub(crate) async fn history(&self, id: &str) -> Result<Vec<Recorded>, Fault> {
        let unknown = || Fault::refuse(format!("there is no deployment `{id}`: see `tidegate history`"));
        let reader = self.journal()?.ok_or_else(unknown)?;
        let history = run::history(&reader, id).await.map_err(Fault::world)?;
        if history.is_empty() { Err(unknown()) } else { Ok(history) }
    }
}

/// Whose move it is after a call that failed.
pub(crate) fn fault(error: CallError) -> Fault {
    let refused = matches!(
        &error,
        CallError::Refused { status, .. }
            if matches!(*status, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY)
    );
    if refused { Fault::caller(error) } else { Fault::world(error) }
}
