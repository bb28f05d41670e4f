//! A policy's patterns, compiled for matching.
//!
//! They stand sorted, without those that another one covers. Then the only pattern that can match a
//! resource is the greatest one not above it: anything between a wildcard's stem and a resource that
//! begins with it would begin with the stem too, and so would have been dropped.
//!
//! What all stems begin with is looked at once, and the search goes by four bytes behind it: most
//! policies are left after one look at one text, and a search stays in a few cache lines.

use super::pattern::{Resource, ResourceKind, ResourcePattern, Tail};

/// Patterns, compiled for matching.
#[derive(Clone, Debug)]
pub struct Patterns {
    /// What all stems begin with, and then what each one has behind it, in order.
    text: Box<str>,
    /// How long that is which all begin with.
    common: u32,
    has_key_pattern: bool,
    stems: Box<[Stem]>,
}

/// A pattern's stem, without what all stems begin with.
#[derive(Clone, Copy, Debug)]
struct Stem {
    /// Its first bytes, as a number that sorts as they do.
    head: u32,
    /// Where it ends in the text. It begins where the one before it ends.
    end: u32,
    tail: Tail,
}

impl Patterns {
    /// Compiles a policy's patterns.
    pub fn compile(patterns: &[ResourcePattern]) -> Self {
        let mut sorted: Vec<_> = patterns.iter().map(|p| (p.stem(), p.tail())).collect();
        // A stem with a wildcard covers the same stem without one, so it comes first.
        sorted.sort_by(|a, b| (a.0, b.1).cmp(&(b.0, a.1)));
        let mut kept: Vec<(&str, Tail)> = Vec::new();
        for (stem, tail) in sorted {
            if kept.last().is_none_or(|(covering, tail)| !covers(covering, *tail, stem)) {
                kept.push((stem, tail));
            }
        }
        let has_key_pattern = patterns.iter().any(|p| p.kind() == ResourceKind::Key);
        let common = beginning_of_all(&kept);
        let mut text = common.to_owned();
        let mut stems = Vec::with_capacity(kept.len());
        for (stem, tail) in &kept {
            let rest = stem.strip_prefix(common).unwrap_or_default();
            text.push_str(rest);
            stems.push(Stem { head: head(rest), end: number(text.len()), tail: *tail });
        }
        let common = number(common.len());
        Self { text: text.into(), common, has_key_pattern, stems: stems.into() }
    }

    /// Whether one of the patterns matches. An absent resource needs a `key/` pattern: the only
    /// action without a resource is a key user's.
    pub fn match_resource(&self, resource: &Resource<'_>) -> bool {
        if resource.is_absent {
            return self.has_key_pattern;
        }
        resource.matchable.is_some_and(|text| self.match_text(text))
    }

    fn match_text(&self, text: &str) -> bool {
        let Some(rest) = self.common().and_then(|common| text.strip_prefix(common)) else {
            return false;
        };
        let wanted = head(rest);
        let mut place = self.stems.partition_point(|stem| stem.head <= wanted);
        while let Some(before) = place.checked_sub(1) {
            match self.stem(before) {
                // Stems with the same head are told apart by the rest of them.
                Some((stem, _)) if stem > rest => place = before,
                Some((stem, tail)) => return covers(stem, tail, rest),
                None => return false,
            }
        }
        false
    }

    fn common(&self) -> Option<&str> {
        self.text.get(..usize::try_from(self.common).ok()?)
    }

    fn stem(&self, place: usize) -> Option<(&str, Tail)> {
        let begin = match place.checked_sub(1) {
            None => self.common,
            Some(before) => self.stems.get(before)?.end,
        };
        let &Stem { end, tail, head: _ } = self.stems.get(place)?;
        let stem = self.text.get(usize::try_from(begin).ok()?..usize::try_from(end).ok()?)?;
        Some((stem, tail))
    }
}

