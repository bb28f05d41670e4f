//! Judges a batch of requests against the catalog: events, an answer given before, or a rejection.
//!
//! Synchronous and total. It runs in the journal's one writer, on state that includes the requests
//! decided before in the same batch; looking references up anywhere else would be a race.

mod client_keys;
mod ram_roles;

use std::{iter, sync::Arc};

use super::{
    access_point::{AccessPoint, AccessPointState, PolicyIds, TrustedRole},
    catalog::{Answered, Catalog, Holders},
    client_key::MAX_CLIENT_KEYS,
    command::{
        AccessPointPatch, Batch, Command, NetworkRulePatch, NewAccessPoint, NewNetworkRule,
        NewPolicy, PolicyPatch, Request, Target,
    },
    event::{Change, Event, Gone},
    limits::{Kind, Limits},
    name::{
        AccessPointName, ClientKeyName, Id, NetworkRuleName, PolicyName, RamRoleName, ResourceName,
    },
    network::NetworkKind,
    network_rule::NetworkRule,
    policy::{InvalidTerms, Policy, Terms},
    request::RequestId,
    resource::{Description, Etag, Header},
    trust_policy::{Obstacle, Trust},
};

/// What a batch comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This happened: an event for each request, in order.
    Happened(Vec<Event>),
    /// These events answered the same request before.
    AnsweredBefore {
        /// The first event's sequence number.
        first: u64,
        /// The last event's sequence number.
        last: u64,
    },
}

