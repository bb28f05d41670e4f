//! The decision matrix: a fixed world and the answers it gives, on the one page that shows an
//! auditor what this service allows.
//!
//! It doesn't know how decisions are made. What stands in the tables is asked as it stands there;
//! fields are separated by two spaces or more.

mod tables;

use std::{collections::BTreeSet, fmt::Write as _};

use aap::domain::{
    access_point::{AccessPoint, Authentication, PolicyIds, TrustedRole},
    catalog::Catalog,
    check::{ActionName, Check, InstanceText, ResourceText, Subject},
    command::{
        Command, NewAccessPoint, NewNetworkRule, NewPolicy, NewRamRole, RamRolePatch, Request,
        Target,
    },
    decide::{Verdict, decide},
    decision::{Decision, DenyReason},
    event::{Change, Event},
    limits::Limits,
    name::{
        AccessPointName, AccessPointRef, Id, Instance, Location, LocationRef, NetworkRuleName,
        PolicyName, RamRoleName,
    },
    network::{NetworkKind, Origin, OriginNetwork, Prefix, VpcId},
    network_rule::{Addresses, NetworkRule},
    pattern::ResourcePattern,
    policy::{NetworkAccess, Policy, Terms},
    ram_role::RamRole,
    resource::{Description, Uid},
    rulebook::Rulebook,
    rules::{Action, RulesVersion, Template},
    time::UnixNanos,
    trust_policy::{Trust, TrustPolicy},
};
use expect_test::expect_file;

use tables::{SECTIONS, WORLD};

#[test]
fn the_fixed_world_decides_as_the_page_says() {
    expect_file!["../snapshots/decisions.txt"].assert_eq(&page());
}

#[test]
fn the_page_shows_every_reason_and_every_action() {
    let page = page();
    let words: BTreeSet<_> = page.split_whitespace().collect();
    let reasons = DenyReason::ALL.map(reason_name);
    for reason in reasons.into_iter().filter(|name| *name != ABOUT_SESSIONS) {
        assert!(words.contains(reason), "{reason}");
    }
    for action in Action::ALL {
        assert!(words.contains(action.name()), "{action:?}");
    }
}

fn page() -> String {
    let world = World::made_by(WORLD);
    let mut page = format!(
        "The decisions of a fixed world at revision {}, by version {} of the rules.\n\
         Where a check is denied, the policy is the one that came nearest.\n\
         k{{193}} stands for 193 times k.\n",
        world.rulebook.revision(),
        world.rulebook.version().number(),
    );
    let title = "The world: what was done, and what it came to";
    push_table(&mut page, title, "revision  event  name  content", world.events.iter().map(told));
    for section in SECTIONS {
        let title = format!("{}: {}", section.location, section.title);
        let header = "access point  action  resource  instance  origin  \
                      outcome  reason  policy  network rule";
        let rows = lines(section.questions).map(|fields| {
            let answer = world.answer(section.location, &fields);
            fields.into_iter().map(str::to_owned).chain(answer).collect()
        });
        push_table(&mut page, &title, header, rows);
    }
    page
}

/// The fields of each line.
fn lines(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().map(fields).filter(|fields| !fields.is_empty())
}

fn fields(line: &str) -> Vec<&str> {
    line.split("  ").map(str::trim).filter(|field| !field.is_empty()).collect()
}

fn push_table(
    page: &mut String,
    title: &str,
    header: &str,
    rows: impl IntoIterator<Item = Vec<String>>,
) {
    let header = fields(header).into_iter().map(str::to_owned).collect();
    let rows: Vec<Vec<String>> = [header].into_iter().chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..rows[0].len()).filter_map(width).collect();
    writeln!(page, "\n{title}\n").unwrap();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        writeln!(page, "  {}", line.trim_end()).unwrap();
    }
}

struct World {
    catalog: Catalog,
    rulebook: Rulebook,
    events: Vec<Event>,
}

impl World {
    fn made_by(text: &'static str) -> Self {
        let mut world = Self {
            catalog: Catalog::default(),
            rulebook: Rulebook::new(RulesVersion::CURRENT),
            events: Vec::new(),
        };
        for fields in lines(text) {
            let event = world.decided(command(&fields));
            world.catalog.evolve(&event);
            world.rulebook.evolve(&event, &world.catalog);
            world.events.push(event);
        }
        world
    }

