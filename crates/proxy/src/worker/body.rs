//! Bodies on their way: passed on frame by frame, counted, and bounded in their silence.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::exchange::{Entry, Exchange};
use super::link::LazyTimer;
use super::mirror::Copying;
use super::pool::Pooled;
use crate::stats::Failure;

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cut {
    #[error("reading a body failed")]
    Broken(#[source] hyper::Error),
    #[error("no part of the body came within {0} ms")]
    Silent(u128),
    #[error("the connection was cut: its time to drain is over")]
    Drained,
}

impl From<Infallible> for Cut {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// A bound on the silence inside a body.
struct Patience {
    idle: Duration,
    since: Option<Instant>,
    timer: LazyTimer,
}

impl Patience {
    fn new(idle: Duration) -> Self {
        Self { idle, since: None, timer: LazyTimer::default() }
    }

    /// Passes on what came, or says that nothing has come for too long.
    fn bound(
        &mut self,
        polled: Poll<Option<hyper::Result<Frame<Bytes>>>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Poll::Ready(frame) = polled {
            self.since = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Cut::Broken)));
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        match self.timer.poll_until(since + self.idle, cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => Poll::Ready(Some(Err(Cut::Silent(self.idle.as_millis())))),
        }
    }
}

/// How far the sending of a request's body is.
#[derive(Clone)]
pub(crate) enum Progress {
    /// There is none: the request ended here.
    Empty(Instant),
    Body(Rc<Sending>),
}

/// A user's body on its way.
#[derive(Default)]
pub(crate) struct Sending {
    /// When its last byte was taken.
    ended: Cell<Option<Instant>>,
    /// The user's side failed, not the instance's.
    user_failed: Cell<bool>,
    /// Bytes taken.
    bytes: Cell<u64>,
}

impl Progress {
    /// When the request's last byte was taken.
    pub(crate) fn ended(&self) -> Option<Instant> {
        match self {
            Self::Empty(at) => Some(*at),
            Self::Body(sending) => sending.ended.get(),
        }
    }

    /// Whether the user's side failed.
    pub(crate) fn user_failed(&self) -> bool {
        matches!(self, Self::Body(sending) if sending.user_failed.get())
    }

    /// Body bytes taken from the user.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Empty(_) => 0,
            Self::Body(sending) => sending.bytes.get(),
        }
    }
}

/// A request's body on its way to an instance.
pub(crate) enum RequestBody {
    Empty,
    Full(Option<Bytes>),
    User(Box<UserBody>),
}

/// A user's body.
pub(crate) struct UserBody {
    incoming: Incoming,
    patience: Patience,
    sending: Rc<Sending>,
    copying: Option<Rc<Copying>>,
}

impl RequestBody {
    pub(crate) fn user(
        incoming: Incoming,
        idle: Duration,
        sending: Rc<Sending>,
        copying: Option<Rc<Copying>>,
    ) -> Self {
        Self::User(Box::new(UserBody { incoming, patience: Patience::new(idle), sending, copying }))
    }
}

impl UserBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        let polled = self.patience.bound(polled, cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.sending.bytes.set(self.sending.bytes.get().saturating_add(data.len() as u64));
                    if let Some(copying) = &self.copying {
                        copying.request_data(data);
                    }
                }
                if self.incoming.is_end_stream() {
                    self.sending.ended.set(Some(Instant::now()));
                }
            }
            Poll::Ready(Some(Err(_))) => self.sending.user_failed.set(true),
            Poll::Ready(None) => self.sending.ended.set(Some(Instant::now())),
            Poll::Pending => {}
        }
        polled
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::User(user) => user.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_none(),
            Self::User(user) => user.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::User(user) => user.incoming.size_hint(),
        }
    }
}

/// An answer's body on its way to a user.
pub(crate) enum AnswerBody {
    /// The proxy's own words.
    Own { bytes: Option<Bytes>, _entry: Entry },
    /// An instance's.
    Instance(Box<InstanceBody>),
}

/// An instance's body: gives the connection back to its pool at its end.
pub(crate) struct InstanceBody {
    incoming: Incoming,
    patience: Patience,
    /// `None` once the answer ended, and for a tunnel.
    connection: Option<Pooled>,
    exchange: Exchange,
    progress: Progress,
}

impl InstanceBody {
    pub(crate) fn new(
        incoming: Incoming,
        idle: Duration,
        connection: Option<Pooled>,
        exchange: Exchange,
        progress: Progress,
    ) -> Self {
        Self { incoming, patience: Patience::new(idle), connection, exchange, progress }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let polled = match &mut self.connection {
            Some(connection) => connection.poll_frame(&mut self.incoming, cx),
            None => Pin::new(&mut self.incoming).poll_frame(cx),
        };
        match self.patience.bound(polled, cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.exchange.answer_data(data);
                }
                if self.incoming.is_end_stream() {
                    self.complete();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(cut))) => {
                self.failed(&cut);
                Poll::Ready(Some(Err(cut)))
            }
            // A connection cut by us ends its body as if it were whole; it must not look whole to the user.
            Poll::Ready(None) if self.connection.as_ref().is_some_and(Pooled::was_cut) => {
                self.failed(&Cut::Drained);
                Poll::Ready(Some(Err(Cut::Drained)))
            }
            Poll::Ready(None) => {
                self.complete();
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn complete(&mut self) {
        self.exchange.complete();
        if let Some(connection) = self.connection.take()
            && self.progress.ended().is_some()
        {
            connection.give_back();
        }
    }

    fn failed(&mut self, cut: &Cut) {
        self.connection = None;
        match cut {
            Cut::Silent(_) => self.exchange.fail(Failure::Timeout),
            Cut::Broken(_) => self.exchange.fail(Failure::Reset),
            Cut::Drained => {}
        }
    }
}

impl Drop for InstanceBody {
    fn drop(&mut self) {
        if self.connection.is_some() && self.incoming.is_end_stream() {
            self.complete();
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self.get_mut() {
            Self::Own { bytes, .. } => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Instance(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own { bytes, .. } => bytes.is_none(),
            Self::Instance(body) => body.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own { bytes, .. } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Instance(body) => body.incoming.size_hint(),
        }
    }
}

/// Reads a whole body of at most `max` bytes; `None` when it is larger or breaks.
pub(crate) async fn collect(mut incoming: Incoming, connection: &mut Pooled, max: usize) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    while let Some(frame) = poll_fn(|cx| connection.poll_frame(&mut incoming, cx)).await {
        if let Some(data) = frame.ok()?.data_ref() {
            if whole.len().saturating_add(data.len()) > max {
                return None;
            }
            whole.extend_from_slice(data);
        }
    }
    Some(whole)
}
