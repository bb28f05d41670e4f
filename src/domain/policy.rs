//! A policy: scope, permissions, resources and network access, valid together.

use super::{
    distinct::distinct,
    name::{Id, Instance, PolicyName},
    pattern::ResourcePattern,
    resource::Header,
    rules::Template,
};

/// Grants actions on resources of one instance to callers from some networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: PolicyName,
    /// What every resource has.
    pub header: Header,
    /// What it grants.
    pub terms: Terms,
}

/// What a policy grants. The fields agree with each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    scope: Instance,
    permissions: Box<[Template]>,
    resources: Box<[ResourcePattern]>,
    network_access: NetworkAccess,
}

/// Where calls may come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkAccess {
    /// From anywhere.
    AnyNetwork,
    /// From where one of these rules says: ids in the policy's location, in its order.
    Rules(Box<[Id]>),
}

/// Why some terms don't make a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTerms {
    /// Too few or too many templates.
    #[error("must have 1 to 3 permission templates")]
    PermissionCount,
    /// Too few or too many patterns.
    #[error("must have 1 to 30 patterns")]
    ResourceCount,
    /// Too few or too many rules.
    #[error("must name 1 to 40 network rules")]
    RuleCount,
    /// A template that the shared KMS doesn't have.
    #[error("the `CRYPTO_SERVICE` templates need the scope of a dedicated instance")]
    TemplateNeedsInstance,
    /// Templates for secrets and patterns for keys, or the other way round.
    #[error("has no pattern of a kind that the permissions apply to, so it could never allow")]
    NothingToGrant,
}

impl Terms {
    /// The most patterns a policy has: the KMS's own limit.
    pub const MAX_RESOURCES: usize = 30;
    /// The most network rules a policy names: the KMS's own limit.
    pub const MAX_RULES: usize = 40;
    const MAX_PERMISSIONS: usize = 3;

    /// Folds repetitions, and checks everything that can be checked without other resources.
    pub fn new(
        scope: Instance,
        permissions: Vec<Template>,
        resources: Vec<ResourcePattern>,
        network_access: NetworkAccess,
    ) -> Result<Self, Vec<InvalidTerms>> {
        let permissions = distinct(permissions);
        let network_access = match network_access {
            NetworkAccess::AnyNetwork => NetworkAccess::AnyNetwork,
            NetworkAccess::Rules(ids) => NetworkAccess::Rules(distinct(ids).into()),
        };
        let problems = problems(&scope, &permissions, &resources, &network_access);
        if problems.is_empty() {
            let (permissions, resources) = (permissions.into(), distinct(resources).into());
            Ok(Self { scope, permissions, resources, network_access })
        } else {
            Err(problems)
        }
    }

    /// The instance it covers.
    pub fn scope(&self) -> &Instance {
        &self.scope
    }

    /// Its templates, each once.
    pub fn permissions(&self) -> &[Template] {
        &self.permissions
    }

    /// Its patterns, in the operator's order.
    pub fn resources(&self) -> &[ResourcePattern] {
        &self.resources
    }

    /// Where calls may come from.
    pub fn network_access(&self) -> &NetworkAccess {
        &self.network_access
    }

    /// The ids of its network rules, in order.
    pub fn rules(&self) -> &[Id] {
        match &self.network_access {
            NetworkAccess::AnyNetwork => &[],
            NetworkAccess::Rules(ids) => ids,
        }
    }
}

fn problems(
    scope: &Instance,
    permissions: &[Template],
    resources: &[ResourcePattern],
    network_access: &NetworkAccess,
) -> Vec<InvalidTerms> {
    let mut problems = Vec::new();
    if !(1..=Terms::MAX_PERMISSIONS).contains(&permissions.len()) {
        problems.push(InvalidTerms::PermissionCount);
    }
    if !(1..=Terms::MAX_RESOURCES).contains(&resources.len()) {
        problems.push(InvalidTerms::ResourceCount);
    }
    if let NetworkAccess::Rules(ids) = network_access
        && !(1..=Terms::MAX_RULES).contains(&ids.len())
    {
        problems.push(InvalidTerms::RuleCount);
    }
    if !scope.is_dedicated() && permissions.iter().any(|t| t.needs_dedicated_instance()) {
        problems.push(InvalidTerms::TemplateNeedsInstance);
    }
    let applies = |template: &Template| {
        resources.iter().any(|pattern| pattern.kind() == template.resource_kind())
    };
    if !permissions.is_empty() && !resources.is_empty() && !permissions.iter().any(applies) {
        problems.push(InvalidTerms::NothingToGrant);
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(
        scope: &str,
        permissions: &[Template],
        resources: &[&str],
        rules: Option<usize>,
    ) -> Result<Terms, Vec<InvalidTerms>> {
        let network_access = rules.map_or(NetworkAccess::AnyNetwork, |count| {
            NetworkAccess::Rules((0..count).map(|i| Id::parse(&format!("r{i}")).unwrap()).collect())
        });
        Terms::new(
            Instance::parse(scope).unwrap(),
            permissions.to_vec(),
            resources.iter().map(|text| ResourcePattern::parse(text).unwrap()).collect(),
            network_access,
        )
    }

    #[test]
    fn terms_that_agree_are_accepted_and_folded() {
        use Template::{CryptoServiceKeyUser, SecretUser};
        let folded =
            terms("shared", &[SecretUser, SecretUser], &["secret/a", "secret/a"], Some(40))
                .unwrap();
        assert_eq!((folded.permissions().len(), folded.resources().len()), (1, 1));
        assert_eq!(folded.rules().len(), 40);
        assert!(terms("kst-1", &[CryptoServiceKeyUser, SecretUser], &["key/*"], None).is_ok());
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        use InvalidTerms::*;
        use Template::{CryptoServiceKeyUser, CryptoServiceSecretUser, SecretUser};
        let many = vec!["secret/a"; 31];
        for (result, problems) in [
            (terms("shared", &[], &[], Some(0)), vec![PermissionCount, ResourceCount, RuleCount]),
            (terms("shared", &[SecretUser], &many, Some(41)), vec![ResourceCount, RuleCount]),
            (
                terms("shared", &[CryptoServiceKeyUser], &["secret/a"], None),
                vec![TemplateNeedsInstance, NothingToGrant],
            ),
            (terms("kst-1", &[CryptoServiceSecretUser], &["key/a"], None), vec![NothingToGrant]),
        ] {
            assert_eq!(result.unwrap_err(), problems);
        }
    }
}
