//! The forms that texts must have.

use std::net::SocketAddr;

use tidegate_adapters::{
    chain,
    evidence::{JsonPath, Selector},
    metrics::PODS,
};
use tidegate_core::expression::Unit;

use super::{
    finding::{Code, Complaint, shown},
    table::Form,
};

/// `IP:port` for editors: what is before the last colon is only checked when the file is read.
pub(super) const LISTEN_PATTERN: &str = "^(\\d+(\\.\\d+){3}|\\[[0-9a-fA-F:.]+\\]):\\d+$|^\\d+$";

const NAME_CHARS_MAX: usize = 41;

impl Form {
    /// What a text of this form is called in a message.
    pub(super) const fn what(self) -> &'static str {
        match self {
            Self::Any | Self::Free => "a text",
            Self::Name | Self::Key => "a name",
            Self::Object => "the name of an object",
            Self::Variable => "the name of an environment variable",
            Self::File => "the path of a file",
            Self::Inside => "a path inside the project",
            Self::Glob => "a pattern for paths inside the project",
            Self::HttpPath => "the path of a URL",
            Self::Token => "the name of a header or cookie",
            Self::Pointer => "a JSON pointer",
            Self::Image => "a container image",
            Self::User => "a user",
            Self::Url => "a web address",
            Self::Series => "the name of series",
            Self::JsonPath => "a JSON path",
            Self::Condition => "a condition",
            Self::Unit => "a unit",
        }
    }

    /// A regular expression for editors; `None` when any text will do.
    pub(super) const fn pattern(self) -> Option<&'static str> {
        match self {
            Self::Free => None,
            Self::Any | Self::File | Self::Series | Self::JsonPath | Self::Condition | Self::Unit => {
                Some("^[^\\x00]+$")
            }
            Self::Name => Some("^[a-z][a-z0-9-]{0,40}$"),
            Self::Key => Some("^[a-z][a-z0-9_-]{0,40}$"),
            Self::Object => Some("^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"),
            Self::Variable => Some("^[A-Za-z_][A-Za-z0-9_]*$"),
            Self::Inside | Self::Glob => Some("^[^/\\x00][^\\x00]*$"),
            Self::HttpPath => Some("^/[!-~]*$"),
            Self::Token => Some("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"),
            Self::Pointer => Some("^/"),
            Self::Image => Some("^[^\\s]+$"),
            Self::User => Some("^[A-Za-z0-9_][A-Za-z0-9_.-]*$"),
            Self::Url => Some("^https?://[^\\s@]+$"),
        }
    }

    /// Whether `text` has this form.
    pub(super) fn check(self, text: &str) -> Result<(), Complaint> {
        if text.contains('\0') {
            return Err(Complaint::new(
                Code::BadText,
                format!("{} cannot hold a NUL character", self.what()),
            ));
        }
        if text.is_empty() && self != Self::Free {
            return Err(Complaint::new(
                Code::BadText,
                format!("expected {}, found an empty text", self.what()),
            ));
        }
        match self {
            Self::Any | Self::Free | Self::File | Self::Condition => Ok(()),
            Self::Name => name(text, "-"),
            Self::Key => name(text, "-_"),
            Self::Object => object(text),
            Self::Variable => variable(text),
            Self::Inside | Self::Glob => inside(self, text),
            Self::HttpPath => http_path(text),
            Self::Token => token(text),
            Self::Pointer => pointer(text),
            Self::Image => image(text),
            Self::User => user(text),
            Self::Url => url(text),
            Self::Series => series(text),
            Self::JsonPath => text.parse::<JsonPath>().map(drop).map_err(|error| foreign(self, text, &error)),
            Self::Unit => text.parse::<Unit>().map(drop).map_err(|error| foreign(self, text, &error)),
        }
    }
}

fn wrong(form: Form, text: &str, help: impl Into<String>) -> Complaint {
    Complaint::new(Code::BadText, format!("`{}` is not {}", shown(text), form.what())).help(help)
}

