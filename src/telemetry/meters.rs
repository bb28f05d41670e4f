//! What each part of the program counts.

use std::{iter, sync::Arc};

use crate::domain::decision::{Decision, DenyReason};

use super::cells::{BATCHES, Counter, DURATIONS, Distribution, Histogram};

/// How many canonical codes gRPC has.
pub const CODES: usize = 17;
/// Their names, as metrics and traces bear them.
pub const CODE_NAMES: [&str; CODES] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// What one runtime that serves calls counts.
#[derive(Debug)]
pub struct LaneMeters {
    /// How long calls took, by method and code.
    calls: Box<[[Histogram; CODES]]>,
    /// Decisions, by reason: first grants, then denials in their order.
    decisions: [Counter; REASONS],
}

impl LaneMeters {
    /// For that many methods.
    pub fn new(methods: usize) -> Self {
        let of_method = |_| std::array::from_fn(|_| Histogram::new(&DURATIONS));
        Self { calls: (0..methods).map(of_method).collect(), decisions: Default::default() }
    }

    /// How long calls of a method with a code took; `None` if there is no such method or code.
    pub fn calls(&self, method: usize, code: usize) -> Option<&Histogram> {
        self.calls.get(method)?.get(code)
    }

    /// Counts a decision.
    pub fn count(&self, decision: Decision<'_>) {
        if let Some(counter) = self.decisions.get(place_of(decision)) {
            counter.increment();
        }
    }
}

/// What all runtimes that serve calls count. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Meters {
    /// One for each.
    pub lanes: Arc<[Arc<LaneMeters>]>,
}

impl Meters {
    /// For that many runtimes and methods.
    pub fn new(lanes: usize, methods: usize) -> Self {
        Self { lanes: (0..lanes).map(|_| Arc::new(LaneMeters::new(methods))).collect() }
    }

    /// How long calls of a method with a code took, on all runtimes; `None` if there were none.
    pub fn calls(&self, method: usize, code: usize) -> Option<Distribution> {
        let mut histograms = self.lanes.iter().filter_map(|lane| lane.calls(method, code));
        let mut sum = histograms.next()?.read();
        histograms.for_each(|histogram| sum.add(&histogram.read()));
        (sum.count() > 0).then_some(sum)
    }

    /// The decisions of all runtimes: outcome, reason, how many. Those that there were none of are
    /// told too, so that the first one shows as a change.
    pub fn decisions(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let denials = DenyReason::ALL.into_iter().map(|reason| ("deny", reason_name(reason)));
        let all = iter::once(("allow", "POLICY_GRANTS")).chain(denials);
        all.enumerate().map(|(place, (outcome, reason))| {
            let counters = self.lanes.iter().filter_map(|lane| lane.decisions.get(place));
            (outcome, reason, counters.map(Counter::read).sum())
        })
    }
}

/// Grants have one, denials theirs.
const REASONS: usize = DenyReason::ALL.len() + 1;

fn place_of(decision: Decision<'_>) -> usize {
    match decision {
        Decision::Allow(_) => 0,
        Decision::Deny(denial) => denial.reason as usize + 1,
    }
}

/// A reason's name, as the API has it.
pub fn reason_name(reason: DenyReason) -> &'static str {
    match reason {
        DenyReason::AccessPointNotFound => "ACCESS_POINT_NOT_FOUND",
        DenyReason::AccessPointSuspended => "ACCESS_POINT_SUSPENDED",
        DenyReason::CredentialUnknown => "CREDENTIAL_UNKNOWN",
        DenyReason::CredentialInvalid => "CREDENTIAL_INVALID",
        DenyReason::CredentialDisabled => "CREDENTIAL_DISABLED",
        DenyReason::CredentialNotYetValid => "CREDENTIAL_NOT_YET_VALID",
        DenyReason::CredentialExpired => "CREDENTIAL_EXPIRED",
        DenyReason::AuthenticationMethodMismatch => "AUTHENTICATION_METHOD_MISMATCH",
        DenyReason::RoleNotTrusted => "ROLE_NOT_TRUSTED",
        DenyReason::ScopeNotCovered => "SCOPE_NOT_COVERED",
        DenyReason::ActionNotPermitted => "ACTION_NOT_PERMITTED",
        DenyReason::ResourceNotCovered => "RESOURCE_NOT_COVERED",
        DenyReason::NetworkNotAllowed => "NETWORK_NOT_ALLOWED",
    }
}

/// What the audit log's writer counts.
#[derive(Debug)]
pub struct WriterMeters {
    /// How many records went to the disk at once.
    pub batches: Histogram,
    /// How long the disk took to have them for good.
    pub syncs: Histogram,
    /// How long the first of a batch waited, from being appended to being on disk.
    pub waits: Histogram,
}

/// What is counted of the journal.
#[derive(Debug)]
pub struct JournalMeters {
    /// How many events went to the disk at once.
    pub batches: Histogram,
    /// How long the disk took to have them for good.
    pub syncs: Histogram,
    /// How often all sessions of an access point were revoked.
    pub revocations: Counter,
}

impl Default for WriterMeters {
    fn default() -> Self {
        Self {
            batches: Histogram::new(&BATCHES),
            syncs: Histogram::new(&DURATIONS),
            waits: Histogram::new(&DURATIONS),
        }
    }
}

impl Default for JournalMeters {
    fn default() -> Self {
        Self {
            batches: Histogram::new(&BATCHES),
            syncs: Histogram::new(&DURATIONS),
            revocations: Counter::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::decision::Denial;

    #[test]
    fn decisions_are_counted_by_reason_and_added_up_over_the_runtimes() {
        let meters = Meters::new(2, 0);
        for lane in meters.lanes.iter() {
            for (place, reason) in DenyReason::ALL.into_iter().enumerate() {
                for _ in 0..=place {
                    lane.count(Decision::Deny(Denial { reason, nearest_policy: None }));
                }
            }
        }
        let told: Vec<_> = meters.decisions().collect();
        assert_eq!(told[0], ("allow", "POLICY_GRANTS", 0));
        for (place, reason) in DenyReason::ALL.into_iter().enumerate() {
            let count = 2 * (place as u64 + 1);
            assert_eq!(told[place + 1], ("deny", reason_name(reason), count));
        }
    }

    #[test]
    fn calls_are_counted_by_method_and_code() {
        let meters = Meters::new(2, 3);
        meters.lanes[0].calls(2, 16).unwrap().record(5);
        meters.lanes[1].calls(2, 16).unwrap().record(7);
        assert_eq!(meters.calls(2, 16).map(|calls| (calls.count(), calls.sum)), Some((2, 12)));
        assert_eq!(meters.calls(2, 0), None);
        assert!(meters.lanes[0].calls(3, 0).is_none() && meters.lanes[0].calls(0, 17).is_none());
    }
}
