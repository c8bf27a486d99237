//! One bounded HTTP client for all sources: HTTP/1.1, connections kept, redirects refused.

use std::{
    fmt,
    io::Read,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    header::{self, HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tidegate_core::model::Millis;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{
    fault::{Fault, FaultKind, words},
    secret::{Secret, SecretSource},
    tls,
};

/// Most headers of one's own that a source may be given.
pub const HEADERS_MAX: usize = 32;
/// Most idle connections that are kept to one source.
const IDLE_MAX: usize = 2;
/// Longest head of an answer that is read.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Who we say we are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Authentication {
    /// Nobody.
    #[default]
    None,
    /// User and password (RFC 7617).
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: SecretSource,
    },
    /// A token (RFC 6750).
    Bearer(SecretSource),
}

/// A certificate of our own, for sources that want one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// Where a source is and how it may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `http://host:port/path` or `https://…`, without user and password in it.
    pub url: String,
    /// Who we say we are.
    pub authentication: Authentication,
    /// Headers to send, such as a tenant's name or a key; at most [`HEADERS_MAX`].
    pub headers: Vec<(String, Secret)>,
    /// Authorities to trust instead of the machine's, PEM.
    pub ca_file: Option<PathBuf>,
    /// A certificate of our own.
    pub client_certificate: Option<ClientCertificate>,
    /// Time to connect, TLS included.
    pub connect_within: Duration,
    /// Time for the whole exchange.
    pub within: Duration,
    /// Longest body, also when unpacked.
    pub body_bytes_max: usize,
}

impl Endpoint {
    /// An endpoint with the usual bounds: 5 s to connect, 10 s in all, 8 MiB.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            authentication: Authentication::None,
            headers: Vec::new(),
            ca_file: None,
            client_certificate: None,
            connect_within: Duration::from_secs(5),
            within: Duration::from_secs(10),
            body_bytes_max: 8 * 1024 * 1024,
        }
    }
}

/// What to send.
pub(super) struct Ask {
    pub(super) method: hyper::Method,
    /// Appended to the endpoint's own path.
    pub(super) path: String,
    pub(super) accept: &'static str,
    /// Content type and body.
    pub(super) body: Option<(&'static str, Bytes)>,
}

/// A complete, unpacked answer with any status but a redirect or a refusal of the credentials.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) status: StatusCode,
    pub(super) content_type: String,
    pub(super) body: Bytes,
}

impl Got {
    /// The fault of a status that is no success, in the source's own words.
    pub(super) fn refused(&self) -> Option<FaultKind> {
        if self.status.is_success() {
            return None;
        }
        let said = if self.is_html() {
            "(a web page)".to_owned()
        } else {
            words(&String::from_utf8_lossy(self.body.get(..1_000).unwrap_or(&self.body)))
        };
        Some(FaultKind::Status { status: self.status.as_u16(), said })
    }

    pub(super) fn is_html(&self) -> bool {
        self.content_type.contains("html") || self.body.trim_ascii_start().starts_with(b"<")
    }
}

