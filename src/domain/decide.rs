//! Judges a request against the catalog: an event, an answer given before, or a rejection.
//!
//! Synchronous and total. It runs in the journal's one writer, on state that includes the requests
//! decided before in the same batch; looking references up anywhere else would be a race.

use std::sync::Arc;

use super::{
    access_point::{AccessPoint, AccessPointState},
    catalog::{Catalog, Holders},
    command::{Command, NewAccessPoint, NewNetworkRule, NewPolicy, Request, Target},
    event::{Change, Event, Gone},
    name::{Id, NetworkRuleName, PolicyName, ResourceName},
    network::NetworkKind,
    network_rule::NetworkRule,
    policy::Policy,
    request::RequestId,
    resource::{Description, Etag, Header},
};

/// What a request comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This happened.
    Happened(Event),
    /// This event answered the same request before.
    AnsweredBefore {
        /// The event's sequence number.
        sequence: u64,
    },
}

/// Why a request is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// What should be changed doesn't exist.
    #[error("`{0}` is not found")]
    NotFound(ResourceName),
    /// What should be created exists.
    #[error("`{0}` already exists")]
    AlreadyExists(ResourceName),
    /// What the request names doesn't exist.
    #[error("`{resource}` names {} that can't be found", count(missing.len(), "resource"))]
    ReferencesMissing {
        /// What names it.
        resource: ResourceName,
        /// What doesn't exist.
        missing: Vec<ResourceName>,
    },
    /// Others hold what should be deleted.
    #[error("`{resource}` is in use by {}", count(*total, "resource"))]
    InUse {
        /// What should be deleted.
        resource: ResourceName,
        /// What holds it: the first [`MAX_HOLDERS_NAMED`] of them.
        holders: Vec<ResourceName>,
        /// How many hold it.
        total: usize,
    },
    /// It was changed since the caller read it.
    #[error("`{resource}` was changed: its etag is `{current}`")]
    EtagMismatch {
        /// What should be changed.
        resource: ResourceName,
        /// Its state now.
        current: Etag,
    },
    /// The request id belongs to another request.
    #[error("request id `{}` was used for a request with other content", .0.as_str())]
    RequestIdReused(RequestId),
    /// A policy of the shared KMS names private network rules.
    #[error("private network rules need the scope of a dedicated instance")]
    PrivateRulesNeedInstance {
        /// Their places among the policy's rules, from 0.
        places: Vec<usize>,
    },
}

/// The most holders that a rejection names. A shared policy may have 100,000.
pub const MAX_HOLDERS_NAMED: usize = 100;

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Judges a request.
pub fn decide(catalog: &Catalog, request: &Request) -> Result<Verdict, Rejection> {
    if let Some(mark) = &request.mark
        && let Some(answered) =
            catalog.answered(request.time, &request.actor, request.command.account(), mark)
    {
        return if answered.fingerprint == mark.fingerprint {
            Ok(Verdict::AnsweredBefore { sequence: answered.sequence })
        } else {
            Err(Rejection::RequestIdReused(mark.id.clone()))
        };
    }
    let change = match &request.command {
        Command::CreateAccessPoint(new) => create_access_point(catalog, request, new),
        Command::DeleteAccessPoint(target) => delete_access_point(catalog, target),
        Command::CreatePolicy(new) => create_policy(catalog, request, new),
        Command::DeletePolicy(target) => delete_policy(catalog, target),
        Command::CreateNetworkRule(new) => create_network_rule(catalog, request, new),
        Command::DeleteNetworkRule(target) => delete_network_rule(catalog, target),
    }?;
    Ok(Verdict::Happened(Event {
        sequence: catalog.revision() + 1,
        time: request.time,
        actor: Arc::clone(&request.actor),
        request: request.mark.clone(),
        change,
    }))
}

impl Command {
    fn account(&self) -> &Id {
        match self {
            Self::CreateAccessPoint(new) => &new.name.location.account,
            Self::DeleteAccessPoint(target) => &target.name.location.account,
            Self::CreatePolicy(new) => &new.name.location.account,
            Self::DeletePolicy(target) => &target.name.location.account,
            Self::CreateNetworkRule(new) => &new.name.location.account,
            Self::DeleteNetworkRule(target) => &target.name.location.account,
        }
    }
}

fn new_header(catalog: &Catalog, request: &Request, description: &Description) -> Header {
    Header {
        uid: request.uid,
        revision: catalog.revision() + 1,
        create_time: request.time,
        update_time: request.time,
        description: description.clone(),
    }
}

fn create_access_point(
    catalog: &Catalog,
    request: &Request,
    new: &NewAccessPoint,
) -> Result<Change, Rejection> {
    let resource = || ResourceName::AccessPoint(new.name.clone());
    if catalog.access_point(&new.name).is_some() {
        return Err(Rejection::AlreadyExists(resource()));
    }
    let missing: Vec<_> = new
        .policies
        .iter()
        .map(|id| PolicyName { location: new.name.location.clone(), id: id.clone() })
        .filter(|name| catalog.policy(name).is_none())
        .map(ResourceName::Policy)
        .collect();
    if !missing.is_empty() {
        return Err(Rejection::ReferencesMissing { resource: resource(), missing });
    }
    Ok(Change::AccessPointCreated(Arc::new(AccessPoint {
        name: new.name.clone(),
        header: new_header(catalog, request, &new.description),
        authentication: new.authentication.clone(),
        policies: new.policies.clone(),
        state: AccessPointState::Active,
    })))
}

