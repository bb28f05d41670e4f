//! A policy's network rules, merged into one index from network kind and address to the first rule
//! that covers it.

use std::collections::BTreeMap;

use super::{
    network::{ComparableAddress, NetworkKind, OriginNetwork, Prefix},
    network_rule::NetworkRule,
};

/// The merged index of a policy's rules.
#[derive(Clone, Debug, Default)]
pub struct Networks {
    groups: Box<[Group]>,
}

/// A rule's place in its policy's order, from 0.
pub type Ordinal = u16;

/// What one kind of network (and VPC) admits.
#[derive(Clone, Debug)]
struct Group {
    kind: NetworkKind,
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

/// Runs of addresses, in order. Where each begins stands apart, so that a search touches little.
#[derive(Clone, Debug)]
struct Ranges<A> {
    firsts: Box<[A]>,
    /// Where each ends, and its rule.
    rest: Box<[(A, Ordinal)]>,
}

/// An unbroken run of addresses with the same first rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range<A> {
    first: A,
    last: A,
    ordinal: Ordinal,
}

impl Networks {
    /// Merges rules, given in the policy's order.
    pub fn merge<'a>(rules: impl IntoIterator<Item = &'a NetworkRule>) -> Self {
        let mut by_kind: BTreeMap<&NetworkKind, Vec<(Prefix, Ordinal)>> = BTreeMap::new();
        for (ordinal, rule) in (0..).zip(rules) {
            let prefixes = by_kind.entry(&rule.kind).or_default();
            prefixes.extend(rule.addresses.iter().map(|prefix| (prefix, ordinal)));
        }
        let groups = by_kind.into_iter().map(|(kind, prefixes)| Group::merge(kind, &prefixes));
        Self { groups: groups.collect() }
    }

    /// The first rule, in the policy's order, that covers a call from there.
    pub fn first_match(
        &self,
        network: OriginNetwork<'_>,
        address: ComparableAddress,
    ) -> Option<Ordinal> {
        let group = self.groups.iter().find(|group| group.kind.admits(network))?;
        match address {
            ComparableAddress::V4(address) => group.v4.find(address),
            ComparableAddress::V6(address) => group.v6.find(address),
        }
    }
}

impl Group {
    fn merge(kind: &NetworkKind, prefixes: &[(Prefix, Ordinal)]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (prefix, ordinal) in prefixes {
            let (first, last) = prefix.bounds();
            match (ComparableAddress::from(first), ComparableAddress::from(last)) {
                (ComparableAddress::V4(first), ComparableAddress::V4(last)) => {
                    v4.push(Range { first, last, ordinal: *ordinal });
                }
                // A prefix shorter than /96 that covers the mapped range: its bounds are outside.
                (ComparableAddress::V6(first), ComparableAddress::V6(last)) => {
                    v6.push(Range { first, last, ordinal: *ordinal });
                }
                // INVARIANT: a prefix is canonical, so that both its bounds map or neither does.
                _ => {}
            }
        }
        Self {
            kind: kind.clone(),
            v4: Ranges::new(&disjoint(&v4)),
            v6: Ranges::new(&disjoint(&v6)),
        }
    }
}

impl<A: Copy + Ord> Ranges<A> {
    fn new(ranges: &[Range<A>]) -> Self {
        Self {
            firsts: ranges.iter().map(|range| range.first).collect(),
            rest: ranges.iter().map(|range| (range.last, range.ordinal)).collect(),
        }
    }

    fn find(&self, address: A) -> Option<Ordinal> {
        let after = self.firsts.partition_point(|first| *first <= address);
        let &(last, ordinal) = self.rest.get(after.checked_sub(1)?)?;
        (address <= last).then_some(ordinal)
    }
}

/// An address as a number that can be stepped.
trait Number: Copy + Ord {
    fn next(self) -> Option<Self>;
    fn previous(self) -> Option<Self>;
}

impl Number for u32 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
    fn previous(self) -> Option<Self> {
        self.checked_sub(1)
    }
}

impl Number for u128 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
    fn previous(self) -> Option<Self> {
        self.checked_sub(1)
    }
}

/// Cuts overlapping ranges into disjoint ones, each with the least ordinal that covers it.
fn disjoint<A: Number>(ranges: &[Range<A>]) -> Box<[Range<A>]> {
    // Where anything begins, and where it has ended.
    let mut changes: Vec<(A, Ordinal, Step)> = Vec::with_capacity(2 * ranges.len());
    let mut reaches_the_end = None;
    for range in ranges {
        changes.push((range.first, range.ordinal, Step::Begins));
        match range.last.next() {
            Some(after) => changes.push((after, range.ordinal, Step::HasEnded)),
            None => reaches_the_end = Some(range.last),
        }
    }
    changes.sort_unstable_by_key(|(place, _, _)| *place);
    let mut open = Open::default();
    let mut merged: Vec<Range<A>> = Vec::with_capacity(ranges.len());
    let mut current: Option<(A, Ordinal)> = None;
    for changes in changes.chunk_by(|one, other| one.0 == other.0) {
        let Some(&(place, _, _)) = changes.first() else { continue };
        for &(_, ordinal, step) in changes {
            open.take(ordinal, step);
        }
        let ordinal = open.least();
        if let Some((first, was)) = current
            && ordinal != Some(was)
            && let Some(last) = place.previous()
        {
            merged.push(Range { first, last, ordinal: was });
            current = None;
        }
        if current.is_none() {
            current = ordinal.map(|ordinal| (place, ordinal));
        }
    }
    if let (Some((first, ordinal)), Some(last)) = (current, reaches_the_end) {
        merged.push(Range { first, last, ordinal });
    }
    merged.into()
}

#[derive(Clone, Copy)]
enum Step {
    Begins,
    HasEnded,
}