/// What all stems, which are sorted, begin with: what the first and the last one do.
fn beginning_of_all<'a>(sorted: &[(&'a str, Tail)]) -> &'a str {
    let (Some((first, _)), Some((last, _))) = (sorted.first(), sorted.last()) else { return "" };
    let length = first.bytes().zip(last.bytes()).take_while(|(one, other)| one == other).count();
    first.get(..length).unwrap_or_default()
}

/// The first four bytes as a number. What is shorter is filled up with zeros, which no stem and no
/// resource has, and so comes before what it is the beginning of.
fn head(text: &str) -> u32 {
    let mut head = [0; 4];
    for (place, byte) in head.iter_mut().zip(text.bytes()) {
        *place = byte;
    }
    u32::from_be_bytes(head)
}

fn number(length: usize) -> u32 {
    // INVARIANT: 30 patterns of some 200 bytes each are far from the end of a u32.
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn covers(stem: &str, tail: Tail, text: &str) -> bool {
    match tail {
        Tail::Nothing => stem == text,
        Tail::Anything => text.starts_with(stem),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn compile(patterns: &[&str]) -> Patterns {
        let parsed: Vec<_> =
            patterns.iter().map(|text| ResourcePattern::parse(text).unwrap()).collect();
        Patterns::compile(&parsed)
    }

    #[test]
    fn patterns_match_byte_for_byte_and_by_prefix() {
        for (patterns, resource, matches) in [
            (&["secret/dataKey****"][..], "secret/dataKey1", true),
            (&["secret/dataKey*"], "secret/dataKey", true),
            (&["secret/dataKey*"], "secret/datakey1", false),
            (&["secret/dataKey*"], "secret/dataKe", false),
            (&["secret/*"], "secret/a", true),
            (&["secret/*"], "key/a", false),
            (&["secret/a"], "secret/a", true),
            (&["secret/a"], "secret/ab", false),
            (&["secret/a", "secret/a*"], "secret/ab", true),
            (&["secret/ab", "secret/a*", "secret/abc"], "secret/abd", true),
            (&["key/a", "key/c"], "key/b", false),
            (&["secret/*"], "secret/", false),
            (&["secret/*"], "secret/*", false),
            (&["secret/a*"], "secret/a b", false),
        ] {
            let compiled = compile(patterns);
            assert_eq!(
                compiled.match_resource(&Resource::read(resource)),
                matches,
                "{patterns:?} {resource}"
            );
        }
    }

    #[test]
    fn an_absent_resource_needs_a_key_pattern() {
        let absent = Resource::read("");
        assert!(compile(&["secret/a", "key/a"]).match_resource(&absent));
        assert!(!compile(&["secret/*"]).match_resource(&absent));
    }

    #[test]
    fn covered_patterns_are_dropped() {
        let compiled = compile(&["secret/ab", "secret/a*", "secret/abc*", "secret/a", "secret/b"]);
        assert_eq!((&*compiled.text, compiled.stems.len()), ("secret/ab", 2));
    }

    proptest! {
        #[test]
        fn the_compiled_form_agrees_with_a_naive_matcher(
            patterns in prop::collection::vec("(secret|key)/[ab/]{1,7}\\*{0,2}|key/\\*", 1..12),
            resources in prop::collection::vec("(secret|key)/[ab/*]{0,9}", 1..40),
        ) {
            let parsed: Vec<_> =
                patterns.iter().map(|text| ResourcePattern::parse(text).unwrap()).collect();
            let compiled = Patterns::compile(&parsed);
            for resource in &resources {
                let naive = !resource.contains('*') && !resource.ends_with("t/")
                    && resource != "key/"
                    && patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
                        Some(_) => resource.starts_with(pattern.trim_end_matches('*')),
                        None => pattern == resource,
                    });
                prop_assert_eq!(compiled.match_resource(&Resource::read(resource)), naive);
            }
        }
    }
}
