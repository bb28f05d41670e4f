//! The one table from permission templates to the actions they permit, by version.
//!
//! Adding an action to a template widens every policy that exists. So it is a new version, and the
//! old one stays here, or records made under it could not be decided again.

use std::fmt;

use super::pattern::{Resource, ResourceKind};

/// The version of the table that a decision was made by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RulesVersion {
    /// The actions of the KMS in November 2026.
    V1,
}

impl RulesVersion {
    /// The version that new decisions are made by.
    pub const CURRENT: Self = Self::V1;

    /// The number that records hold.
    pub fn number(self) -> u32 {
        match self {
            Self::V1 => 1,
        }
    }

    /// The version that a record's number names.
    pub fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::V1),
            _ => None,
        }
    }
}

/// A permission template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Template {
    /// Secrets, in any scope.
    SecretUser,
    /// Secrets of a dedicated instance.
    CryptoServiceSecretUser,
    /// Keys of a dedicated instance.
    CryptoServiceKeyUser,
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SecretUser => "SECRET_USER",
            Self::CryptoServiceSecretUser => "CRYPTO_SERVICE_SECRET_USER",
            Self::CryptoServiceKeyUser => "CRYPTO_SERVICE_KEY_USER",
        })
    }
}

impl Template {
    /// Whether it can only stand in a policy of a dedicated instance.
    pub fn needs_dedicated_instance(self) -> bool {
        match self {
            Self::SecretUser => false,
            Self::CryptoServiceSecretUser | Self::CryptoServiceKeyUser => true,
        }
    }

    /// The kind of resources that its actions are on.
    pub fn resource_kind(self) -> ResourceKind {
        match self {
            Self::SecretUser | Self::CryptoServiceSecretUser => ResourceKind::Secret,
            Self::CryptoServiceKeyUser => ResourceKind::Key,
        }
    }

    /// The actions that it permits under a version of the rules.
    pub fn actions(self, version: RulesVersion) -> ActionSet {
        match (version, self) {
            (RulesVersion::V1, Self::SecretUser | Self::CryptoServiceSecretUser) => {
                ActionSet(Action::GetSecretValue.bit())
            }
            (RulesVersion::V1, Self::CryptoServiceKeyUser) => {
                ActionSet(KEY_USER_V1.iter().fold(0, |bits, action| bits | action.bit()))
            }
        }
    }
}

/// A set of actions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ActionSet(u32);

impl ActionSet {
    /// Whether the action is in it.
    pub fn contains(self, action: Action) -> bool {
        self.0 & action.bit() != 0
    }

    /// What is in either.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Defines the actions with their names on the wire.
macro_rules! actions {
    ($($action:ident),* $(,)?) => {
        /// An action that this server knows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "the names are the KMS's own")]
        pub enum Action { $($action),* }

        impl Action {
            /// Every action.
            pub const ALL: &'static [Self] = &[$(Self::$action),*];

            /// The action of that name, if this server knows it.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $(stringify!($action) => Some(Self::$action),)*
                    _ => None,
                }
            }

            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$action => stringify!($action)),* }
            }
        }
    };
}

actions!(
    GetSecretValue,
    Encrypt,
    Decrypt,
    Sign,
    Verify,
    GenerateDataKey,
    GenerateDataKeyPair,
    GenerateDataKeyPairWithoutPlaintext,
    GetPublicKey,
    AdvanceEncrypt,
    AdvanceDecrypt,
    AdvanceGenerateDataKey,
    AdvanceGenerateDataKeyPair,
    AdvanceGenerateDataKeyPairWithoutPlaintext,
    GenerateRandom,
);

const KEY_USER_V1: &[Action] = &[
    Action::Encrypt,
    Action::Decrypt,
    Action::Sign,
    Action::Verify,
    Action::GenerateDataKey,
    Action::GenerateDataKeyPair,
    Action::GenerateDataKeyPairWithoutPlaintext,
    Action::GetPublicKey,
    Action::AdvanceEncrypt,
    Action::AdvanceDecrypt,
    Action::AdvanceGenerateDataKey,
    Action::AdvanceGenerateDataKeyPair,
    Action::AdvanceGenerateDataKeyPairWithoutPlaintext,
    Action::GenerateRandom,
];

impl Action {
    fn bit(self) -> u32 {
        1 << (self as u32)
    }

    /// The kind of resource that it is on; `None` if it has no resource.
    pub fn resource_kind(self) -> Option<ResourceKind> {
        match self {
            Self::GetSecretValue => Some(ResourceKind::Secret),
            Self::GenerateRandom => None,
            _ => Some(ResourceKind::Key),
        }
    }

    /// Whether it can be done to a resource of this kind, or to none where it has none.
    pub fn fits(self, resource: &Resource<'_>) -> bool {
        match self.resource_kind() {
            Some(kind) => resource.kind == Some(kind),
            None => resource.is_absent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_its_name_and_a_bit_of_its_own() {
        let mut bits = 0;
        for &action in Action::ALL {
            assert_eq!(Action::from_name(action.name()), Some(action));
            assert_eq!(bits & action.bit(), 0, "{action:?}");
            bits |= action.bit();
        }
        assert_eq!(Action::from_name("getSecretValue"), None);
    }

    #[test]
    fn templates_permit_exactly_their_actions() {
        for &action in Action::ALL {
            let on_secrets = action == Action::GetSecretValue;
            for (template, permitted) in [
                (Template::SecretUser, on_secrets),
                (Template::CryptoServiceSecretUser, on_secrets),
                (Template::CryptoServiceKeyUser, !on_secrets),
            ] {
                let actions = template.actions(RulesVersion::V1);
                assert_eq!(actions.contains(action), permitted, "{template:?} {action:?}");
            }
        }
    }

    #[test]
    fn versions_keep_their_numbers() {
        assert_eq!(RulesVersion::from_number(1), Some(RulesVersion::V1));
        assert_eq!(RulesVersion::from_number(0), None);
        assert_eq!(
            RulesVersion::from_number(RulesVersion::CURRENT.number()),
            Some(RulesVersion::CURRENT)
        );
    }
}
