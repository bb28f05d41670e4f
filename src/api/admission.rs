//! Who calls, and may they call this method? Answered from the headers, before a message is read.
//!
//! Health and reflection are for everybody: they tell nothing that isn't public.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{
    HeaderValue, Request, Response,
    header::{AUTHORIZATION, USER_AGENT},
};
use pin_project_lite::pin_project;
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use crate::{
    audit::record::Call,
    identity::{
        caller::{Authenticated, Credential},
        token::TokenDigest,
    },
    service::{
        gate::{Gate, GateError},
        permissions::{self, Needs},
        refusals::{Refusal, Refusals},
    },
};

use super::{
    call,
    status::{self, ApiError},
};

/// The most bytes that a message may have.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1_024 * 1_024;

/// What methods of this API begin with.
const OWN_METHODS: &str = "/aap.";

/// Lets calls in.
#[derive(Clone, Debug)]
pub struct Admission {
    gate: Gate,
    refusals: Refusals,
}

impl Admission {
    /// Lets in whom a gate lets in, and records whom it doesn't.
    pub fn new(gate: Gate, refusals: Refusals) -> Self {
        Self { gate, refusals }
    }

    fn admit(&self, request: &Request<Body>) -> Result<Option<Authenticated>, GateError> {
        let method = request.uri().path();
        if !method.starts_with(OWN_METHODS) {
            return Ok(None);
        }
        if permissions::needs_of(method) == Some(Needs::Proof) {
            return Ok(None);
        }
        let credential = credential(request).ok_or(GateError::Unauthenticated)?;
        self.gate.admit(credential, method).map(Some)
    }
}

/// What a call shows. Who says something in the header is taken at its word, right or wrong; the
/// connection's certificate, which may be everybody's who shares it, counts only without.
fn credential(request: &Request<Body>) -> Option<Credential> {
    if let Some(header) = request.headers().get(AUTHORIZATION) {
        return bearer_token(header).map(TokenDigest::of).map(Credential::Token);
    }
    let connection = call::connection(request.extensions())?;
    connection.certificate.clone().map(Credential::Certificate)
}

fn bearer_token(header: &HeaderValue) -> Option<&str> {
    let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

impl<S> Layer<S> for Admission {
    type Service = Admitting<S>;

    fn layer(&self, inner: S) -> Admitting<S> {
        Admitting { admission: self.clone(), inner }
    }
}

/// Lets calls in to a service.
#[derive(Clone, Debug)]
pub struct Admitting<S> {
    admission: Admission,
    inner: S,
}

impl<S> Service<Request<Body>> for Admitting<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Admitted<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        match self.admission.admit(&request) {
            Ok(authenticated) => {
                if let Some(authenticated) = authenticated {
                    request.extensions_mut().insert(authenticated);
                }
                Admitted::Let { inner: self.inner.call(request) }
            }
            Err(error) => {
                let status = self.admission.refuse(&request, &error);
                Admitted::Refused { response: Some(status.into_http()) }
            }
        }
    }
}

impl Admission {
    fn refuse(&self, request: &Request<Body>, error: &GateError) -> Status {
        let status: Status = ApiError::Gate(error.clone()).into();
        let reason = status::reason_of(&status);
        let connection = call::connection(request.extensions());
        let call = Call {
            caller: error.caller(),
            peer: connection.map(|connection| connection.peer),
            forwarded: connection.and_then(|connection| connection.forwarded),
            user_agent: call::text(request.headers(), USER_AGENT).unwrap_or_default(),
            ..Call::default()
        };
        self.refusals.record(&Refusal {
            call,
            account: "",
            method: request.uri().path(),
            code: u8::try_from(i32::from(status.code())).unwrap_or_default(),
            reason: &reason,
        });
        status
    }
}

pin_project! {
    /// The answer to a call.
    #[derive(Debug)]
    #[project = AdmittedProjection]
    #[allow(missing_docs, reason = "the macro's own variants")]
    pub enum Admitted<F> {
        /// It was let in.
        Let {
            #[pin]
            inner: F,
        },
        /// It was not.
        Refused {
            response: Option<Response<Body>>,
        },
    }
}

impl<F, E> Future for Admitted<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            AdmittedProjection::Let { inner } => {
                let response = ready!(inner.poll(context))?;
                Poll::Ready(Ok(status::with_own_reason(response)))
            }
            // A finished future is not polled again; if it were, it would say that it failed.
            AdmittedProjection::Refused { response } => {
                let failed = || status::response(ApiError::Internal);
                Poll::Ready(Ok(response.take().unwrap_or_else(failed)))
            }
        }
    }
}
