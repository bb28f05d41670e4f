//! What every change carries besides its content: who asks, and how it may be repeated.

use std::sync::Arc;

/// A word that a caller chose for a request: 1 to 64 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(Arc<str>);

/// Why a text is no request id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 64 visible ASCII characters")]
pub struct InvalidRequestId;

impl RequestId {
    /// The most bytes a request id has.
    pub const MAX_BYTES: usize = 64;

    /// Parses a request id.
    pub fn parse(text: &str) -> Result<Self, InvalidRequestId> {
        if Self::is_valid(text) { Ok(Self(text.into())) } else { Err(InvalidRequestId) }
    }

    /// Whether a text is a request id.
    pub fn is_valid(text: &str) -> bool {
        (1..=Self::MAX_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A digest of a request's content without its id: SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// A request that may be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestMark {
    /// The id that the caller gave.
    pub id: RequestId,
    /// The method called.
    pub method: Arc<str>,
    /// What the request asked.
    pub fingerprint: Fingerprint,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_visible_ascii() {
        for good in ["a", "0b9e-42", &"x".repeat(64)] {
            assert!(RequestId::parse(good).is_ok(), "{good:?}");
        }
        for bad in ["", " ", "a b", "ä", "a\n", &"x".repeat(65)] {
            assert_eq!(RequestId::parse(bad), Err(InvalidRequestId), "{bad:?}");
        }
    }
}
