//! Ids and resource names, parsed: inside, an invalid name can't be written.
//!
//! It doesn't know which of the names exist.

mod audit_cursor;

use std::{fmt, str::Split, sync::Arc};

pub use audit_cursor::{AuditCursorName, AuditCursorParent};

/// An id that an operator chose: an account, a region, an access point, a policy, …
///
/// ASCII and case-sensitive: `[A-Za-z0-9][A-Za-z0-9_.-]{0,127}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(Arc<str>);

/// Why a text is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must begin with a letter or digit and have 1 to 128 of `A-Z a-z 0-9 _ . -`")]
pub struct InvalidId;

impl Id {
    /// The most bytes an id has.
    pub const MAX_BYTES: usize = 128;

    /// Parses an id.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        if Self::is_valid(text) { Ok(Self(text.into())) } else { Err(InvalidId) }
    }

    /// Whether a text is an id.
    pub fn is_valid(text: &str) -> bool {
        let bytes = text.as_bytes();
        let begins_well = bytes.first().is_some_and(u8::is_ascii_alphanumeric);
        let goes_on_well =
            bytes.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        begins_well && goes_on_well && bytes.len() <= Self::MAX_BYTES
    }

    /// Comes before every id in their order, and is none itself.
    pub(crate) fn before_all() -> Self {
        Self("".into())
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The account and region that names live in: `accounts/{account}/regions/{region}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The tenant.
    pub account: Id,
    /// The place.
    pub region: Id,
}

/// Why a text is no resource name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// It doesn't have the form of the name.
    #[error("must have the form `{form}`")]
    Form {
        /// The form it should have.
        form: &'static str,
    },
    /// One of the ids in it is none.
    #[error("{part} {source}")]
    Id {
        /// Which of the ids.
        part: &'static str,
        /// Why it is none.
        source: InvalidId,
    },
}

impl Location {
    /// Parses `accounts/{account}/regions/{region}`.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        LocationRef::parse(text).map(LocationRef::to_owned)
    }
}

/// The name of a tenant: `accounts/{account}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountName(pub Id);

impl AccountName {
    const FORM: &'static str = "accounts/{account}";

    /// Parses `accounts/{account}`.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let mut parts = text.split('/');
        let account = Id(take_id(&mut parts, "accounts", "account", Self::FORM)?.into());
        end(&mut parts, Self(account), Self::FORM)
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "accounts/{}", self.0)
    }
}

/// A location as it stands in a request: parsed, but not copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocationRef<'a> {
    account: &'a str,
    region: &'a str,
}

impl<'a> LocationRef<'a> {
    const FORM: &'static str = "accounts/{account}/regions/{region}";

    /// Parses `accounts/{account}/regions/{region}`.
    pub fn parse(text: &'a str) -> Result<Self, InvalidName> {
        let mut parts = text.split('/');
        let location = Self::take(&mut parts, Self::FORM)?;
        end(&mut parts, location, Self::FORM)
    }

    /// The account.
    pub fn account(self) -> &'a str {
        self.account
    }

    /// The region.
    pub fn region(self) -> &'a str {
        self.region
    }

    /// A copy that can be kept.
    pub fn to_owned(self) -> Location {
        Location { account: Id(self.account.into()), region: Id(self.region.into()) }
    }

    fn take(parts: &mut Split<'a, char>, form: &'static str) -> Result<Self, InvalidName> {
        let account = take_id(parts, "accounts", "account", form)?;
        let region = take_id(parts, "regions", "region", form)?;
        Ok(Self { account, region })
    }
}

/// An access point's name as it stands in a check: parsed, but not copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessPointRef<'a> {
    location: LocationRef<'a>,
    text: &'a str,
}

impl<'a> AccessPointRef<'a> {
    /// Parses the full name.
    pub fn parse(text: &'a str) -> Result<Self, InvalidName> {
        let mut parts = text.split('/');
        let location = LocationRef::take(&mut parts, AccessPointName::FORM)?;
        take_id(&mut parts, "accessPoints", "access_point", AccessPointName::FORM)?;
        end(&mut parts, Self { location, text }, AccessPointName::FORM)
    }

    /// Where it lives.
    pub fn location(self) -> LocationRef<'a> {
        self.location
    }

    /// The full name.
    pub fn as_str(self) -> &'a str {
        self.text
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "accounts/{}/regions/{}", self.account, self.region)
    }
}

fn take_id<'a>(
    parts: &mut Split<'a, char>,
    collection: &str,
    part: &'static str,
    form: &'static str,
) -> Result<&'a str, InvalidName> {
    if parts.next() != Some(collection) {
        return Err(InvalidName::Form { form });
    }
    let text = parts.next().ok_or(InvalidName::Form { form })?;
    if Id::is_valid(text) { Ok(text) } else { Err(InvalidName::Id { part, source: InvalidId }) }
}

