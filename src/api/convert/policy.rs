//! Policies.

use prost_types::FieldMask;

use crate::{
    api::{pb, status::ApiError},
    domain::{
        command::{Command, NewPolicy, PolicyPatch, Target},
        listing::PolicyFilter,
        name::{Id, Instance, Location, NetworkRuleName, PolicyName, ResourceName},
        pattern::ResourcePattern,
        policy::{InvalidTerms, NetworkAccess, Policy, Terms},
        resource::Header,
        rules::Template,
    },
    identity::caller::Caller,
};

use super::{
    SentHeader, Violations, check_inner_name,
    mask::Mask,
    mutation::{self, Mutation},
    parse_description, parse_etag, parse_id,
};
use pb::policy::NetworkAccess as SentAccess;

impl Mutation for pb::CreatePolicyRequest {
    const ADDRESS: &'static str = "parent";

    fn authorize(&self, caller: &Caller) -> Result<(), ApiError> {
        mutation::authorize_in(caller, &self.parent)
    }

    fn parse(self, violations: &mut Violations) -> Option<Command> {
        let Self { parent, policy_id, policy, request_id: _, validate_only: _ } = self;
        let location = violations.keep(Self::ADDRESS, Location::parse(&parent))?;
        parse_new(violations, &location, &policy_id, policy).map(Command::CreatePolicy)
    }
}

impl Mutation for pb::UpdatePolicyRequest {
    const ADDRESS: &'static str = "policy.name";

    fn authorize(&self, caller: &Caller) -> Result<(), ApiError> {
        let name = self.policy.as_ref().map_or("", |given| given.name.as_str());
        mutation::authorize(caller, Self::ADDRESS, PolicyName::parse(name), ResourceName::Policy)
    }

    fn parse(self, violations: &mut Violations) -> Option<Command> {
        let Self { policy, update_mask, request_id: _, validate_only: _ } = self;
        let patched = policy.unwrap_or_default();
        let name = violations.keep(Self::ADDRESS, PolicyName::parse(&patched.name))?;
        let etag = parse_etag(&patched.etag);
        let patch = parse_patch(violations, &name.location, patched, update_mask)?;
        Some(Command::UpdatePolicy(Target { name, etag }, patch))
    }
}

/// Parses a policy to be created.
fn parse_new(
    violations: &mut Violations,
    location: &Location,
    id: &str,
    policy: Option<pb::Policy>,
) -> Option<NewPolicy> {
    let id = parse_id(violations, "policy_id", id);
    let policy = violations.require("policy", policy)?;
    let pb::Policy {
        name,
        uid: _,
        etag: _,
        revision: _,
        create_time: _,
        update_time: _,
        description,
        scope,
        permissions,
        resources,
        network_access,
    } = policy;
    let description = parse_description(violations, "policy.description", &description);
    let scope = violations.keep("policy.scope", Instance::parse(&scope));
    let permissions = parse_permissions(violations, &permissions);
    let resources = parse_resources(violations, &resources);
    let access = violations
        .require("policy.network_access", network_access)
        .and_then(|access| parse_access(violations, location, access));
    let terms = Terms::new(scope?, permissions?, resources?, access?);
    let terms = terms.map_err(|problems| add_problems(violations, &problems)).ok();
    let made = PolicyName { location: location.clone(), id: id? };
    check_inner_name(violations, "policy.name", &name, &made.to_string());
    Some(NewPolicy { name: made, description: description?, terms: terms? })
}

/// What of a policy can be changed.
const CHANGEABLE: &[&str] =
    &["description", "permissions", "resources", "any_network", "network_rules"];

/// Parses what is to be changed.
fn parse_patch(
    violations: &mut Violations,
    location: &Location,
    policy: pb::Policy,
    mask: Option<FieldMask>,
) -> Option<PolicyPatch> {
    let mask = Mask::parse(violations, mask, CHANGEABLE);
    let pb::Policy {
        name: _,
        uid: _,
        etag: _,
        revision: _,
        create_time: _,
        update_time: _,
        description,
        scope: _,
        permissions,
        resources,
        network_access,
    } = policy;
    let mask = mask?;
    let mut patch = PolicyPatch::default();
    if mask.names("description", !description.is_empty()) {
        patch.description = parse_description(violations, "policy.description", &description);
    }
    if mask.names("permissions", !permissions.is_empty()) {
        patch.permissions = parse_permissions(violations, &permissions);
    }
    if mask.names("resources", !resources.is_empty()) {
        patch.resources = parse_resources(violations, &resources);
    }
    let is_given = network_access.is_some();
    if mask.names("any_network", is_given) || mask.names("network_rules", is_given) {
        patch.network_access = violations
            .require("policy.network_access", network_access)
            .and_then(|access| parse_access(violations, location, access));
    }
    Some(patch)
}

