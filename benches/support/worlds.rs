//! Worlds that benches fold, made from a seed: commands to make access points, policies that several
//! of them share, and rules that several policies share; commands to change them; and questions.

#![allow(dead_code, reason = "each bench uses a part of it")]

use std::net::{IpAddr, Ipv4Addr};

use aap::domain::{
    access_point::{Authentication, PolicyIds},
    check::{ActionName, Check, InstanceText, ResourceText, Subject},
    command::{
        AccessPointPatch, Command, NetworkRulePatch, NewAccessPoint, NewNetworkRule, NewPolicy,
        PolicyPatch, Target,
    },
    name::{AccessPointName, AccessPointRef, Id, Instance, Location, LocationRef},
    name::{NetworkRuleName, PolicyName},
    network::{NetworkKind, Origin, OriginNetwork, Prefix, VpcId},
    network_rule::Addresses,
    pattern::ResourcePattern,
    policy::{NetworkAccess, Terms},
    resource::Description,
    rules::Template,
};

/// xorshift64*: small, and the same everywhere.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) as usize % bound
    }
}

/// How large a world is. Everything is spread over the accounts by its number.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub accounts: usize,
    pub access_points: usize,
    pub policies: usize,
    pub rules: usize,
    pub rules_per_policy: usize,
    pub patterns: usize,
    pub addresses: usize,
}

/// A world of a shape: resource `n` of each kind is in account `n % accounts`.
#[derive(Clone, Copy, Debug)]
pub struct World(pub Shape);

impl World {
    pub fn location(&self, number: usize) -> String {
        format!("accounts/tenant-{:03}/regions/eu-1", number % self.0.accounts)
    }

    fn place(&self, number: usize) -> Location {
        Location::parse(&self.location(number)).unwrap()
    }

    pub fn rule_name(&self, number: usize) -> NetworkRuleName {
        NetworkRuleName { location: self.place(number), id: id("rule", number) }
    }

    pub fn policy_name(&self, number: usize) -> PolicyName {
        PolicyName { location: self.place(number), id: id("policy", number) }
    }

    pub fn access_point_name(&self, number: usize) -> AccessPointName {
        AccessPointName { location: self.place(number), id: id("application", number) }
    }

    /// The commands that make it, in order.
    pub fn commands(self) -> impl Iterator<Item = Command> {
        let rules = (0..self.0.rules).map(move |number| {
            Command::CreateNetworkRule(NewNetworkRule {
                name: self.rule_name(number),
                description: Description::default(),
                kind: NetworkKind::Vpc(VpcId::parse("vpc-1").unwrap()),
                addresses: self.addresses(number, 0),
            })
        });
        let policies = (0..self.0.policies).map(move |number| {
            Command::CreatePolicy(NewPolicy {
                name: self.policy_name(number),
                description: Description::parse("What a team's applications may do").unwrap(),
                terms: self.terms(number, 0),
            })
        });
        let access_points = (0..self.0.access_points).map(move |number| {
            Command::CreateAccessPoint(NewAccessPoint {
                name: self.access_point_name(number),
                description: Description::parse("One of many applications").unwrap(),
                authentication: Authentication::ClientKey,
                policies: self.policies_of(number, 0),
            })
        });
        rules.chain(policies).chain(access_points)
    }

    /// Numbers in the same account as `number`, `count` of them, below `bound`. The windows of all
    /// numbers below `holders` cover those below `bound` evenly.
    fn siblings(
        &self,
        number: usize,
        count: usize,
        (bound, holders): (usize, usize),
    ) -> impl Iterator<Item = usize> {
        let accounts = self.0.accounts;
        let (in_account, stride) = (bound / accounts, (bound / holders).max(1));
        (0..count)
            .map(move |turn| (number / accounts * stride + turn) % in_account * accounts)
            .map(move |first| first + number % accounts)
    }

    fn addresses(&self, number: usize, turn: usize) -> Addresses {
        let prefix = |n: usize| {
            let (a, b, c) = (number % 200, turn % 2 + n % 60, n % 60 * 4);
            Prefix::parse(&format!("10.{a}.{b}.{c}/30")).unwrap()
        };
        Addresses::new((0..self.0.addresses).map(prefix).collect()).unwrap()
    }

