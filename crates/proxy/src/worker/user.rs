//! One user's connection: from its first byte to its end.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::drain::Connected;
use super::headers::Forwarded;
use super::link::{Link, Phase, Silence};
use super::local::LocalService;
use super::serve;

/// Streams at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 256;
/// Largest HTTP/2 head, bytes.
const HEAD_MAX: u32 = 64 * 1024;
/// HTTP/2 connections are asked for a sign of life this often.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// First bytes of an HTTP/2 connection (RFC 9113 section 3.4); four of them tell it from every HTTP/1 method.
const PREFACE: &[u8] = b"PRI ";
/// Pause before looking again at a connection that has sent less than that.
const PREFACE_PAUSE: Duration = Duration::from_millis(5);

/// A user's connection as its requests see it.
pub(crate) struct User {
    pub(crate) service: Rc<LocalService>,
    pub(crate) address: SocketAddr,
    pub(crate) forwarded: Forwarded,
    pub(crate) tls: bool,
    pub(crate) phase: Arc<Phase>,
}

/// Runs HTTP/2's streams on this thread.
#[derive(Clone, Copy)]
struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// Serves one accepted connection until it ends.
pub(crate) async fn serve(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    service: Rc<LocalService>,
    connected: Connected,
) {
    // Without it small answers wait for an acknowledgement; a socket that refuses the option still works.
    let _ = stream.set_nodelay(true);
    let limits = service.routes().routes.limits.clone();
    let silence = Silence {
        idle: Duration::from_millis(limits.idle_ms),
        head: Duration::from_millis(limits.header_read_ms),
    };
    let user = User {
        service,
        address,
        forwarded: Forwarded::new(address.ip(), tls.is_some()),
        tls: tls.is_some(),
        phase: Arc::default(),
    };
    if let Some(acceptor) = tls {
        let Ok(Ok(stream)) = tokio::time::timeout(silence.head, acceptor.accept(stream)).await else {
            return;
        };
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        converse(stream, http2, silence, user, connected).await;
    } else {
        let Ok(Some(http2)) = tokio::time::timeout(silence.head, speaks_http2(&stream)).await else { return };
        converse(stream, http2, silence, user, connected).await;
    }
}

/// Whether the connection starts as HTTP/2 without TLS ("prior knowledge"); `None` when it ended.
async fn speaks_http2(stream: &TcpStream) -> Option<bool> {
    loop {
        let mut first = [0_u8; 4];
        let count = stream.peek(&mut first).await.ok().filter(|count| *count > 0)?;
        let first = first.get(..count)?;
        if !PREFACE.starts_with(first) {
            return Some(false);
        }
        if first == PREFACE {
            return Some(true);
        }
        tokio::time::sleep(PREFACE_PAUSE).await;
    }
}

async fn converse<S>(stream: S, http2: bool, silence: Silence, user: User, connected: Connected)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(Link::user(stream, silence, Arc::clone(&user.phase), !http2));
    let user = Rc::new(user);
    let draining = Rc::clone(&user.service.draining);
    let service = service_fn(move |request| serve::serve(Rc::clone(&user), request));
    let (mut told, mut registered) = (false, false);
    macro_rules! drive {
        ($connection:expr, $leave:ident) => {{
            let mut connection = pin!($connection);
            // A connection's error is its user's: it is closed, and that is all there is to do.
            let _ = poll_fn(|cx| {
                if !registered {
                    registered = true;
                    draining.register(connected.id, cx.waker());
                }
                if !told && draining.$leave() {
                    told = true;
                    connection.as_mut().graceful_shutdown();
                }
                match connection.as_mut().poll(cx) {
                    Poll::Ready(ended) => Poll::Ready(ended.is_ok()),
                    Poll::Pending => Poll::Pending,
                }
            })
            .await;
        }};
    }
    if http2 {
        let mut builder = http2::Builder::new(LocalExecutor);
        builder.timer(TokioTimer::new()).keep_alive_interval(PING_INTERVAL).keep_alive_timeout(PING_INTERVAL);
        builder.max_concurrent_streams(STREAMS_MAX).max_header_list_size(HEAD_MAX);
        drive!(builder.serve_connection(io, service), on);
    } else {
        drive!(http1::Builder::new().serve_connection(io, service).with_upgrades(), closing);
    }
}

/// Boxes a future so that a large one does not grow every connection's task.
pub(crate) fn boxed<'a, T>(future: impl Future<Output = T> + 'a) -> Pin<Box<dyn Future<Output = T> + 'a>> {
    Box::pin(future)
}
