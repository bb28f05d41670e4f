//! A world of access points with policies and rules of their own, and questions about it.

#![allow(dead_code, unreachable_pub, reason = "bench code: each bench uses a part of it")]

use std::{fmt, sync::Arc};

use aap::domain::{
    access_point::{AccessPoint, AccessPointState, Authentication, PolicyIds},
    catalog::Catalog,
    check::{ActionName, Check, InstanceText, ResourceText, Subject},
    client_key::{ClientKey, ClientKeyOrigin, ClientKeyState, KeyAlgorithm, PublicKey, Validity},
    decision::{Decision, DenyReason},
    event::{Change, Event},
    name::{
        AccessPointName, AccessPointRef, ClientKeyName, Id, Instance, Location, LocationRef,
        NetworkRuleName, PolicyName,
    },
    network::{NetworkKind, Origin, OriginNetwork, Prefix, VpcId},
    network_rule::{Addresses, NetworkRule},
    pattern::ResourcePattern,
    policy::{NetworkAccess, Policy, Terms},
    resource::{Description, Header, Uid},
    rulebook::Rulebook,
    rules::{RulesVersion, Template},
    time::UnixNanos,
};

pub const LOCATION: &str = "accounts/acme/regions/eu-1";
pub const POLICIES: usize = 3;
pub const PATTERNS: usize = 30;
pub const RULES: usize = 40;
/// Where all questions come from, and what all rules are about.
pub const VPC: &str = "vpc-1";

pub fn access_point(number: usize) -> String {
    format!("{LOCATION}/accessPoints/app-{number}")
}

pub fn pattern(number: usize, policy: usize, pattern: usize) -> String {
    format!("secret/app-{number}/{policy}/data-{pattern}/*")
}

pub fn prefix(policy: usize, rule: usize) -> String {
    format!("10.{policy}.{rule}.64/26")
}

/// The kinds of questions: one for each outcome, and an allow by the first and by the last policy.
pub const KINDS: &[Kind] = &[
    Kind::AllowFirst,
    Kind::AllowLast,
    Kind::NotFound,
    Kind::Suspended,
    Kind::Scope,
    Kind::Action,
    Kind::Resource,
    Kind::Network,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    AllowFirst,
    AllowLast,
    NotFound,
    Suspended,
    Scope,
    Action,
    Resource,
    Network,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AllowFirst => "allow-first",
            Self::AllowLast => "allow-last",
            Self::NotFound => "not-found",
            Self::Suspended => "suspended",
            Self::Scope => "scope",
            Self::Action => "action",
            Self::Resource => "resource",
            Self::Network => "network",
        })
    }
}

/// Numbers that look random and are the same each time (xorshift64*).
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % end
    }
}

/// One question, and what it must come to.
#[derive(Clone, Debug)]
pub struct Question {
    pub access_point: String,
    pub action: &'static str,
    pub resource: String,
    pub instance: &'static str,
    pub address: String,
    pub kind: Kind,
}

impl Question {
    pub fn new(number: usize, kind: Kind) -> Self {
        let policy = if kind == Kind::AllowFirst { 0 } else { POLICIES - 1 };
        // Patterns and rules differ, so that each search goes another way.
        let (pattern, rule) = (number * 7 % PATTERNS, number * 13 % RULES);
        let id = match kind {
            Kind::NotFound => format!("nobody-{number}"),
            Kind::Suspended => format!("suspended-{number}"),
            _ => format!("app-{number}"),
        };
        let resource = match kind {
            Kind::Resource => format!("secret/app-{number}/other"),
            _ => format!("secret/app-{number}/{policy}/data-{pattern}/key"),
        };
        let address = match kind {
            Kind::Network => "203.0.113.9".to_owned(),
            _ => format!("10.{policy}.{rule}.77"),
        };
        Self {
            access_point: format!("{LOCATION}/accessPoints/{id}"),
            action: if kind == Kind::Action { "Decrypt" } else { "GetSecretValue" },
            resource,
            instance: if kind == Kind::Scope { "kst-other" } else { "shared" },
            address,
            kind,
        }
    }

    pub fn check(&self) -> Check<'_> {
        Check {
            location: LocationRef::parse(LOCATION).unwrap(),
            subject: Subject::Asserted(AccessPointRef::parse(&self.access_point).unwrap()),
            action: ActionName::parse(self.action).unwrap(),
            resource: ResourceText::parse(&self.resource).unwrap(),
            instance: InstanceText::parse(self.instance).unwrap(),
            origin: Origin {
                network: Some(OriginNetwork::Vpc(VPC)),
                address: Some(self.address.parse().unwrap()),
            },
        }
    }

    pub fn verify(&self, rulebook: &Rulebook) {
        let check = self.check();
        let decision = rulebook.decide(&check).decision;
        let is_right = match (self.kind, decision) {
            (Kind::AllowFirst | Kind::AllowLast, Decision::Allow(_)) => true,
            (kind, Decision::Deny(denial)) => {
                let reason = match kind {
                    Kind::AllowFirst | Kind::AllowLast => panic!("{self:?}: {denial:?}"),
                    Kind::NotFound => DenyReason::AccessPointNotFound,
                    Kind::Suspended => DenyReason::AccessPointSuspended,
                    Kind::Scope => DenyReason::ScopeNotCovered,
                    Kind::Action => DenyReason::ActionNotPermitted,
                    Kind::Resource => DenyReason::ResourceNotCovered,
                    Kind::Network => DenyReason::NetworkNotAllowed,
                };
                denial.reason == reason
            }
            _ => false,
        };
        assert!(is_right, "{self:?}: {decision:?}");
    }
}