/// How many ranges of each ordinal are open.
#[derive(Default)]
struct Open {
    counts: Vec<u32>,
}

impl Open {
    /// A range begins before it has ended, so no count is ever below zero.
    fn take(&mut self, ordinal: Ordinal, step: Step) {
        let place = usize::from(ordinal);
        if self.counts.len() <= place {
            self.counts.resize(place + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(place) {
            *count = match step {
                Step::Begins => count.saturating_add(1),
                Step::HasEnded => count.saturating_sub(1),
            };
        }
    }

    fn least(&self) -> Option<Ordinal> {
        let place = self.counts.iter().position(|count| *count > 0)?;
        Ordinal::try_from(place).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::{
        name::NetworkRuleName,
        network::VpcId,
        network_rule::Addresses,
        resource::{Description, Header, Uid},
        time::UnixNanos,
    };

    fn rule(kind: NetworkKind, addresses: &[String]) -> NetworkRule {
        let prefixes = addresses.iter().map(|text| Prefix::parse(text).unwrap()).collect();
        NetworkRule {
            name: NetworkRuleName::parse("accounts/a/regions/r/networkRules/n").unwrap(),
            header: Header {
                uid: Uid(uuid::Uuid::nil()),
                revision: 1,
                create_time: UnixNanos(0),
                update_time: UnixNanos(0),
                description: Description::default(),
            },
            kind,
            addresses: Addresses::new(prefixes).unwrap(),
        }
    }

    fn first_match(
        rules: &[NetworkRule],
        network: OriginNetwork<'_>,
        address: &str,
    ) -> Option<u16> {
        let address: IpAddr = address.parse().unwrap();
        Networks::merge(rules).first_match(network, address.into())
    }

    #[test]
    fn the_first_rule_in_order_that_covers_an_address_is_named() {
        let public = |list: &[&str]| {
            rule(NetworkKind::Public, &list.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>())
        };
        let rules = [
            public(&["10.0.1.0/24", "::/0"]),
            public(&["10.0.0.0/8"]),
            public(&["0.0.0.0/0", "10.0.1.5"]),
        ];
        for (address, ordinal) in [
            ("10.0.1.5", Some(0)),
            ("10.0.2.5", Some(1)),
            ("11.0.0.0", Some(2)),
            ("255.255.255.255", Some(2)),
            ("0.0.0.0", Some(2)),
            ("2001:db8::1", Some(0)),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some(0)),
            ("::ffff:10.0.2.5", Some(1)),
        ] {
            assert_eq!(first_match(&rules, OriginNetwork::Public, address), ordinal, "{address}");
        }
        assert_eq!(first_match(&rules, OriginNetwork::Private, "10.0.1.5"), None);
    }

    #[test]
    fn a_short_prefix_over_the_mapped_range_matches_ipv6_only() {
        let rules = [rule(NetworkKind::Public, &["::/0".to_owned()])];
        assert_eq!(first_match(&rules, OriginNetwork::Public, "::ffff:1.2.3.4"), None);
        assert_eq!(first_match(&rules, OriginNetwork::Public, "1.2.3.4"), None);
        assert_eq!(first_match(&rules, OriginNetwork::Public, "::1"), Some(0));
    }

    fn any_prefix() -> impl Strategy<Value = String> {
        prop_oneof![
            (0u32..64, 26u8..=32).prop_map(|(host, length)| format!("10.0.0.{host}/{length}")),
            (0u32..64, 122u8..=128).prop_map(|(host, length)| format!("fd00::{host:x}/{length}")),
            (0u32..64, 122u8..=128)
                .prop_map(|(host, length)| format!("::ffff:10.0.0.{host}/{length}")),
            Just("0.0.0.0/0".to_owned()),
            Just("::/0".to_owned()),
            Just("::ffff:0:0/95".to_owned()),
        ]
    }

    fn any_address() -> impl Strategy<Value = String> {
        prop_oneof![
            (0u32..70).prop_map(|host| format!("10.0.0.{host}")),
            (0u32..70).prop_map(|host| format!("fd00::{host:x}")),
            (0u32..70).prop_map(|host| format!("::ffff:10.0.0.{host}")),
        ]
    }

    proptest! {
        #[test]
        fn the_merged_index_agrees_with_asking_rule_by_rule(
            rules in prop::collection::vec(
                (0u8..3, prop::collection::vec(any_prefix(), 1..6)), 1..8),
            addresses in prop::collection::vec(any_address(), 1..20),
        ) {
            let kinds = [
                NetworkKind::Public,
                NetworkKind::Vpc(VpcId::parse("vpc-1").unwrap()),
                NetworkKind::Vpc(VpcId::parse("vpc-2").unwrap()),
            ];
            let rules: Vec<_> = rules
                .iter()
                .map(|(kind, list)| rule(kinds[usize::from(*kind)].clone(), list))
                .collect();
            let networks = Networks::merge(&rules);
            for text in &addresses {
                // The naive matcher: ipnet's own `contains` over canonical addresses.
                let address = text.parse::<IpAddr>().unwrap().to_canonical();
                for network in
                    [OriginNetwork::Public, OriginNetwork::Vpc("vpc-1"), OriginNetwork::Private]
                {
                    let naive = rules.iter().position(|rule| {
                        rule.kind.admits(network)
                            && rule.addresses.iter().any(|prefix| {
                                let net: ipnet::IpNet = prefix.to_string().parse().unwrap_or_else(
                                    |_| prefix.to_string().parse::<IpAddr>().unwrap().into());
                                net.contains(&address)
                            })
                    });
                    let merged = networks.first_match(network, address.into());
                    prop_assert_eq!(merged.map(usize::from), naive, "{} {:?}", text, network);
                }
            }
        }
    }
}
