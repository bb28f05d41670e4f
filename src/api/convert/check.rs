//! Checks. On the way of every decision: what is valid is borrowed from the message and not copied.

use std::net::IpAddr;

use crate::{
    api::{pb, status::ApiError},
    domain::{
        check::{ActionName, Check, InstanceText, ResourceText, Subject},
        name::{AccessPointRef, LocationRef},
        network::{InvalidVpcId, Origin, OriginNetwork, VpcId},
        request::{InvalidRequestId, RequestId},
    },
};

use super::Violations;
use pb::{check::Subject as SentSubject, origin::Network as SentNetwork};

/// Parses the place that a check is about.
pub fn parse_parent(parent: &str) -> Result<LocationRef<'_>, ApiError> {
    super::parse_first("parent", LocationRef::parse(parent))
}

/// Parses the request of one check.
pub fn parse_one<'a>(
    location: LocationRef<'a>,
    check: Option<&'a pb::Check>,
    request_id: &str,
) -> Result<Check<'a>, ApiError> {
    let mut violations = Violations::default();
    note_request_id(&mut violations, request_id);
    let parsed = violations
        .require("check", check)
        .and_then(|check| parse(&mut violations, "check", location, check));
    violations.finish(parsed)
}

/// The most checks in a batch.
pub const MAX_CHECKS: usize = 1_000;

/// Parses the request of several checks.
pub fn parse_all<'a>(
    location: LocationRef<'a>,
    checks: &'a [pb::Check],
    request_id: &str,
) -> Result<Vec<Check<'a>>, ApiError> {
    let mut violations = Violations::default();
    note_request_id(&mut violations, request_id);
    note_count(&mut violations, checks.len());
    if checks.len() > MAX_CHECKS {
        return violations.finish(None);
    }
    let mut parsed = Vec::with_capacity(checks.len());
    for (place, check) in checks.iter().enumerate() {
        let path = || format!("checks[{place}]");
        parsed.extend(violations.within(path, |own| parse(own, "", location, check)));
    }
    violations.finish(Some(parsed))
}

/// Refuses a message of a stream that asks too much at once, or nothing.
pub fn check_count(count: usize) -> Result<(), ApiError> {
    let mut violations = Violations::default();
    note_count(&mut violations, count);
    violations.finish(Some(()))
}

/// Refuses a request id that is none.
pub fn check_request_id(request_id: &str) -> Result<(), ApiError> {
    let mut violations = Violations::default();
    note_request_id(&mut violations, request_id);
    violations.finish(Some(()))
}

fn note_count(violations: &mut Violations, count: usize) {
    if !(1..=MAX_CHECKS).contains(&count) {
        violations.add("checks", format!("must have 1 to 1,000 checks, not {count}"));
    }
}

fn note_request_id(violations: &mut Violations, request_id: &str) {
    if !request_id.is_empty() && !RequestId::is_valid(request_id) {
        violations.add("request_id", InvalidRequestId);
    }
}

fn parse<'a>(
    violations: &mut Violations,
    path: &str,
    location: LocationRef<'a>,
    check: &'a pb::Check,
) -> Option<Check<'a>> {
    let pb::Check { action, resource, instance, origin, subject } = check;
    let mut keep = Keeper { violations, path };
    let subject = match subject {
        Some(SentSubject::AccessPoint(name)) => {
            keep.keep(".access_point", AccessPointRef::parse(name)).map(Subject::Asserted)
        }
        // Whatever it is: what isn't a token is a session that isn't genuine.
        Some(SentSubject::Session(token)) => Some(Subject::Token(token)),
        None => keep.keep(".subject", Err("is required")),
    };
    let action = keep.keep(".action", ActionName::parse(action));
    let resource = keep.keep(".resource", ResourceText::parse(resource));
    let instance = keep.keep(".instance", InstanceText::parse(instance));
    let origin = match origin {
        None => Some(Origin::default()),
        Some(origin) => parse_origin(&mut keep, origin),
    };
    Some(Check {
        location,
        subject: subject?,
        action: action?,
        resource: resource?,
        instance: instance?,
        origin: origin?,
    })
}

fn parse_origin<'a>(keep: &mut Keeper<'_>, origin: &'a pb::Origin) -> Option<Origin<'a>> {
    let pb::Origin { address, network } = origin;
    let network = match network {
        None => Some(None),
        Some(SentNetwork::PublicNetwork(pb::PublicNetwork {})) => Some(Some(OriginNetwork::Public)),
        Some(SentNetwork::PrivateNetwork(pb::PrivateNetwork {})) => {
            Some(Some(OriginNetwork::Private))
        }
        Some(SentNetwork::VpcNetwork(pb::VpcNetwork { vpc_id })) => {
            let valid = if VpcId::is_valid(vpc_id) { Ok(vpc_id) } else { Err(InvalidVpcId) };
            let kept = keep.keep(".origin.vpc_network.vpc_id", valid);
            kept.map(|vpc_id| Some(OriginNetwork::Vpc(vpc_id)))
        }
    };
    let address = match address.as_str() {
        "" => Some(None),
        text => {
            let parsed = text.parse::<IpAddr>().map_err(|_| "must be an IPv4 or IPv6 address");
            keep.keep(".origin.address", parsed).map(Some)
        }
    };
    Some(Origin { network: network?, address: address? })
}

/// Notes violations under a path, which it only puts together when there are any.
struct Keeper<'v> {
    violations: &'v mut Violations,
    path: &'v str,
}

impl Keeper<'_> {
    fn keep<T, E: ToString>(&mut self, field: &str, parsed: Result<T, E>) -> Option<T> {
        match parsed {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.violations.add(format!("{}{field}", self.path), error);
                None
            }
        }
    }
}