    fn decided(&self, command: Command) -> Event {
        let request = Request {
            actor: "operator".into(),
            time: UnixNanos(0),
            uid: Uid(uuid::Uuid::from_u128(u128::from(self.catalog.revision()))),
            mark: None,
            command,
        };
        match decide(&self.catalog, &Limits::NONE, &request.into()) {
            Ok(Verdict::Happened(mut events)) => events.pop().unwrap(),
            other => panic!("it should have happened, but: {other:?}"),
        }
    }

    /// Outcome, reason, policy and network rule.
    fn answer(&self, location: &str, asked: &[&str]) -> [String; 4] {
        let [access_point, action, resource, instance, origin] = asked[..] else {
            panic!("{asked:?} is no question")
        };
        let full_location = full_location(location);
        let full_name = if access_point.contains('/') {
            full_name("accessPoints", access_point)
        } else {
            full_name("accessPoints", &format!("{location}/{access_point}"))
        };
        let resource = written_out(resource);
        let judgement = self.rulebook.decide(&Check {
            location: LocationRef::parse(&full_location).unwrap(),
            subject: Subject::Asserted(AccessPointRef::parse(&full_name).unwrap()),
            action: ActionName::parse(action).unwrap(),
            resource: ResourceText::parse(&resource).unwrap(),
            instance: InstanceText::parse(instance).unwrap(),
            origin: parse_origin(origin),
        });
        let (outcome, reason, policy, rule) = match judgement.decision {
            Decision::Allow(grant) => {
                ("allow", "POLICY_GRANTS", Some(grant.policy()), grant.network_rule())
            }
            Decision::Deny(denial) => {
                ("deny", reason_name(denial.reason), denial.nearest_policy, None)
            }
        };
        let id = |name: Option<&str>| {
            name.and_then(|text| text.rsplit('/').next()).unwrap_or("-").into()
        };
        [outcome.into(), reason.into(), id(policy), id(rule)]
    }
}

fn command(fields: &[&str]) -> Command {
    let description = Description::default();
    match *fields {
        ["network rule", name, kind, addresses] => Command::CreateNetworkRule(NewNetworkRule {
            name: NetworkRuleName::parse(&full_name("networkRules", name)).unwrap(),
            description,
            kind: parse_kind(kind),
            addresses: Addresses::new(list(addresses, |text| Prefix::parse(text).unwrap()))
                .unwrap(),
        }),
        ["policy", name, scope, permissions, resources, networks] => {
            Command::CreatePolicy(NewPolicy {
                name: PolicyName::parse(&full_name("policies", name)).unwrap(),
                description,
                terms: parse_terms([scope, permissions, resources, networks]),
            })
        }
        ["role", name, services] => Command::CreateRamRole(NewRamRole {
            name: ram_role_name(name),
            description,
            trust_policy: parse_trust(services),
        }),
        ["role again", name, services] => {
            let trust_policy = Some(parse_trust(services));
            let patch = RamRolePatch { description: None, trust_policy };
            Command::UpdateRamRole(Target { name: ram_role_name(name), etag: None }, patch)
        }
        ["access point", name, proof, policies] => Command::CreateAccessPoint(NewAccessPoint {
            name: AccessPointName::parse(&full_name("accessPoints", name)).unwrap(),
            description,
            authentication: parse_authentication(proof),
            policies: PolicyIds::new(list(policies, |text| Id::parse(text).unwrap())).unwrap(),
        }),
        ["suspend", name] => Command::SuspendAccessPoint(Target {
            name: AccessPointName::parse(&full_name("accessPoints", name)).unwrap(),
            etag: None,
        }),
        ["delete", name] => Command::DeleteAccessPoint(Target {
            name: AccessPointName::parse(&full_name("accessPoints", name)).unwrap(),
            etag: None,
        }),
        ref other => panic!("{other:?} is no command"),
    }
}

