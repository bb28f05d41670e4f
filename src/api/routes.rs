//! Which service serves a call: the one that its path names.
//!
//! A gRPC path is `/package.Service/Method`, and services are told apart by their names alone; a
//! look in a table does that. The services tell their methods apart themselves.

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt,
    future::ready,
    sync::Arc,
    task::{Context, Poll},
};

use foldhash::fast::RandomState;
use http::{Request, Response};
use tonic::{body::Body, codegen::BoxFuture, server::NamedService};
use tower::Service;

use super::status;

type Answering = BoxFuture<Response<Body>, Infallible>;

/// Services by their names.
#[derive(Default)]
pub struct Routes(HashMap<&'static str, Box<dyn Serve>, RandomState>);

/// A service that is never busy.
trait Serve: Send + Sync {
    fn serve(&self, request: Request<Body>) -> Answering;
}

impl<S> Serve for S
where
    S: Service<Request<Body>, Error = Infallible, Future = Answering> + Clone + Send + Sync,
{
    fn serve(&self, request: Request<Body>) -> Answering {
        // Of what tonic makes a clone is a reference to the handler. It is always ready.
        self.clone().call(request)
    }
}

impl Routes {
    /// Adds a service, which tonic made.
    pub fn add_service<S>(&mut self, service: S) -> &mut Self
    where
        S: Service<Request<Body>, Error = Infallible, Future = Answering>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
    {
        self.0.insert(S::NAME, Box::new(service));
        self
    }

    /// Serves calls by them.
    pub fn serve(self) -> Routing {
        Routing(Arc::new(self))
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Routes").field(&self.0.keys()).finish()
    }
}

/// Serves each call by the service that it names. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Routing(Arc<Routes>);

impl Service<Request<Body>> for Routing {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answering {
        match service_of(request.uri().path()).and_then(|name| self.0.0.get(name)) {
            Some(service) => service.serve(request),
            None => Box::pin(ready(Ok(status::not_served().into_http()))),
        }
    }
}

/// The name of the service in a path.
fn service_of(path: &str) -> Option<&str> {
    path.strip_prefix('/')?.split_once('/').map(|(service, _)| service)
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    /// Says that it was asked, by a header.
    #[derive(Clone)]
    struct Asked;

    impl NamedService for Asked {
        const NAME: &'static str = "test.Asked";
    }

    impl Service<Request<Body>> for Asked {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = Answering;

        fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Answering {
            let path = request.uri().path().to_owned();
            let answer = Response::builder().header("asked", path).body(Body::empty()).unwrap();
            Box::pin(ready(Ok(answer)))
        }
    }

    #[tokio::test]
    async fn a_call_goes_to_the_service_that_it_names_and_to_no_other() {
        let mut routes = Routes::default();
        routes.add_service(Asked);
        let mut routing = routes.serve();
        let mut call = async |path: &str| {
            let request = Request::builder().uri(path).body(Body::empty()).unwrap();
            routing.call(request).await.unwrap()
        };
        let answer = call("/test.Asked/Method").await;
        assert_eq!(answer.headers()["asked"], "/test.Asked/Method");
        for path in ["/test.Other/Method", "/test.asked/Method", "/test.Asked", "/", "/test.Aske/d"]
        {
            let answer = call(path).await;
            let status = tonic::Status::from_header_map(answer.headers()).unwrap();
            assert_eq!(status.code(), Code::Unimplemented, "{path}");
        }
    }

    #[test]
    fn a_path_names_a_service_up_to_its_method() {
        for (path, service) in [
            ("/aap.v1.AuditService/ListAuditRecords", Some("aap.v1.AuditService")),
            ("/aap.v1.AuditService/", Some("aap.v1.AuditService")),
            ("/aap.v1.AuditService/Some/More", Some("aap.v1.AuditService")),
            ("//aap.v1.AuditService/List", Some("")),
            ("/aap.v1.AuditService", None),
            ("/", None),
            ("*", None),
            ("", None),
        ] {
            assert_eq!(service_of(path), service, "{path}");
        }
    }
}
