//! The data plane's threads. Each has its own single-threaded runtime, listeners, connections and counters; what they share
//! is the routes (read) and the endpoints' atomics.

mod body;
mod drain;
mod exchange;
mod forward;
mod framing;
mod headers;
mod link;
mod local;
mod mirror;
mod pool;
mod serve;
mod tunnel;
mod user;

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;

use crate::service::Service;
use drain::{Connected, Draining};
use local::LocalService;
pub(crate) use pool::Kind;

/// Time between rounds of regular care.
pub(crate) const TICK: Duration = Duration::from_millis(250);
/// Orders that may wait for one thread.
const ORDERS_MAX: usize = 256;
/// Connections of users open at once on one thread; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 50_000;
/// Pause after an accept failed for lack of something (descriptors, memory).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// One address that users connect to, shared by all threads.
pub(crate) struct Door {
    /// Number of this address in the process's life.
    pub(crate) id: u64,
    pub(crate) address: SocketAddr,
    pub(crate) service: Arc<Service>,
    /// Present when the address speaks TLS; swapped when certificates change.
    pub(crate) tls: ArcSwapOption<ServerConfig>,
}

/// What the control thread asks of a worker. Each is answered once it is done.
pub(crate) enum Order {
    /// Accept on this socket.
    Listen(Arc<Door>, std::net::TcpListener),
    /// Stop accepting; with `empty`, first accept what waits in the queue (nobody else holds the socket).
    Unlisten { door: u64, empty: bool },
    /// Pick these endpoints of a service no more.
    Retire(Arc<Service>, Vec<u64>),
    /// Cut what is left of connections to an endpoint.
    Cut(Arc<Service>, u64, Kind),
    /// Forget a service that has no address any more.
    Forget(Arc<Service>),
    /// Stop accepting everywhere, finish, end. With `empty` as above.
    Drain { http: Duration, upgraded: Duration, empty: bool },
}

/// A worker as the control thread holds it.
pub(crate) struct Worker {
    orders: mpsc::Sender<(Order, oneshot::Sender<()>)>,
}

impl Worker {
    /// Starts thread number `number`.
    pub(crate) fn start(number: usize) -> io::Result<Self> {
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                Ok(runtime) => runtime.block_on(Inside::new(number).run(inbox)),
                Err(error) => tracing::error!(%error, "worker {number} cannot make its runtime"),
            }
        })?;
        Ok(Self { orders })
    }

    /// Gives an order; the receiver hears when it is done, or that the worker is gone.
    pub(crate) async fn order(&self, order: Order) -> oneshot::Receiver<()> {
        let (done, heard) = oneshot::channel();
        // A worker that is gone drops `done`, which the receiver notices.
        let _ = self.orders.send((order, done)).await;
        heard
    }
}

struct Inside {
    number: usize,
    draining: Rc<Draining>,
    services: RefCell<HashMap<String, Rc<LocalService>>>,
    doors: RefCell<HashMap<u64, Vec<Accepting>>>,
}

