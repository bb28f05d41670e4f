//! A world to test the domain in: a catalog and a rulebook that take in the same events, and short
//! ways to write down commands, questions and answers.
//!
//! It has no expectations of its own, and whatever it is given must be well-formed.
//!
//! A name is an id in [`HOME`], or the full name of what lives elsewhere. A list is one text with
//! spaces between its items.

pub(crate) mod histories;
pub(crate) mod reference;

use std::{fmt, net::IpAddr};

use super::{
    access_point::{Authentication, PolicyIds, TrustedRole},
    catalog::Catalog,
    check::{ActionName, Check, InstanceText, ResourceText, Subject},
    client_key::{ClientKeyOrigin, KeyAlgorithm, PublicKey, Validity},
    command::{
        AccessPointPatch, Batch, Command, NetworkRulePatch, NewAccessPoint, NewClientKey,
        NewNetworkRule, NewPolicy, NewRamRole, PolicyPatch, RamRolePatch, Request, Target,
    },
    decide::{Rejected, Rejection, Verdict, decide},
    decision::{Decision, DenyReason},
    event::Event,
    limits::Limits,
    name::{
        AccessPointName, AccessPointRef, ClientKeyName, Id, Instance, LocationRef, NetworkRuleName,
        PolicyName, RamRoleName,
    },
    network::{NetworkKind, Origin, OriginNetwork, Prefix, VpcId},
    network_rule::Addresses,
    pattern::ResourcePattern,
    policy::{NetworkAccess, Terms},
    resource::{Description, Uid},
    rulebook::{Judgement, Rulebook},
    rules::{RulesVersion, Template},
    time::UnixNanos,
    trust_policy::TrustPolicy,
};

/// Where names live that say nothing else.
pub(crate) const HOME: &str = "accounts/acme/regions/eu-1";

/// Another tenant's place.
pub(crate) const ABROAD: &str = "accounts/other/regions/eu-1";

/// What a policy says instead of network rules if it is open to any network.
pub(crate) const ANY_NETWORK: &str = "any";

/// A catalog and a rulebook as of the same revision, and the events that made them.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) catalog: Catalog,
    pub(crate) rulebook: Rulebook,
    pub(crate) events: Vec<Event>,
}

impl World {
    /// The world in which these commands were carried out.
    pub(crate) fn given(commands: impl IntoIterator<Item = Command>) -> Self {
        let mut world = Self {
            catalog: Catalog::default(),
            rulebook: Rulebook::new(RulesVersion::CURRENT),
            events: Vec::new(),
        };
        for command in commands {
            world.carry_out(command);
        }
        world
    }

    /// Carries out a command that nothing speaks against; gives the event.
    pub(crate) fn carry_out(&mut self, command: Command) -> Event {
        match self.ask(&self.request(command)) {
            Ok(Verdict::Happened(mut events)) => events.pop().unwrap(),
            other => panic!("it should have happened, but: {other:?}"),
        }
    }

    /// Judges a request, and takes in what happens.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<Verdict, Rejection> {
        let verdict = self.judge(request)?;
        if let Verdict::Happened(events) = &verdict {
            self.take_in_all(events);
        }
        Ok(verdict)
    }

    /// Carries out a batch, unless it is rejected; gives the events.
    pub(crate) fn carry_out_all(&mut self, batch: &Batch) -> Result<Vec<Event>, Rejected> {
        match decide(&self.catalog, &Limits::NONE, batch)? {
            Verdict::Happened(events) => {
                self.take_in_all(&events);
                Ok(events)
            }
            Verdict::AnsweredBefore { .. } => panic!("it was answered before"),
        }
    }

    /// Judges a request, and leaves everything as it is.
    pub(crate) fn judge(&self, request: &Request) -> Result<Verdict, Rejection> {
        let batch = Batch::from(request.clone());
        decide(&self.catalog, &Limits::NONE, &batch).map_err(|rejected| rejected.rejection)
    }

    /// A request of an operator who gave it no id, with a uid that no resource has.
    pub(crate) fn request(&self, command: Command) -> Request {
        let next = self.catalog.revision() + 1;
        Request {
            actor: "operator".into(),
            time: UnixNanos(i64::try_from(next).unwrap()),
            uid: Uid(uuid::Uuid::from_u128(u128::from(next))),
            mark: None,
            command,
        }
    }

    /// The rulebook's answer.
    pub(crate) fn answer(&self, question: &Question<'_>) -> Answer {
        answer(&self.rulebook, question)
    }

    fn take_in_all(&mut self, events: &[Event]) {
        for event in events {
            self.catalog.evolve(event);
            self.rulebook.evolve(event, &self.catalog);
            self.events.push(event.clone());
        }
    }
}