/// Small letters, digits and `between`.
fn name(text: &str, between: &str) -> Result<(), Complaint> {
    let good = text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || between.contains(c));
    if !good {
        return Err(wrong(Form::Name, text, "use small letters, digits and `-`, a letter first"));
    }
    if text.len() > NAME_CHARS_MAX {
        return Err(wrong(Form::Name, text, format!("use at most {NAME_CHARS_MAX} characters")));
    }
    Ok(())
}

/// A DNS subdomain (RFC 1123), which every name of an object is.
fn object(text: &str) -> Result<(), Complaint> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    let ends = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    if bytes.len() <= 253 && bytes.iter().all(|b| inner(*b)) && ends(bytes.first()) && ends(bytes.last()) {
        return Ok(());
    }
    Err(wrong(Form::Object, text, "use small letters, digits, `-` and `.`, a letter or digit at both ends"))
}

fn variable(text: &str) -> Result<(), Complaint> {
    let good = !text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !good {
        return Err(wrong(Form::Variable, text, "use letters, digits and `_`, no digit first"));
    }
    if text == "PORT" {
        return Err(Complaint::new(Code::Conflict, "`PORT` is set by Tidegate to the instance's port")
            .help("take it out; other variables may use `$PORT` in their value"));
    }
    Ok(())
}

fn inside(form: Form, text: &str) -> Result<(), Complaint> {
    if text.starts_with(['/', '~']) {
        return Err(wrong(form, text, "write it relative to the directory of `tidegate.yaml`"));
    }
    if text.split('/').any(|segment| segment == "..") {
        return Err(wrong(form, text, "`..` would lead out of the project"));
    }
    if text.contains('\\') {
        return Err(wrong(form, text, "separate folders with `/`"));
    }
    if form == Form::Glob && text.matches('[').count() != text.matches(']').count() {
        return Err(wrong(form, text, "every `[` needs its `]`"));
    }
    Ok(())
}

fn http_path(text: &str) -> Result<(), Complaint> {
    if let Some((_, rest)) = text.split_once("://") {
        let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/");
        return Err(wrong(Form::HttpPath, text, format!("write the path alone: `{}`", shown(path))));
    }
    if !text.starts_with('/') {
        return Err(wrong(Form::HttpPath, text, format!("write `/{}`", shown(text))));
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) || text.contains('#') {
        return Err(wrong(Form::HttpPath, text, "percent-encode spaces, `#` and everything beyond ASCII"));
    }
    Ok(())
}

/// RFC 9110, section 5.6.2; cookies' names (RFC 6265, section 4.1.1) have the same form.
fn token(text: &str) -> Result<(), Complaint> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if text.bytes().all(good) {
        Ok(())
    } else {
        Err(wrong(Form::Token, text, "use letters, digits and `-` or `_`"))
    }
}

fn pointer(text: &str) -> Result<(), Complaint> {
    if text.starts_with('/') {
        return Ok(());
    }
    let better = text.trim_start_matches("$.").replace('.', "/");
    Err(wrong(Form::Pointer, text, format!("write `/{}`", shown(&better))))
}

/// The parts of a reference that can be told without a registry: no spaces or capitals in the name, a tag or a digest.
fn image(text: &str) -> Result<(), Complaint> {
    let (rest, digest) = text.split_once('@').map_or((text, None), |(rest, digest)| (rest, Some(digest)));
    if let Some(digest) = digest {
        let hex = digest.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() != 64 || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(wrong(
                Form::Image,
                text,
                "after `@` comes `sha256:` and 64 hexadecimal digits in small letters",
            ));
        }
    }
    // A colon before the last slash belongs to the registry's port.
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    let segment = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-:".contains(&b))
    };
    if !name.split('/').all(segment) {
        return Err(wrong(Form::Image, text, "write `name:tag` or `registry/name@sha256:…`"));
    }
    if name.rsplit('/').next().is_some_and(|last| last.bytes().any(|b| b.is_ascii_uppercase())) {
        return Err(wrong(Form::Image, text, "the name of an image has no capitals"));
    }
    if tag.is_some_and(|tag| tag.is_empty() || tag.len() > 128 || !segment(tag) || tag.contains(':')) {
        return Err(wrong(Form::Image, text, "after `:` comes a tag"));
    }
    if tag.is_none() && digest.is_none() {
        return Err(wrong(Form::Image, text, format!("name a version: `{}:1.0`, or a digest", shown(text))));
    }
    Ok(())
}

