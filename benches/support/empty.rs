//! The opponent: a gRPC service with one method that does nothing, as tonic's users write it.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    pin::Pin,
    task::{Context, Poll},
};

use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{Service, http},
    server::{Grpc, NamedService, UnaryService},
};
use tonic_prost::ProstCodec;

/// The method's path.
pub(crate) const PATH: &str = "/aap.bench.Empty/Call";

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct Empty;

impl NamedService for Empty {
    const NAME: &'static str = "aap.bench.Empty";
}

struct Call;

impl UnaryService<()> for Call {
    type Response = ();
    type Future = Ready<Result<Response<()>, Status>>;

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Ok(Response::new(())))
    }
}

impl Service<http::Request<Body>> for Empty {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        // Boxed, as tonic's generated code has it.
        Box::pin(async {
            let mut grpc = Grpc::new(ProstCodec::default());
            Ok(grpc.unary(Call, request).await)
        })
    }
}