fn end<T>(parts: &mut Split<'_, char>, name: T, form: &'static str) -> Result<T, InvalidName> {
    match parts.next() {
        None => Ok(name),
        Some(_) => Err(InvalidName::Form { form }),
    }
}

/// Defines the name of one kind of resource that lives in a [`Location`].
macro_rules! regional_name {
    ($(#[$doc:meta])* $name:ident, $collection:literal, $part:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            /// Where it lives.
            pub location: Location,
            /// Its id there.
            pub id: Id,
        }

        impl $name {
            const COLLECTION: &'static str = $collection;
            const FORM: &'static str =
                concat!("accounts/{account}/regions/{region}/", $collection, "/{", $part, "}");

            /// Parses the full name.
            pub fn parse(text: &str) -> Result<Self, InvalidName> {
                let mut parts = text.split('/');
                let location = LocationRef::take(&mut parts, Self::FORM)?.to_owned();
                let id = Id(take_id(&mut parts, $collection, $part, Self::FORM)?.into());
                end(&mut parts, Self { location, id }, Self::FORM)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{}/", $collection, "/{}"), self.location, self.id)
            }
        }
    };
}

regional_name!(
    /// The name of an access point.
    AccessPointName, "accessPoints", "access_point"
);
regional_name!(
    /// The name of a policy.
    PolicyName, "policies", "policy"
);
regional_name!(
    /// The name of a network rule.
    NetworkRuleName, "networkRules", "network_rule"
);

/// The name of a client key, which belongs to an access point.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientKeyName {
    /// The access point.
    pub access_point: AccessPointName,
    /// Its id there.
    pub id: Id,
}

impl ClientKeyName {
    const COLLECTION: &'static str = "clientKeys";
    const FORM: &'static str = "accounts/{account}/regions/{region}/accessPoints/{access_point}\
                                /clientKeys/{client_key}";

    /// Parses the full name.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let mut parts = text.split('/');
        let location = LocationRef::take(&mut parts, Self::FORM)?.to_owned();
        let access_point =
            Id(take_id(&mut parts, "accessPoints", "access_point", Self::FORM)?.into());
        let id = Id(take_id(&mut parts, Self::COLLECTION, "client_key", Self::FORM)?.into());
        let access_point = AccessPointName { location, id: access_point };
        end(&mut parts, Self { access_point, id }, Self::FORM)
    }

    /// The id of a key that has this uid.
    pub fn id_for(uid: uuid::Uuid) -> Id {
        Id(format!("KAAP.{}", uid.hyphenated()).into())
    }
}

impl fmt::Display for ClientKeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/clientKeys/{}", self.access_point, self.id)
    }
}

/// The name of a RAM role: `accounts/{account}/ramRoles/{ram_role}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RamRoleName {
    /// The account that owns it.
    pub account: Id,
    /// Its id there.
    pub id: Id,
}

impl RamRoleName {
    const COLLECTION: &'static str = "ramRoles";
    const FORM: &'static str = "accounts/{account}/ramRoles/{ram_role}";

    /// Parses the full name.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let mut parts = text.split('/');
        let account = Id(take_id(&mut parts, "accounts", "account", Self::FORM)?.into());
        let id = Id(take_id(&mut parts, Self::COLLECTION, "ram_role", Self::FORM)?.into());
        end(&mut parts, Self { account, id }, Self::FORM)
    }
}

impl fmt::Display for RamRoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "accounts/{}/ramRoles/{}", self.account, self.id)
    }
}

/// The name of any resource, for errors and holders.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceName {
    /// An access point.
    AccessPoint(AccessPointName),
    /// A policy.
    Policy(PolicyName),
    /// A network rule.
    NetworkRule(NetworkRuleName),
    /// A RAM role.
    RamRole(RamRoleName),
    /// A client key.
    ClientKey(ClientKeyName),
}

impl ResourceName {
    /// Parses the full name of a resource of any kind.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let wrong = InvalidName::Form { form: "accounts/{account}/…/{collection}/{id}" };
        match text.rsplit('/').nth(1) {
            Some(AccessPointName::COLLECTION) => {
                AccessPointName::parse(text).map(Self::AccessPoint)
            }
            Some(PolicyName::COLLECTION) => PolicyName::parse(text).map(Self::Policy),
            Some(NetworkRuleName::COLLECTION) => {
                NetworkRuleName::parse(text).map(Self::NetworkRule)
            }
            Some(RamRoleName::COLLECTION) => RamRoleName::parse(text).map(Self::RamRole),
            Some(ClientKeyName::COLLECTION) => ClientKeyName::parse(text).map(Self::ClientKey),
            _ => Err(wrong),
        }
    }

    /// The type of the resource, as `google.rpc.ResourceInfo` wants it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::AccessPoint(_) => "aap.v1.AccessPoint",
            Self::Policy(_) => "aap.v1.Policy",
            Self::NetworkRule(_) => "aap.v1.NetworkRule",
            Self::RamRole(_) => "aap.v1.RamRole",
            Self::ClientKey(_) => "aap.v1.ClientKey",
        }
    }

    /// The account it belongs to.
    pub fn account(&self) -> &Id {
        match self {
            Self::AccessPoint(name) => &name.location.account,
            Self::Policy(name) => &name.location.account,
            Self::NetworkRule(name) => &name.location.account,
            Self::RamRole(name) => &name.account,
            Self::ClientKey(name) => &name.access_point.location.account,
        }
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AccessPoint(name) => name.fmt(f),
            Self::Policy(name) => name.fmt(f),
            Self::NetworkRule(name) => name.fmt(f),
            Self::RamRole(name) => name.fmt(f),
            Self::ClientKey(name) => name.fmt(f),
        }
    }
}

