//! Finds heads that carry both `Content-Length` and `Transfer-Encoding`, the stuff of request smuggling.
//!
//! hyper frames such a request by its `Transfer-Encoding`, drops the length and closes the connection afterwards, which
//! RFC 9112 section 6.1 allows; it does not tell. This scanner looks at the bytes of each head as they come, line by line, so that
//! the request can be refused.

/// Longest header name looked for, with its colon.
const NAME_MAX: usize = 18;

/// Where in the stream the next byte is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// In a head.
    Head,
    /// In a body with so many bytes to come.
    Body(u64),
    /// In a body whose end only hyper knows; until the connection is idle again.
    Unknown,
}

/// Scans the heads of one connection.
pub(crate) struct Framing {
    at: At,
    /// First bytes of the line in hand.
    line: Line,
    seen_length: Option<u64>,
    seen_encoding: bool,
    first_line: bool,
}

/// The first bytes of a line: enough for a name and a length.
struct Line {
    bytes: [u8; NAME_MAX + 24],
    len: usize,
}

impl Default for Framing {
    fn default() -> Self {
        Self { at: At::Head, line: Line::new(), seen_length: None, seen_encoding: false, first_line: true }
    }
}

impl Line {
    const fn new() -> Self {
        Self { bytes: [0; NAME_MAX + 24], len: 0 }
    }

    fn push(&mut self, part: &[u8]) {
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        let fits = part.len().min(room.len());
        if let (Some(to), Some(from)) = (room.get_mut(..fits), part.get(..fits)) {
            to.copy_from_slice(from);
        }
        self.len += fits;
    }

    fn text(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Framing {
    /// Looks at bytes as they came; `idle` tells that no request is in flight. Returns whether a head with two framings ended.
    pub(crate) fn scan(&mut self, mut bytes: &[u8], idle: bool) -> bool {
        if idle && self.at == At::Unknown {
            *self = Self::default();
        }
        let mut ambiguous = false;
        while !bytes.is_empty() {
            match self.at {
                At::Unknown => return ambiguous,
                At::Body(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = bytes.get(here..).unwrap_or_default();
                    let left = left - u64::try_from(here).unwrap_or(left);
                    self.at = if left == 0 { At::Head } else { At::Body(left) };
                }
                At::Head => bytes = self.head(bytes, &mut ambiguous),
            }
        }
        ambiguous
    }

    /// Takes one line, or the part of it that is there; returns the rest.
    fn head<'a>(&mut self, bytes: &'a [u8], ambiguous: &mut bool) -> &'a [u8] {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            self.line.push(bytes);
            return &[];
        };
        let (part, rest) = (bytes.get(..end).unwrap_or_default(), bytes.get(end + 1..).unwrap_or_default());
        // Most lines come whole and need not be kept.
        *ambiguous |= if self.line.len == 0 {
            self.line_ended(part)
        } else {
            let mut line = std::mem::replace(&mut self.line, Line::new());
            line.push(part);
            self.line_ended(line.text())
        };
        rest
    }

    fn line_ended(&mut self, text: &[u8]) -> bool {
        if text.trim_ascii_end().is_empty() {
            return !self.first_line && self.head_ended();
        }
        self.first_line = false;
        match text.first() {
            Some(b'c' | b'C') => {
                if let Some(value) = value(text, b"content-length") {
                    let length = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                    self.seen_length = Some(length.unwrap_or(0));
                }
            }
            Some(b't' | b'T') => self.seen_encoding |= value(text, b"transfer-encoding").is_some(),
            Some(_) | None => {}
        }
        false
    }

    fn head_ended(&mut self) -> bool {
        let ambiguous = self.seen_encoding && self.seen_length.is_some();
        let length = self.seen_length.unwrap_or(0);
        let at = match (self.seen_encoding, length) {
            (true, _) => At::Unknown,
            (false, 0) => At::Head,
            (false, length) => At::Body(length),
        };
        (self.at, self.seen_length, self.seen_encoding, self.first_line) = (at, None, false, true);
        ambiguous
    }
}

/// The value of a header line of this name.
fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (found, rest) = line.split_at_checked(name.len())?;
    let value = rest.trim_ascii_start().strip_prefix(b":")?;
    found.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &str =
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    const PLAIN: &str =
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 36\r\n\r\nTransfer-Encoding: x\r\nContent-Length: ";

    fn scan(input: &str, piece: usize) -> bool {
        let mut framing = Framing::default();
        input.as_bytes().chunks(piece).fold(false, |found, bytes| framing.scan(bytes, false) | found)
    }

    #[test]
    fn two_framings_in_one_head_are_found_however_the_bytes_are_cut() {
        let reversed =
            "POST / HTTP/1.1\r\ntransfer-ENCODING : chunked\r\nA: b\r\ncontent-length:4\r\n\r\n".to_owned();
        for piece in 1..BOTH.len() {
            assert!(scan(BOTH, piece) && scan(&reversed, piece), "cut by {piece}");
        }
    }

    #[test]
    fn a_second_request_in_the_same_bytes_is_looked_at_too() {
        let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let post = "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
        for piece in 1..20 {
            assert!(scan(&format!("{get}{post}{BOTH}"), piece), "cut by {piece}");
        }
    }

    #[test]
    fn names_in_a_body_or_in_two_heads_are_not_two_framings() {
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        for piece in 1..PLAIN.len() {
            assert!(!scan(PLAIN, piece) && !scan(chunked, piece), "cut by {piece}");
        }
        let mut framing = Framing::default();
        assert!(!framing.scan(chunked.as_bytes(), true));
        assert!(!framing.scan(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", true));
        assert!(framing.scan(BOTH.as_bytes(), true));
    }
}
