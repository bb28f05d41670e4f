//! What every resource has: a uid, an etag, a revision, times, a description.

use std::{fmt, sync::Arc};

use super::time::UnixNanos;

/// Tells a resource from every other that ever had its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(pub uuid::Uuid);

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// Free text of at most 1,024 characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description(Arc<str>);

/// Why a text is no description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must have at most 1,024 characters")]
pub struct InvalidDescription;

impl Description {
    const MAX_CHARACTERS: usize = 1_024;

    /// Parses a description.
    pub fn parse(text: &str) -> Result<Self, InvalidDescription> {
        if text.chars().count() <= Self::MAX_CHARACTERS {
            Ok(Self(text.into()))
        } else {
            Err(InvalidDescription)
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What every resource has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its uid.
    pub uid: Uid,
    /// The sequence number of its last change.
    pub revision: u64,
    /// When it was created.
    pub create_time: UnixNanos,
    /// When it was changed last.
    pub update_time: UnixNanos,
    /// Its description.
    pub description: Description,
}

impl Header {
    /// Names the current state.
    pub fn etag(&self) -> Etag {
        Etag { uid: self.uid, revision: self.revision }
    }
}

/// Names one state of one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Etag {
    uid: Uid,
    revision: u64,
}

impl Etag {
    /// Whether the text that a caller sent names this state. Any other text names another one.
    pub fn is_named_by(&self, text: &str) -> bool {
        self.to_string() == text
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:x}", self.uid.0.simple(), self.revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_counted_in_characters() {
        assert!(Description::parse(&"ä".repeat(1_024)).is_ok());
        assert_eq!(Description::parse(&"a".repeat(1_025)), Err(InvalidDescription));
    }

    #[test]
    fn an_etag_names_one_state_alone() {
        let uid = Uid(uuid::Uuid::from_u128(7));
        let etag = Etag { uid, revision: 31 };
        assert_eq!(etag.to_string(), "00000000000000000000000000000007-1f");
        assert!(etag.is_named_by("00000000000000000000000000000007-1f"));
        assert!(!etag.is_named_by("00000000000000000000000000000007-20"));
        assert!(!etag.is_named_by(""));
    }
}
