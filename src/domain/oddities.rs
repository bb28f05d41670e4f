//! What is legal, but odd: probably not what an operator meant.
//!
//! Nothing is refused here, and no decision depends on it.

use std::fmt;

use super::{
    access_point::{AccessPoint, Authentication, TrustedRole},
    catalog::Catalog,
    event::Change,
    name::{Id, NetworkRuleName},
    network::{NetworkKind, Prefix},
    network_rule::NetworkRule,
    pattern::ResourcePattern,
    policy::{NetworkAccess, Policy},
    ram_role::RamRole,
    rules::Template,
    trust_policy::{Obstacle, Trust},
};

/// Something odd about what a change leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// A policy is open to every network.
    AnyNetwork,
    /// A rule covers every address.
    EveryAddress(Prefix),
    /// A pattern covers everything of its kind.
    EveryResource(ResourcePattern),
    /// A permission applies to none of the policy's patterns.
    PermissionWithoutPattern(Template),
    /// None of the policy's permissions applies to a pattern.
    PatternWithoutPermission(ResourcePattern),
    /// A rule can't match in the policy's scope.
    RuleCannotMatch(Id),
    /// A role trusts none of the environments.
    TrustsNone(Obstacle),
    /// A role may be assumed by somebody else, too.
    FurtherPrincipal(Box<str>),
    /// A role's name is not what roles of its type are called.
    UnusualRoleName(Id),
}

impl fmt::Display for Oddity {
    /// A sentence that the name of the odd field begins.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyNetwork => f.write_str("lets calls in from every network"),
            Self::EveryAddress(prefix) => write!(f, "has `{prefix}`, which is every address"),
            Self::EveryResource(pattern) => write!(f, "has `{pattern}`, which is all of its kind"),
            Self::PermissionWithoutPattern(template) => {
                write!(f, "has {template}, which applies to none of the patterns")
            }
            Self::PatternWithoutPermission(pattern) => {
                write!(f, "has `{pattern}`, to which none of the permissions applies")
            }
            Self::RuleCannotMatch(id) => write!(
                f,
                "names `{id}`, which can't match: a dedicated instance is reached over its private \
                 network alone"
            ),
            Self::TrustsNone(obstacle) => {
                write!(f, "trusts no environment that access points have: {obstacle}")
            }
            Self::FurtherPrincipal(name) => write!(f, "lets `{name}` assume the role, too"),
            Self::UnusualRoleName(id) => {
                write!(f, "is `{id}`, but a worker node's role begins with `{WORKER_ROLE_PREFIX}`")
            }
        }
    }
}

/// What the name of a worker node's role begins with.
pub const WORKER_ROLE_PREFIX: &str = "KubernetesWorkerRole-";

/// What is odd about what a change leaves, given what there is after it.
pub fn oddities(after: &Catalog, change: &Change) -> Vec<Oddity> {
    match change {
        Change::AccessPointCreated(access_point) => in_access_point(access_point),
        Change::PolicyCreated(policy) | Change::PolicyUpdated(policy) => in_policy(after, policy),
        Change::NetworkRuleCreated(rule) | Change::NetworkRuleUpdated(rule) => in_rule(rule),
        Change::RamRoleCreated(role) | Change::RamRoleUpdated(role) => in_role(role),
        Change::AccessPointUpdated(_)
        | Change::AccessPointSuspended(_)
        | Change::AccessPointResumed(_)
        | Change::SessionsRevoked(_)
        | Change::AccessPointDeleted(_)
        | Change::PolicyDeleted(_)
        | Change::NetworkRuleDeleted(_)
        | Change::RamRoleDeleted(_)
        | Change::ClientKeyIssued(_)
        | Change::ClientKeyImported(_)
        | Change::ClientKeyEnabled(_)
        | Change::ClientKeyDisabled(_)
        | Change::ClientKeyDeleted(_)
        | Change::ClientKeyUsed(_)
        | Change::ClientKeyNoticeGiven(_) => Vec::new(),
    }
}

fn in_access_point(access_point: &AccessPoint) -> Vec<Oddity> {
    match &access_point.authentication {
        Authentication::RamRole { trusted_role: TrustedRole::AckWorker, role }
            if !role.as_str().starts_with(WORKER_ROLE_PREFIX) =>
        {
            vec![Oddity::UnusualRoleName(role.clone())]
        }
        Authentication::RamRole { .. } | Authentication::ClientKey => Vec::new(),
    }
}

