//! A real https server of a test, which says what it is told to say and remembers what it was asked.

use std::{
    collections::VecDeque,
    convert::Infallible,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, header::LOCATION};
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring::default_provider, sign::SingleCertAndKey},
};

use super::certificates::Authority;

/// What it says.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A status and a body.
    Say(u16, Vec<u8>),
    /// A body in pieces, without saying how long it is.
    Pieces(Vec<u8>),
    /// The beginning of a body, and nothing more.
    Beginning(Vec<u8>),
    /// That the answer is elsewhere.
    Redirect(String),
    /// Something, when it is told to.
    After(Arc<Notify>, Box<Self>),
    /// Nothing, and the connection stays open.
    Silence,
}

impl Reply {
    pub fn good(body: &impl ToString) -> Self {
        Self::Say(200, body.to_string().into_bytes())
    }
}

/// What it was asked.
#[derive(Clone, Debug)]
pub struct Question {
    pub method: String,
    /// The path and the query.
    pub target: String,
    pub host: String,
}

type Answering = dyn Fn(&Question) -> Reply + Send + Sync;

/// A server that runs as long as the test does.
pub struct HttpsServer {
    address: SocketAddr,
    authority: String,
    shared: Arc<Shared>,
}

struct Shared {
    answering: Mutex<Arc<Answering>>,
    questions: watch::Sender<Vec<Question>>,
    connections: AtomicUsize,
}

impl HttpsServer {
    /// One that says the same to everything.
    pub async fn saying(reply: Reply) -> Self {
        Self::start(move |_| reply.clone()).await
    }

    /// One that answers each question.
    pub async fn start(answering: impl Fn(&Question) -> Reply + Send + Sync + 'static) -> Self {
        let authority = Authority::new();
        let shown = Arc::new(SingleCertAndKey::from(authority.local_server().shown()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(shown);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            answering: Mutex::new(Arc::new(answering)),
            questions: watch::Sender::default(),
            connections: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(acceptor.clone(), stream, Arc::clone(&serving)));
            }
        });
        Self { address, authority: authority.certificate, shared }
    }

    /// Where something is there.
    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// Writes who vouches for it to a file.
    pub fn write_authority(&self, dir: &Path) -> PathBuf {
        let path = dir.join(format!("authority-{}.pem", self.address.port()));
        fs::write(&path, &self.authority).unwrap();
        path
    }

    /// Has it say something else from now on.
    pub fn say(&self, reply: Reply) {
        self.answer(move |_| reply.clone());
    }

    /// Has it answer otherwise from now on.
    pub fn answer(&self, answering: impl Fn(&Question) -> Reply + Send + Sync + 'static) {
        *self.shared.answering.lock().unwrap() = Arc::new(answering);
    }

    /// What it was asked so far.
    pub fn questions(&self) -> Vec<Question> {
        self.shared.questions.borrow().clone()
    }

    /// Waits until it was asked so often.
    pub async fn asked(&self, times: usize) {
        let mut questions = self.shared.questions.subscribe();
        questions.wait_for(|questions| questions.len() >= times).await.unwrap();
    }

    /// How many connections there were, whether anything was asked on them or not.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, shared: Arc<Shared>) {
    // Who doesn't trust it goes away in the handshake.
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let answering = service_fn(move |request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(respond(&shared, &request).await) }
    });
    // Who asks may go away in the middle.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answering).await;
}

async fn respond(shared: &Shared, request: &Request<Incoming>) -> Response<Pieces> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let question = Question {
        method: request.method().to_string(),
        target: request.uri().to_string(),
        host: header("host").unwrap_or_default().to_owned(),
    };
    shared.questions.send_modify(|questions| questions.push(question.clone()));
    let answering = Arc::clone(&shared.answering.lock().unwrap());
    let mut reply = answering(&question);
    while let Reply::After(told, then) = reply {
        told.notified().await;
        reply = *then;
    }
    match reply {
        Reply::Say(status, body) => {
            let length = u64::try_from(body.len()).unwrap();
            let body = Pieces::of(&body, Some(length), End::Over);
            Response::builder().status(status).body(body).unwrap()
        }
        Reply::Pieces(body) => Response::new(Pieces::of(&body, None, End::Over)),
        Reply::Beginning(body) => Response::new(Pieces::of(&body, None, End::Never)),
        Reply::Redirect(location) => {
            let response = Response::builder().status(302).header(LOCATION, location);
            response.body(Pieces::of(&[], Some(0), End::Over)).unwrap()
        }
        Reply::After(..) | Reply::Silence => std::future::pending().await,
    }
}

/// A body, piece by piece.
struct Pieces {
    rest: VecDeque<Bytes>,
    length: Option<u64>,
    end: End,
}

/// What comes behind the last piece.
#[derive(Clone, Copy)]
enum End {
    Over,
    Never,
}

impl Pieces {
    fn of(body: &[u8], length: Option<u64>, end: End) -> Self {
        let rest = body.chunks(1 << 14).map(Bytes::copy_from_slice).collect();
        Self { rest, length, end }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match (self.rest.pop_front(), self.end) {
            (Some(piece), _) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            (None, End::Over) => Poll::Ready(None),
            // Nobody wakes it: whoever waits gives up and closes the connection.
            (None, End::Never) => Poll::Pending,
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map(SizeHint::with_exact).unwrap_or_default()
    }
}