fn user(text: &str) -> Result<(), Complaint> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    if text.bytes().all(good) && !text.starts_with(['-', '.']) {
        return Ok(());
    }
    Err(wrong(Form::User, text, "write a user's name or number"))
}

/// What another room says about a text.
fn foreign(form: Form, text: &str, error: &impl std::error::Error) -> Complaint {
    wrong(form, text, chain(error))
}

fn url(text: &str) -> Result<(), Complaint> {
    let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) else {
        return Err(wrong(Form::Url, text, "write `http://host:port` or `https://host`"));
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        // The text itself is not shown: it may hold a password.
        return Err(Complaint::new(Code::BadText, "an address cannot hold a user or a password")
            .help("name them under `auth`: `{basic: {user: …, password: {variable: NAME}}}`"));
    }
    if authority.is_empty() || !text.chars().all(|c| c.is_ascii_graphic()) {
        return Err(wrong(Form::Url, text, "write `http://host:port/path`, percent-encoded"));
    }
    Ok(())
}

/// A selector of raw counters on the command line, read as strictly as in the file.
pub(crate) fn selector(text: &str) -> Result<String, String> {
    match series(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(Complaint { message, help, .. }) => {
            Err(help.map_or(message.clone(), |help| format!("{message}: {help}")))
        }
    }
}

/// A selector, not an expression: what is computed over a span reaches back before the step, and hides restarts.
fn series(text: &str) -> Result<(), Complaint> {
    let name = text.split('{').next().unwrap_or_default();
    if name.contains(['(', '[']) || text.trim_end().ends_with([')', ']']) {
        let help =
            "write the series itself, as `http_requests_total{code=~\"5..\"}`: the difference is taken here";
        return Err(wrong(Form::Series, text, help));
    }
    // What stands in for names is no regular expression yet.
    text.replace(PODS, "pods")
        .parse::<Selector>()
        .map(drop)
        .map_err(|error| foreign(Form::Series, text, &error))
}

/// `IP:port`, or a port alone for loopback; in its full form.
pub(super) fn listen(text: &str) -> Result<String, Complaint> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        if address.port() == 0 {
            return Err(bad_port(text));
        }
        return Ok(address.to_string());
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return match text.parse::<u16>() {
            Ok(port) if port > 0 => Ok(format!("127.0.0.1:{port}")),
            _ => Err(bad_port(text)),
        };
    }
    let what = format!("`{}` is not an address to listen on", shown(text));
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let numeric = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    if numeric && port.parse::<u16>().is_ok_and(|port| port > 0) {
        let help = match host {
            "localhost" => format!("write `127.0.0.1:{port}`"),
            "" | "*" => format!("write `0.0.0.0:{port}` for every interface, or `127.0.0.1:{port}`"),
            _ => format!("write the interface's IP address: `127.0.0.1:{port}`"),
        };
        return Err(
            Complaint::new(Code::BadText, format!("{what}: the host must be an IP address")).help(help)
        );
    }
    if numeric || port.strip_prefix('-').is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit())) {
        return Err(bad_port(text));
    }
    Err(Complaint::new(Code::BadText, what).help("write `IP:port`: `127.0.0.1:8080`, or a port alone"))
}

fn bad_port(text: &str) -> Complaint {
    Complaint::new(Code::OutOfRange, format!("`{}` is out of range: a port is 1 to 65535", shown(text)))
}