/// The client of one endpoint. Cheap to ask often: connections are kept.
pub(super) struct Client {
    /// How messages name the source.
    name: String,
    endpoint: Endpoint,
    host: String,
    port: u16,
    /// Host and port as the header has them.
    authority: HeaderValue,
    base_path: String,
    query: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Client {
    /// Reads the endpoint's settings; connects to nobody yet. `what` names the kind of source.
    pub(super) fn new(what: &str, endpoint: Endpoint) -> Result<Self, Fault> {
        let name = format!("{what} at {}", shown(&endpoint.url));
        Self::build(name.clone(), endpoint)
            .map_err(|why| Fault::new(&name, "its settings", FaultKind::Configuration(why)))
    }

    fn build(name: String, endpoint: Endpoint) -> Result<Self, String> {
        let uri: Uri = endpoint.url.parse().map_err(|why| format!("the address is no URL: {why}"))?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err("the address must begin with http:// or https://".to_owned()),
        };
        let authority = uri.authority().ok_or("the address names no host")?;
        if authority.as_str().contains('@') {
            return Err(
                "the address must not contain a user or a password; use basic authentication".to_owned()
            );
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let tls = if secure {
            let name = ServerName::try_from(host.clone()).map_err(|why| format!("the host's name: {why}"))?;
            let config = tls::config(endpoint.ca_file.as_deref(), endpoint.client_certificate.as_ref())?;
            Some((TlsConnector::from(config), name))
        } else {
            None
        };
        Ok(Self {
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            authority: HeaderValue::from_str(authority.as_str()).map_err(|why| why.to_string())?,
            base_path: uri.path().trim_end_matches('/').to_owned(),
            query: uri.query().map(|q| format!("?{q}")).unwrap_or_default(),
            headers: own_headers(&endpoint.headers)?,
            idle: Mutex::default(),
            name,
            endpoint,
            host,
            tls,
        })
    }

    /// How messages name the source.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// A fault of this source.
    pub(super) fn fault(&self, query: &str, kind: FaultKind) -> Fault {
        Fault::new(&self.name, query, kind)
    }

    /// Asks, and reads the whole answer, within the endpoint's bounds. `query` is what messages name.
    pub(super) async fn send(&self, query: &str, ask: Ask) -> Result<Got, Fault> {
        let within = self.endpoint.within;
        let late = |_| FaultKind::TimedOut(Millis(u64::try_from(within.as_millis()).unwrap_or(u64::MAX)));
        let exchanged = tokio::time::timeout(within, self.exchange(&ask)).await;
        let got = exchanged
            .map_err(late)
            .and_then(|result| result)
            .and_then(unpacked(self.endpoint.body_bytes_max));
        got.map_err(|kind| self.fault(query, kind))
    }

    async fn exchange(&self, ask: &Ask) -> Result<(Response<()>, Bytes), FaultKind> {
        let request = self.request(ask)?;
        // A kept connection may have been closed meanwhile; what is asked here changes nothing, so it is asked again.
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(mut sender) = kept.filter(SendRequest::is_ready)
            && let Ok(response) = sender.send_request(request.clone()).await
        {
            return self.read(sender, response).await;
        }
        let mut sender = self.connected().await?;
        let response = sender.send_request(request).await.map_err(|why| broken(&why))?;
        self.read(sender, response).await
    }

    async fn read(
        &self,
        sender: SendRequest<Full<Bytes>>,
        response: Response<Incoming>,
    ) -> Result<(Response<()>, Bytes), FaultKind> {
        let bytes_max = self.endpoint.body_bytes_max;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, bytes_max).collect().await.map_err(|why| {
            if why.is::<LengthLimitError>() {
                FaultKind::TooLarge { bytes_max }
            } else {
                FaultKind::Truncated(words(&why.to_string()))
            }
        })?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX && !sender.is_closed() {
            idle.push(sender);
        }
        Ok((Response::from_parts(head, ()), body.to_bytes()))
    }

