//! Active health: regular HTTP probes of the endpoints in a table.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use crate::clock;
use crate::endpoint::{Endpoint, Probed};
use crate::protocol::ActiveHealth;

/// The probes of one service.
#[derive(Default)]
pub(crate) struct Probes {
    active: Option<ActiveHealth>,
    tasks: BTreeMap<u64, AbortHandle>,
}

impl Probes {
    /// Probes exactly these endpoints from now on.
    pub(crate) fn follow(&mut self, active: Option<&ActiveHealth>, endpoints: &[Arc<Endpoint>]) {
        let wanted = active.map_or(&[][..], |_| endpoints);
        let same = self.active.as_ref() == active;
        self.tasks.retain(|id, task| {
            let keep = same && wanted.iter().any(|endpoint| endpoint.id == *id);
            if !keep {
                task.abort();
            }
            keep
        });
        self.active = active.cloned();
        let Some(active) = active else { return };
        for endpoint in wanted {
            self.tasks.entry(endpoint.id).or_insert_with(|| {
                tokio::task::spawn_local(probe_on(Arc::clone(endpoint), active.clone())).abort_handle()
            });
        }
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.tasks.values().for_each(AbortHandle::abort);
    }
}

async fn probe_on(endpoint: Arc<Endpoint>, active: ActiveHealth) {
    let mut interval = tokio::time::interval(Duration::from_millis(active.interval_ms));
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut successes, mut failures) = (0_u32, 0_u32);
    loop {
        interval.tick().await;
        let timeout = Duration::from_millis(active.timeout_ms);
        let healthy =
            tokio::time::timeout(timeout, answers_well(&endpoint, &active.path)).await == Ok(Some(true));
        (successes, failures) =
            if healthy { (successes.saturating_add(1), 0) } else { (0, failures.saturating_add(1)) };
        if successes >= active.rise {
            endpoint.set_probed(Probed::Healthy, clock::now_ms());
        } else if failures >= active.fall {
            endpoint.set_probed(Probed::Unhealthy, clock::now_ms());
        }
    }
}

/// Whether a GET is answered by 2xx or 3xx; `None` when it is not answered at all.
async fn answers_well(endpoint: &Endpoint, path: &str) -> Option<bool> {
    let stream = TcpStream::connect(endpoint.address).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let task = tokio::task::spawn_local(connection);
    let request = Request::get(path)
        .header("host", endpoint.address.to_string())
        .header("user-agent", "tidegate-probe")
        .header("connection", "close")
        .body(Empty::<Bytes>::new())
        .ok()?;
    let status = sender.send_request(request).await.ok().map(|response| response.status());
    task.abort();
    status.map(|status| status.is_success() || status.is_redirection())
}
