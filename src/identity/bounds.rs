//! What an enforcer may vouch for: it is believed about where a call came from and which instance was
//! asked, but only as far as its configuration goes.
//!
//! What isn't bounded may be anything; an empty list is nothing.

use std::{collections::BTreeSet, fmt};

use crate::domain::{
    check::Check,
    name::{Instance, InvalidInstance},
    network::{InvalidVpcId, OriginNetwork, VpcId},
};

/// What an enforcer may vouch for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The kinds of networks that it may name as an origin's.
    pub origin_networks: Option<BTreeSet<OriginKind>>,
    vpc_ids: Option<BTreeSet<Box<str>>>,
    instances: Option<BTreeSet<Box<str>>>,
}

/// A kind of network that calls come through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OriginKind {
    /// The public endpoint.
    Public,
    /// A VPC.
    Vpc,
    /// The private network of a dedicated instance.
    Private,
}

/// Why a text is no kind of network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be `public`, `vpc` or `private`")]
pub struct InvalidOriginKind;

/// One of the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The kinds of networks.
    OriginNetworks,
    /// The VPCs.
    VpcIds,
    /// The instances.
    Instances,
}

/// What of a check lies beyond the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beyond<'a> {
    /// Which bound.
    pub bound: Bound,
    /// What lies beyond it.
    pub value: &'a str,
}

impl Bounds {
    /// No bounds at all.
    pub const NONE: Self = Self { origin_networks: None, vpc_ids: None, instances: None };

    /// Bounds the VPCs that an origin's network may be. Gives the place of the first that is none.
    pub fn bound_vpc_ids(&mut self, ids: &[String]) -> Result<(), (usize, InvalidVpcId)> {
        self.vpc_ids = Some(parsed(ids, |text| VpcId::parse(text).map(drop))?);
        Ok(())
    }

    /// Bounds the instances that may be asked. Gives the place of the first that is none.
    pub fn bound_instances(&mut self, names: &[String]) -> Result<(), (usize, InvalidInstance)> {
        self.instances = Some(parsed(names, |text| Instance::parse(text).map(drop))?);
        Ok(())
    }

    /// What of a check lies beyond these bounds. An origin that isn't reported vouches for nothing.
    pub fn first_beyond<'a>(&self, check: &Check<'a>) -> Option<Beyond<'a>> {
        let lacks = |list: &Option<BTreeSet<Box<str>>>, value: &str| {
            list.as_ref().is_some_and(|list| !list.contains(value))
        };
        if let Some(network) = check.origin.network {
            let (kind, vpc_id) = match network {
                OriginNetwork::Public => (OriginKind::Public, None),
                OriginNetwork::Private => (OriginKind::Private, None),
                OriginNetwork::Vpc(vpc_id) => (OriginKind::Vpc, Some(vpc_id)),
            };
            if self.origin_networks.as_ref().is_some_and(|kinds| !kinds.contains(&kind)) {
                return Some(Beyond { bound: Bound::OriginNetworks, value: kind.name() });
            }
            if let Some(value) = vpc_id.filter(|vpc_id| lacks(&self.vpc_ids, vpc_id)) {
                return Some(Beyond { bound: Bound::VpcIds, value });
            }
        }
        let value = check.instance.as_str();
        lacks(&self.instances, value).then_some(Beyond { bound: Bound::Instances, value })
    }
}

fn parsed<E>(
    texts: &[String],
    check: impl Fn(&str) -> Result<(), E>,
) -> Result<BTreeSet<Box<str>>, (usize, E)> {
    let texts = texts.iter().enumerate();
    texts
        .map(|(place, text)| match check(text) {
            Ok(()) => Ok(text.as_str().into()),
            Err(error) => Err((place, error)),
        })
        .collect()
}

impl OriginKind {
    /// Reads a kind of network.
    pub fn parse(text: &str) -> Result<Self, InvalidOriginKind> {
        let all = [Self::Public, Self::Vpc, Self::Private];
        all.into_iter().find(|kind| kind.name() == text).ok_or(InvalidOriginKind)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Vpc => "vpc",
            Self::Private => "private",
        }
    }
}

