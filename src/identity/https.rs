//! Asks a configured https server one thing: who vouches for applications is asked this way.
//!
//! One question has one connection, to the configured host and nowhere else: there are no redirects,
//! no proxies, no cookies, and nothing of the environment counts. Every size and the time in all are
//! bounded. What is asked, and what the answer means, isn't known here.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{ACCEPT, CONTENT_ENCODING, HOST, USER_AGENT},
    uri::{Authority, Scheme},
};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    body::{Body as _, Bytes, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    sync::Semaphore,
    task::{JoinSet, spawn_blocking},
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring::default_provider,
        pki_types::{CertificateDer, ServerName},
    },
};

/// The most bytes of a URL.
const MAX_URL_BYTES: usize = 512;
/// The most bytes of an answer's head.
const MAX_HEAD_BYTES: usize = 16 * 1_024;
const MAX_HEADERS: usize = 64;
/// How many of a host's addresses are tried.
const MAX_ADDRESSES: usize = 4;
/// How many threads ask for addresses at once: a resolver that hangs takes no more of them.
const LOOKUPS: usize = 2;
const AGENT: &str = concat!("aap/", env!("CARGO_PKG_VERSION"));

/// A server that may be asked, and what its certificate must lead to.
#[derive(Clone)]
pub struct Endpoint {
    url: Box<str>,
    host: Box<str>,
    port: u16,
    authority: HeaderValue,
    path_and_query: Box<str>,
    server_name: ServerName<'static>,
    roots: Arc<Roots>,
}

/// Authorities that vouch for servers.
pub struct Roots {
    tls: Arc<ClientConfig>,
    /// Tells them from others.
    digest: [u8; 32],
}

/// Why a text names no server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    /// It is no URL of https.
    #[error(
        "must be a URL that begins with `https://`, of at most {MAX_URL_BYTES} visible ASCII characters"
    )]
    Url,
    /// It has more in it than a host, a port, a path and a query.
    #[error("must have no user, no password and no fragment")]
    More,
    /// What follows its host is no port.
    #[error("must have nothing behind its host but a port from 1 to 65535, or nothing at all")]
    Port,
}

/// Why certificates are no authorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("has no certificate that could be an authority's")]
pub struct NoRoots;

impl Roots {
    /// The authorities among some certificates. Those that can't be one are left out: collections of
    /// public authorities have some.
    pub fn of(certificates: &[CertificateDer<'static>]) -> Result<Self, NoRoots> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates.iter().cloned());
        if roots.is_empty() {
            return Err(NoRoots);
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(|_| NoRoots)?;
        let mut tls = builder.with_root_certificates(roots).with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        for certificate in certificates {
            context.update(certificate);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        Ok(Self { tls: Arc::new(tls), digest })
    }
}

impl Endpoint {
    /// Reads a URL.
    pub fn parse(url: &str, roots: Arc<Roots>) -> Result<Self, InvalidEndpoint> {
        let is_visible = url.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_visible || url.len() > MAX_URL_BYTES {
            return Err(InvalidEndpoint::Url);
        }
        if url.contains(['#', '@']) {
            return Err(InvalidEndpoint::More);
        }
        let uri: Uri = url.parse().map_err(|_| InvalidEndpoint::Url)?;
        let authority = uri.authority().filter(|_| uri.scheme() == Some(&Scheme::HTTPS));
        let authority = authority.ok_or(InvalidEndpoint::Url)?;
        let port = port_of(authority).ok_or(InvalidEndpoint::Port)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let server_name =
            ServerName::try_from(host.to_owned()).map_err(|_| InvalidEndpoint::Url)?;
        let path_and_query = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            url: url.into(),
            host: host.into(),
            port,
            authority: HeaderValue::from_str(authority.as_str())
                .map_err(|_| InvalidEndpoint::Url)?,
            path_and_query: path_and_query.into(),
            server_name,
            roots,
        })
    }

    /// The URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether it is a host alone.
    pub fn is_host_alone(&self) -> bool {
        *self.path_and_query == *"/"
    }
}

/// The port that follows a host and nothing else; that of https where none does.
fn port_of(authority: &Authority) -> Option<u16> {
    let behind = authority.as_str().strip_prefix(authority.host())?;
    if behind.is_empty() {
        return Some(443);
    }
    let digits = behind.strip_prefix(':')?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|port| is_number && *port != 0)
}

impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        self.url == other.url && self.roots.digest == other.roots.digest
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {:?}", self.url, self.roots)
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.digest)
    }
}

