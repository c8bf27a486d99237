//! A raw server that answers with exactly the bytes it was given.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What a connection meets.
#[derive(Clone, Debug)]
pub(crate) enum Wire {
    /// Nobody listens.
    Refuse,
    /// The connection is closed before the request is read.
    CloseAtOnce,
    /// The request is read, these bytes are sent, the connection is closed.
    Send(Vec<u8>),
    /// The request is read, these bytes are sent, and then nothing more comes.
    SendAndHang(Vec<u8>),
    /// The request is read, the first bytes are sent, then the second ones over and over.
    Forever(Vec<u8>, Vec<u8>),
    /// The request is read, the first bytes are sent, then one byte every 20 ms.
    Drip(Vec<u8>),
}

/// Starts it; the address it is asked at. It ends with the test's runtime.
pub(crate) async fn serve(wire: Wire) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    if !matches!(wire, Wire::Refuse) {
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, wire.clone()));
            }
        });
    }
    format!("http://{address}")
}

/// An answer with a status line, headers and a body of the right length.
pub(crate) fn reply(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        bytes.extend([name, ": ", value, "\r\n"]);
    }
    bytes.push_str("\r\n");
    let mut bytes = bytes.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// What the hostile side does with its connection is its own affair: all errors are those of a client that left.
async fn answer(mut stream: TcpStream, wire: Wire) -> std::io::Result<()> {
    if matches!(wire, Wire::CloseAtOnce) {
        return Ok(());
    }
    request(&mut stream).await?;
    match wire {
        Wire::Refuse | Wire::CloseAtOnce => {}
        Wire::Send(bytes) => stream.write_all(&bytes).await?,
        Wire::SendAndHang(bytes) => {
            stream.write_all(&bytes).await?;
            // Until the client gives up.
            stream.read_to_end(&mut Vec::new()).await?;
        }
        Wire::Forever(head, more) => {
            stream.write_all(&head).await?;
            loop {
                stream.write_all(&more).await?;
            }
        }
        Wire::Drip(head) => {
            stream.write_all(&head).await?;
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                stream.write_all(b" ").await?;
            }
        }
    }
    stream.shutdown().await
}

/// Reads a whole request, so that closing afterwards does not cut the answer short.
async fn request(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut read = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await?;
        read.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&read).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            if count == 0 {
                return Ok(());
            }
            continue;
        };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if count == 0 || body.len() >= length.and_then(|l| l.trim().parse().ok()).unwrap_or(0) {
            return Ok(());
        }
    }
}
