//! Lists of what there is in one location, filtered, by name, a page at a time.
//!
//! A page begins after the last id of the page before, so that what is created or deleted meanwhile
//! makes nothing else appear twice or not at all.

use std::{ops::Bound, sync::Arc};

use super::{
    access_point::{AccessPoint, AccessPointState, Authentication},
    catalog::{Catalog, Holders},
    name::{AccessPointName, Id, Instance, Location, NetworkRuleName, PolicyName},
    network_rule::NetworkRule,
    policy::Policy,
};

/// Which part of a list is wanted.
#[derive(Clone, Debug)]
pub struct Page {
    /// The last id of the page before.
    pub after: Option<Id>,
    /// The most items.
    pub size: usize,
}

/// A page, and whether another one follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    /// The items, by name.
    pub items: Vec<T>,
    /// Where the next page begins: after this id.
    pub next_after: Option<Id>,
}

/// Which access points are wanted: those to which all that is given applies.
#[derive(Clone, Debug, Default)]
pub struct AccessPointFilter {
    /// They have this policy.
    pub policy: Option<Id>,
    /// They authenticate by this RAM role.
    pub role: Option<Id>,
    /// They are in this state.
    pub state: Option<AccessPointState>,
}

/// Which policies are wanted: those to which all that is given applies.
#[derive(Clone, Debug, Default)]
pub struct PolicyFilter {
    /// They name this network rule.
    pub network_rule: Option<Id>,
    /// They have this scope.
    pub scope: Option<Instance>,
}

impl Catalog {
    /// Lists access points.
    pub fn list_access_points(
        &self,
        location: &Location,
        filter: &AccessPointFilter,
        page: &Page,
    ) -> Listed<Arc<AccessPoint>> {
        let after = AccessPointName { location: location.clone(), id: page.begin() };
        let is_wanted = |item: &&Arc<AccessPoint>| filter.wants(item);
        let id = |item: &Arc<AccessPoint>| item.name.id.clone();
        match &filter.policy {
            // Who holds a policy is known without looking at everybody.
            Some(policy) => {
                let policy = PolicyName { location: location.clone(), id: policy.clone() };
                let names = names_after(self.holders_of_policy(&policy), after);
                let holders = names.filter_map(|name| self.access_point(name));
                page.cut(holders.filter(is_wanted), id)
            }
            None => {
                let here = self
                    .access_points_after(&after)
                    .take_while(|item| item.name.location == *location);
                page.cut(here.filter(is_wanted), id)
            }
        }
    }

    /// Lists policies.
    pub fn list_policies(
        &self,
        location: &Location,
        filter: &PolicyFilter,
        page: &Page,
    ) -> Listed<Arc<Policy>> {
        let after = PolicyName { location: location.clone(), id: page.begin() };
        let is_wanted = |item: &&Arc<Policy>| {
            filter.scope.as_ref().is_none_or(|scope| item.terms.scope() == scope)
        };
        let id = |item: &Arc<Policy>| item.name.id.clone();
        match &filter.network_rule {
            Some(rule) => {
                let rule = NetworkRuleName { location: location.clone(), id: rule.clone() };
                let names = names_after(self.holders_of_rule(&rule), after);
                page.cut(names.filter_map(|name| self.policy(name)).filter(is_wanted), id)
            }
            None => {
                let here =
                    self.policies_after(&after).take_while(|item| item.name.location == *location);
                page.cut(here.filter(is_wanted), id)
            }
        }
    }

    /// Lists network rules.
    pub fn list_network_rules(&self, location: &Location, page: &Page) -> Listed<Arc<NetworkRule>> {
        let after = NetworkRuleName { location: location.clone(), id: page.begin() };
        let here =
            self.network_rules_after(&after).take_while(|item| item.name.location == *location);
        page.cut(here, |item| item.name.id.clone())
    }
}

impl AccessPointFilter {
    fn wants(&self, access_point: &AccessPoint) -> bool {
        let has_role = |wanted: &Id| match &access_point.authentication {
            Authentication::RamRole { role, .. } => role == wanted,
            Authentication::ClientKey => false,
        };
        self.role.as_ref().is_none_or(has_role)
            && self.state.is_none_or(|state| access_point.state == state)
    }
}

impl Page {
    fn begin(&self) -> Id {
        self.after.clone().unwrap_or_else(Id::before_all)
    }

    fn cut<'a, T: 'a>(
        &self,
        mut items: impl Iterator<Item = &'a Arc<T>>,
        id: impl Fn(&Arc<T>) -> Id,
    ) -> Listed<Arc<T>> {
        let page: Vec<_> = items.by_ref().take(self.size).cloned().collect();
        let next_after = items.next().and_then(|_| page.last().map(id));
        Listed { items: page, next_after }
    }
}

fn names_after<N: Ord>(holders: Option<&Holders<N>>, after: N) -> impl Iterator<Item = &N> {
    let range = (Bound::Excluded(after), Bound::Unbounded);
    holders.map(move |names| names.range(range)).into_iter().flatten()
}
