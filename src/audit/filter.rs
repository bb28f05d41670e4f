//! Looks into records without decoding them: just far enough to tell whether one is wanted.
//!
//! Catching up under a filter goes through millions of records, of which few are sent. A record is
//! walked over field by field, and nothing of it is copied.

use std::str;

use crate::domain::audit_filter::AuditFilter;

use super::{
    record::{FIRST_EVENT_FIELD, STAMPED_BYTES},
    wire::{self, Value},
};

/// What a filter looks at in a record.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The account that it belongs to; empty if it belongs to none.
    pub account: &'a str,
    /// The number of its kind; 0 if that isn't known.
    kind: u64,
    event: &'a [u8],
}

/// The kind of checks, and where a check has what is filtered by.
const CHECK: u64 = 1;
const ACCESS_POINT: u32 = 2;
const ACTION: u32 = 5;
const RESOURCE: u32 = 6;
const DECISION: u32 = 9;
const OUTCOME: u32 = 1;
const REASON: u32 = 2;

impl<'a> Facts<'a> {
    /// Looks into a record. Bytes that are none are of no kind and no account.
    pub fn of(record: &'a [u8]) -> Self {
        let mut facts = Self { account: "", kind: 0, event: &[] };
        let mut rest = record.get(STAMPED_BYTES..).unwrap_or_default();
        while let Some((field, value)) = wire::next_field(&mut rest) {
            match (field, value) {
                (6, Value::Bytes(account)) => {
                    facts.account = str::from_utf8(account).unwrap_or_default();
                }
                (FIRST_EVENT_FIELD.., Value::Bytes(event)) => {
                    facts.kind = u64::from(field - FIRST_EVENT_FIELD + 1);
                    facts.event = event;
                    break;
                }
                _ => {}
            }
        }
        facts
    }

    /// Whether a filter admits the record.
    pub fn are_wanted_by(&self, filter: &AuditFilter) -> bool {
        let AuditFilter { accounts, kinds, .. } = filter;
        (accounts.is_empty() || accounts.iter().any(|account| account.as_str() == self.account))
            && (kinds.is_empty() || kinds.has(self.kind))
            && (!filter.is_about_checks()
                || self.kind == CHECK && CheckFacts::of(self.event).are_wanted_by(filter))
    }
}

/// What a filter looks at in a check.
#[derive(Clone, Copy, Debug, Default)]
struct CheckFacts<'a> {
    access_point: &'a [u8],
    action: &'a [u8],
    resource: &'a [u8],
    outcome: u64,
    reason: u64,
}

impl<'a> CheckFacts<'a> {
    fn of(mut event: &'a [u8]) -> Self {
        let mut facts = Self::default();
        while let Some((field, value)) = wire::next_field(&mut event) {
            match (field, value) {
                (ACCESS_POINT, Value::Bytes(text)) => facts.access_point = text,
                (ACTION, Value::Bytes(text)) => facts.action = text,
                (RESOURCE, Value::Bytes(text)) => facts.resource = text,
                (DECISION, Value::Bytes(decision)) => {
                    facts.look_at_decision(decision);
                    break;
                }
                _ => {}
            }
        }
        facts
    }

    fn look_at_decision(&mut self, mut decision: &[u8]) {
        while let Some((field, value)) = wire::next_field(&mut decision) {
            match (field, value) {
                (OUTCOME, Value::Integer(number)) => self.outcome = number,
                (REASON, Value::Integer(number)) => self.reason = number,
                _ => {}
            }
        }
    }

    fn are_wanted_by(&self, filter: &AuditFilter) -> bool {
        let AuditFilter {
            accounts: _,
            kinds: _,
            access_points,
            outcomes,
            reasons,
            actions,
            resource_prefixes,
        } = filter;
        (outcomes.is_empty() || outcomes.has(self.outcome))
            && (reasons.is_empty() || reasons.has(self.reason))
            && holds(actions, |action| action.as_bytes() == self.action)
            && holds(access_points, |name| name.as_bytes() == self.access_point)
            && holds(resource_prefixes, |prefix| self.resource.starts_with(prefix.as_bytes()))
    }
}

fn holds<T>(values: &[T], is_it: impl Fn(&T) -> bool) -> bool {
    values.is_empty() || values.iter().any(is_it)
}
