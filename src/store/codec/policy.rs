//! Policies as they are stored.

use crate::domain::{
    name::{Id, Instance, PolicyName},
    pattern::ResourcePattern,
    policy::{NetworkAccess, Policy, Terms},
    rules::Template,
};

use super::{At, DecodeError, decode_header, encode_header, meaningless, missing, pb};
use pb::policy::NetworkAccess as StoredAccess;

pub(super) fn encode(policy: &Policy) -> pb::Policy {
    let Policy { name, header, terms } = policy;
    let network_access = match terms.network_access() {
        NetworkAccess::AnyNetwork => StoredAccess::AnyNetwork(pb::AnyNetwork {}),
        NetworkAccess::Rules(ids) => StoredAccess::NetworkRules(pb::NetworkRules {
            ids: ids.iter().map(ToString::to_string).collect(),
        }),
    };
    pb::Policy {
        header: Some(encode_header(name.to_string(), header)),
        scope: terms.scope().as_str().to_owned(),
        permissions: terms.permissions().iter().map(|t| encode_template(*t).into()).collect(),
        resources: terms.resources().iter().map(ToString::to_string).collect(),
        network_access: Some(network_access),
    }
}

fn encode_template(template: Template) -> pb::PermissionTemplate {
    match template {
        Template::SecretUser => pb::PermissionTemplate::SecretUser,
        Template::CryptoServiceSecretUser => pb::PermissionTemplate::CryptoServiceSecretUser,
        Template::CryptoServiceKeyUser => pb::PermissionTemplate::CryptoServiceKeyUser,
    }
}

pub(super) fn decode(at: At, stored: pb::Policy) -> Result<Policy, DecodeError> {
    let pb::Policy { header, scope, permissions, resources, network_access } = stored;
    let (name, header) = decode_header(at, header)?;
    let permissions: Result<Vec<_>, _> = permissions.into_iter().map(decode_template).collect();
    let resources: Result<Vec<_>, _> =
        resources.iter().map(|text| ResourcePattern::parse(text)).collect();
    let terms = Terms::new(
        Instance::parse(&scope).map_err(|error| meaningless("scope", error))?,
        permissions?,
        resources.map_err(|error| meaningless("resources", error))?,
        decode_access(network_access)?,
    );
    Ok(Policy {
        name: PolicyName::parse(&name).map_err(|error| meaningless("name", error))?,
        header,
        terms: terms.map_err(|problems| meaningless("terms", format!("{problems:?}")))?,
    })
}

fn decode_template(template: i32) -> Result<Template, DecodeError> {
    match pb::PermissionTemplate::try_from(template) {
        Ok(pb::PermissionTemplate::SecretUser) => Ok(Template::SecretUser),
        Ok(pb::PermissionTemplate::CryptoServiceSecretUser) => {
            Ok(Template::CryptoServiceSecretUser)
        }
        Ok(pb::PermissionTemplate::CryptoServiceKeyUser) => Ok(Template::CryptoServiceKeyUser),
        Ok(pb::PermissionTemplate::Unspecified) | Err(_) => {
            Err(meaningless("permissions", template))
        }
    }
}

fn decode_access(access: Option<StoredAccess>) -> Result<NetworkAccess, DecodeError> {
    match access.ok_or_else(|| missing("network_access"))? {
        StoredAccess::AnyNetwork(pb::AnyNetwork {}) => Ok(NetworkAccess::AnyNetwork),
        StoredAccess::NetworkRules(pb::NetworkRules { ids }) => {
            let ids: Result<Box<[_]>, _> = ids.iter().map(|text| Id::parse(text)).collect();
            Ok(NetworkAccess::Rules(ids.map_err(|error| meaningless("network_rules", error))?))
        }
    }
}
