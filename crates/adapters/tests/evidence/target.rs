//! An instance: a small server whose `/metrics` the test decides.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufStream},
    net::{TcpListener, TcpStream},
};

/// The running instance.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: String,
    body: Arc<Mutex<(String, Vec<u8>)>>,
    connections: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Target {
    /// Starts it; it ends with the test's runtime.
    pub(crate) async fn start(content_type: &str, body: &[u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Self {
            address: listener.local_addr().unwrap().to_string(),
            body: Arc::new(Mutex::new((content_type.to_owned(), body.to_vec()))),
            connections: Arc::default(),
            heads: Arc::default(),
        };
        let serving = target.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.connections.fetch_add(1, Ordering::SeqCst);
                let serving = serving.clone();
                tokio::spawn(async move { serving.answer(stream).await });
            }
        });
        target
    }

    /// What it exposes from now on.
    pub(crate) fn expose(&self, body: &[u8]) {
        self.body.lock().unwrap().1 = body.to_vec();
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/metrics", self.address)
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The head of the newest request.
    pub(crate) fn head(&self) -> String {
        self.heads.lock().unwrap().last().cloned().unwrap_or_default()
    }

    async fn answer(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut stream = BufStream::new(stream);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if stream.read_line(&mut head).await? == 0 {
                    return Ok(());
                }
            }
            self.heads.lock().unwrap().push(head);
            let (content_type, body) = self.body.lock().unwrap().clone();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&body).await?;
            stream.flush().await?;
        }
    }
}