    fn terms(&self, number: usize, turn: usize) -> Terms {
        let pattern = |n: usize| {
            let text = match n {
                0 => format!("secret/team-{}/*", number % 500),
                _ => format!("secret/team-{}/{turn}/service-{n}", number % 500 + 1),
            };
            ResourcePattern::parse(&text).unwrap()
        };
        let rules = self.siblings(number, self.0.rules_per_policy, (self.0.rules, self.0.policies));
        Terms::new(
            Instance::parse("shared").unwrap(),
            vec![Template::SecretUser],
            (0..self.0.patterns).map(pattern).collect(),
            NetworkAccess::Rules(rules.map(|rule| id("rule", rule)).collect()),
        )
        .unwrap()
    }

    fn policies_of(&self, number: usize, turn: usize) -> PolicyIds {
        let shift = number + turn % 3 * self.0.accounts;
        let policies = self.siblings(shift, 1 + turn % 3, (self.0.policies, self.0.access_points));
        PolicyIds::new(policies.map(|policy| id("policy", policy))).unwrap()
    }

    /// Gives a rule other addresses.
    pub fn update_rule(&self, number: usize, turn: usize) -> Command {
        let addresses = Some(self.addresses(number, turn));
        let patch = NetworkRulePatch { addresses, ..NetworkRulePatch::default() };
        Command::UpdateNetworkRule(Target { name: self.rule_name(number), etag: None }, patch)
    }

    /// Gives a policy other patterns.
    pub fn update_policy(&self, number: usize, turn: usize) -> Command {
        let resources = Some(self.terms(number, turn).resources().to_vec());
        let patch = PolicyPatch { resources, ..PolicyPatch::default() };
        Command::UpdatePolicy(Target { name: self.policy_name(number), etag: None }, patch)
    }

    /// Gives an access point other policies.
    pub fn update_access_point(&self, number: usize, turn: usize) -> Command {
        let policies = Some(self.policies_of(number, turn));
        let patch = AccessPointPatch { policies, ..AccessPointPatch::default() };
        Command::UpdateAccessPoint(self.target(number), patch)
    }

    /// Gives an access point another description.
    pub fn describe_access_point(&self, number: usize, turn: usize) -> Command {
        let description = Some(Description::parse(&format!("Release {turn}")).unwrap());
        let patch = AccessPointPatch { description, ..AccessPointPatch::default() };
        Command::UpdateAccessPoint(self.target(number), patch)
    }

    pub fn target(&self, number: usize) -> Target<AccessPointName> {
        Target { name: self.access_point_name(number), etag: None }
    }

    /// A question about any access point: about something that one of the policies is about which it
    /// may have been given, from an address of one of that policy's rules, or nearly.
    pub fn question(&self, random: &mut Random) -> Question {
        let Shape { accounts, access_points, policies, rules, rules_per_policy, addresses, .. } =
            self.0;
        let number = random.below(access_points);
        let location = self.location(number);
        let shift = number + random.below(3) * accounts;
        let policy = self.siblings(shift, 1 + random.below(3), (policies, access_points)).last();
        let rule = self.siblings(policy.unwrap(), rules_per_policy, (rules, policies));
        let rule = rule.take(1 + random.below(rules_per_policy)).last().unwrap();
        let place = random.below(addresses.min(60));
        let (a, b, c) = (rule % 200, place + random.below(2), place * 4 + random.below(4));
        let resource = format!("secret/team-{}/{}", policy.unwrap() % 500, random.below(1_000));
        Question {
            access_point: format!("{location}/accessPoints/{}", id("application", number)),
            location,
            resource,
            address: Ipv4Addr::new(10, a as u8, b as u8, c as u8).into(),
        }
    }
}

fn id(kind: &str, number: usize) -> Id {
    Id::parse(&format!("{kind}-{number:06}")).unwrap()
}

/// A check, owned.
#[derive(Clone, Debug)]
pub struct Question {
    location: String,
    access_point: String,
    resource: String,
    address: IpAddr,
}

impl Question {
    pub fn check(&self) -> Check<'_> {
        Check {
            location: LocationRef::parse(&self.location).unwrap(),
            subject: Subject::Asserted(AccessPointRef::parse(&self.access_point).unwrap()),
            action: ActionName::parse("GetSecretValue").unwrap(),
            resource: ResourceText::parse(&self.resource).unwrap(),
            instance: InstanceText::parse("shared").unwrap(),
            origin: Origin {
                network: Some(OriginNetwork::Vpc("vpc-1")),
                address: Some(self.address),
            },
        }
    }
}