fn parse_terms([scope, permissions, resources, networks]: [&str; 4]) -> Terms {
    let network_access = match networks {
        "any network" => NetworkAccess::AnyNetwork,
        rules => NetworkAccess::Rules(list(rules, |text| Id::parse(text).unwrap()).into()),
    };
    Terms::new(
        Instance::parse(scope).unwrap(),
        list(permissions, |name| TEMPLATES.iter().find(|(_, known)| *known == name).unwrap().0),
        list(resources, |text| ResourcePattern::parse(text).unwrap()),
        network_access,
    )
    .unwrap()
}

const TEMPLATES: [(Template, &str); 3] = [
    (Template::SecretUser, "SECRET_USER"),
    (Template::CryptoServiceSecretUser, "CRYPTO_SERVICE_SECRET_USER"),
    (Template::CryptoServiceKeyUser, "CRYPTO_SERVICE_KEY_USER"),
];

fn parse_authentication(proof: &str) -> Authentication {
    match proof {
        "client key" => Authentication::ClientKey,
        by_role => {
            let (wanted, role) = by_role.split_once(' ').unwrap();
            let trusted_role = TrustedRole::ALL.into_iter().find(|one| one.to_string() == wanted);
            let (trusted_role, role) = (trusted_role.unwrap(), Id::parse(role).unwrap());
            Authentication::RamRole { trusted_role, role }
        }
    }
}

/// A trust policy as the platform shows it.
fn parse_trust(text: &str) -> TrustPolicy {
    let (services, condition) = match text.split_once(", with a condition") {
        Some((services, _)) => (services, r#","Condition":{"IpAddress":{}}"#),
        None => (text, ""),
    };
    let services = list(services, |name| format!("\"{name}\"")).join(",");
    let document = format!(
        r#"{{"Version":"1","Statement":[{{"Action":"sts:AssumeRole","Effect":"Allow","Principal":{{"Service":[{services}]}}{condition}}}]}}"#
    );
    TrustPolicy::parse(&document).unwrap()
}

fn parse_kind(kind: &str) -> NetworkKind {
    match kind {
        "public" => NetworkKind::Public,
        "private" => NetworkKind::Private,
        vpc => NetworkKind::Vpc(VpcId::parse(vpc).unwrap()),
    }
}

fn parse_origin(text: &str) -> Origin<'_> {
    let (network, address) = text.split_once(' ').unwrap();
    let network = match network {
        "unknown" => None,
        "public" => Some(OriginNetwork::Public),
        "private" => Some(OriginNetwork::Private),
        vpc => Some(OriginNetwork::Vpc(vpc)),
    };
    let address = (address != "unknown").then(|| address.parse().unwrap());
    Origin { network, address }
}

/// The resource that a field stands for.
fn written_out(resource: &str) -> String {
    match resource.split_once("k{") {
        _ if resource == "-" => String::new(),
        Some((kind, count)) => {
            let count = count.trim_end_matches('}').parse().unwrap();
            format!("{kind}{}", "k".repeat(count))
        }
        None => resource.to_owned(),
    }
}

fn list<T>(text: &str, parse: impl Fn(&str) -> T) -> Vec<T> {
    text.split_whitespace().map(parse).collect()
}

/// `accounts/acme/regions/eu-1` for `acme/eu-1`.
fn full_location(short: &str) -> String {
    let (account, region) = short.split_once('/').unwrap();
    format!("accounts/{account}/regions/{region}")
}

/// `accounts/acme/regions/eu-1/policies/p` for `acme/eu-1/p`.
fn full_name(collection: &str, short: &str) -> String {
    let (location, id) = short.rsplit_once('/').unwrap();
    format!("{}/{collection}/{id}", full_location(location))
}

/// `accounts/acme/ramRoles/r` for `acme/r`.
fn ram_role_name(short: &str) -> RamRoleName {
    let (account, id) = short.split_once('/').unwrap();
    RamRoleName::parse(&format!("accounts/{account}/ramRoles/{id}")).unwrap()
}

