//! Connections to one endpoint, kept by one thread: the last one used is the first one used again.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::body::{Progress, RequestBody};
use super::link::{LazyTimer, Link, Silence};
use crate::endpoint::Endpoint;

/// Idle connections kept per endpoint and thread.
const IDLE_MAX: usize = 256;
/// Ticks (of [`TICK`](super::TICK)) that a connection may be idle: below 2 s, the shortest keep-alive of common servers.
const IDLE_TICKS: u64 = 7;

/// Rounds of driving a connection that asks for more at once, before its task lets others run.
const DRIVES_MAX: usize = 4;

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

/// Whom a connection's own events wake: the task that drives it now.
///
/// hyper's machine is given this waker, never the task's own. So it need not be told anew when another user's task takes
/// the connection, and wake-ups that a task causes itself, in the middle of driving, cost it no second round.
#[derive(Default)]
struct Leash {
    target: Mutex<Option<Waker>>,
    quiet: AtomicBool,
    missed: AtomicBool,
    cut: AtomicBool,
}

impl Leash {
    fn aim(&self, waker: &Waker) {
        let mut target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *target {
            Some(known) => known.clone_from(waker),
            None => *target = Some(waker.clone()),
        }
    }

    fn wake(&self) {
        let target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waker) = &*target {
            waker.wake_by_ref();
        }
    }

    fn cut(&self) {
        self.cut.store(true, Relaxed);
        self.wake();
    }

    fn is_cut(&self) -> bool {
        self.cut.load(Relaxed)
    }
}

impl Wake for Leash {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.quiet.load(Relaxed) {
            self.missed.store(true, Relaxed);
        } else {
            Leash::wake(self);
        }
    }
}

/// One connection. It has no task of its own: whoever uses it drives it, which saves two changes of task per request.
struct Connection {
    sender: SendRequest<RequestBody>,
    /// hyper's state machine; `None` once it ended.
    machine: Option<Pin<Box<dyn Future<Output = hyper::Result<()>>>>>,
    timer: LazyTimer,
    leash: Arc<Leash>,
    waker: Waker,
}

impl Connection {
    /// Lets it read and write as far as it can; events after that wake the caller's task.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if self.leash.is_cut() {
            self.machine = None;
        }
        self.leash.aim(cx.waker());
        for _ in 0..DRIVES_MAX {
            self.leash.missed.store(false, Relaxed);
            if !self.step() {
                return;
            }
        }
        cx.waker().wake_by_ref();
    }

    /// One round; whether the machine asked for another.
    fn step(&mut self) -> bool {
        let Some(machine) = &mut self.machine else { return false };
        self.leash.quiet.store(true, Relaxed);
        // Its error reaches the request in flight.
        let ended = machine.as_mut().poll(&mut Context::from_waker(&self.waker)).is_ready();
        self.leash.quiet.store(false, Relaxed);
        if ended {
            self.machine = None;
        }
        !ended && self.leash.missed.load(Relaxed)
    }

    fn usable(&self) -> bool {
        self.machine.is_some() && !self.sender.is_closed() && !self.leash.is_cut()
    }
}

/// One thread's connections to one endpoint.
pub(crate) struct Pool {
    pub(crate) endpoint: Arc<Endpoint>,
    /// `IP:port` as text, for requests without a `Host`.
    pub(crate) address: String,
    /// Idle connections with the tick since which they are.
    idle: RefCell<Vec<(Connection, u64)>>,
    live: RefCell<Vec<Weak<Leash>>>,
    tunnels: RefCell<HashMap<u64, AbortHandle>>,
    next_tunnel: Cell<u64>,
    tick: Cell<u64>,
}

