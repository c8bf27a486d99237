//! An upgraded connection: bytes both ways, nothing understood.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::drain::Connected;
use super::exchange::{Entry, Exchange};
use super::local::LocalRoutes;
use super::pool::{Pool, Pooled};
use crate::stats::ThreadStats;

/// Counts a tunnel while it lives.
struct Open {
    pool: Rc<Pool>,
    id: Option<u64>,
    local: Rc<LocalRoutes>,
    release: usize,
    _connected: Connected,
    /// Keeps the user's connection busy: silence is a tunnel's own business.
    _entry: Entry,
}

impl Open {
    fn new(exchange: &Exchange, pool: &Rc<Pool>) -> Self {
        let (local, release) = (Rc::clone(exchange.local()), exchange.release());
        pool.endpoint.upgraded.fetch_add(1, Relaxed);
        local.count(release, ThreadStats::upgraded);
        let connected = Connected::tunnel(&exchange.user().service.draining);
        let entry = Entry::begin(exchange.user());
        Self { pool: Rc::clone(pool), id: None, local, release, _connected: connected, _entry: entry }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.pool.endpoint.upgraded.fetch_sub(1, Relaxed);
        self.local.count(self.release, ThreadStats::upgraded_closed);
        if let Some(id) = self.id {
            self.pool.tunnel_closed(id);
        }
    }
}

/// Joins both sides once each has left HTTP. The task ends when both sides have closed, one breaks, or it is cut.
pub(crate) fn open(exchange: &Exchange, user: OnUpgrade, instance: OnUpgrade, connection: Pooled) {
    let Some(pool) = exchange.load().map(|load| Rc::clone(load.pool())) else { return };
    let mut open = Open::new(exchange, &pool);
    let (told, number) = tokio::sync::oneshot::channel();
    let task = tokio::task::spawn_local(async move {
        open.id = number.await.ok();
        connection.finish().await;
        let (Ok(user), Ok(instance)) = (user.await, instance.await) else { return };
        let (mut user, mut instance) = (TokioIo::new(user), TokioIo::new(instance));
        if let Ok((up, down)) = tokio::io::copy_bidirectional(&mut user, &mut instance).await {
            open.local.count(open.release, |stats| {
                stats.bytes_in(up);
                stats.bytes_out(down);
            });
        }
    });
    // The task waits for its number before it does anything, so it cannot have ended yet.
    let _ = told.send(pool.tunnel(task.abort_handle()));
}