/// An instance of the KMS: the shared one or a dedicated one, `kst-…`. A policy's scope.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance(Arc<str>);

/// Why a text is no instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be `shared` or `kst-` and 1 to 60 of `A-Z a-z 0-9 _ -`")]
pub struct InvalidInstance;

impl Instance {
    /// The shared KMS.
    pub const SHARED: &'static str = "shared";
    /// How long the text of one may be, in bytes.
    pub const MAX: usize = 64;

    /// Parses an instance.
    pub fn parse(text: &str) -> Result<Self, InvalidInstance> {
        let dedicated = text.strip_prefix("kst-").is_some_and(|rest| {
            (1..=60).contains(&rest.len())
                && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        });
        if dedicated || text == Self::SHARED { Ok(Self(text.into())) } else { Err(InvalidInstance) }
    }

    /// Whether this is a dedicated instance.
    pub fn is_dedicated(&self) -> bool {
        self.as_str() != Self::SHARED
    }

    /// The instance's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_what_the_grammar_says() {
        let longest = "a".repeat(128);
        for good in ["a", "RAMPolicy", "KubernetesWorkerRole-1a2b", "0._-", longest.as_str()] {
            assert_eq!(Id::parse(good).unwrap().as_str(), good);
        }
        let too_long = "a".repeat(129);
        for bad in ["", "-a", ".", "_a", "a/b", "a b", "ä", "a\0", too_long.as_str()] {
            assert_eq!(Id::parse(bad), Err(InvalidId), "{bad:?}");
        }
    }

    #[test]
    fn names_read_back_what_they_print() {
        let text = "accounts/acme/regions/eu-1/policies/RAMPolicy";
        assert_eq!(PolicyName::parse(text).unwrap().to_string(), text);
        let text = "accounts/acme/ramRoles/ECSRole";
        assert_eq!(RamRoleName::parse(text).unwrap().to_string(), text);
        let text = "accounts/acme/regions/eu-1";
        assert_eq!(Location::parse(text).unwrap().to_string(), text);
        let text = "accounts/acme";
        assert_eq!(AccountName::parse(text).unwrap().to_string(), text);
        for collection in ["accessPoints", "policies", "networkRules"] {
            let text = format!("accounts/acme/regions/eu-1/{collection}/x");
            assert_eq!(ResourceName::parse(&text).unwrap().to_string(), text);
        }
        let text = "accounts/acme/ramRoles/ECSRole";
        let name = ResourceName::parse(text).unwrap();
        assert_eq!((name.to_string().as_str(), name.account().as_str()), (text, "acme"));
        for bad in [
            "",
            "x",
            "accounts/acme",
            "accounts/acme/regions/eu-1/policies/p/x/y",
            "accounts/acme/regions/eu-1/ramRoles/ECSRole",
        ] {
            assert!(ResourceName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_of_another_form_is_refused_with_the_form() {
        for bad in [
            "",
            "accounts/acme",
            "accounts/acme/regions/eu-1/policies",
            "accounts/acme/regions/eu-1/accessPoints/p",
            "accounts/acme/regions/eu-1/policies/p/x",
            "accounts/acme/regions/eu-1/policies/p/",
            "/accounts/acme/regions/eu-1/policies/p",
        ] {
            let error = PolicyName::parse(bad).unwrap_err();
            assert_eq!(
                error.to_string(),
                "must have the form `accounts/{account}/regions/{region}/policies/{policy}`",
                "{bad:?}"
            );
        }
        let error = PolicyName::parse("accounts/acme/regions/ /policies/p").unwrap_err();
        assert!(error.to_string().starts_with("region must begin"), "{error}");
    }

    #[test]
    fn instances_are_shared_or_dedicated() {
        assert!(!Instance::parse("shared").unwrap().is_dedicated());
        assert!(Instance::parse("kst-hzz65f176a0ogplgq").unwrap().is_dedicated());
        let too_long = format!("kst-{}", "a".repeat(61));
        for bad in ["", "Shared", "kst-", "kst-a b", "kst", too_long.as_str()] {
            assert_eq!(Instance::parse(bad), Err(InvalidInstance), "{bad:?}");
        }
    }
}