/// What an event says: revision, event, name, content.
fn told(event: &Event) -> Vec<String> {
    let role = |what: &str, role: &RamRole| {
        let RamRoleName { account, id } = &role.name;
        vec![event.sequence.to_string(), what.into(), format!("{account}/{id}"), told_role(role)]
    };
    let (what, location, id, content) = match &event.change {
        Change::RamRoleCreated(created) => return role("role created", created),
        Change::RamRoleUpdated(updated) => return role("role updated", updated),
        Change::NetworkRuleCreated(rule) => {
            ("network rule created", &rule.name.location, &rule.name.id, told_rule(rule))
        }
        Change::PolicyCreated(policy) => {
            ("policy created", &policy.name.location, &policy.name.id, told_policy(policy))
        }
        Change::AccessPointCreated(access_point) => {
            let AccessPointName { location, id } = &access_point.name;
            ("access point created", location, id, told_access_point(access_point))
        }
        Change::AccessPointSuspended(access_point) => {
            let AccessPointName { location, id } = &access_point.name;
            ("access point suspended", location, id, told_access_point(access_point))
        }
        Change::AccessPointDeleted(gone) => {
            ("access point deleted", &gone.name.location, &gone.name.id, "-".to_owned())
        }
        other => panic!("{other:?} isn't part of the world"),
    };
    let Location { account, region } = location;
    vec![event.sequence.to_string(), what.into(), format!("{account}/{region}/{id}"), content]
}

fn told_rule(rule: &NetworkRule) -> String {
    let kind = match &rule.kind {
        NetworkKind::Public => "public",
        NetworkKind::Private => "private",
        NetworkKind::Vpc(id) => id.as_str(),
    };
    format!("{kind} {}", joined(rule.addresses.iter()))
}

fn told_policy(policy: &Policy) -> String {
    let terms = &policy.terms;
    let name =
        |template: &Template| TEMPLATES.iter().find(|(known, _)| known == template).unwrap().1;
    let networks = match terms.network_access() {
        NetworkAccess::AnyNetwork => "any network".to_owned(),
        NetworkAccess::Rules(ids) => joined(ids),
    };
    format!(
        "{}: {} on {} from {networks}",
        terms.scope().as_str(),
        joined(terms.permissions().iter().map(name)),
        joined(terms.resources()),
    )
}

fn told_role(role: &RamRole) -> String {
    let told = TrustedRole::ALL.map(|trusted_role| match role.trust(trusted_role) {
        Trust::Trusted => format!("{trusted_role} trusted"),
        Trust::Untrusted(obstacle) => format!("{trusted_role} not: {obstacle}"),
    });
    told.join(", ")
}

fn told_access_point(access_point: &AccessPoint) -> String {
    let proof = match &access_point.authentication {
        Authentication::ClientKey => "client key".to_owned(),
        Authentication::RamRole { trusted_role, role } => {
            format!("RAM role {role} as {trusted_role}")
        }
    };
    format!("{proof}: {}", joined(access_point.policies.iter()))
}

fn joined(items: impl IntoIterator<Item = impl ToString>) -> String {
    let texts: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    texts.join(", ")
}

/// Sessions aren't on the page: `domain/rulebook/sessions.rs` has what they come to.
const ABOUT_SESSIONS: &str = "";

fn reason_name(reason: DenyReason) -> &'static str {
    match reason {
        DenyReason::AccessPointNotFound => "ACCESS_POINT_NOT_FOUND",
        DenyReason::AccessPointSuspended => "ACCESS_POINT_SUSPENDED",
        DenyReason::RoleNotTrusted => "ROLE_NOT_TRUSTED",
        DenyReason::CredentialUnknown
        | DenyReason::CredentialInvalid
        | DenyReason::CredentialDisabled
        | DenyReason::CredentialNotYetValid
        | DenyReason::CredentialExpired
        | DenyReason::AuthenticationMethodMismatch => ABOUT_SESSIONS,
        DenyReason::ScopeNotCovered => "SCOPE_NOT_COVERED",
        DenyReason::ActionNotPermitted => "ACTION_NOT_PERMITTED",
        DenyReason::ResourceNotCovered => "RESOURCE_NOT_COVERED",
        DenyReason::NetworkNotAllowed => "NETWORK_NOT_ALLOWED",
    }
}