/// What is asked.
pub enum Question<'q> {
    /// For what the URL names.
    Get,
    /// With this query at the host itself, and an empty body.
    Post(&'q str),
}

impl fmt::Debug for Question<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Question")
    }
}

/// How much an answer may have, and how long all of it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The most bytes of its body.
    pub max_bytes: usize,
    /// From asking for the address to the last byte.
    pub time: Duration,
}

/// What a server answers.
#[derive(Debug)]
pub enum Answer {
    /// 200, and a body.
    Good(Vec<u8>),
    /// Another status.
    Other(StatusCode),
}

/// Why there is no answer. None of this has anything of the question.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// It took too long.
    #[error("there was no answer in time")]
    Time,
    /// The host has no address.
    #[error("its address can't be found")]
    Lookup,
    /// Nobody is there.
    #[error("can't connect")]
    Connect,
    /// It isn't who it should be.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// It speaks something else, or stopped in the middle.
    #[error("it doesn't speak HTTP as expected: {0}")]
    Http(#[from] hyper::Error),
    /// It says too much.
    #[error("its answer is too large")]
    TooLarge,
    /// It says it in another encoding than was asked for.
    #[error("its answer is encoded")]
    Encoded,
    /// The question can't be put.
    #[error("it can't be asked that")]
    Question,
}

/// Asks servers.
#[derive(Clone, Debug)]
pub struct Asker {
    lookups: Arc<Semaphore>,
}

impl Default for Asker {
    fn default() -> Self {
        Self { lookups: Arc::new(Semaphore::new(LOOKUPS)) }
    }
}

impl Asker {
    /// Asks a server something, once. For the second runtime: finding an address blocks a thread.
    pub async fn ask(
        &self,
        endpoint: &Endpoint,
        question: Question<'_>,
        patience: Patience,
    ) -> Result<Answer, Unanswered> {
        let Patience { max_bytes, time } = patience;
        let request = request(endpoint, question)?;
        let answered = tokio::time::timeout(time, async {
            let stream = self.connect(endpoint, time / 3).await?;
            exchange(stream, request, max_bytes).await
        });
        answered.await.unwrap_or(Err(Unanswered::Time))
    }

    async fn connect(
        &self,
        endpoint: &Endpoint,
        time: Duration,
    ) -> Result<TlsStream<TcpStream>, Unanswered> {
        let mut last = Unanswered::Lookup;
        for address in self.addresses(endpoint).await?.into_iter().take(MAX_ADDRESSES) {
            match tokio::time::timeout(time, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    let connector = TlsConnector::from(Arc::clone(&endpoint.roots.tls));
                    let connected = connector.connect(endpoint.server_name.clone(), stream).await;
                    return connected.map_err(|error| Unanswered::Tls(error.to_string()));
                }
                Ok(Err(_)) | Err(_) => last = Unanswered::Connect,
            }
        }
        Err(last)
    }

    async fn addresses(&self, endpoint: &Endpoint) -> Result<Vec<SocketAddr>, Unanswered> {
        let (host, port) = (endpoint.host.clone(), endpoint.port);
        if let Ok(address) = host.parse() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        // Given back when the thread is done with it, and not when whoever waits gives up.
        let permit = Arc::clone(&self.lookups).acquire_owned().await;
        let permit = permit.map_err(|_| Unanswered::Lookup)?;
        let found = spawn_blocking(move || {
            let found = std::net::ToSocketAddrs::to_socket_addrs(&(&*host, port));
            drop(permit);
            found.map(Iterator::collect)
        });
        found.await.ok().and_then(Result::ok).ok_or(Unanswered::Lookup)
    }
}

fn request(
    endpoint: &Endpoint,
    question: Question<'_>,
) -> Result<Request<Empty<Bytes>>, Unanswered> {
    let (method, target) = match question {
        Question::Get => (Method::GET, endpoint.path_and_query.to_string()),
        Question::Post(query) => (Method::POST, format!("/?{query}")),
    };
    Request::builder()
        .method(method)
        .uri(target)
        .header(HOST, endpoint.authority.clone())
        .header(ACCEPT, HeaderValue::from_static("application/json"))
        .header(USER_AGENT, HeaderValue::from_static(AGENT))
        .body(Empty::new())
        .map_err(|_| Unanswered::Question)
}

async fn exchange(
    stream: TlsStream<TcpStream>,
    request: Request<Empty<Bytes>>,
    max_bytes: usize,
) -> Result<Answer, Unanswered> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD_BYTES).max_headers(MAX_HEADERS);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    // Ends with this function, however that ends.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let response = sender.send_request(request).await?;
    match response.status() {
        StatusCode::OK => Ok(Answer::Good(read(response, max_bytes).await?)),
        other => Ok(Answer::Other(other)),
    }
}