/// Parses which policies are to be listed.
pub fn parse_filter(
    violations: &mut Violations,
    location: &Location,
    (network_rule, scope): (&str, &str),
) -> Option<PolicyFilter> {
    let network_rule = match network_rule {
        "" => Some(None),
        text => parse_rule(location, text)
            .map(Some)
            .map_err(|error| violations.add("network_rule", error))
            .ok(),
    };
    let scope = match scope {
        "" => Some(None),
        text => violations.keep("scope", Instance::parse(text)).map(Some),
    };
    Some(PolicyFilter { network_rule: network_rule?, scope: scope? })
}

fn parse_permissions(violations: &mut Violations, permissions: &[i32]) -> Option<Vec<Template>> {
    let field = "policy.permissions";
    // Repetitions are folded, but a list of thousands is not a list of three.
    if !(1..=Terms::MAX_RESOURCES).contains(&permissions.len()) {
        violations.add(field, InvalidTerms::PermissionCount);
        return None;
    }
    let templates =
        violations.keep_all(
            field,
            permissions,
            |&template| match pb::PermissionTemplate::try_from(template) {
                Ok(pb::PermissionTemplate::SecretUser) => Ok(Template::SecretUser),
                Ok(pb::PermissionTemplate::CryptoServiceSecretUser) => {
                    Ok(Template::CryptoServiceSecretUser)
                }
                Ok(pb::PermissionTemplate::CryptoServiceKeyUser) => {
                    Ok(Template::CryptoServiceKeyUser)
                }
                Ok(pb::PermissionTemplate::Unspecified) | Err(_) => Err(
                    "must be SECRET_USER, CRYPTO_SERVICE_SECRET_USER or CRYPTO_SERVICE_KEY_USER",
                ),
            },
        );
    (templates.len() == permissions.len()).then_some(templates)
}

fn parse_resources(
    violations: &mut Violations,
    resources: &[String],
) -> Option<Vec<ResourcePattern>> {
    let field = "policy.resources";
    if !(1..=Terms::MAX_RESOURCES).contains(&resources.len()) {
        violations.add(field, InvalidTerms::ResourceCount);
        return None;
    }
    let patterns = violations.keep_all(field, resources, |text| ResourcePattern::parse(text));
    (patterns.len() == resources.len()).then_some(patterns)
}

fn parse_access(
    violations: &mut Violations,
    location: &Location,
    access: SentAccess,
) -> Option<NetworkAccess> {
    let names = match access {
        SentAccess::AnyNetwork(pb::AnyNetwork {}) => return Some(NetworkAccess::AnyNetwork),
        SentAccess::NetworkRules(pb::NetworkRuleNames { names }) => names,
    };
    if !(1..=Terms::MAX_RULES).contains(&names.len()) {
        violations.add("policy.network_rules.names", InvalidTerms::RuleCount);
        return None;
    }
    let field = "policy.network_rules.names";
    let ids = violations.keep_all(field, &names, |text| parse_rule(location, text));
    (ids.len() == names.len()).then(|| NetworkAccess::Rules(ids.into()))
}

fn parse_rule(location: &Location, text: &str) -> Result<Id, String> {
    let name = NetworkRuleName::parse(text).map_err(|error| error.to_string())?;
    if name.location == *location {
        Ok(name.id)
    } else {
        Err(format!("must be a network rule in `{location}`"))
    }
}

/// Notes why some terms don't make a policy.
pub fn add_problems(violations: &mut Violations, problems: &[InvalidTerms]) {
    for problem in problems {
        let field = match problem {
            InvalidTerms::PermissionCount | InvalidTerms::TemplateNeedsInstance => {
                "policy.permissions"
            }
            InvalidTerms::ResourceCount | InvalidTerms::NothingToGrant => "policy.resources",
            InvalidTerms::RuleCount => "policy.network_rules.names",
        };
        violations.add(field, problem);
    }
}

/// A policy as it is sent.
pub fn send(policy: &Policy, header: SentHeader) -> pb::Policy {
    let Policy { name, header: Header { description, .. }, terms } = policy;
    let SentHeader { uid, etag, revision, create_time, update_time } = header;
    let rule = |id: &Id| NetworkRuleName { location: name.location.clone(), id: id.clone() };
    let network_access = match terms.network_access() {
        NetworkAccess::AnyNetwork => SentAccess::AnyNetwork(pb::AnyNetwork {}),
        NetworkAccess::Rules(ids) => SentAccess::NetworkRules(pb::NetworkRuleNames {
            names: ids.iter().map(|id| rule(id).to_string()).collect(),
        }),
    };
    pb::Policy {
        name: name.to_string(),
        uid,
        etag,
        revision,
        create_time,
        update_time,
        description: description.as_str().to_owned(),
        scope: terms.scope().as_str().to_owned(),
        permissions: terms.permissions().iter().map(|t| send_template(*t).into()).collect(),
        resources: terms.resources().iter().map(ToString::to_string).collect(),
        network_access: Some(network_access),
    }
}

fn send_template(template: Template) -> pb::PermissionTemplate {
    match template {
        Template::SecretUser => pb::PermissionTemplate::SecretUser,
        Template::CryptoServiceSecretUser => pb::PermissionTemplate::CryptoServiceSecretUser,
        Template::CryptoServiceKeyUser => pb::PermissionTemplate::CryptoServiceKeyUser,
    }
}