    fn request(&self, ask: &Ask) -> Result<Request<Full<Bytes>>, FaultKind> {
        let wrong = |why: String| FaultKind::Configuration(why);
        let path = format!("{}{}{}", self.base_path, ask.path, self.query);
        let path = if path.starts_with('/') { path } else { format!("/{path}") };
        let mut request = Request::builder()
            .method(ask.method.clone())
            .uri(path)
            .header(header::HOST, self.authority.clone())
            .header(header::ACCEPT, ask.accept)
            .header(header::ACCEPT_ENCODING, "gzip")
            .header(header::USER_AGENT, concat!("tidegate/", env!("CARGO_PKG_VERSION")));
        if let Some((content_type, _)) = &ask.body {
            request = request.header(header::CONTENT_TYPE, *content_type);
        }
        if let Some(value) = self.authorization()? {
            request = request.header(header::AUTHORIZATION, value);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let body = ask.body.as_ref().map(|(_, body)| body.clone()).unwrap_or_default();
        request.body(Full::new(body)).map_err(|why| wrong(why.to_string()))
    }

    fn authorization(&self) -> Result<Option<HeaderValue>, FaultKind> {
        let read =
            |source: &SecretSource| source.read().map_err(|why| FaultKind::Configuration(crate::chain(&why)));
        let text = match &self.endpoint.authentication {
            Authentication::None => return Ok(None),
            Authentication::Basic { user, password } => {
                let pair = format!("{user}:{}", read(password)?.expose());
                format!("Basic {}", BASE64_STANDARD.encode(pair))
            }
            Authentication::Bearer(token) => format!("Bearer {}", read(token)?.expose()),
        };
        let mut value = HeaderValue::from_str(&text)
            .map_err(|_| FaultKind::Configuration("the secret can not stand in a header".to_owned()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    async fn connected(&self) -> Result<SendRequest<Full<Bytes>>, FaultKind> {
        let within = self.endpoint.connect_within;
        let late = || FaultKind::TimedOut(Millis(u64::try_from(within.as_millis()).unwrap_or(u64::MAX)));
        tokio::time::timeout(within, self.connect()).await.map_err(|_| late())?
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, FaultKind> {
        let stream = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(|why| FaultKind::Refused(words(&why.to_string())))?;
        let _without_delay = stream.set_nodelay(true);
        let Some((connector, name)) = &self.tls else { return handshake(stream).await };
        let stream = connector
            .connect(name.clone(), stream)
            .await
            .map_err(|why| FaultKind::Tls(words(&why.to_string())))?;
        handshake(stream).await
    }
}

async fn handshake<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, FaultKind>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|why| broken(&why))?;
    // It ends when the sender is dropped: with the exchange, on a time-out, or with the client.
    tokio::spawn(async move {
        if let Err(why) = connection.await {
            tracing::debug!("a connection to an evidence source ended: {why}");
        }
    });
    Ok(sender)
}

fn broken(why: &hyper::Error) -> FaultKind {
    let said = words(&crate::chain(why));
    // A client's certificate that is missing or refused is only said after the handshake.
    if said.contains("alert") || said.contains("certificate") {
        return FaultKind::Tls(said);
    }
    if why.is_parse() {
        FaultKind::WrongShape(format!("it does not speak HTTP: {said}"))
    } else {
        FaultKind::Truncated(said)
    }
}

/// Checks what the head alone decides, and unpacks.
fn unpacked(bytes_max: usize) -> impl FnOnce((Response<()>, Bytes)) -> Result<Got, FaultKind> {
    move |(head, body)| {
        let status = head.status();
        let text = |name| head.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or("");
        if matches!(status.as_u16(), 401 | 403 | 407) {
            return Err(FaultKind::Authentication(status.as_u16()));
        }
        if status.is_redirection() {
            let location = words(text(header::LOCATION));
            return Err(FaultKind::Redirected { status: status.as_u16(), location: shown(&location) });
        }
        let mut encodings = head.headers().get_all(header::CONTENT_ENCODING).iter();
        let encoding = encodings.next().map_or("", |v| v.to_str().unwrap_or("?")).trim();
        let body = match encoding.to_ascii_lowercase().as_str() {
            _ if encodings.next().is_some() => return Err(FaultKind::Encoding("several".to_owned())),
            "" | "identity" => body,
            "gzip" | "x-gzip" => gunzip(&body, bytes_max)?,
            other => return Err(FaultKind::Encoding(words(other))),
        };
        let content_type = text(header::CONTENT_TYPE).to_ascii_lowercase();
        Ok(Got { status, content_type, body })
    }
}

fn gunzip(packed: &[u8], bytes_max: usize) -> Result<Bytes, FaultKind> {
    let mut plain = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    flate2::read::GzDecoder::new(packed)
        .take(limit)
        .read_to_end(&mut plain)
        .map_err(|why| FaultKind::Encoding(words(&why.to_string())))?;
    if plain.len() > bytes_max { Err(FaultKind::GzipBomb { bytes_max }) } else { Ok(plain.into()) }
}

fn own_headers(headers: &[(String, Secret)]) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    if headers.len() > HEADERS_MAX {
        return Err(format!("at most {HEADERS_MAX} headers can be set"));
    }
    let set = |(name, value): &(String, Secret)| {
        let parsed =
            HeaderName::try_from(name).map_err(|_| format!("`{}` is no header's name", words(name)))?;
        let taken = [header::HOST, header::AUTHORIZATION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
        if taken.contains(&parsed) {
            return Err(format!("the header `{parsed}` is set by the client itself"));
        }
        let mut value = HeaderValue::from_str(value.expose())
            .map_err(|_| format!("the value of `{parsed}` is not usable"))?;
        value.set_sensitive(true);
        Ok((parsed, value))
    };
    headers.iter().map(set).collect()
}

/// An address without what follows the path, where tokens hide, and without a user.
fn shown(url: &str) -> String {
    let plain = url.split(['?', '#']).next().unwrap_or(url);
    match plain.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_once('/').map_or((rest, ""), |(a, p)| (a, p));
            let host = authority.rsplit('@').next().unwrap_or(authority);
            let slash = if path.is_empty() { "" } else { "/" };
            format!("{scheme}://{host}{slash}{path}")
        }
        None => plain.to_owned(),
    }
}
