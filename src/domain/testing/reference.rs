//! The decision as the specification says it, sentence by sentence, over the catalog.
//!
//! It shares no matching with the rulebook: no compiled pattern, no merged index, no table of
//! actions. It is slow and has nothing to get wrong but its reading.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Answer, Outcome, Question, access_point_name, origin};
use crate::domain::{
    access_point::{AccessPoint, AccessPointState, Authentication, TrustedRole},
    catalog::Catalog,
    decision::DenyReason,
    name::{Id, Location, NetworkRuleName, PolicyName, RamRoleName},
    network::{NetworkKind, OriginNetwork},
    network_rule::NetworkRule,
    policy::{NetworkAccess, Policy},
    rules::Template,
};

/// The answer to a question.
pub(crate) fn answer(catalog: &Catalog, question: &Question<'_>) -> Answer {
    let deny = |reason| Outcome::Deny { reason, nearest_policy: None };
    let name = access_point_name(question.access_point);
    let there = name.location == Location::parse(question.location).unwrap();
    let Some(access_point) = catalog.access_point(&name).filter(|_| there) else {
        return Answer { access_point: None, outcome: deny(DenyReason::AccessPointNotFound) };
    };
    let outcome = if access_point.state == AccessPointState::Suspended {
        deny(DenyReason::AccessPointSuspended)
    } else if !role_is_good(catalog, access_point) {
        deny(DenyReason::RoleNotTrusted)
    } else {
        let policies = access_point.policies.iter().map(|id| {
            let name = PolicyName { location: name.location.clone(), id: id.clone() };
            &**catalog.policy(&name).unwrap()
        });
        union(catalog, &policies.collect::<Vec<_>>(), question)
    };
    Answer { access_point: Some(access_point.header.uid), outcome }
}

/// Whether there is no role to ask, or one that is there and trusts the environment. Of the trust
/// policies that histories have, those that trust a service are told by what is written in them.
fn role_is_good(catalog: &Catalog, access_point: &AccessPoint) -> bool {
    let Authentication::RamRole { trusted_role, role } = &access_point.authentication else {
        return true;
    };
    let account = access_point.name.location.account.clone();
    let service = match trusted_role {
        TrustedRole::EcsInstance | TrustedRole::AckWorker => "\"ecs.aliyuncs.com\"",
        TrustedRole::FunctionCompute => "\"fc.aliyuncs.com\"",
    };
    catalog.ram_role(&RamRoleName { account, id: role.clone() }).is_some_and(|role| {
        let text = role.trust_policy.as_str();
        text.contains(service) && !text.contains("Condition") && !text.contains("Deny")
    })
}

/// The first policy that grants; or the first of those that came nearest.
fn union(catalog: &Catalog, policies: &[&Policy], question: &Question<'_>) -> Outcome {
    let judged: Vec<_> = policies
        .iter()
        .map(|policy| (policy.name.to_string(), judge(catalog, policy, question)))
        .collect();
    for (policy, result) in &judged {
        if let Ok(network_rule) = result {
            return Outcome::Allow { policy: policy.clone(), network_rule: network_rule.clone() };
        }
    }
    let reason = judged.iter().filter_map(|(_, result)| result.clone().err()).max().unwrap();
    let nearest = judged.into_iter().find(|(_, result)| *result == Err(reason));
    Outcome::Deny { reason, nearest_policy: nearest.map(|(policy, _)| policy) }
}

/// The four conditions, in order.
fn judge(
    catalog: &Catalog,
    policy: &Policy,
    question: &Question<'_>,
) -> Result<Option<String>, DenyReason> {
    let terms = &policy.terms;
    if terms.scope().as_str() != question.instance {
        return Err(DenyReason::ScopeNotCovered);
    }
    let permits = |template: &Template| template_permits(*template, question);
    if !terms.permissions().iter().any(permits) {
        return Err(DenyReason::ActionNotPermitted);
    }
    let matches = |pattern: &String| pattern_matches(pattern, question);
    if !terms.resources().iter().map(ToString::to_string).any(|pattern| matches(&pattern)) {
        return Err(DenyReason::ResourceNotCovered);
    }
    let NetworkAccess::Rules(ids) = terms.network_access() else { return Ok(None) };
    let name = |id: &Id| NetworkRuleName { location: policy.name.location.clone(), id: id.clone() };
    ids.iter()
        .map(|id| catalog.network_rule(&name(id)).unwrap())
        .find(|rule| rule_matches(rule, question))
        .map(|rule| Some(rule.name.to_string()))
        .ok_or(DenyReason::NetworkNotAllowed)
}

fn template_permits(template: Template, question: &Question<'_>) -> bool {
    let Question { action, resource, .. } = *question;
    match template {
        Template::SecretUser | Template::CryptoServiceSecretUser => {
            action == "GetSecretValue" && resource.starts_with("secret/")
        }
        Template::CryptoServiceKeyUser => match action {
            "Encrypt"
            | "Decrypt"
            | "Sign"
            | "Verify"
            | "GenerateDataKey"
            | "GenerateDataKeyPair"
            | "GenerateDataKeyPairWithoutPlaintext"
            | "GetPublicKey"
            | "AdvanceEncrypt"
            | "AdvanceDecrypt"
            | "AdvanceGenerateDataKey"
            | "AdvanceGenerateDataKeyPair"
            | "AdvanceGenerateDataKeyPairWithoutPlaintext" => resource.starts_with("key/"),
            "GenerateRandom" => resource.is_empty(),
            _ => false,
        },
    }
}

fn pattern_matches(pattern: &str, question: &Question<'_>) -> bool {
    if question.action == "GenerateRandom" {
        return pattern.starts_with("key/");
    }
    let resource = question.resource;
    let name = resource.strip_prefix("secret/").or_else(|| resource.strip_prefix("key/"));
    let inside_the_grammar = name.is_some_and(|name| {
        (1..=192).contains(&name.len())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "_/+=.@-".contains(c))
    });
    let named = match pattern.strip_suffix('*') {
        Some(stem) => resource.starts_with(stem),
        None => resource == pattern,
    };
    inside_the_grammar && named
}

fn rule_matches(rule: &NetworkRule, question: &Question<'_>) -> bool {
    let origin = origin(question.origin);
    let (Some(network), Some(address)) = (origin.network, origin.address) else { return false };
    let kind_matches = match &rule.kind {
        NetworkKind::Public => network == OriginNetwork::Public,
        NetworkKind::Private => network == OriginNetwork::Private,
        NetworkKind::Vpc(id) => network == OriginNetwork::Vpc(id.as_str()),
    };
    let address = address.to_canonical();
    kind_matches
        && rule.addresses.iter().any(|prefix| {
            let text = prefix.to_string();
            match text.parse::<IpNet>() {
                Ok(net) => net.contains(&address),
                Err(_) => text.parse::<IpAddr>().unwrap() == address,
            }
        })
}
