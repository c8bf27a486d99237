//! Small writes of one round of the event loop, done together at its end.
//!
//! Each write to a socket may wake the process on its other side, and that is dear when the process has just gone to
//! sleep. So what is to be written is kept, and written once every task that was woken by the same look at the sockets
//! has run: one task, woken by the first such write, stands behind all of them in the queue.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Bytes that one connection may have waiting for the end of the round; larger writes do not wait.
const WAITING_MAX: usize = 4_096;
/// Emptied buffers kept per thread.
const SPARE_MAX: usize = 128;

thread_local! {
    static ROUND: RefCell<Vec<Arc<Mutex<Outgoing>>>> = const { RefCell::new(Vec::new()) };
    static WRITER: RefCell<Option<Waker>> = const { RefCell::new(None) };
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static WRITES: Cell<bool> = const { Cell::new(false) };
}

/// Writes what each round of this thread's event loop leaves. Never ends; only with it running do writes wait.
pub(crate) async fn write_each_round() {
    WRITES.set(true);
    poll_fn(|cx| {
        WRITER.with_borrow_mut(|writer| match writer {
            Some(known) => known.clone_from(cx.waker()),
            None => *writer = Some(cx.waker().clone()),
        });
        write_round();
        Poll::<()>::Pending
    })
    .await;
}

/// Writes what waits on this thread now.
pub(crate) fn write_round() {
    // Writing wakes tasks but runs none, so nothing is added meanwhile.
    ROUND.with_borrow_mut(|round| {
        for outgoing in round.drain(..) {
            locked(&outgoing).end_round();
        }
    });
}

fn locked(outgoing: &Mutex<Outgoing>) -> MutexGuard<'_, Outgoing> {
    outgoing.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection whose small writes wait for the end of the round.
pub(crate) struct Batched {
    incoming: OwnedReadHalf,
    outgoing: Arc<Mutex<Outgoing>>,
}

/// The write side of a connection.
struct Outgoing {
    half: OwnedWriteHalf,
    /// What waits, from `written` on.
    waiting: Vec<u8>,
    written: usize,
    /// Whether it is among those written at the end of this round.
    listed: bool,
    /// What went wrong then; the next writer hears of it.
    error: Option<io::Error>,
    /// Whom to wake when not everything could be written.
    owner: Option<Waker>,
}

impl Batched {
    /// Takes over a connection.
    pub(crate) fn new(stream: TcpStream) -> Self {
        let (incoming, half) = stream.into_split();
        let outgoing =
            Outgoing { half, waiting: Vec::new(), written: 0, listed: false, error: None, owner: None };
        Self { incoming, outgoing: Arc::new(Mutex::new(outgoing)) }
    }
}

impl Outgoing {
    /// Keeps a write for the end of the round; `false` when it is too large, or nobody would write it then.
    fn keep(&mut self, bufs: &[IoSlice<'_>], length: usize, owner: &Waker) -> bool {
        let blocked = !self.listed && !self.waiting.is_empty();
        if blocked || length.saturating_add(self.waiting.len()) > WAITING_MAX || !WRITES.get() {
            return false;
        }
        if self.waiting.capacity() == 0 {
            self.waiting = SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(WAITING_MAX));
        }
        for buf in bufs {
            self.waiting.extend_from_slice(buf);
        }
        match &mut self.owner {
            Some(known) => known.clone_from(owner),
            None => self.owner = Some(owner.clone()),
        }
        true
    }

