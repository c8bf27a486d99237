//! Connections to one endpoint, kept by one thread: the last one used is the first one used again.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::body::{Progress, RequestBody};
use super::link::{LazyTimer, Link, Silence};
use super::user::boxed;
use crate::endpoint::Endpoint;

/// Idle connections kept per endpoint and thread.
const IDLE_MAX: usize = 256;
/// Ticks (of [`TICK`](super::TICK)) that a connection may be idle: below 2 s, the shortest keep-alive of common servers.
const IDLE_TICKS: u64 = 7;
/// Longest wait for a connection whose last answer has just ended to take the next request.
const READY_WAIT: Duration = Duration::from_millis(50);

/// Bounds of one exchange with an instance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) connect: Duration,
    pub(crate) response: Duration,
    pub(crate) idle: Duration,
}

/// What became of a request that got no answer.
pub(crate) enum Unanswered {
    /// Nothing of it was sent; it is back in its slot.
    Unsent,
    /// It may have reached the instance; the connection broke before any answer.
    Lost,
    /// No answer in time.
    Late,
    /// The user's side broke.
    User,
}

/// Why a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Http,
    Upgraded,
}

struct Live {
    task: AbortHandle,
    cut: Rc<Cell<bool>>,
    kind: Kind,
}

struct Idle {
    sender: SendRequest<RequestBody>,
    timer: LazyTimer,
    id: u64,
    cut: Rc<Cell<bool>>,
    since_tick: u64,
}

/// One thread's connections to one endpoint.
pub(crate) struct Pool {
    pub(crate) endpoint: Arc<Endpoint>,
    /// `IP:port` as text, for requests without a `Host`.
    pub(crate) address: String,
    idle: RefCell<Vec<Idle>>,
    live: RefCell<HashMap<u64, Live>>,
    next_id: Cell<u64>,
    tick: Cell<u64>,
}

/// A connection in use.
pub(crate) struct Pooled {
    sender: SendRequest<RequestBody>,
    timer: LazyTimer,
    id: u64,
    cut: Rc<Cell<bool>>,
    pool: Rc<Pool>,
    /// Whether it carried a request before.
    pub(crate) reused: bool,
}

impl Pool {
    pub(crate) fn new(endpoint: Arc<Endpoint>) -> Self {
        Self {
            address: endpoint.address.to_string(),
            endpoint,
            idle: RefCell::default(),
            live: RefCell::default(),
            next_id: Cell::new(0),
            tick: Cell::new(0),
        }
    }

    /// The last idle connection that is still open.
    pub(crate) async fn reuse(self: &Rc<Self>) -> Option<Pooled> {
        loop {
            let idle = self.idle.borrow_mut().pop()?;
            let Idle { mut sender, timer, id, cut, .. } = idle;
            if sender.is_closed() {
                continue;
            }
            if !sender.is_ready() {
                let ready = boxed(tokio::time::timeout(READY_WAIT, sender.ready())).await;
                if !matches!(ready, Ok(Ok(()))) {
                    continue;
                }
            }
            return Some(Pooled { sender, timer, id, cut, pool: Rc::clone(self), reused: true });
        }
    }

    /// A new connection.
    pub(crate) async fn connect(self: &Rc<Self>, bounds: Bounds) -> Option<Pooled> {
        let connecting = TcpStream::connect(self.endpoint.address);
        let stream = tokio::time::timeout(bounds.connect, connecting).await.ok()?.ok()?;
        // Without it small requests wait for an acknowledgement; a socket that refuses the option still works.
        let _ = stream.set_nodelay(true);
        let silence = Silence { idle: bounds.idle, head: bounds.idle };
        let io = TokioIo::new(Link::upstream(stream, silence));
        let (sender, connection) = http1::handshake(io).await.ok()?;
        let id = self.next_id.get();
        self.next_id.set(id.wrapping_add(1));
        let pool = Rc::clone(self);
        let cut = Rc::new(Cell::new(false));
        let task = tokio::task::spawn_local(async move {
            // Its error reaches the request in flight; an idle connection's end is no news.
            let _ = connection.with_upgrades().await;
            pool.live.borrow_mut().remove(&id);
        });
        let live = Live { task: task.abort_handle(), cut: Rc::clone(&cut), kind: Kind::Http };
        self.live.borrow_mut().insert(id, live);
        Some(Pooled { sender, timer: LazyTimer::default(), id, cut, pool: Rc::clone(self), reused: false })
    }