/// Which request of a batch is rejected, and why; none of them is carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rejection}")]
pub struct Rejected {
    /// Its place in the batch, from 0.
    pub place: usize,
    /// Why.
    pub rejection: Rejection,
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
    /// The role that an access point should authenticate by doesn't trust its environment.
    #[error("`{role}` is not trusted for {trusted_role}: {obstacle}")]
    RoleNotTrusted {
        /// The role.
        role: RamRoleName,
        /// The environment.
        trusted_role: TrustedRole,
        /// What stands in the way.
        obstacle: Obstacle,
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
    /// The account has as many as it may have.
    #[error("account `{account}` has {limit} {kind}, which is as many as it may have")]
    LimitReached {
        /// The account.
        account: Id,
        /// Of what.
        kind: Kind,
        /// How many it may have.
        limit: u32,
    },
    /// The access point authenticates by a RAM role.
    #[error("`{0}` authenticates by a RAM role, so it has no client keys")]
    NotByClientKey(AccessPointName),
    /// The access point has as many client keys as it may have.
    #[error("`{0}` has {MAX_CLIENT_KEYS} client keys, which is as many as it may have")]
    ClientKeysFull(AccessPointName),
    /// What the server itself would keep of a client key is known.
    #[error("what is to be kept of `{0}` is known")]
    NothingNew(ClientKeyName),
    /// What the batch leaves is larger than an answer may be.
    #[error("the changes leave more than {} bytes together", Batch::MAX_BYTES)]
    BatchTooLarge,
    /// The request id belongs to another request.
    #[error("request id `{}` was used for a request with other content", .0.as_str())]
    RequestIdReused(RequestId),
    /// A policy's parts would not agree with each other any more.
    #[error("the policy would be invalid: {}", .0.first().map(ToString::to_string).unwrap_or_default())]
    InvalidTerms(Vec<InvalidTerms>),
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

/// Judges a batch: each request on what those before it leave.
pub fn decide(catalog: &Catalog, limits: &Limits, batch: &Batch) -> Result<Verdict, Rejected> {
    let rejected = |place| move |rejection| Rejected { place, rejection };
    if let Some(first) = batch.requests().first()
        && let Some(answered) = answered_before(catalog, first).map_err(rejected(0))?
    {
        return Ok(answered);
    }
    let mut working = catalog.clone();
    let mut events = Vec::with_capacity(batch.requests().len());
    let mut bytes = 0;
    for (place, request) in batch.requests().iter().enumerate() {
        let event = judge(&working, request).map_err(rejected(place))?;
        check_limit(&working, limits, &event.change).map_err(rejected(place))?;
        bytes += event.change.approximate_bytes();
        if place > 0 && bytes > Batch::MAX_BYTES {
            return Err(Rejected { place, rejection: Rejection::BatchTooLarge });
        }
        working.evolve(&event);
        events.push(event);
    }
    Ok(Verdict::Happened(events))
}

/// Refuses what would be one too many.
fn check_limit(catalog: &Catalog, limits: &Limits, change: &Change) -> Result<(), Rejection> {
    let Some(kind) = Kind::created_by(change) else { return Ok(()) };
    let (account, limit) = (change.account(), limits.of(kind));
    if catalog.count(account, kind) < limit {
        return Ok(());
    }
    Err(Rejection::LimitReached { account: account.clone(), kind, limit })
}

/// What a request with the same id came to, if one is remembered.
fn answered_before(catalog: &Catalog, request: &Request) -> Result<Option<Verdict>, Rejection> {
    let Some(mark) = &request.mark else { return Ok(None) };
    let account = request.command.account();
    match catalog.answered(request.time, &request.actor, account, mark) {
        None => Ok(None),
        Some(Answered { first, last, fingerprint, .. }) if fingerprint == mark.fingerprint => {
            Ok(Some(Verdict::AnsweredBefore { first, last }))
        }
        Some(_) => Err(Rejection::RequestIdReused(mark.id.clone())),
    }
}

/// Judges one request that wasn't answered before.
fn judge(catalog: &Catalog, request: &Request) -> Result<Event, Rejection> {
    let change = match &request.command {
        Command::CreateAccessPoint(new) => create_access_point(catalog, request, new),
        Command::UpdateAccessPoint(target, patch) => {
            update_access_point(catalog, request, target, patch)
        }
        Command::SuspendAccessPoint(target) => {
            let state = AccessPointState::Suspended;
            set_state(catalog, request, target, state).map(Change::AccessPointSuspended)
        }
        Command::ResumeAccessPoint(target) => {
            let state = AccessPointState::Active;
            set_state(catalog, request, target, state).map(Change::AccessPointResumed)
        }
        Command::RevokeSessions(target) => {
            revoke_sessions(catalog, request, target).map(Change::SessionsRevoked)
        }
        Command::DeleteAccessPoint(target) => delete_access_point(catalog, target),
        Command::CreatePolicy(new) => create_policy(catalog, request, new),
        Command::UpdatePolicy(target, patch) => update_policy(catalog, request, target, patch),
        Command::DeletePolicy(target) => delete_policy(catalog, target),
        Command::CreateNetworkRule(new) => create_network_rule(catalog, request, new),
        Command::UpdateNetworkRule(target, patch) => {
            update_network_rule(catalog, request, target, patch)
        }
        Command::DeleteNetworkRule(target) => delete_network_rule(catalog, target),
        Command::CreateRamRole(new) => ram_roles::create(catalog, request, new),
        Command::UpdateRamRole(target, patch) => ram_roles::update(catalog, request, target, patch),
        Command::DeleteRamRole(target) => ram_roles::delete(catalog, target),
        Command::AddClientKey(new) => client_keys::add(catalog, request, new),
        Command::EnableClientKey(target) => client_keys::enable(catalog, request, target),
        Command::DisableClientKey(target) => client_keys::disable(catalog, request, target),
        Command::DeleteClientKey(target) => client_keys::delete(catalog, target),
        Command::KeepClientKeyUse(key, time) => client_keys::keep_use(catalog, key, *time),
        Command::GiveClientKeyNotice(key, notice) => {
            client_keys::give_notice(catalog, request, key, *notice)
        }
    }?;
    Ok(Event {
        sequence: catalog.revision() + 1,
        time: request.time,
        actor: Arc::clone(&request.actor),
        request: request.mark.clone(),
        change,
    })
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

fn changed_header(
    catalog: &Catalog,
    request: &Request,
    header: &Header,
    description: Option<&Description>,
) -> Header {
    Header {
        revision: catalog.revision() + 1,
        update_time: request.time,
        description: description.unwrap_or(&header.description).clone(),
        ..header.clone()
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
    check_what_it_names(catalog, new)?;
    Ok(Change::AccessPointCreated(Arc::new(AccessPoint {
        name: new.name.clone(),
        header: new_header(catalog, request, &new.description),
        authentication: new.authentication.clone(),
        policies: new.policies.clone(),
        state: AccessPointState::Active,
        // Its uid is new: there is no session that is older.
        sessions_valid_from: 0,
    })))
}

/// A role must be there, as all policies must, and trust its environment.
fn check_what_it_names(catalog: &Catalog, new: &NewAccessPoint) -> Result<(), Rejection> {
    let missing = missing_policies(catalog, &new.name, &new.policies);
    let Some((role, trusted_role)) = new.authentication.role(&new.name) else {
        return check_references(&new.name, missing);
    };
    let Some(found) = catalog.ram_role(&role) else {
        let role = iter::once(ResourceName::RamRole(role));
        return check_references(&new.name, role.chain(missing));
    };
    check_references(&new.name, missing)?;
    match found.trust(trusted_role) {
        Trust::Trusted => Ok(()),
        Trust::Untrusted(obstacle) => {
            let obstacle = obstacle.clone();
            Err(Rejection::RoleNotTrusted { role, trusted_role, obstacle })
        }
    }
}

fn missing_policies(
    catalog: &Catalog,
    access_point: &AccessPointName,
    policies: &PolicyIds,
) -> impl Iterator<Item = ResourceName> {
    policies
        .iter()
        .map(|id| PolicyName { location: access_point.location.clone(), id: id.clone() })
        .filter(|name| catalog.policy(name).is_none())
        .map(ResourceName::Policy)
}

fn check_references(
    access_point: &AccessPointName,
    missing: impl Iterator<Item = ResourceName>,
) -> Result<(), Rejection> {
    let missing: Vec<_> = missing.collect();
    if missing.is_empty() {
        return Ok(());
    }
    let resource = ResourceName::AccessPoint(access_point.clone());
    Err(Rejection::ReferencesMissing { resource, missing })
}

fn find_access_point<'a>(
    catalog: &'a Catalog,
    target: &Target<AccessPointName>,
) -> Result<&'a AccessPoint, Rejection> {
    let resource = || ResourceName::AccessPoint(target.name.clone());
    let found =
        catalog.access_point(&target.name).ok_or_else(|| Rejection::NotFound(resource()))?;
    check_etag(target.etag.as_deref(), &found.header, resource)?;
    Ok(found)
}

fn update_access_point(
    catalog: &Catalog,
    request: &Request,
    target: &Target<AccessPointName>,
    patch: &AccessPointPatch,
) -> Result<Change, Rejection> {
    let found = find_access_point(catalog, target)?;
    let AccessPointPatch { description, policies } = patch;
    if let Some(policies) = policies {
        check_references(&found.name, missing_policies(catalog, &found.name, policies))?;
    }
    Ok(Change::AccessPointUpdated(Arc::new(AccessPoint {
        header: changed_header(catalog, request, &found.header, description.as_ref()),
        policies: policies.as_ref().unwrap_or(&found.policies).clone(),
        ..found.clone()
    })))
}

/// Suspending ends sessions for good: resuming doesn't bring them back.
fn set_state(
    catalog: &Catalog,
    request: &Request,
    target: &Target<AccessPointName>,
    state: AccessPointState,
) -> Result<Arc<AccessPoint>, Rejection> {
    let found = find_access_point(catalog, target)?;
    let header = changed_header(catalog, request, &found.header, None);
    let sessions_valid_from = match state {
        AccessPointState::Suspended => header.revision,
        AccessPointState::Active => found.sessions_valid_from,
    };
    Ok(Arc::new(AccessPoint { header, state, sessions_valid_from, ..found.clone() }))
}

/// Ends the sessions that were granted before, whatever its state.
fn revoke_sessions(
    catalog: &Catalog,
    request: &Request,
    target: &Target<AccessPointName>,
) -> Result<Arc<AccessPoint>, Rejection> {
    let found = find_access_point(catalog, target)?;
    let header = changed_header(catalog, request, &found.header, None);
    let sessions_valid_from = header.revision;
    Ok(Arc::new(AccessPoint { header, sessions_valid_from, ..found.clone() }))
}

fn delete_access_point(
    catalog: &Catalog,
    target: &Target<AccessPointName>,
) -> Result<Change, Rejection> {
    let found = find_access_point(catalog, target)?;
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
    check_rules(catalog, &new.name, &new.terms)?;
    Ok(Change::PolicyCreated(Arc::new(Policy {
        name: new.name.clone(),
        header: new_header(catalog, request, &new.description),
        terms: new.terms.clone(),
    })))
}

fn update_policy(
    catalog: &Catalog,
    request: &Request,
    target: &Target<PolicyName>,
    patch: &PolicyPatch,
) -> Result<Change, Rejection> {
    let resource = || ResourceName::Policy(target.name.clone());
    let found = catalog.policy(&target.name).ok_or_else(|| Rejection::NotFound(resource()))?;
    check_etag(target.etag.as_deref(), &found.header, resource)?;
    let PolicyPatch { description, permissions, resources, network_access } = patch.clone();
    let terms = &found.terms;
    let terms = Terms::new(
        terms.scope().clone(),
        permissions.unwrap_or_else(|| terms.permissions().to_vec()),
        resources.unwrap_or_else(|| terms.resources().to_vec()),
        network_access.unwrap_or_else(|| terms.network_access().clone()),
    )
    .map_err(Rejection::InvalidTerms)?;
    check_rules(catalog, &found.name, &terms)?;
    let header = changed_header(catalog, request, &found.header, description.as_ref());
    Ok(Change::PolicyUpdated(Arc::new(Policy { name: found.name.clone(), header, terms })))
}

fn check_rules(catalog: &Catalog, policy: &PolicyName, terms: &Terms) -> Result<(), Rejection> {
    let mut missing = Vec::new();
    let mut private = Vec::new();
    for (place, id) in terms.rules().iter().enumerate() {
        let name = NetworkRuleName { location: policy.location.clone(), id: id.clone() };
        match catalog.network_rule(&name) {
            None => missing.push(ResourceName::NetworkRule(name)),
            Some(rule) if rule.kind == NetworkKind::Private => private.push(place),
            Some(_) => {}
        }
    }
    if !missing.is_empty() {
        let resource = ResourceName::Policy(policy.clone());
        return Err(Rejection::ReferencesMissing { resource, missing });
    }
    if !private.is_empty() && !terms.scope().is_dedicated() {
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

fn update_network_rule(
    catalog: &Catalog,
    request: &Request,
    target: &Target<NetworkRuleName>,
    patch: &NetworkRulePatch,
) -> Result<Change, Rejection> {
    let resource = || ResourceName::NetworkRule(target.name.clone());
    let found =
        catalog.network_rule(&target.name).ok_or_else(|| Rejection::NotFound(resource()))?;
    check_etag(target.etag.as_deref(), &found.header, resource)?;
    let NetworkRulePatch { description, addresses } = patch;
    Ok(Change::NetworkRuleUpdated(Arc::new(NetworkRule {
        header: changed_header(catalog, request, &found.header, description.as_ref()),
        addresses: addresses.as_ref().unwrap_or(&found.addresses).clone(),
        ..NetworkRule::clone(found)
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
mod quotas;

#[cfg(test)]
mod roles;

#[cfg(test)]
mod repeats;

#[cfg(test)]
mod batches;

#[cfg(test)]
mod properties;

#[cfg(test)]
mod keys;