    /// Writes without waiting. What is left, and what went wrong, is its owner's to deal with.
    fn end_round(&mut self) {
        self.listed = false;
        while let Some(rest) = self.waiting.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.half.try_write(rest) {
                Ok(count) if count > 0 => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => {
                    self.error = outcome.err().filter(|error| error.kind() != io::ErrorKind::WouldBlock);
                    if let Some(owner) = &self.owner {
                        owner.wake_by_ref();
                    }
                    return;
                }
            }
        }
        self.emptied();
    }

    fn emptied(&mut self) {
        self.written = 0;
        let mut spare = std::mem::take(&mut self.waiting);
        if spare.capacity() > 0 {
            spare.clear();
            SPARE.with_borrow_mut(|spares| {
                if spares.len() < SPARE_MAX {
                    spares.push(spare);
                }
            });
        }
    }

    /// Writes all that waits, now.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.error.take() {
            return Poll::Ready(Err(error));
        }
        while let Some(rest) = self.waiting.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.half).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        self.emptied();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Batched {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().incoming).poll_read(cx, buf)
    }
}

impl AsyncWrite for Batched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut outgoing = locked(&self.outgoing);
        let length = bufs.iter().map(|buf| buf.len()).sum();
        if outgoing.error.is_none() && outgoing.keep(bufs, length, cx.waker()) {
            if !std::mem::replace(&mut outgoing.listed, true) {
                drop(outgoing);
                list(&self.outgoing);
            }
            return Poll::Ready(Ok(length));
        }
        ready!(outgoing.poll_rest(cx))?;
        Pin::new(&mut outgoing.half).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut outgoing = locked(&self.outgoing);
        // What is listed leaves at the end of the round by itself.
        if outgoing.listed { Poll::Ready(Ok(())) } else { outgoing.poll_rest(cx) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut outgoing = locked(&self.outgoing);
        ready!(outgoing.poll_rest(cx))?;
        Pin::new(&mut outgoing.half).poll_shutdown(cx)
    }
}

/// To be written at the end of this round. The list keeps the connection open until then.
fn list(outgoing: &Arc<Mutex<Outgoing>>) {
    let first = ROUND.with_borrow_mut(|round| {
        round.push(Arc::clone(outgoing));
        round.len() == 1
    });
    if first {
        WRITER.with_borrow(|writer| writer.iter().for_each(Waker::wake_by_ref));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::runtime::{Builder, LocalOptions};

    async fn pair() -> (Batched, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (ours, theirs) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (Batched::new(ours.unwrap()), theirs.unwrap().0)
    }

    fn with_writer(test: impl Future<Output = ()>) {
        let runtime =
            Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
        runtime.block_on(async {
            tokio::task::spawn_local(write_each_round());
            tokio::task::yield_now().await;
            test.await;
        });
    }

    #[test]
    fn a_small_write_leaves_at_the_end_of_the_round_even_when_its_connection_is_dropped_before() {
        with_writer(async {
            let (mut ours, mut theirs) = pair().await;
            ours.write_all(b"one, ").await.unwrap();
            ours.write_all(b"two").await.unwrap();
            assert!(theirs.try_read(&mut [0; 8]).is_err(), "nothing left yet");
            drop(ours);
            let mut said = String::new();
            theirs.read_to_string(&mut said).await.unwrap();
            assert_eq!(said, "one, two");
        });
    }

    #[test]
    fn small_and_large_writes_to_a_slow_reader_arrive_whole_and_in_order() {
        with_writer(async {
            let (mut ours, mut theirs) = pair().await;
            let sent: Vec<u8> = (0..8_000_000_u32).map(|n| n.to_le_bytes()[(n % 3) as usize]).collect();
            let wanted = sent.clone();
            let writing = async move {
                for (number, part) in sent.chunks(3_000).enumerate() {
                    let (small, rest) = part.split_at(part.len().min(100));
                    ours.write_all(small).await.unwrap();
                    ours.write_all(rest).await.unwrap();
                    if number % 7 == 0 {
                        ours.flush().await.unwrap();
                        tokio::task::yield_now().await;
                    }
                }
                ours.shutdown().await.unwrap();
            };
            let mut received = Vec::new();
            let ((), read) = tokio::join!(writing, theirs.read_to_end(&mut received));
            read.unwrap();
            assert!(received == wanted, "{} of {} bytes, or in another order", received.len(), wanted.len());
        });
    }
}
