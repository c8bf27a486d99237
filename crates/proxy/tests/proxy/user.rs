//! Users: raw HTTP/1.1 over TCP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use crate::instance::header;
use crate::process::PATIENCE;

/// An answer as a user saw it.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        header(&self.head, name)
    }

    /// The release that answered.
    pub(crate) fn release(&self) -> String {
        self.header("x-tidegate-release").unwrap_or_default()
    }
}

/// A user's connection.
pub(crate) struct User {
    reader: BufReader<TcpStream>,
}

impl User {
    pub(crate) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("connected");
        stream.set_nodelay(true).expect("nodelay");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        Self { reader: BufReader::new(stream) }
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        self.reader.get_mut()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream().write_all(bytes).expect("sent");
    }

    /// A GET with further header lines (each ending in CR LF).
    pub(crate) fn get(&mut self, path: &str, headers: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: shop\r\n{headers}\r\n").as_bytes());
        self.answer().expect("an answer")
    }

    /// Reads the head of an answer; `None` when the connection ends first.
    pub(crate) fn head(&mut self) -> Option<String> {
        let mut head = String::new();
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line == "\r\n" {
                return Some(head);
            }
            head.push_str(&line);
        }
    }

    /// Reads a whole answer; `None` when it ends early.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        let head = self.head()?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let mut body = Vec::new();
        if let Some(length) = header(&head, "content-length") {
            body = vec![0; length.parse().ok()?];
            self.reader.read_exact(&mut body).ok()?;
        } else if header(&head, "transfer-encoding").is_some() {
            while let Some(chunk) = self.chunk()? {
                body.extend_from_slice(&chunk);
            }
        }
        Some(Answer { status, head, body: String::from_utf8(body).ok()? })
    }

    /// Reads one chunk; the inner `None` is the last one, the outer a broken connection.
    #[expect(clippy::option_option, reason = "end of body and end of connection are two things")]
    pub(crate) fn chunk(&mut self) -> Option<Option<Vec<u8>>> {
        let mut line = String::new();
        self.reader.read_line(&mut line).ok()?;
        let length = usize::from_str_radix(line.trim(), 16).ok()?;
        let mut chunk = vec![0; length + 2];
        self.reader.read_exact(&mut chunk).ok()?;
        chunk.truncate(length);
        Some((length > 0).then_some(chunk))
    }

    /// Reads until the other side closes.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A reset is an end too.
        let _ = self.reader.read_to_end(&mut rest);
        rest
    }

    /// Reads exactly so many bytes.
    pub(crate) fn exactly(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).expect("bytes");
        bytes
    }
}

/// One GET on a connection of its own.
pub(crate) fn get(address: &str, path: &str, headers: &str) -> Answer {
    User::connect(address).get(path, headers)
}