async fn read(response: Response<Incoming>, max_bytes: usize) -> Result<Vec<u8>, Unanswered> {
    if response.headers().contains_key(CONTENT_ENCODING) {
        return Err(Unanswered::Encoded);
    }
    let mut body = response.into_body();
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > max_bytes {
        return Err(Unanswered::TooLarge);
    }
    let mut bytes = Vec::with_capacity(announced);
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        let data = frame.data_ref().map_or(&[][..], |data| data);
        if bytes.len() + data.len() > max_bytes {
            return Err(Unanswered::TooLarge);
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes)
}

#[cfg(test)]
pub(crate) mod testing {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
    use tokio::sync::OwnedSemaphorePermit;

    use super::*;

    /// An authority of its own.
    pub(crate) fn roots() -> Arc<Roots> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        Arc::new(Roots::of(&[certificate.der().clone()]).unwrap())
    }

    /// Takes all of its threads that ask for addresses, as a name server does that is silent.
    pub(crate) fn hold_lookups(asker: &Asker) -> OwnedSemaphorePermit {
        let all = u32::try_from(LOOKUPS).unwrap();
        Arc::clone(&asker.lookups).try_acquire_many_owned(all).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::roots, *};

    #[test]
    fn a_server_is_named_by_a_url_of_https_with_nothing_odd_in_it() {
        let roots = roots();
        for (url, host, port, path) in [
            ("https://sts.aliyuncs.com", "sts.aliyuncs.com", 443, "/"),
            ("https://sts.aliyuncs.com/", "sts.aliyuncs.com", 443, "/"),
            ("https://issuer.test:8443/keys?v=2", "issuer.test", 8_443, "/keys?v=2"),
            ("https://127.0.0.1:1/a", "127.0.0.1", 1, "/a"),
            ("https://[::1]:1/a", "::1", 1, "/a"),
        ] {
            let endpoint = Endpoint::parse(url, Arc::clone(&roots)).unwrap();
            assert_eq!((&*endpoint.host, endpoint.port), (host, port), "{url}");
            assert_eq!(&*endpoint.path_and_query, path, "{url}");
            assert_eq!(endpoint.is_host_alone(), path == "/");
        }
        let long = format!("https://a.test/{}", "a".repeat(MAX_URL_BYTES));
        for (url, error) in [
            ("", InvalidEndpoint::Url),
            ("sts.aliyuncs.com", InvalidEndpoint::Url),
            ("http://sts.aliyuncs.com", InvalidEndpoint::Url),
            ("file:///etc/passwd", InvalidEndpoint::Url),
            ("https://", InvalidEndpoint::Url),
            ("https:///path", InvalidEndpoint::Url),
            ("https://a b.test", InvalidEndpoint::Url),
            ("https://ä.test", InvalidEndpoint::Url),
            ("https://a.test\r\nx: y", InvalidEndpoint::Url),
            ("https://user:password@a.test", InvalidEndpoint::More),
            ("https://a.test/#keys", InvalidEndpoint::More),
            ("https://a.test:", InvalidEndpoint::Port),
            ("https://a.test:/keys", InvalidEndpoint::Port),
            ("https://a.test:0", InvalidEndpoint::Port),
            ("https://a.test:99999", InvalidEndpoint::Port),
            ("https://a.test:44x", InvalidEndpoint::Port),
            ("https://a.test:+443", InvalidEndpoint::Port),
            ("https://a.test:1:2", InvalidEndpoint::Url),
            ("https://[::1]x:1", InvalidEndpoint::Port),
            ("https://[::1]1", InvalidEndpoint::Port),
            (&long, InvalidEndpoint::Url),
        ] {
            assert_eq!(Endpoint::parse(url, Arc::clone(&roots)).unwrap_err(), error, "{url}");
        }
    }

    #[test]
    fn servers_are_the_same_by_their_url_and_their_authorities() {
        let (one, other) = (roots(), roots());
        let at = |url, roots: &Arc<Roots>| Endpoint::parse(url, Arc::clone(roots)).unwrap();
        assert_eq!(at("https://a.test", &one), at("https://a.test", &one));
        assert_ne!(at("https://a.test", &one), at("https://a.test", &other));
        assert_ne!(at("https://a.test", &one), at("https://b.test", &one));
        assert_eq!(Roots::of(&[]).unwrap_err(), NoRoots);
    }
}
