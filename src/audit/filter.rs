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

/// The kinds of decisions, and where they have what is filtered by.
const CHECK: u64 = 1;
const SESSION: u64 = 9;
/// Of both.
const ACCESS_POINT: u32 = 2;
/// Of a check.
const ACTION: u32 = 5;
const RESOURCE: u32 = 6;
const DECISION: u32 = 9;
/// Of a check's decision.
const OUTCOME: u32 = 1;
const REASON: u32 = 2;
/// Of a request for a session.
const SESSION_OUTCOME: u32 = 6;
const SESSION_REASON: u32 = 7;

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
            && (!filter.is_about_decisions()
                || self.decision().is_some_and(|decision| decision.is_wanted_by(filter)))
    }

    fn decision(&self) -> Option<DecisionFacts<'a>> {
        match self.kind {
            CHECK => Some(DecisionFacts::of_check(self.event)),
            SESSION => Some(DecisionFacts::of_session(self.event)),
            _ => None,
        }
    }
}

/// What a filter looks at in a decision.
#[derive(Clone, Copy, Debug, Default)]
struct DecisionFacts<'a> {
    access_point: &'a [u8],
    /// What only checks have.
    action: Option<&'a [u8]>,
    resource: Option<&'a [u8]>,
    outcome: u64,
    reason: u64,
}

impl<'a> DecisionFacts<'a> {
    fn of_check(mut event: &'a [u8]) -> Self {
        let mut facts = Self { action: Some(&[]), resource: Some(&[]), ..Self::default() };
        while let Some((field, value)) = wire::next_field(&mut event) {
            match (field, value) {
                (ACCESS_POINT, Value::Bytes(text)) => facts.access_point = text,
                (ACTION, Value::Bytes(text)) => facts.action = Some(text),
                (RESOURCE, Value::Bytes(text)) => facts.resource = Some(text),
                (DECISION, Value::Bytes(decision)) => {
                    facts.look_at_decision(decision);
                    break;
                }
                _ => {}
            }
        }
        facts
    }

    fn of_session(mut event: &'a [u8]) -> Self {
        let mut facts = Self::default();
        while let Some((field, value)) = wire::next_field(&mut event) {
            match (field, value) {
                (ACCESS_POINT, Value::Bytes(text)) => facts.access_point = text,
                (SESSION_OUTCOME, Value::Integer(number)) => facts.outcome = number,
                (SESSION_REASON, Value::Integer(number)) => facts.reason = number,
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

    fn is_wanted_by(&self, filter: &AuditFilter) -> bool {
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
            && holds(actions, |action| self.action == Some(action.as_bytes()))
            && holds(access_points, |name| name.as_bytes() == self.access_point)
            && holds(resource_prefixes, |prefix| {
                self.resource.is_some_and(|resource| resource.starts_with(prefix.as_bytes()))
            })
    }
}

fn holds<T>(values: &[T], is_it: impl Fn(&T) -> bool) -> bool {
    values.is_empty() || values.iter().any(is_it)
}
