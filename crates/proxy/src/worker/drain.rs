//! Ends one thread's connections without losing a request.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::task::Waker;

use tokio::sync::Notify;

/// How far the thread is in going away.
#[derive(Default)]
pub(crate) struct Draining {
    on: Cell<bool>,
    closing: Cell<bool>,
    next_id: Cell<u64>,
    wakers: RefCell<HashMap<u64, Waker>>,
    connections: Cell<usize>,
    tunnels: Cell<usize>,
    changed: Notify,
}

impl Draining {
    /// From now on every HTTP/1 answer ends its connection, and HTTP/2 connections are told to go away.
    pub(crate) fn start(&self) {
        self.on.set(true);
        self.wake();
    }

    /// From now on idle connections are closed.
    pub(crate) fn close_idle(&self) {
        self.closing.set(true);
        self.wake();
    }

    pub(crate) fn on(&self) -> bool {
        self.on.get()
    }

    pub(crate) fn closing(&self) -> bool {
        self.closing.get()
    }

    /// Connections open, and upgraded ones.
    pub(crate) fn open(&self) -> (usize, usize) {
        (self.connections.get(), self.tunnels.get())
    }

    /// Waits for a connection to end.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn wake(&self) {
        self.wakers.borrow().values().for_each(Waker::wake_by_ref);
    }

    /// Remembers whom to wake for a connection.
    pub(crate) fn register(&self, id: u64, waker: &Waker) {
        self.wakers.borrow_mut().insert(id, waker.clone());
    }
}

/// Counts a connection while it lives.
pub(crate) struct Connected {
    draining: std::rc::Rc<Draining>,
    pub(crate) id: u64,
    tunnel: bool,
}

impl Connected {
    pub(crate) fn connection(draining: &std::rc::Rc<Draining>) -> Self {
        draining.connections.set(draining.connections.get() + 1);
        Self::new(draining, false)
    }

    pub(crate) fn tunnel(draining: &std::rc::Rc<Draining>) -> Self {
        draining.tunnels.set(draining.tunnels.get() + 1);
        Self::new(draining, true)
    }

    fn new(draining: &std::rc::Rc<Draining>, tunnel: bool) -> Self {
        let id = draining.next_id.get();
        draining.next_id.set(id.wrapping_add(1));
        Self { draining: std::rc::Rc::clone(draining), id, tunnel }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let count = if self.tunnel { &self.draining.tunnels } else { &self.draining.connections };
        count.set(count.get().saturating_sub(1));
        self.draining.wakers.borrow_mut().remove(&self.id);
        self.draining.changed.notify_one();
    }
}
