//! A connection's byte stream with bounds on silence: a user who never sends or never reads, an instance that never reads.

use std::cell::{Cell, RefCell};
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::TICK;
use super::framing::Framing;

/// Writes up to this size are copied together: that costs less than a gathering system call.
const GATHER_MAX: usize = 4_096;

thread_local! {
    static GATHERED: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(GATHER_MAX));
    static ROUGHLY_NOW: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Sets this thread's rough clock. Called once per [`TICK`].
pub(crate) fn set_rough_clock() {
    ROUGHLY_NOW.set(Some(Instant::now() + TICK));
}

/// At most two ticks later than now, never earlier: silences between requests need no better clock, and two exact
/// readings per request are dear.
fn roughly_now() -> Instant {
    ROUGHLY_NOW.get().unwrap_or_else(Instant::now)
}

/// Longest silences of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Silence {
    /// Between two requests, and while writing.
    pub(crate) idle: Duration,
    /// From the first byte of a request's head to its last.
    pub(crate) head: Duration,
}

/// Where a user's connection is, told by the requests on it to its byte stream.
#[derive(Default)]
pub(crate) struct Phase {
    /// Requests in flight.
    busy: AtomicU32,
    /// Requests begun since the connection was opened.
    begun: AtomicU32,
    /// The last head had two different framings.
    ambiguous: AtomicBool,
}

impl Phase {
    pub(crate) fn begin(&self) {
        self.begun.fetch_add(1, Relaxed);
        self.busy.fetch_add(1, Relaxed);
    }

    pub(crate) fn end(&self) {
        self.busy.fetch_sub(1, Relaxed);
    }

    /// Whether a head on this connection carried both `Content-Length` and `Transfer-Encoding`.
    pub(crate) fn ambiguous(&self) -> bool {
        self.ambiguous.load(Relaxed)
    }
}

/// A timer that moves with its deadline only when it fires, so that a deadline set anew for every request costs nothing.
#[derive(Default)]
pub(crate) struct LazyTimer(Option<Pin<Box<Sleep>>>);

impl LazyTimer {
    /// Ready when the deadline has passed.
    pub(crate) fn poll_until(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

/// What the read side of a user's connection waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// The first byte of a head, since then.
    Idle(Instant),
    /// The rest of a head, since then.
    Head(Instant),
    /// Nothing: a request is in flight, its body has its own bound.
    Busy,
}

/// The read side of a user's connection.
struct Listening {
    phase: Arc<Phase>,
    waiting: Waiting,
    begun: u32,
    /// HTTP/2 has its own heads; only idleness is watched.
    framing: Option<Framing>,
    timer: LazyTimer,
}

/// A byte stream with bounds on silence.
pub(crate) struct Link<S> {
    stream: S,
    silence: Silence,
    listening: Option<Listening>,
    stalled: Option<Instant>,
    write_timer: LazyTimer,
}

impl<S> Link<S> {
    /// A user's connection. `http1` tells whether heads can be told apart.
    pub(crate) fn user(stream: S, silence: Silence, phase: Arc<Phase>, http1: bool) -> Self {
        let listening = Listening {
            phase,
            waiting: Waiting::Idle(Instant::now()),
            begun: 0,
            framing: http1.then(Framing::default),
            timer: LazyTimer::default(),
        };
        Self { listening: Some(listening), ..Self::upstream(stream, silence) }
    }

    /// A connection to an instance.
    pub(crate) fn upstream(stream: S, silence: Silence) -> Self {
        Self { stream, silence, listening: None, stalled: None, write_timer: LazyTimer::default() }
    }

    /// Fails a write that has waited too long.
    fn bound_write<T>(&mut self, result: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stalled = None;
            return result;
        }
        let since = *self.stalled.get_or_insert_with(Instant::now);
        ready!(self.write_timer.poll_until(since + self.silence.idle, cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the other side does not read")))
    }
}

impl Listening {
    /// Follows the requests: a new one resets what is waited for.
    fn follow(&mut self) {
        let begun = self.phase.begun.load(Relaxed);
        if self.phase.busy.load(Relaxed) > 0 {
            self.waiting = Waiting::Busy;
        } else if self.waiting == Waiting::Busy || begun != self.begun {
            self.waiting = Waiting::Idle(roughly_now());
        }
        self.begun = begun;
    }

    fn received(&mut self, bytes: &[u8]) {
        let idle = self.phase.busy.load(Relaxed) == 0;
        let Some(framing) = &mut self.framing else { return };
        if framing.scan(bytes, idle) {
            self.phase.ambiguous.store(true, Relaxed);
        }
        if idle && matches!(self.waiting, Waiting::Idle(_)) {
            self.waiting = Waiting::Head(roughly_now());
        }
    }

    fn poll_overdue(&mut self, silence: Silence, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (deadline, what) = match self.waiting {
            Waiting::Idle(since) => (since + silence.idle, "no request came"),
            Waiting::Head(since) => (since + silence.head, "the request's head did not end"),
            Waiting::Busy => return Poll::Pending,
        };
        ready!(self.timer.poll_until(deadline, cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, what)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Link<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let result = Pin::new(&mut this.stream).poll_read(cx, buf);
        let Some(listening) = &mut this.listening else { return result };
        listening.follow();
        if result.is_pending() {
            return listening.poll_overdue(this.silence, cx);
        }
        listening.received(buf.filled().get(before..).unwrap_or_default());
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Link<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.bound_write(result, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = if bufs.iter().map(|buf| buf.len()).sum::<usize>() <= GATHER_MAX {
            GATHERED.with_borrow_mut(|whole| {
                whole.clear();
                for buf in bufs {
                    whole.extend_from_slice(buf);
                }
                Pin::new(&mut this.stream).poll_write(cx, whole)
            })
        } else {
            Pin::new(&mut this.stream).poll_write_vectored(cx, bufs)
        };
        this.bound_write(result, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_flush(cx);
        this.bound_write(result, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.bound_write(result, cx)
    }
}
