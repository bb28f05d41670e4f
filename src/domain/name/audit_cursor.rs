//! Names of cursors of the audit log.

use std::fmt;

use super::{AccountName, Id, InvalidName, end, take_id};

/// Whose records a cursor goes through.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AuditCursorParent {
    /// Those of all accounts, and those without one.
    All,
    /// Those of one account.
    Account(Id),
}

impl AuditCursorParent {
    /// Parses `accounts/{account}`, or nothing.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        if text.is_empty() {
            return Ok(Self::All);
        }
        AccountName::parse(text).map(|AccountName(account)| Self::Account(account))
    }

    /// The account, if it is one; `*` otherwise.
    pub fn account(&self) -> &str {
        match self {
            Self::All => "*",
            Self::Account(account) => account.as_str(),
        }
    }
}

impl fmt::Display for AuditCursorParent {
    /// The collection that its cursors are in.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str(AuditCursorName::COLLECTION),
            Self::Account(account) => {
                write!(f, "accounts/{account}/{}", AuditCursorName::COLLECTION)
            }
        }
    }
}

/// The name of a cursor of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuditCursorName {
    /// Whose records it goes through.
    pub parent: AuditCursorParent,
    /// Its id there.
    pub id: Id,
}

impl AuditCursorName {
    const COLLECTION: &'static str = "auditCursors";
    const FORM: &'static str =
        "accounts/{account}/auditCursors/{audit_cursor}` or `auditCursors/{audit_cursor}";
    /// The most bytes of one.
    pub const MAX_BYTES: usize = 2 * Id::MAX_BYTES + "accounts//auditCursors/".len();

    /// Parses the full name, of either form.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let mut parts = text.split('/');
        let parent = if text.starts_with("accounts/") {
            let account = take_id(&mut parts, "accounts", "account", Self::FORM)?;
            AuditCursorParent::Account(Id(account.into()))
        } else {
            AuditCursorParent::All
        };
        let id = take_id(&mut parts, Self::COLLECTION, "audit_cursor", Self::FORM)?;
        end(&mut parts, Self { parent, id: Id(id.into()) }, Self::FORM)
    }
}

impl fmt::Display for AuditCursorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.parent, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written_and_nothing_else_is_one() {
        let long = "a".repeat(128);
        for good in [
            "auditCursors/siem".to_owned(),
            "accounts/acme/auditCursors/siem".to_owned(),
            format!("accounts/{long}/auditCursors/{long}"),
        ] {
            let name = AuditCursorName::parse(&good).unwrap();
            assert_eq!(name.to_string(), good);
            assert!(good.len() <= AuditCursorName::MAX_BYTES);
        }
        for bad in [
            "",
            "siem",
            "auditCursors",
            "auditCursors/",
            "auditCursors/-",
            "auditCursors/a/b",
            "/auditCursors/a",
            "accounts/acme/auditCursors",
            "accounts//auditCursors/a",
            "accounts/acme/regions/eu-1/auditCursors/a",
            "accounts/acme/auditcursors/a",
            "auditCursors/a\0",
        ] {
            assert!(AuditCursorName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_parent_is_an_account_or_all() {
        assert_eq!(AuditCursorParent::parse("").unwrap(), AuditCursorParent::All);
        let acme = AuditCursorParent::parse("accounts/acme").unwrap();
        assert_eq!(
            (acme.account(), acme.to_string().as_str()),
            ("acme", "accounts/acme/auditCursors")
        );
        for bad in ["accounts", "accounts/", "accounts/*", "acme", "accounts/acme/regions/eu-1"] {
            assert!(AuditCursorParent::parse(bad).is_err(), "{bad:?}");
        }
    }
}
