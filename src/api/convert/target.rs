//! Requests that name one resource to be changed, and say no more about it.

use std::mem;

use crate::{
    api::{pb, status::ApiError},
    domain::{
        command::Target,
        name::{InvalidName, ResourceName},
    },
    identity::caller::Caller,
    service::management::{Manager, Manner},
};

use super::{Repetition, Violations, parse_etag, parse_first};

/// A request that names one resource to be changed.
#[derive(Debug)]
pub struct Targeted {
    name: String,
    etag: String,
    repetition: Repetition,
}

impl Targeted {
    /// Makes sure that the caller may change what is named, and parses the rest.
    pub fn authorize<N: Clone>(
        self,
        caller: &Caller,
        method: &'static str,
        parse: impl Fn(&str) -> Result<N, InvalidName>,
        resource: impl Fn(N) -> ResourceName,
    ) -> Result<(Target<N>, Manner), ApiError> {
        let Self { name, etag, repetition } = self;
        let name = parse_first("name", parse(&name))?;
        Manager::authorize(caller, &resource(name.clone()))?;
        let mut violations = Violations::default();
        let manner = repetition.manner(method, &mut violations);
        let manner = violations.finish(manner)?;
        Ok((Target { name, etag: parse_etag(&etag) }, manner))
    }
}

macro_rules! targeted {
    ($($message:ident),* $(,)?) => {
        $(impl From<pb::$message> for Targeted {
            fn from(mut message: pb::$message) -> Self {
                let request_id = mem::take(&mut message.request_id);
                let repetition = Repetition::of(request_id, message.validate_only, &message);
                let pb::$message { name, etag, request_id: _, validate_only: _ } = message;
                Self { name, etag, repetition }
            }
        })*
    };
}

targeted!(
    DeleteAccessPointRequest,
    DeleteNetworkRuleRequest,
    DeletePolicyRequest,
    ResumeAccessPointRequest,
    SuspendAccessPointRequest,
);