/// A rulebook of that many access points, and as many suspended ones without policies of their own.
pub fn rulebook(access_points: usize) -> Rulebook {
    let mut builder = Builder::new();
    for number in 0..access_points {
        builder.add(number);
    }
    builder.rulebook
}

/// The same with a client key for each access point that isn't suspended: these, and their keys.
pub fn rulebook_with_keys(access_points: usize) -> (Rulebook, Vec<(Uid, Uid)>) {
    let mut builder = Builder::new();
    let mut held = Vec::new();
    for number in 0..access_points {
        builder.add(number);
        held.push(builder.add_key(number));
    }
    (builder.rulebook, held)
}

struct Builder {
    rulebook: Rulebook,
    /// Has access points and client keys alone: nothing else of it is looked at.
    catalog: Catalog,
    location: Location,
    vpc: VpcId,
    sequence: u64,
}

impl Builder {
    fn new() -> Self {
        Self {
            rulebook: Rulebook::new(RulesVersion::CURRENT),
            catalog: Catalog::default(),
            location: Location::parse(LOCATION).unwrap(),
            vpc: VpcId::parse(VPC).unwrap(),
            sequence: 0,
        }
    }

    /// Binds a key that is good for ever to an access point.
    fn add_key(&mut self, number: usize) -> (Uid, Uid) {
        let id = Id::parse(&format!("app-{number}")).unwrap();
        let access_point = AccessPointName { location: self.location.clone(), id };
        let owner = self.catalog.access_point(&access_point).unwrap().header.uid;
        let header = self.header();
        let uid = header.uid;
        let name = ClientKeyName { access_point, id: Id::parse("KAAP.1").unwrap() };
        let ends = UnixNanos::from_parts(9_000_000_000, 0);
        let key = ClientKey {
            name,
            sessions_valid_from: header.revision,
            header,
            state: ClientKeyState::Enabled,
            origin: ClientKeyOrigin::Imported,
            public_key: PublicKey { algorithm: KeyAlgorithm::EcP256, info: Arc::from([]) },
            validity: Validity::new(UnixNanos(0), ends).unwrap(),
            last_use: None,
            notice: None,
        };
        self.happen(Change::ClientKeyImported(Arc::new(key)));
        (owner, uid)
    }

    fn add(&mut self, number: usize) {
        let ids: Vec<_> = (0..POLICIES).map(|policy| self.add_policy(number, policy)).collect();
        for (prefix, state) in
            [("app", AccessPointState::Active), ("suspended", AccessPointState::Suspended)]
        {
            let id = Id::parse(&format!("{prefix}-{number}")).unwrap();
            let access_point = AccessPoint {
                name: AccessPointName { location: self.location.clone(), id },
                header: self.header(),
                authentication: Authentication::ClientKey,
                policies: PolicyIds::new(ids.clone()).unwrap(),
                state,
                sessions_valid_from: 0,
            };
            self.happen(Change::AccessPointCreated(Arc::new(access_point)));
        }
    }

    fn add_policy(&mut self, number: usize, policy: usize) -> Id {
        let rules: Vec<_> = (0..RULES).map(|rule| self.add_rule(number, policy, rule)).collect();
        let pattern =
            |place: usize| ResourcePattern::parse(&pattern(number, policy, place)).unwrap();
        let terms = Terms::new(
            Instance::parse("shared").unwrap(),
            vec![Template::SecretUser],
            (0..PATTERNS).map(pattern).collect(),
            NetworkAccess::Rules(rules.into()),
        );
        let id = Id::parse(&format!("policy-{number}-{policy}")).unwrap();
        let name = PolicyName { location: self.location.clone(), id: id.clone() };
        let policy = Policy { name, header: self.header(), terms: terms.unwrap() };
        self.happen(Change::PolicyCreated(Arc::new(policy)));
        id
    }

    fn add_rule(&mut self, number: usize, policy: usize, rule: usize) -> Id {
        let id = Id::parse(&format!("rule-{number}-{policy}-{rule}")).unwrap();
        let prefix = Prefix::parse(&prefix(policy, rule)).unwrap();
        let rule = NetworkRule {
            name: NetworkRuleName { location: self.location.clone(), id: id.clone() },
            header: self.header(),
            kind: NetworkKind::Vpc(self.vpc.clone()),
            addresses: Addresses::new(vec![prefix]).unwrap(),
        };
        self.happen(Change::NetworkRuleCreated(Arc::new(rule)));
        id
    }

    fn header(&self) -> Header {
        Header {
            uid: Uid(uuid::Uuid::from_u128(u128::from(self.sequence) + 1)),
            revision: self.sequence + 1,
            create_time: UnixNanos(0),
            update_time: UnixNanos(0),
            description: Description::default(),
        }
    }

    fn happen(&mut self, change: Change) {
        self.sequence += 1;
        let event = Event {
            sequence: self.sequence,
            time: UnixNanos(0),
            actor: "bench".into(),
            request: None,
            change,
        };
        if matches!(event.change, Change::AccessPointCreated(_) | Change::ClientKeyImported(_)) {
            self.catalog.evolve(&event);
        }
        self.rulebook.evolve(&event, &self.catalog);
    }
}
