//! Where requests for deployments are handed in, and where one reads what became of them.

use tidegate_core::{deployment::Recorded, model::Actor};
use tidegate_engine::journal::{Filter, History as _, Kept};

use crate::{
    client::Client,
    fault::Fault,
    server::{Action, Submit},
};

/// The engine and its journal, as a guard needs them.
pub(crate) trait Desk: Sync {
    /// Somebody drives what is under way.
    fn attended(&self) -> impl Future<Output = Result<(), Fault>> + Send;

    /// The name that objects carry which we look after; empty where it is not known.
    fn owner(&self) -> impl Future<Output = Result<String, Fault>> + Send;

    /// Hands a request in; answers with its deployment once it is durable.
    fn submit(&self, submit: &Submit) -> impl Future<Output = Result<String, Fault>> + Send;

    /// Turns a deployment back, which undoes nothing where its owner has been faster.
    fn abort(
        &self,
        deployment: &str,
        actor: &Actor,
        reason: &str,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// The newest deployments of a service in an environment, newest first.
    fn newest(
        &self,
        service: &str,
        environment: &str,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Kept>, Fault>> + Send;

    /// Everything that happened to one.
    fn history(&self, deployment: &str) -> impl Future<Output = Result<Vec<Recorded>, Fault>> + Send;
}

impl Desk for Client {
    async fn attended(&self) -> Result<(), Fault> {
        self.ensure().await
    }

    async fn owner(&self) -> Result<String, Fault> {
        self.ensure().await?;
        Ok(self.status().await?.owner)
    }

    async fn submit(&self, submit: &Submit) -> Result<String, Fault> {
        self.ensure().await?;
        Self::submit(self, submit).await
    }

    async fn abort(&self, deployment: &str, actor: &Actor, reason: &str) -> Result<(), Fault> {
        self.tell(deployment, Action::Abort, actor.clone(), reason.to_owned()).await.map(drop)
    }

    async fn newest(&self, service: &str, environment: &str, limit: usize) -> Result<Vec<Kept>, Fault> {
        let Some(reader) = self.journal()? else { return Ok(Vec::new()) };
        let filter = Filter {
            service: Some(service.to_owned()),
            environment: Some(environment.to_owned()),
            limit: Some(limit),
            ..Filter::default()
        };
        reader.deployments(filter).await.map_err(Fault::world)
    }

    async fn history(&self, deployment: &str) -> Result<Vec<Recorded>, Fault> {
        Self::history(self, deployment).await
    }
}