/// The full name of what has this id there.
pub(crate) fn full_name(location: &str, collection: &str, id: &str) -> String {
    format!("{location}/{collection}/{id}")
}

fn resolved(collection: &str, name: &str) -> String {
    if name.contains('/') { name.to_owned() } else { full_name(HOME, collection, name) }
}

pub(crate) fn access_point_name(name: &str) -> AccessPointName {
    AccessPointName::parse(&resolved("accessPoints", name)).unwrap()
}

pub(crate) fn policy_name(name: &str) -> PolicyName {
    PolicyName::parse(&resolved("policies", name)).unwrap()
}

pub(crate) fn network_rule_name(name: &str) -> NetworkRuleName {
    NetworkRuleName::parse(&resolved("networkRules", name)).unwrap()
}

/// The name of a role of the account at [`HOME`], or the full name of another one.
pub(crate) fn ram_role_name(name: &str) -> RamRoleName {
    let is_full = name.contains('/');
    let full = if is_full { name.to_owned() } else { format!("accounts/acme/ramRoles/{name}") };
    RamRoleName::parse(&full).unwrap()
}

fn ids(list: &str) -> Vec<Id> {
    list.split_whitespace().map(|id| Id::parse(id).unwrap()).collect()
}

/// An access point with these policies.
pub(crate) fn create_access_point(name: &str, policies: &str) -> Command {
    Command::CreateAccessPoint(NewAccessPoint {
        name: access_point_name(name),
        description: Description::default(),
        authentication: Authentication::ClientKey,
        policies: PolicyIds::new(ids(policies)).unwrap(),
    })
}

/// The same access point, authenticated by a role.
pub(crate) fn by_role(command: Command, trusted_role: TrustedRole, role: &str) -> Command {
    let Command::CreateAccessPoint(mut new) = command else { panic!("{command:?}") };
    new.authentication = Authentication::RamRole { trusted_role, role: Id::parse(role).unwrap() };
    Command::CreateAccessPoint(new)
}

/// A role whose trust policy names these services: `ecs`, `fc`, or others.
pub(crate) fn create_ram_role(name: &str, services: &str) -> Command {
    let named = services.split_whitespace().map(|service| format!("\"{service}.aliyuncs.com\""));
    let named: Vec<_> = named.collect();
    // Nobody at all would not be understood.
    let named = if named.is_empty() { "\"nobody\"".to_owned() } else { named.join(",") };
    create_ram_role_with(
        name,
        &format!(
            r#"{{"Version":"1","Statement":[{{"Action":"sts:AssumeRole","Effect":"Allow","Principal":{{"Service":[{named}]}}}}]}}"#
        ),
    )
}

/// A role with a trust policy.
pub(crate) fn create_ram_role_with(name: &str, document: &str) -> Command {
    Command::CreateRamRole(NewRamRole {
        name: ram_role_name(name),
        description: Description::default(),
        trust_policy: TrustPolicy::parse(document).unwrap(),
    })
}

/// A policy; `networks` are ids of rules, or [`ANY_NETWORK`].
pub(crate) fn create_policy(
    name: &str,
    scope: &str,
    permissions: &str,
    resources: &str,
    networks: &str,
) -> Command {
    Command::CreatePolicy(NewPolicy {
        name: policy_name(name),
        description: Description::default(),
        terms: terms(scope, permissions, resources, networks).unwrap(),
    })
}

/// What a policy grants, if it could grant anything.
pub(crate) fn terms(
    scope: &str,
    permissions: &str,
    resources: &str,
    networks: &str,
) -> Option<Terms> {
    let network_access = match networks {
        ANY_NETWORK => NetworkAccess::AnyNetwork,
        rules => NetworkAccess::Rules(ids(rules).into()),
    };
    Terms::new(
        Instance::parse(scope).unwrap(),
        permissions.split_whitespace().map(template).collect(),
        resources.split_whitespace().map(|text| ResourcePattern::parse(text).unwrap()).collect(),
        network_access,
    )
    .ok()
}