    /// Registers a tunnel, so that it can be cut; returns its number.
    pub(crate) fn tunnel(&self, task: AbortHandle) -> u64 {
        let id = self.next_id.get();
        self.next_id.set(id.wrapping_add(1));
        self.live.borrow_mut().insert(id, Live { task, cut: Rc::default(), kind: Kind::Upgraded });
        id
    }

    /// A tunnel ended.
    pub(crate) fn tunnel_closed(&self, id: u64) {
        self.live.borrow_mut().remove(&id);
    }

    /// Closes connections that were idle for too long. Called once per tick.
    pub(crate) fn tick(&self) {
        let now = self.tick.get() + 1;
        self.tick.set(now);
        self.idle
            .borrow_mut()
            .retain(|idle| !idle.sender.is_closed() && now.saturating_sub(idle.since_tick) < IDLE_TICKS);
    }

    /// Closes all idle connections.
    pub(crate) fn close_idle(&self) {
        self.idle.borrow_mut().clear();
    }

    /// Cuts the connections of a kind; what they carry fails.
    pub(crate) fn cut(&self, kind: Kind) {
        if kind == Kind::Http {
            self.close_idle();
        }
        self.live.borrow_mut().retain(|_, live| {
            if live.kind == kind {
                live.cut.set(true);
                live.task.abort();
            }
            live.kind != kind
        });
    }

    /// Whether nothing is left of it.
    pub(crate) fn is_unused(&self) -> bool {
        self.live.borrow().is_empty() && !self.endpoint.routable.load(Relaxed)
    }
}

impl Pooled {
    /// Whether the proxy itself cut the connection.
    pub(crate) fn was_cut(&self) -> bool {
        self.cut.get()
    }

    /// Sends the request in `slot` and waits for the head of its answer.
    pub(crate) async fn send(
        &mut self,
        slot: &mut Option<Request<RequestBody>>,
        response: Duration,
        progress: &Progress,
    ) -> Result<Response<Incoming>, Unanswered> {
        let timer = &mut self.timer;
        let Some(request) = slot.take() else { return Err(Unanswered::Lost) };
        let mut sending = pin!(self.sender.try_send_request(request));
        poll_fn(|cx| {
            if let Poll::Ready(answer) = sending.as_mut().poll(cx) {
                return Poll::Ready(answer.map_err(|mut error| match error.take_message() {
                    Some(request) => {
                        *slot = Some(request);
                        Unanswered::Unsent
                    }
                    None if progress.user_failed() => Unanswered::User,
                    None => Unanswered::Lost,
                }));
            }
            // While the user is still sending, only the body's own bound on silence counts.
            let since = progress.ended().unwrap_or_else(Instant::now);
            timer.poll_until(since + response, cx).map(|()| Err(Unanswered::Late))
        })
        .await
    }

    /// Puts the connection back for the next request.
    pub(crate) fn give_back(self) {
        let Self { sender, timer, id, cut, pool, .. } = self;
        if sender.is_closed() || cut.get() || !pool.endpoint.routable.load(Relaxed) {
            return;
        }
        let mut idle = pool.idle.borrow_mut();
        if idle.len() < IDLE_MAX {
            idle.push(Idle { sender, timer, id, cut, since_tick: pool.tick.get() });
        }
    }
}

/// Counts a request on its endpoint while it lives.
pub(crate) struct Load(Rc<Pool>);

impl Load {
    pub(crate) fn on(pool: &Rc<Pool>) -> Self {
        pool.endpoint.in_flight.fetch_add(1, Relaxed);
        Self(Rc::clone(pool))
    }

    pub(crate) fn pool(&self) -> &Rc<Pool> {
        &self.0
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.endpoint.in_flight.fetch_sub(1, Relaxed);
    }
}
