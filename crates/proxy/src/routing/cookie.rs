//! Cookies: the one that keeps a user on a release, and those that rules look for.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};

/// What follows the value of a sticky cookie: it lasts a year and is out of scripts' reach.
const ATTRIBUTES: &[u8] = b"; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax";
const SECURE: &[u8] = b"; Secure";

/// The cookie that users are known by.
pub(crate) struct Cookie {
    pub(crate) name: String,
}

impl Cookie {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned() }
    }

    /// The value of `Set-Cookie` that gives a user this identity.
    pub(crate) fn set(&self, identity: u64, tls: bool) -> Option<HeaderValue> {
        let mut text = Vec::with_capacity(self.name.len() + 17 + ATTRIBUTES.len() + SECURE.len());
        text.extend_from_slice(self.name.as_bytes());
        text.push(b'=');
        text.extend_from_slice(&digits(identity));
        text.extend_from_slice(ATTRIBUTES);
        if tls {
            text.extend_from_slice(SECURE);
        }
        HeaderValue::from_maybe_shared(Bytes::from(text)).ok()
    }
}

/// An identity as sixteen hexadecimal digits.
pub(crate) fn digits(identity: u64) -> [u8; 16] {
    let mut digits = [b'0'; 16];
    let bytes = identity.to_be_bytes();
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    digits
}

const fn digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + value - 10 }
}

/// The value of the first cookie of this name.
pub(crate) fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(found, value)| (found == name).then(|| value.trim_matches('"')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sticky_cookie_is_sixteen_digits_with_attributes() {
        let set = |tls| Cookie::new("who").set(0xab, tls).expect("a value");
        assert_eq!(set(false), "who=00000000000000ab; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax");
        assert!(set(true).to_str().expect("text").ends_with("; Secure"));
    }

    #[test]
    fn cookies_are_found_by_their_exact_name() {
        let mut headers = HeaderMap::new();
        headers.append("cookie", HeaderValue::from_static("awho=1; who=\"2\"; who=3"));
        assert_eq!((find(&headers, "who"), find(&headers, "wh")), (Some("2"), None));
    }
}
