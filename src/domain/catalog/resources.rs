//! The resources of one kind, in the order of their names.

use std::{borrow::Borrow, cmp::Ordering, ops::Bound, sync::Arc};

use rpds::RedBlackTreeSetSync;

use super::super::{
    access_point::AccessPoint,
    client_key::ClientKey,
    name::{AccessPointName, ClientKeyName, NetworkRuleName, PolicyName, RamRoleName},
    network_rule::NetworkRule,
    policy::Policy,
    ram_role::RamRole,
};

/// What has a name that is its own.
pub(super) trait Resource {
    /// What names it.
    type Name: Ord + Clone;

    /// Its name.
    fn name(&self) -> &Self::Name;
}

/// A resource that is compared by its name. As the key of a map the name would be kept twice.
#[derive(Debug)]
struct ByName<R>(Arc<R>);

impl<R: Resource> PartialEq for ByName<R> {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}

impl<R: Resource> Eq for ByName<R> {}

impl<R: Resource> PartialOrd for ByName<R> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<R: Resource> Ord for ByName<R> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.name().cmp(other.0.name())
    }
}

/// The resources of one kind. Cloning shares what doesn't change later.
#[derive(Clone, Debug)]
pub(super) struct Resources<R: Resource>(RedBlackTreeSetSync<ByName<R>>);

impl<R: Resource> Default for Resources<R> {
    fn default() -> Self {
        Self(RedBlackTreeSetSync::default())
    }
}

#[expect(private_bounds, reason = "which names a resource is found by is this module's own")]
impl<R: Resource> Resources<R>
where
    ByName<R>: Borrow<R::Name>,
{
    /// The one of that name.
    pub(super) fn get(&self, name: &R::Name) -> Option<&Arc<R>> {
        self.0.get(name).map(|found| &found.0)
    }

    /// Puts one in the place of the one that has its name, or in a new one.
    pub(super) fn put(&mut self, resource: &Arc<R>) {
        self.0.insert_mut(ByName(Arc::clone(resource)));
    }

    /// Takes the one of that name away; `false` if there is none.
    pub(super) fn remove(&mut self, name: &R::Name) -> bool {
        self.0.remove_mut(name)
    }

    /// All, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<R>> {
        self.0.iter().map(|found| &found.0)
    }

    /// Those after a name, in order.
    pub(super) fn after(&self, name: R::Name) -> impl Iterator<Item = &Arc<R>> {
        let range = (Bound::Excluded(name), Bound::Unbounded);
        self.0.range::<R::Name, _>(range).map(|found| &found.0)
    }
}

macro_rules! resource {
    ($resource:ty, $name:ty) => {
        impl Resource for $resource {
            type Name = $name;

            fn name(&self) -> &$name {
                &self.name
            }
        }

        impl Borrow<$name> for ByName<$resource> {
            fn borrow(&self) -> &$name {
                &self.0.name
            }
        }
    };
}

resource!(AccessPoint, AccessPointName);
resource!(Policy, PolicyName);
resource!(NetworkRule, NetworkRuleName);
resource!(RamRole, RamRoleName);
resource!(ClientKey, ClientKeyName);
