//! One keep-alive connection as a user's client would hold it: opened again when the server closed it, never retrying.
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::report::{FailureClass, Seen};

/// Response header in which the proxy names the release that answered.
pub(crate) const RELEASE_HEADER: &str = "x-tidegate-release";

/// Where and what every request of a load goes to.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    pub(super) uri: Uri,
    /// Sent as they are; must hold `host`.
    pub(super) headers: HeaderMap,
    /// Bound of one exchange, connecting included.
    pub(super) timeout: Duration,
}

/// A client with at most one connection and one request at a time.
#[derive(Debug, Default)]
pub(super) struct Client {
    idle: Option<Connection>,
    /// Connections that the server closed between two requests and that were opened again.
    pub(super) reconnected: u64,
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Client {
    /// Sends one GET and reads the whole answer, within the target's timeout.
    ///
    /// A connection is kept for the next exchange only after a complete answer.
    pub(super) async fn exchange(&mut self, target: &Target) -> Seen {
        let mut release = None;
        let exchange = self.exchange_unbounded(target, &mut release);
        let result =
            tokio::time::timeout(target.timeout, exchange).await.unwrap_or(Err(FailureClass::Timeout));
        let failure = match result {
            Ok(status) => failure_of(status),
            Err(class) => Some(class),
        };
        Seen { release, failure }
    }

    async fn exchange_unbounded(
        &mut self,
        target: &Target,
        release: &mut Option<String>,
    ) -> Result<StatusCode, FailureClass> {
        if let Some(mut connection) = self.idle.take() {
            if let Some(response) = connection.send(target).await? {
                return self.read(connection, response, release).await;
            }
            self.reconnected += 1;
        }
        let mut connection = Connection::open(target.address).await?;
        let response = connection.send(target).await?.ok_or(FailureClass::Reset)?;
        self.read(connection, response, release).await
    }

    async fn read(
        &mut self,
        connection: Connection,
        response: Response<Incoming>,
        release: &mut Option<String>,
    ) -> Result<StatusCode, FailureClass> {
        let status = response.status();
        let named = response.headers().get(RELEASE_HEADER);
        *release = named.and_then(|name| name.to_str().ok()).map(str::to_owned);
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            frame.map_err(|error| class_of(&error))?;
        }
        self.idle = Some(connection);
        Ok(status)
    }
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self, FailureClass> {
        let stream = TcpStream::connect(address).await.map_err(|_| FailureClass::Connect)?;
        // Without it a request could wait for an acknowledgement; not worth failing for.
        let _ = stream.set_nodelay(true);
        let (sender, driver) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|_| FailureClass::Connect)?;
        // Errors of the connection reach the request that suffers from them.
        let driver = tokio::spawn(async move { drop(driver.await) });
        Ok(Self { sender, driver })
    }

    /// `None` means that the connection was closed before anything of the request was written: sending it again
    /// on another connection cannot make the server see it twice.
    async fn send(&mut self, target: &Target) -> Result<Option<Response<Incoming>>, FailureClass> {
        if self.sender.ready().await.is_err() {
            return Ok(None);
        }
        let mut request = Request::new(Empty::new());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = target.uri.clone();
        *request.headers_mut() = target.headers.clone();
        match self.sender.try_send_request(request).await {
            Ok(response) => Ok(Some(response)),
            Err(error) if error.message().is_some() => Ok(None),
            Err(error) => Err(class_of(error.error())),
        }
    }
}

fn failure_of(status: StatusCode) -> Option<FailureClass> {
    if status.is_success() || status.is_redirection() {
        None
    } else if status.is_client_error() {
        Some(FailureClass::Status4xx)
    } else {
        // What is neither success nor the client's fault: 5xx, and final answers outside the standard.
        Some(FailureClass::Status5xx)
    }
}

fn class_of(error: &hyper::Error) -> FailureClass {
    if error.is_parse() { FailureClass::Malformed } else { FailureClass::Reset }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    fn target(address: SocketAddr) -> Target {
        let headers = HeaderMap::from_iter([(hyper::header::HOST, "sample".parse().unwrap())]);
        Target { address, uri: Uri::from_static("/"), headers, timeout: Duration::from_secs(20) }
    }

    /// Answers the first request of every connection with these bytes, then closes it.
    async fn answering(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 1024];
                assert!(stream.read(&mut head).await.unwrap() > 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn a_connection_closed_between_requests_is_opened_again_and_no_failure() {
        let target = target(answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await);
        let mut client = Client::default();
        for round in 0..5 {
            let seen = client.exchange(&target).await;
            assert_eq!((seen.failure, client.reconnected), (None, round));
            while !client.idle.as_ref().unwrap().sender.is_closed() {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn a_request_of_which_nothing_was_written_is_sent_once_more() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = target(listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                kept.push(stream);
            }
        });
        let mut client = Client::default();
        assert_eq!(client.exchange(&target).await.failure, None);
        while !client.idle.as_ref().unwrap().sender.is_ready() {
            tokio::task::yield_now().await;
        }
        // The connection ends between taking the request and writing it.
        client.idle.as_ref().unwrap().driver.abort();
        let seen = client.exchange(&target).await;
        assert_eq!((seen.failure, client.reconnected), (None, 1));
    }

    #[tokio::test]
    async fn each_way_to_fail_has_its_class_and_keeps_the_release_that_was_named() {
        for (answer, class, release) in [
            ("", FailureClass::Reset, None),
            (
                "HTTP/1.1 200 OK\r\nx-tidegate-release: r2\r\ncontent-length: 9\r\n\r\ncut",
                FailureClass::Reset,
                Some("r2"),
            ),
            (
                "HTTP/1.1 503 No\r\nx-tidegate-release: r2\r\ncontent-length: 0\r\n\r\n",
                FailureClass::Status5xx,
                Some("r2"),
            ),
            ("HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n", FailureClass::Status4xx, None),
            ("SMTP ready\r\n\r\n", FailureClass::Malformed, None),
        ] {
            let seen = Client::default().exchange(&target(answering(answer).await)).await;
            assert_eq!((seen.failure, seen.release.as_deref()), (Some(class), release), "{answer}");
        }
    }

    #[tokio::test]
    async fn a_refused_connection_and_a_silent_server_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut target = target(listener.local_addr().unwrap());
        target.timeout = Duration::from_millis(50);
        assert_eq!(Client::default().exchange(&target).await.failure, Some(FailureClass::Timeout));
        drop(listener);
        target.timeout = Duration::from_secs(20);
        assert_eq!(Client::default().exchange(&target).await.failure, Some(FailureClass::Connect));
    }
}