/// A connection in use.
pub(crate) struct Pooled {
    connection: Connection,
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
            tunnels: RefCell::default(),
            next_tunnel: Cell::new(0),
            tick: Cell::new(0),
        }
    }

    /// The last idle connection. It may have been closed meanwhile: then it hands the request back.
    pub(crate) fn reuse(self: &Rc<Self>) -> Option<Pooled> {
        loop {
            let (connection, _) = self.idle.borrow_mut().pop()?;
            if connection.usable() {
                return Some(Pooled { connection, pool: Rc::clone(self), reused: true });
            }
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
        let (sender, machine) = http1::handshake(io).await.ok()?;
        let leash: Arc<Leash> = Arc::default();
        self.live.borrow_mut().push(Arc::downgrade(&leash));
        let waker = Waker::from(Arc::clone(&leash));
        let machine: Pin<Box<dyn Future<Output = hyper::Result<()>>>> = Box::pin(machine.with_upgrades());
        let connection =
            Connection { sender, machine: Some(machine), timer: LazyTimer::default(), leash, waker };
        Some(Pooled { connection, pool: Rc::clone(self), reused: false })
    }

    /// Registers a tunnel, so that it can be cut; returns its number.
    pub(crate) fn tunnel(&self, task: AbortHandle) -> u64 {
        let id = self.next_tunnel.get();
        self.next_tunnel.set(id.wrapping_add(1));
        self.tunnels.borrow_mut().insert(id, task);
        id
    }

    /// A tunnel ended.
    pub(crate) fn tunnel_closed(&self, id: u64) {
        self.tunnels.borrow_mut().remove(&id);
    }

    /// Closes connections that were idle for too long. Called once per tick.
    pub(crate) fn tick(&self) {
        let now = self.tick.get() + 1;
        self.tick.set(now);
        self.idle.borrow_mut().retain(|(_, since)| now.saturating_sub(*since) < IDLE_TICKS);
        self.live.borrow_mut().retain(|leash| leash.strong_count() > 0);
    }

    /// Closes all idle connections.
    pub(crate) fn close_idle(&self) {
        self.idle.borrow_mut().clear();
    }

    /// Cuts the connections of a kind; what they carry fails.
    pub(crate) fn cut(&self, kind: Kind) {
        match kind {
            Kind::Http => {
                self.close_idle();
                self.live.borrow().iter().filter_map(Weak::upgrade).for_each(|leash| leash.cut());
            }
            Kind::Upgraded => self.tunnels.borrow().values().for_each(AbortHandle::abort),
        }
    }

    /// Whether nothing is left of it.
    pub(crate) fn is_unused(&self) -> bool {
        let dead = |leash: &Weak<Leash>| leash.strong_count() == 0;
        !self.endpoint.routable.load(Relaxed)
            && self.tunnels.borrow().is_empty()
            && self.live.borrow().iter().all(dead)
    }
}

impl Pooled {
    /// Sends the request in `slot` and waits for the head of its answer.
    pub(crate) async fn send(
        &mut self,
        slot: &mut Option<Request<RequestBody>>,
        response: Duration,
        progress: &Progress,
    ) -> Result<Response<Incoming>, Unanswered> {
        let Some(request) = slot.take() else { return Err(Unanswered::Lost) };
        let connection = &mut self.connection;
        // Whoever drove it last need not hear that it gets a request.
        connection.leash.quiet.store(true, Relaxed);
        let mut sending = pin!(connection.sender.try_send_request(request));
        poll_fn(|cx| {
            connection.drive(cx);
            // Only driving brings the answer, so nothing needs to wake for it.
            if let Poll::Ready(answer) = sending.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
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
            connection.timer.poll_until(since + response, cx).map(|()| Err(Unanswered::Late))
        })
        .await
    }

    /// The next part of the answer's body.
    pub(crate) fn poll_frame(
        &mut self,
        incoming: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        // Only driving brings more, so nothing needs to wake for it.
        let mut unheard = Context::from_waker(Waker::noop());
        // Asking for more wakes the machine; it is driven at once, or when the caller asks again.
        self.connection.leash.quiet.store(true, Relaxed);
        let here = Pin::new(&mut *incoming).poll_frame(&mut unheard);
        self.connection.leash.quiet.store(false, Relaxed);
        if here.is_ready() {
            return here;
        }
        self.connection.drive(cx);
        Pin::new(incoming).poll_frame(&mut unheard)
    }

    /// Drives it to its end: until it has left HTTP after an upgrade.
    pub(crate) async fn finish(mut self) {
        poll_fn(|cx| {
            self.connection.drive(cx);
            if self.connection.machine.is_some() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    /// Whether the proxy itself cut the connection.
    pub(crate) fn was_cut(&self) -> bool {
        self.connection.leash.is_cut()
    }

    /// Puts the connection back for the next request.
    pub(crate) fn give_back(self) {
        let Self { mut connection, pool, .. } = self;
        if !connection.sender.is_ready() {
            // The end of the last answer may not have been noticed yet.
            connection.step();
        }
        connection.leash.quiet.store(true, Relaxed);
        if !connection.usable() || !connection.sender.is_ready() || !pool.endpoint.routable.load(Relaxed) {
            return;
        }
        let mut idle = pool.idle.borrow_mut();
        if idle.len() < IDLE_MAX {
            idle.push((connection, pool.tick.get()));
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