fn delete_access_point(
    catalog: &Catalog,
    target: &Target<super::name::AccessPointName>,
) -> Result<Change, Rejection> {
    let resource = || ResourceName::AccessPoint(target.name.clone());
    let found =
        catalog.access_point(&target.name).ok_or_else(|| Rejection::NotFound(resource()))?;
    check_etag(target.etag.as_deref(), &found.header, resource)?;
    Ok(Change::AccessPointDeleted(Gone { name: target.name.clone(), uid: found.header.uid }))
}

fn create_policy(
    catalog: &Catalog,
    request: &Request,
    new: &NewPolicy,
) -> Result<Change, Rejection> {
    let resource = || ResourceName::Policy(new.name.clone());
    if catalog.policy(&new.name).is_some() {
        return Err(Rejection::AlreadyExists(resource()));
    }
    check_rules(catalog, new)?;
    Ok(Change::PolicyCreated(Arc::new(Policy {
        name: new.name.clone(),
        header: new_header(catalog, request, &new.description),
        terms: new.terms.clone(),
    })))
}

fn check_rules(catalog: &Catalog, new: &NewPolicy) -> Result<(), Rejection> {
    let mut missing = Vec::new();
    let mut private = Vec::new();
    for (place, id) in new.terms.rules().iter().enumerate() {
        let name = NetworkRuleName { location: new.name.location.clone(), id: id.clone() };
        match catalog.network_rule(&name) {
            None => missing.push(ResourceName::NetworkRule(name)),
            Some(rule) if rule.kind == NetworkKind::Private => private.push(place),
            Some(_) => {}
        }
    }
    if !missing.is_empty() {
        let resource = ResourceName::Policy(new.name.clone());
        return Err(Rejection::ReferencesMissing { resource, missing });
    }
    if !private.is_empty() && !new.terms.scope().is_dedicated() {
        return Err(Rejection::PrivateRulesNeedInstance { places: private });
    }
    Ok(())
}

fn delete_policy(catalog: &Catalog, target: &Target<PolicyName>) -> Result<Change, Rejection> {
    let resource = || ResourceName::Policy(target.name.clone());
    let found = catalog.policy(&target.name).ok_or_else(|| Rejection::NotFound(resource()))?;
    check_etag(target.etag.as_deref(), &found.header, resource)?;
    let holders = catalog.holders_of_policy(&target.name);
    check_unused(holders, ResourceName::AccessPoint, resource)?;
    Ok(Change::PolicyDeleted(Gone { name: target.name.clone(), uid: found.header.uid }))
}

fn create_network_rule(
    catalog: &Catalog,
    request: &Request,
    new: &NewNetworkRule,
) -> Result<Change, Rejection> {
    if catalog.network_rule(&new.name).is_some() {
        return Err(Rejection::AlreadyExists(ResourceName::NetworkRule(new.name.clone())));
    }
    Ok(Change::NetworkRuleCreated(Arc::new(NetworkRule {
        name: new.name.clone(),
        header: new_header(catalog, request, &new.description),
        kind: new.kind.clone(),
        addresses: new.addresses.clone(),
    })))
}

fn delete_network_rule(
    catalog: &Catalog,
    target: &Target<NetworkRuleName>,
) -> Result<Change, Rejection> {
    let resource = || ResourceName::NetworkRule(target.name.clone());
    let found =
        catalog.network_rule(&target.name).ok_or_else(|| Rejection::NotFound(resource()))?;
    check_etag(target.etag.as_deref(), &found.header, resource)?;
    let holders = catalog.holders_of_rule(&target.name);
    check_unused(holders, ResourceName::Policy, resource)?;
    Ok(Change::NetworkRuleDeleted(Gone { name: target.name.clone(), uid: found.header.uid }))
}

fn check_etag(
    given: Option<&str>,
    header: &Header,
    resource: impl FnOnce() -> ResourceName,
) -> Result<(), Rejection> {
    let current = header.etag();
    match given {
        Some(text) if !current.is_named_by(text) => {
            Err(Rejection::EtagMismatch { resource: resource(), current })
        }
        _ => Ok(()),
    }
}

fn check_unused<N: Clone + Ord>(
    holders: Option<&Holders<N>>,
    resource_name: impl Fn(N) -> ResourceName,
    resource: impl FnOnce() -> ResourceName,
) -> Result<(), Rejection> {
    let Some(names) = holders else { return Ok(()) };
    let holders = names.iter().take(MAX_HOLDERS_NAMED).cloned().map(resource_name).collect();
    Err(Rejection::InUse { resource: resource(), holders, total: names.size() })
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod repeats;

#[cfg(test)]
mod properties;