/// An accept loop: told to stop, it says when it has.
struct Accepting {
    stop: oneshot::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Inside {
    fn new(number: usize) -> Self {
        Self { number, draining: Rc::default(), services: RefCell::default(), doors: RefCell::default() }
    }

    async fn run(self, mut inbox: mpsc::Receiver<(Order, oneshot::Sender<()>)>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                order = inbox.recv() => {
                    let Some((order, done)) = order else { return };
                    let last = matches!(order, Order::Drain { .. });
                    self.obey(order).await;
                    // The control thread may have stopped waiting.
                    let _ = done.send(());
                    if last {
                        return;
                    }
                }
                _ = tick.tick() => {
                    link::set_rough_clock();
                    self.services.borrow().values().for_each(|service| service.tick());
                }
            }
        }
    }

    async fn obey(&self, order: Order) {
        match order {
            Order::Listen(door, socket) => self.listen(door, socket),
            Order::Unlisten { door, empty } => {
                let accepting = self.doors.borrow_mut().remove(&door).unwrap_or_default();
                stop(accepting, empty).await;
            }
            Order::Retire(service, endpoints) => self.service(&service).retire(&endpoints),
            Order::Cut(service, endpoint, kind) => self.service(&service).cut(endpoint, kind),
            Order::Forget(service) => {
                self.services.borrow_mut().remove(&service.name);
            }
            Order::Drain { http, upgraded, empty } => self.drain(http, upgraded, empty).await,
        }
    }

    fn service(&self, service: &Arc<Service>) -> Rc<LocalService> {
        let mut services = self.services.borrow_mut();
        let local = services.entry(service.name.clone()).or_insert_with(|| {
            Rc::new(LocalService::new(Arc::clone(service), self.number, Rc::clone(&self.draining)))
        });
        Rc::clone(local)
    }

    fn listen(&self, door: Arc<Door>, socket: std::net::TcpListener) {
        let listener = match TcpListener::from_std(socket) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, address = %door.address, "worker {} cannot listen", self.number);
                return;
            }
        };
        let (stop, stopped) = oneshot::channel();
        let id = door.id;
        let service = self.service(&door.service);
        let task =
            tokio::task::spawn_local(accept(listener, door, service, Rc::clone(&self.draining), stopped));
        self.doors.borrow_mut().entry(id).or_default().push(Accepting { stop, task });
    }

    /// First half of the time: answers end their connections. Second half: idle connections are closed. Then all that is
    /// left of HTTP is cut, and later all that is left of tunnels.
    async fn drain(&self, http: Duration, upgraded: Duration, empty: bool) {
        let doors = self.doors.borrow_mut().drain().flat_map(|(_, accepting)| accepting).collect();
        stop(doors, empty).await;
        let begun = tokio::time::Instant::now();
        self.draining.start();
        self.until(begun + http / 2, |(connections, tunnels)| connections == 0 && tunnels == 0).await;
        self.draining.close_idle();
        self.until(begun + http, |(connections, tunnels)| connections == 0 && tunnels == 0).await;
        self.until(begun + upgraded, |(_, tunnels)| tunnels == 0).await;
    }

    async fn until(&self, deadline: tokio::time::Instant, done: impl Fn((usize, usize)) -> bool) {
        while !done(self.draining.open()) {
            if tokio::time::timeout_at(deadline, self.draining.changed()).await.is_err() {
                return;
            }
        }
    }
}

async fn stop(doors: Vec<Accepting>, empty: bool) {
    for Accepting { stop, task } in doors {
        // An accept loop ends only when told to, so both halves are there.
        let _ = stop.send(empty);
        let _ = task.await;
    }
}

async fn accept(
    listener: TcpListener,
    door: Arc<Door>,
    service: Rc<LocalService>,
    draining: Rc<Draining>,
    mut stopped: oneshot::Receiver<bool>,
) {
    let empty = loop {
        tokio::select! {
            biased;
            empty = &mut stopped => break empty.unwrap_or(false),
            accepted = accept_one(&listener, &draining) => match accepted {
                Ok(accepted) => greet(accepted, &door, &service, &draining),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!(%error, address = %door.address, "cannot accept; trying again");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    };
    while empty && let Some(Ok(accepted)) = futures_util::FutureExt::now_or_never(listener.accept()) {
        greet(accepted, &door, &service, &draining);
    }
}

/// The next connection, once there is room for it.
async fn accept_one(listener: &TcpListener, draining: &Draining) -> io::Result<(TcpStream, SocketAddr)> {
    while draining.open().0 + draining.open().1 >= CONNECTIONS_MAX {
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
    listener.accept().await
}

fn greet(
    (stream, address): (TcpStream, SocketAddr),
    door: &Arc<Door>,
    service: &Rc<LocalService>,
    draining: &Rc<Draining>,
) {
    let tls = door.tls.load_full().map(TlsAcceptor::from);
    let connected = Connected::connection(draining);
    tokio::task::spawn_local(user::serve(stream, address, tls, Rc::clone(service), connected));
}
