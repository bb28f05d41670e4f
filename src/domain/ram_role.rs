//! A RAM role: a role of the platform that workloads run under, and whom it trusts.

use super::{
    access_point::{Authentication, TrustedRole},
    name::{AccessPointName, RamRoleName},
    resource::Header,
    trust_policy::{Trust, TrustPolicy},
};

/// A role of the platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RamRole {
    /// Its name.
    pub name: RamRoleName,
    /// What every resource has.
    pub header: Header,
    /// Who may assume it.
    pub trust_policy: TrustPolicy,
    /// The revision from which on sessions that it proved are good: whom it trusts is what was proved,
    /// so what is older than its trust policy is dead for good.
    pub sessions_valid_from: u64,
}

impl RamRole {
    /// Whether it is trusted for an environment.
    pub fn trust(&self, trusted_role: TrustedRole) -> &Trust {
        self.trust_policy.trust(trusted_role)
    }

    /// Whether anybody else may assume it than an environment's service, or could, so that to be the role is
    /// not yet to be in that environment.
    pub fn is_shared(&self, trusted_role: TrustedRole) -> bool {
        self.trust_policy.could_let_in_another(trusted_role)
            || self.trust_policy.further_principals().next().is_some()
    }
}

impl Authentication {
    /// The role that an access point of that name authenticates by, and the environment that the
    /// role must trust.
    pub fn role(&self, access_point: &AccessPointName) -> Option<(RamRoleName, TrustedRole)> {
        match self {
            Self::ClientKey => None,
            Self::RamRole { trusted_role, role } => {
                let account = access_point.location.account.clone();
                Some((RamRoleName { account, id: role.clone() }, *trusted_role))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        resource::{Description, Uid},
        testing::ram_role_name,
        time::UnixNanos,
    };

    /// A role that the service of virtual machines may assume, and somebody else by an action.
    fn role(principal: &str, action: &str) -> RamRole {
        let allow = |principal: &str, action: &str| {
            format!(r#"{{"Effect": "Allow", "Action": "{action}", "Principal": {principal}}}"#)
        };
        let ecs = allow(r#"{"Service": "ecs.aliyuncs.com"}"#, "sts:AssumeRole");
        let other = allow(principal, action);
        let document = format!(r#"{{"Version": "1", "Statement": [{ecs}, {other}]}}"#);
        RamRole {
            name: ram_role_name("role"),
            header: Header {
                uid: Uid(uuid::Uuid::nil()),
                revision: 1,
                create_time: UnixNanos(0),
                update_time: UnixNanos(0),
                description: Description::default(),
            },
            trust_policy: TrustPolicy::parse(&document).unwrap(),
            sessions_valid_from: 1,
        }
    }

    #[test]
    fn a_role_is_shared_where_anybody_else_may_assume_it_or_could() {
        let (ecs, fc) = (r#"{"Service": "ecs.aliyuncs.com"}"#, r#"{"Service": "fc.aliyuncs.com"}"#);
        for (principal, action, is_shared) in [
            (ecs, "sts:AssumeRole", false),
            (ecs, "sts:*", false),
            (fc, "sts:TagSession", false),
            (r#"{"RAM": "acs:ram::1:root"}"#, "sts:TagSession", false),
            (fc, "sts:AssumeRole", true),
            (fc, "sts:*", true),
            (fc, "*", true),
            (fc, "sts:Assume*", true),
            (fc, "STS:AssumeRole", true),
            (r#"{"Service": "oss.aliyuncs.com"}"#, "sts:*", true),
            (r#"{"Service": "*"}"#, "sts:AssumeRole", true),
            (r#"{"RAM": "acs:ram::1:root"}"#, "sts:*", true),
            (r#"{"Federated": "acs:ram::1:saml-provider/x"}"#, "sts:AssumeRole", true),
        ] {
            let role = role(principal, action);
            assert!(role.trust(TrustedRole::EcsInstance).is_trusted());
            for environment in [TrustedRole::EcsInstance, TrustedRole::AckWorker] {
                assert_eq!(role.is_shared(environment), is_shared, "{principal} {action}");
            }
            // The first of the two is somebody else then.
            assert!(role.is_shared(TrustedRole::FunctionCompute), "{principal} {action}");
        }
    }
}