impl fmt::Display for Bound {
    /// Its key in the configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OriginNetworks => "origin_networks",
            Self::VpcIds => "vpc_ids",
            Self::Instances => "instances",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        check::{ActionName, InstanceText, ResourceText, Subject},
        name::{AccessPointRef, LocationRef},
        testing::{HOME, origin},
    };

    fn beyond(bounds: &Bounds, from: &str, instance: &str) -> String {
        let name = format!("{HOME}/accessPoints/a");
        let check = Check {
            location: LocationRef::parse(HOME).unwrap(),
            subject: Subject::Asserted(AccessPointRef::parse(&name).unwrap()),
            action: ActionName::parse("GetSecretValue").unwrap(),
            resource: ResourceText::parse("secret/a").unwrap(),
            instance: InstanceText::parse(instance).unwrap(),
            origin: origin(from),
        };
        let beyond = bounds.first_beyond(&check);
        beyond.map(|it| format!("{} {}", it.bound, it.value)).unwrap_or_default()
    }

    fn texts(list: &str) -> Vec<String> {
        list.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn what_is_not_bounded_may_be_anything() {
        for from in ["public 10.0.0.1", "vpc-9 10.0.0.1", "private 10.0.0.1", "- 10.0.0.1", "- -"] {
            assert_eq!(beyond(&Bounds::NONE, from, "kst-1"), "", "{from}");
        }
    }

    #[test]
    fn what_lies_beyond_a_bound_is_named_with_it() {
        let mut bounds = Bounds::NONE;
        bounds.origin_networks = Some(BTreeSet::from([OriginKind::Public, OriginKind::Vpc]));
        bounds.bound_vpc_ids(&texts("vpc-1 vpc-2")).unwrap();
        bounds.bound_instances(&texts("shared kst-1")).unwrap();
        for (from, instance, expected) in [
            ("public 10.0.0.1", "shared", ""),
            ("vpc-2 10.0.0.1", "kst-1", ""),
            ("- -", "kst-1", ""),
            ("private 10.0.0.1", "kst-9", "origin_networks private"),
            ("private -", "kst-1", "origin_networks private"),
            ("vpc-3 10.0.0.1", "kst-9", "vpc_ids vpc-3"),
            ("VPC-1 10.0.0.1", "kst-1", "vpc_ids VPC-1"),
            ("vpc-1 10.0.0.1", "kst-9", "instances kst-9"),
            ("- -", "Shared", "instances Shared"),
        ] {
            assert_eq!(beyond(&bounds, from, instance), expected, "{from} {instance}");
        }
    }

    #[test]
    fn an_empty_list_is_nothing() {
        let mut bounds = Bounds::NONE;
        bounds.bound_vpc_ids(&[]).unwrap();
        assert_eq!(beyond(&bounds, "vpc-1 10.0.0.1", "shared"), "vpc_ids vpc-1");
        assert_eq!(beyond(&bounds, "public 10.0.0.1", "shared"), "");
        bounds.origin_networks = Some(BTreeSet::new());
        assert_eq!(beyond(&bounds, "public 10.0.0.1", "shared"), "origin_networks public");
        bounds.bound_instances(&[]).unwrap();
        assert_eq!(beyond(&bounds, "- -", "shared"), "instances shared");
    }

    #[test]
    fn what_is_no_vpc_and_no_instance_is_refused_with_its_place() {
        let mut bounds = Bounds::NONE;
        assert_eq!(bounds.bound_vpc_ids(&texts("vpc-1 *")), Err((1, InvalidVpcId)));
        assert_eq!(bounds.bound_instances(&texts("Shared")), Err((0, InvalidInstance)));
        assert_eq!(bounds, Bounds::NONE);
        assert_eq!(OriginKind::parse("Public"), Err(InvalidOriginKind));
    }
}
