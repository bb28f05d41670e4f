//! Decisions and receipts, as they are sent.

use crate::{
    api::pb,
    audit::buffer::{Durability, Receipt},
    domain::decision::{Decision, DenyReason},
    service::checks::Decided,
};

/// A decision as it is sent.
pub fn send(decided: Decided<'_>) -> pb::Decision {
    let Decided { decision, rules_version } = decided;
    let rules_version = rules_version.number();
    match decision {
        Decision::Allow(grant) => pb::Decision {
            outcome: pb::Outcome::Allow.into(),
            reason: pb::DecisionReason::PolicyGrants.into(),
            policy: grant.policy().to_owned(),
            network_rule: grant.network_rule().unwrap_or_default().to_owned(),
            nearest_policy: String::new(),
            rules_version,
        },
        Decision::Deny(denial) => pb::Decision {
            outcome: pb::Outcome::Deny.into(),
            reason: send_reason(denial.reason).into(),
            policy: String::new(),
            network_rule: String::new(),
            nearest_policy: denial.nearest_policy.unwrap_or_default().to_owned(),
            rules_version,
        },
    }
}

/// The reason of a deny as it is sent.
pub fn send_reason(reason: DenyReason) -> pb::DecisionReason {
    match reason {
        DenyReason::AccessPointNotFound => pb::DecisionReason::AccessPointNotFound,
        DenyReason::AccessPointSuspended => pb::DecisionReason::AccessPointSuspended,
        DenyReason::RoleNotTrusted => pb::DecisionReason::RoleNotTrusted,
        DenyReason::CredentialUnknown => pb::DecisionReason::CredentialUnknown,
        DenyReason::CredentialInvalid => pb::DecisionReason::CredentialInvalid,
        DenyReason::CredentialDisabled => pb::DecisionReason::CredentialDisabled,
        DenyReason::CredentialNotYetValid => pb::DecisionReason::CredentialNotYetValid,
        DenyReason::CredentialExpired => pb::DecisionReason::CredentialExpired,
        DenyReason::AuthenticationMethodMismatch => {
            pb::DecisionReason::AuthenticationMethodMismatch
        }
        DenyReason::ScopeNotCovered => pb::DecisionReason::ScopeNotCovered,
        DenyReason::ActionNotPermitted => pb::DecisionReason::ActionNotPermitted,
        DenyReason::ResourceNotCovered => pb::DecisionReason::ResourceNotCovered,
        DenyReason::NetworkNotAllowed => pb::DecisionReason::NetworkNotAllowed,
    }
}

/// A receipt as it is sent. There is none for a record that isn't on disk.
pub fn send_receipt(log_id: &str, receipt: Receipt) -> pb::Receipt {
    pb::Receipt {
        log_id: log_id.to_owned(),
        sequence: receipt.sequence,
        leaf_hash: receipt.leaf_hash.to_vec(),
        durable: receipt.durability == Durability::OnDisk,
    }
}