fn template(name: &str) -> Template {
    match name {
        "SECRET_USER" => Template::SecretUser,
        "CRYPTO_SERVICE_SECRET_USER" => Template::CryptoServiceSecretUser,
        "CRYPTO_SERVICE_KEY_USER" => Template::CryptoServiceKeyUser,
        other => panic!("no template: {other}"),
    }
}

/// A network rule; `kind` is `public`, `private` or a VPC's id.
pub(crate) fn create_network_rule(name: &str, kind: &str, addresses: &str) -> Command {
    let prefixes = addresses.split_whitespace().map(|text| Prefix::parse(text).unwrap());
    Command::CreateNetworkRule(NewNetworkRule {
        name: network_rule_name(name),
        description: Description::default(),
        kind: match kind {
            "public" => NetworkKind::Public,
            "private" => NetworkKind::Private,
            vpc => NetworkKind::Vpc(VpcId::parse(vpc).unwrap()),
        },
        addresses: Addresses::new(prefixes.collect()).unwrap(),
    })
}

pub(crate) fn delete_access_point(name: &str) -> Command {
    Command::DeleteAccessPoint(Target { name: access_point_name(name), etag: None })
}

pub(crate) fn delete_policy(name: &str) -> Command {
    Command::DeletePolicy(Target { name: policy_name(name), etag: None })
}

pub(crate) fn delete_network_rule(name: &str) -> Command {
    Command::DeleteNetworkRule(Target { name: network_rule_name(name), etag: None })
}

pub(crate) fn delete_ram_role(name: &str) -> Command {
    Command::DeleteRamRole(Target { name: ram_role_name(name), etag: None })
}

pub(crate) fn suspend_access_point(name: &str) -> Command {
    Command::SuspendAccessPoint(Target { name: access_point_name(name), etag: None })
}

pub(crate) fn resume_access_point(name: &str) -> Command {
    Command::ResumeAccessPoint(Target { name: access_point_name(name), etag: None })
}

pub(crate) fn revoke_sessions(name: &str) -> Command {
    Command::RevokeSessions(Target { name: access_point_name(name), etag: None })
}

pub(crate) fn client_key_name(access_point: &str, id: &str) -> ClientKeyName {
    let access_point = access_point_name(access_point);
    ClientKeyName { access_point, id: Id::parse(id).unwrap() }
}

/// The points of P-256 that keys of tests are: the first three multiples of its generator.
const POINTS: [&str; 3] = [
    "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\
     4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
    "7cf27b188d034f7e8a52380304b51ac3c08969e277f21b35a60b48fc47669978\
     07775510db8ed040293d9ac69f7430dbba7dade63ce982299e04b79d227873d1",
    "5ecbe4d1a6330a44c8f7ef951d4bf165e6c6b721efada985fb41661bc6e7fd6c\
     8734640c4998ff7e374b06ce1a64a2ecd82ab036384fb83d9a79b127a27d5032",
];

/// The public key with a number from 0 to 2.
pub(crate) fn public_key(number: usize) -> PublicKey {
    const ALGORITHM: &str = "3059301306072a8648ce3d020106082a8648ce3d03010703420004";
    let digits = format!("{ALGORITHM}{}", POINTS[number]);
    let digit = |digit: &u8| char::from(*digit).to_digit(16).unwrap();
    let byte = |two: &[u8]| u8::try_from(16 * digit(&two[0]) + digit(&two[1])).unwrap();
    let info = digits.as_bytes().chunks(2).map(byte).collect();
    PublicKey { algorithm: KeyAlgorithm::EcP256, info }
}

/// A command to bind a key: the one with the number 0 was made here, the others elsewhere.
pub(crate) fn add_client_key(access_point: &str, id: &str, number: usize) -> Command {
    let origin = match number {
        0 => ClientKeyOrigin::Issued([0x30, 0].into()),
        _ => ClientKeyOrigin::Imported,
    };
    Command::AddClientKey(NewClientKey {
        name: client_key_name(access_point, id),
        origin,
        public_key: public_key(number),
        validity: Validity::from_now(UnixNanos::from_parts(1_795_458_000, 0)),
    })
}

pub(crate) fn disable_client_key(access_point: &str, id: &str) -> Command {
    Command::DisableClientKey(Target { name: client_key_name(access_point, id), etag: None })
}

pub(crate) fn enable_client_key(access_point: &str, id: &str) -> Command {
    Command::EnableClientKey(Target { name: client_key_name(access_point, id), etag: None })
}

