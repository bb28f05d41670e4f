//! What operators' tools ask over plain HTTP, on a listener of its own: metrics, and whether the
//! server lives and is ready. It tells figures and nothing of any account.

use std::{convert::Infallible, net::TcpListener, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE},
};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, watch};

use crate::telemetry::prometheus;

use super::{
    health::{Answer, Conditions},
    metrics::Sources,
};

/// How many may ask at once; others wait.
const CONNECTIONS: usize = 16;
/// How long one may take, from connecting to having read the answer.
const TIME: Duration = Duration::from_secs(10);
/// How long nothing is accepted after the system refused to.
const BREATH: Duration = Duration::from_millis(50);
const TEXT: &str = "text/plain; charset=utf-8";

/// Answers at a listener until the server stops.
pub(super) async fn serve(
    listener: TcpListener,
    sources: Arc<Sources>,
    mut stopping: watch::Receiver<bool>,
) {
    let listener = match listener.set_nonblocking(true) {
        Ok(()) => tokio::net::TcpListener::from_std(listener),
        Err(error) => Err(error),
    };
    let listener = match listener {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "metrics can't be served");
            return;
        }
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => return,
            accepted = async {
                // Nobody closes it.
                let place = Arc::clone(&places).acquire_owned().await;
                (listener.accept().await, place)
            } => accepted,
        };
        let (Ok((stream, _)), place) = accepted else {
            tokio::time::sleep(BREATH).await;
            continue;
        };
        let sources = Arc::clone(&sources);
        tokio::spawn(async move {
            let answering = service_fn(|request| {
                std::future::ready(Ok::<_, Infallible>(answer(&request, &sources)))
            });
            let mut http = http1::Builder::new();
            http.keep_alive(false).timer(TokioTimer::new());
            let serving = http.serve_connection(TokioIo::new(stream), answering);
            // Whoever is too slow or has gone asks again.
            let _ = tokio::time::timeout(TIME, serving).await;
            drop(place);
        });
    }
}

fn answer<B>(request: &Request<B>, sources: &Sources) -> Response<Full<Bytes>> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut response = say(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => {
            let text = prometheus::text(&sources.resource(), &sources.read());
            say(StatusCode::OK, prometheus::CONTENT_TYPE, text)
        }
        "/livez" => tell(sources.conditions.lives(), &sources.conditions),
        "/readyz" => tell(sources.conditions.is_ready(), &sources.conditions),
        _ => {
            let text = "there are /metrics, /livez and /readyz\n";
            say(StatusCode::NOT_FOUND, TEXT, text.to_owned())
        }
    }
}

fn tell(answer: Answer, conditions: &Conditions) -> Response<Full<Bytes>> {
    let code = match answer {
        Answer::Yes => StatusCode::OK,
        Answer::No => StatusCode::SERVICE_UNAVAILABLE,
    };
    say(code, TEXT, conditions.to_string())
}

fn say(code: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