fn in_policy(after: &Catalog, policy: &Policy) -> Vec<Oddity> {
    let terms = &policy.terms;
    let mut oddities = Vec::new();
    let applies =
        |template: &Template, pattern: &ResourcePattern| template.resource_kind() == pattern.kind();
    for template in terms.permissions() {
        if !terms.resources().iter().any(|pattern| applies(template, pattern)) {
            oddities.push(Oddity::PermissionWithoutPattern(*template));
        }
    }
    for pattern in terms.resources() {
        if !terms.permissions().iter().any(|template| applies(template, pattern)) {
            oddities.push(Oddity::PatternWithoutPermission(pattern.clone()));
        } else if pattern.covers_its_kind() {
            oddities.push(Oddity::EveryResource(pattern.clone()));
        }
    }
    match terms.network_access() {
        NetworkAccess::AnyNetwork => oddities.push(Oddity::AnyNetwork),
        NetworkAccess::Rules(ids) if terms.scope().is_dedicated() => {
            let is_elsewhere = |id: &&Id| {
                let location = policy.name.location.clone();
                let rule = after.network_rule(&NetworkRuleName { location, id: (*id).clone() });
                rule.is_some_and(|rule| rule.kind != NetworkKind::Private)
            };
            oddities.extend(ids.iter().filter(is_elsewhere).cloned().map(Oddity::RuleCannotMatch));
        }
        NetworkAccess::Rules(_) => {}
    }
    oddities
}

fn in_rule(rule: &NetworkRule) -> Vec<Oddity> {
    let wide = rule.addresses.iter().filter(|prefix| prefix.covers_all());
    wide.map(Oddity::EveryAddress).collect()
}

fn in_role(role: &RamRole) -> Vec<Oddity> {
    let mut oddities = Vec::new();
    if !TrustedRole::ALL.iter().any(|trusted_role| role.trust(*trusted_role).is_trusted())
        && let Trust::Untrusted(obstacle) = role.trust(TrustedRole::EcsInstance)
    {
        oddities.push(Oddity::TrustsNone(obstacle.clone()));
    }
    let further = role.trust_policy.further_principals();
    oddities.extend(further.map(|name| Oddity::FurtherPrincipal(name.into())));
    oddities
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        command::Command,
        testing::{
            World, as_update, by_role, create_access_point, create_network_rule, create_policy,
            create_ram_role, create_ram_role_with, suspend_access_point,
        },
    };

    /// The same access point, authenticated as a worker node by a role.
    fn as_worker(command: Command, role: &str) -> Command {
        by_role(command, TrustedRole::AckWorker, role)
    }

    /// What is odd about what a command leaves, in a world with one rule of each kind.
    fn odd(command: Command) -> String {
        let mut world = World::given([
            create_network_rule("public", "public", "10.0.0.0/8"),
            create_network_rule("private", "private", "10.0.0.0/8"),
            create_network_rule("vpc", "vpc-1", "10.0.0.0/8"),
            create_policy("p", "shared", "SECRET_USER", "secret/a", "public"),
            create_access_point("a", "p"),
            create_ram_role("ECSRole", "ecs"),
            create_ram_role("KubernetesWorkerRole-1", "ecs"),
        ]);
        let event = world.carry_out(command);
        let texts = oddities(&world.catalog, &event.change).into_iter().map(|odd| odd.to_string());
        texts.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn what_is_odd_is_named() {
        let policy = |scope, permissions, resources, rules| {
            create_policy("q", scope, permissions, resources, rules)
        };
        let elsewhere =
            "which can't match: a dedicated instance is reached over its private network alone";
        for (command, named) in [
            (policy("shared", "SECRET_USER", "secret/a", "vpc public"), String::new()),
            (policy("kst-1", "SECRET_USER", "secret/a", "private"), String::new()),
            (
                policy("shared", "SECRET_USER", "secret/a", "any"),
                "lets calls in from every network".to_owned(),
            ),
            (
                policy("shared", "SECRET_USER", "secret/* secret/a*", "vpc"),
                "has `secret/*`, which is all of its kind".to_owned(),
            ),
            (
                policy("kst-1", "SECRET_USER CRYPTO_SERVICE_KEY_USER", "secret/a", "private"),
                "has CRYPTO_SERVICE_KEY_USER, which applies to none of the patterns".to_owned(),
            ),
            (
                policy("kst-1", "SECRET_USER", "secret/a key/*", "private"),
                "has `key/*`, to which none of the permissions applies".to_owned(),
            ),
            (
                policy("kst-1", "SECRET_USER", "secret/a", "private vpc public"),
                format!("names `vpc`, {elsewhere}; names `public`, {elsewhere}"),
            ),
            (
                create_network_rule("n", "public", "10.0.0.0/8 0.0.0.0/0 ::/0"),
                "has `0.0.0.0/0`, which is every address; has `::/0`, which is every address"
                    .to_owned(),
            ),
            (create_network_rule("n", "public", "0.0.0.0/1 ::/1"), String::new()),
            (as_worker(create_access_point("b", "p"), "KubernetesWorkerRole-1"), String::new()),
            (
                as_worker(create_access_point("b", "p"), "ECSRole"),
                "is `ECSRole`, but a worker node's role begins with `KubernetesWorkerRole-`"
                    .to_owned(),
            ),
            (suspend_access_point("a"), String::new()),
            (create_ram_role("r", "ecs fc"), String::new()),
            (
                create_ram_role("r", "oss ecs"),
                "lets `oss.aliyuncs.com` assume the role, too".to_owned(),
            ),
            (
                as_update(create_ram_role_with("ECSRole", "{}")),
                "trusts no environment that access points have: `Version` is missing".to_owned(),
            ),
        ] {
            assert_eq!(odd(command.clone()), named, "{command:?}");
        }
    }
}