pub(crate) fn delete_client_key(access_point: &str, id: &str) -> Command {
    Command::DeleteClientKey(Target { name: client_key_name(access_point, id), etag: None })
}

/// The command that makes what is there like what this one would create, as far as that can be
/// changed. Any other command stays as it is.
pub(crate) fn as_update(command: Command) -> Command {
    match command {
        Command::CreateAccessPoint(NewAccessPoint { name, description, policies, .. }) => {
            let (description, policies) = (Some(description), Some(policies));
            let patch = AccessPointPatch { description, policies };
            Command::UpdateAccessPoint(Target { name, etag: None }, patch)
        }
        Command::CreatePolicy(NewPolicy { name, description, terms }) => {
            let patch = PolicyPatch {
                description: Some(description),
                permissions: Some(terms.permissions().to_vec()),
                resources: Some(terms.resources().to_vec()),
                network_access: Some(terms.network_access().clone()),
            };
            Command::UpdatePolicy(Target { name, etag: None }, patch)
        }
        Command::CreateNetworkRule(NewNetworkRule { name, description, addresses, .. }) => {
            let (description, addresses) = (Some(description), Some(addresses));
            let patch = NetworkRulePatch { description, addresses };
            Command::UpdateNetworkRule(Target { name, etag: None }, patch)
        }
        Command::CreateRamRole(NewRamRole { name, description, trust_policy }) => {
            let (description, trust_policy) = (Some(description), Some(trust_policy));
            let patch = RamRolePatch { description, trust_policy };
            Command::UpdateRamRole(Target { name, etag: None }, patch)
        }
        other => other,
    }
}

/// A check, as text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    /// Where the resource lives.
    pub(crate) location: &'a str,
    pub(crate) access_point: &'a str,
    pub(crate) action: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) instance: &'a str,
    /// A network (`public`, `private` or a VPC's id) and an address; `-` is what isn't known.
    pub(crate) origin: &'a str,
}

/// Reads an origin: see [`Question::origin`].
pub(crate) fn origin(text: &str) -> Origin<'_> {
    let (network, address) = text.split_once(' ').unwrap();
    Origin {
        network: match network {
            "-" => None,
            "public" => Some(OriginNetwork::Public),
            "private" => Some(OriginNetwork::Private),
            vpc => Some(OriginNetwork::Vpc(vpc)),
        },
        address: match address {
            "-" => None,
            address => Some(address.parse::<IpAddr>().unwrap()),
        },
    }
}

/// The answer to a check, independent of the rulebook that gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The access point's uid, if it exists.
    pub(crate) access_point: Option<Uid>,
    pub(crate) outcome: Outcome,
}

/// An owned decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Allow { policy: String, network_rule: Option<String> },
    Deny { reason: DenyReason, nearest_policy: Option<String> },
}

impl Outcome {
    pub(crate) fn allows(&self) -> bool {
        matches!(self, Self::Allow { .. })
    }
}

/// A rulebook's answer.
pub(crate) fn answer(rulebook: &Rulebook, question: &Question<'_>) -> Answer {
    let Judgement { decision, access_point, .. } = rulebook.decide(&Check {
        location: LocationRef::parse(question.location).unwrap(),
        subject: Subject::Asserted(
            AccessPointRef::parse(&resolved("accessPoints", question.access_point)).unwrap(),
        ),
        action: ActionName::parse(question.action).unwrap(),
        resource: ResourceText::parse(question.resource).unwrap(),
        instance: InstanceText::parse(question.instance).unwrap(),
        origin: origin(question.origin),
    });
    let outcome = match decision {
        Decision::Allow(grant) => Outcome::Allow {
            policy: grant.policy().to_owned(),
            network_rule: grant.network_rule().map(str::to_owned),
        },
        Decision::Deny(denial) => Outcome::Deny {
            reason: denial.reason,
            nearest_policy: denial.nearest_policy.map(str::to_owned),
        },
    };
    Answer { access_point, outcome }
}

/// `allow policy`, `allow policy from rule`, `Reason`, `Reason at policy`: ids, not full names.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, link) = match self {
            Self::Allow { policy, network_rule } => {
                write!(f, "allow {}", id_of(policy))?;
                (network_rule, "from")
            }
            Self::Deny { reason, nearest_policy } => {
                write!(f, "{reason:?}")?;
                (nearest_policy, "at")
            }
        };
        match name {
            Some(name) => write!(f, " {link} {}", id_of(name)),
            None => Ok(()),
        }
    }
}

fn id_of(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}
