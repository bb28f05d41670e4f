//! A policy's patterns, compiled for matching.
//!
//! They stand sorted in one text, without those that another one covers. Then the only pattern that
//! can match a resource is the greatest one not above it: anything between a wildcard's stem and a
//! resource that begins with it would begin with the stem too, and so would have been dropped.

use super::pattern::{Resource, ResourceKind, ResourcePattern, Tail};

/// Patterns, compiled for matching.
#[derive(Clone, Debug)]
pub struct Patterns {
    /// The stems, one after the other, in order.
    stems: Box<str>,
    /// Where each stem ends in `stems`, and what may follow it in a resource.
    ends: Box<[(u32, Tail)]>,
    has_key_pattern: bool,
}

impl Patterns {
    /// Compiles a policy's patterns.
    pub fn compile(patterns: &[ResourcePattern]) -> Self {
        let mut sorted: Vec<_> = patterns.iter().map(|p| (p.stem(), p.tail())).collect();
        // A stem with a wildcard covers the same stem without one, so it comes first.
        sorted.sort_by(|a, b| (a.0, b.1).cmp(&(b.0, a.1)));
        let mut stems = String::new();
        let mut ends: Vec<(u32, Tail)> = Vec::new();
        let mut last: Option<(&str, Tail)> = None;
        for (stem, tail) in sorted {
            if last.is_some_and(|(covering, tail)| covers(covering, tail, stem)) {
                continue;
            }
            stems.push_str(stem);
            ends.push((u32::try_from(stems.len()).unwrap_or(u32::MAX), tail));
            last = Some((stem, tail));
        }
        let has_key_pattern = patterns.iter().any(|p| p.kind() == ResourceKind::Key);
        Self { stems: stems.into(), ends: ends.into(), has_key_pattern }
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
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.stem(middle) {
                Some((stem, _)) if stem <= text => low = middle + 1,
                _ => high = middle,
            }
        }
        low.checked_sub(1)
            .and_then(|place| self.stem(place))
            .is_some_and(|(stem, tail)| covers(stem, tail, text))
    }

    fn stem(&self, place: usize) -> Option<(&str, Tail)> {
        let begin = match place.checked_sub(1) {
            None => 0,
            Some(before) => self.ends.get(before)?.0,
        };
        let &(end, tail) = self.ends.get(place)?;
        let stem = self.stems.get(usize::try_from(begin).ok()?..usize::try_from(end).ok()?)?;
        Some((stem, tail))
    }
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
        assert_eq!((&*compiled.stems, compiled.ends.len()), ("secret/asecret/b", 2));
    }

    proptest! {
        #[test]
        fn the_compiled_form_agrees_with_a_naive_matcher(
            patterns in prop::collection::vec("(secret|key)/[ab/]{1,5}\\*{0,2}|key/\\*", 1..12),
            resources in prop::collection::vec("(secret|key)/[ab/*]{0,7}", 1..40),
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
