//! One request and its answer, as they are counted.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use http::StatusCode;
use tokio::time::Instant;

use super::body::Progress;
use super::local::LocalRoutes;
use super::mirror::{self, Copying};
use super::pool::Load;
use super::user::User;
use crate::stats::{Failure, ThreadStats};

/// A request's place on its connection and, once admitted, among the service's requests in flight.
pub(crate) struct Entry {
    pub(crate) user: Rc<User>,
    admitted: Cell<bool>,
}

impl Entry {
    pub(crate) fn begin(user: &Rc<User>) -> Self {
        user.phase.begin();
        Self { user: Rc::clone(user), admitted: Cell::new(false) }
    }

    /// Counts it against the service's bound; `false` when the bound is reached.
    pub(crate) fn admit(&self, max: u32) -> bool {
        self.admitted.set(self.user.service.shared.admit(max));
        self.admitted.get()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.admitted.get() {
            self.user.service.shared.leave();
        }
        self.user.phase.end();
    }
}

/// A request given to a release; counted when it ends, however it ends.
pub(crate) struct Exchange {
    local: Rc<LocalRoutes>,
    release: usize,
    started: Instant,
    answered: bool,
    failure: Option<Failure>,
    bytes_out: u64,
    progress: Progress,
    copying: Option<Rc<Copying>>,
    status: StatusCode,
    ended: bool,
    load: Option<Load>,
    entry: Entry,
}

impl Exchange {
    pub(crate) fn begin(
        entry: Entry,
        local: Rc<LocalRoutes>,
        release: usize,
        started: Instant,
        progress: Progress,
    ) -> Self {
        let exchange = Self {
            local,
            release,
            started,
            answered: false,
            failure: None,
            bytes_out: 0,
            progress,
            copying: None,
            status: StatusCode::OK,
            ended: false,
            load: None,
            entry,
        };
        exchange.count(ThreadStats::start);
        exchange
    }

    pub(crate) fn user(&self) -> &Rc<User> {
        &self.entry.user
    }

    pub(crate) fn local(&self) -> &Rc<LocalRoutes> {
        &self.local
    }

    pub(crate) fn release(&self) -> usize {
        self.release
    }

    /// The endpoint in use.
    pub(crate) fn set_load(&mut self, load: Option<Load>) {
        self.load = load;
    }

    pub(crate) fn set_copying(&mut self, copying: Option<Rc<Copying>>) {
        self.copying = copying;
    }

    pub(crate) fn load(&self) -> Option<&Load> {
        self.load.as_ref()
    }

    /// Looks the routes up anew before another try, so that no endpoint is picked that left the table meanwhile. A release
    /// that left it keeps its old routes; its endpoints are no longer routable.
    pub(crate) fn refresh(&mut self) {
        let now = self.entry.user.service.routes();
        let tag = self.local.routes.releases.get(self.release).map(|release| release.tag.as_str());
        if let Some(at) = now.routes.releases.iter().position(|release| Some(release.tag.as_str()) == tag) {
            (self.local, self.release) = (now, at);
        }
    }

    /// The release failed it; the stable release of the routes in force gets it.
    pub(crate) fn hand_on(mut self, failure: Failure, local: Rc<LocalRoutes>, release: usize) -> Self {
        let started = self.started;
        let entry = Entry {
            user: Rc::clone(&self.entry.user),
            admitted: Cell::new(self.entry.admitted.replace(false)),
        };
        entry.user.phase.begin();
        let (progress, copying) = (self.progress.clone(), self.copying.take());
        self.fail(failure);
        drop(self);
        let mut next = Self::begin(entry, local, release, started, progress);
        next.copying = copying;
        next
    }

    /// The head of an answer came.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.answered = true;
        self.status = status;
        if status.is_server_error() {
            self.failure = Some(Failure::ServerError);
        }
    }

    /// A part of the answer's body came.
    pub(crate) fn answer_data(&mut self, data: &Bytes) {
        self.bytes_out = self.bytes_out.saturating_add(data.len() as u64);
        if let Some(copying) = &self.copying {
            copying.answer_data(data);
        }
    }

    /// It failed; the first class stays.
    pub(crate) fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
        self.copying = None;
    }

    /// The whole answer came.
    pub(crate) fn complete(&mut self) {
        let latency = self.started.elapsed();
        if let Some(copying) = self.copying.take() {
            mirror::launch(self, &copying, self.status, latency);
        }
        self.end(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    /// Ends it for the counters; upgraded connections and dropped ones end here too.
    fn end(&mut self, latency_us: u64) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let (failure, answered) = (self.failure, self.answered);
        let (bytes_in, bytes_out) = (self.progress.bytes(), self.bytes_out);
        self.count(|stats| {
            stats.end(failure, answered.then_some(latency_us));
            stats.bytes_out(bytes_out);
            if bytes_in > 0 {
                stats.bytes_in(bytes_in);
            }
        });
        self.load = None;
    }

    fn count(&self, change: impl FnOnce(&ThreadStats)) {
        self.local.count(self.release, change);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.ended {
            self.end(u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
    }
}
