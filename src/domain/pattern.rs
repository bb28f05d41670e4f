//! Resources as a check names them, and the patterns that policies name them by.

use std::{fmt, sync::Arc};

/// The kinds of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKind {
    /// A secret, `secret/…`.
    Secret,
    /// A key, `key/…`.
    Key,
}

impl ResourceKind {
    fn split(text: &str) -> Option<(Self, &str)> {
        if let Some(name) = text.strip_prefix("secret/") {
            Some((Self::Secret, name))
        } else {
            text.strip_prefix("key/").map(|name| (Self::Key, name))
        }
    }
}

/// The most bytes the name in a resource or pattern has (the wildcard not counted).
const MAX_NAME_BYTES: usize = 192;

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_/+=.@-".contains(&byte)
}

/// What a check asks about, read as far as the grammar of resources goes.
///
/// There is no error: what is outside the grammar is matched by no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource<'a> {
    /// Its kind: `None` for no resource at all, and for what begins like no kind.
    pub kind: Option<ResourceKind>,
    /// The whole text if it is inside the grammar.
    pub matchable: Option<&'a str>,
    /// Whether the check names no resource.
    pub is_absent: bool,
}

impl<'a> Resource<'a> {
    /// Reads a resource.
    pub fn read(text: &'a str) -> Self {
        let is_absent = text.is_empty();
        let Some((kind, name)) = ResourceKind::split(text) else {
            return Self { kind: None, matchable: None, is_absent };
        };
        let inside = (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_name_byte);
        Self { kind: Some(kind), matchable: inside.then_some(text), is_absent }
    }
}

/// A pattern in canonical form: `secret/<name>` or `key/<id>`, with at most one `*`, at the end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourcePattern {
    /// The text without the wildcard.
    stem: Arc<str>,
    kind: ResourceKind,
    tail: Tail,
}

/// What may follow a pattern's stem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tail {
    /// Nothing.
    Nothing,
    /// Anything inside the grammar.
    Anything,
}

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// It begins like no kind of resource.
    #[error("must begin with `secret/` or `key/`")]
    Kind,
    /// It has a wildcard that isn't at the end.
    #[error("must have `*` only at the end")]
    WildcardInside,
    /// The name has other characters.
    #[error("must have only `A-Z a-z 0-9 _ / + = . @ -` in the name, and `*` at the end")]
    Characters,
    /// The name is empty or too long.
    #[error("must have a name of 1 to 192 characters, or a `*`")]
    Length,
}

impl ResourcePattern {
    /// Parses a pattern; a run of `*` at the end is one wildcard.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let stem = text.trim_end_matches('*');
        let tail = if stem.len() == text.len() { Tail::Nothing } else { Tail::Anything };
        let (kind, name) = ResourceKind::split(stem).ok_or(InvalidPattern::Kind)?;
        if name.contains('*') {
            return Err(InvalidPattern::WildcardInside);
        }
        if !name.bytes().all(is_name_byte) {
            return Err(InvalidPattern::Characters);
        }
        if name.len() > MAX_NAME_BYTES || (name.is_empty() && tail == Tail::Nothing) {
            return Err(InvalidPattern::Length);
        }
        Ok(Self { stem: stem.into(), kind, tail })
    }

    /// The text before the wildcard, kind included.
    pub fn stem(&self) -> &str {
        &self.stem
    }

    /// The kind of resources it matches.
    pub fn kind(&self) -> ResourceKind {
        self.kind
    }

    /// Whether it matches everything of its kind.
    pub fn covers_its_kind(&self) -> bool {
        let is_bare = ResourceKind::split(&self.stem).is_some_and(|(_, name)| name.is_empty());
        is_bare && self.tail == Tail::Anything
    }

    /// What may follow the stem.
    pub fn tail(&self) -> Tail {
        self.tail
    }
}

impl fmt::Display for ResourcePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.stem)?;
        match self.tail {
            Tail::Nothing => Ok(()),
            Tail::Anything => f.write_str("*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_stored_in_canonical_form() {
        let longest = format!("key/{}", "k".repeat(192));
        for (text, canonical) in [
            ("secret/dataKey****", "secret/dataKey*"),
            ("secret/*", "secret/*"),
            ("key/**", "key/*"),
            ("secret/acs/ram/user/ram-secret", "secret/acs/ram/user/ram-secret"),
            ("secret/a+b=c.d@e_f-g", "secret/a+b=c.d@e_f-g"),
            (longest.as_str(), longest.as_str()),
        ] {
            assert_eq!(ResourcePattern::parse(text).unwrap().to_string(), canonical);
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_the_reason() {
        let too_long = format!("key/{}", "k".repeat(193));
        for (text, reason) in [
            ("", InvalidPattern::Kind),
            ("*", InvalidPattern::Kind),
            ("secret", InvalidPattern::Kind),
            ("secret*", InvalidPattern::Kind),
            ("Secret/a", InvalidPattern::Kind),
            ("alias/a", InvalidPattern::Kind),
            ("secret/", InvalidPattern::Length),
            (too_long.as_str(), InvalidPattern::Length),
            ("secret/a*b", InvalidPattern::WildcardInside),
            ("secret/*a*", InvalidPattern::WildcardInside),
            ("secret/a b", InvalidPattern::Characters),
            ("secret/ä", InvalidPattern::Characters),
            ("secret/a?", InvalidPattern::Characters),
        ] {
            assert_eq!(ResourcePattern::parse(text), Err(reason), "{text:?}");
        }
    }

    #[test]
    fn a_resource_outside_the_grammar_is_not_matchable() {
        for text in ["secret/", "secret/*", "secret/a*", "secret/a b", "key/\u{e4}", "secret/a\n"] {
            let resource = Resource::read(text);
            assert_eq!(resource.matchable, None, "{text:?}");
            assert!(resource.kind.is_some(), "{text:?}");
        }
        for text in ["", "secret", "alias/x", "SECRET/x"] {
            let resource = Resource::read(text);
            assert_eq!((resource.kind, resource.is_absent), (None, text.is_empty()), "{text:?}");
        }
        assert_eq!(Resource::read("key/a").matchable, Some("key/a"));
    }
}
