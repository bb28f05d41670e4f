//! Records of calls that were refused because of who called. Nobody without a valid credential can
//! fill the log with them: strangers have a budget, each network that they call from a part of it,
//! and callers that expired have another one, which strangers can't spend. What is beyond a budget
//! is counted, and the count recorded once a second.

use std::{
    mem,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{
    audit::{
        log::{AuditLog, RecordError},
        record::{Call, Draft, EventDraft, session::SessionDraft},
    },
    clock::Clock,
    telemetry::{cells::Counter, meters::CODES},
};

/// How many refusals get a record of their own in a second, from each budget.
const RECORDS_PER_SECOND: usize = 10;
/// How many of those may come from one source.
const RECORDS_PER_SOURCE: usize = 4;
/// The canonical code of who has no valid credential.
const UNAUTHENTICATED: u8 = 16;
const SECOND: Duration = Duration::from_secs(1);

/// Records refused calls.
#[derive(Clone, Debug)]
pub struct Refusals {
    log: AuditLog,
    lane: usize,
    clock: Clock,
    budgets: Arc<Budgets>,
}

#[derive(Debug, Default)]
struct Budgets {
    strangers: Mutex<Budget>,
    expired: Mutex<Budget>,
    /// How many calls were refused, by code, recorded or not.
    refused: [Counter; CODES],
}

/// A refused call.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    /// Who called, as far as that is known.
    pub call: Call<'a>,
    /// The account that the caller asked about, if it was authenticated and that is known.
    pub account: &'a str,
    /// The method.
    pub method: &'a str,
    /// The canonical code.
    pub code: u8,
    /// The reason's name.
    pub reason: &'a str,
}

impl Refusals {
    /// Records refusals in a log, all lanes from the same budgets: clone it with [`Self::on_lane`].
    pub fn new(log: AuditLog, clock: Clock) -> Self {
        Self { log, lane: 0, clock, budgets: Arc::default() }
    }

    /// The same for another runtime.
    #[must_use]
    pub fn on_lane(&self, lane: usize) -> Self {
        Self { lane, ..self.clone() }
    }

    /// Records a refusal, without waiting for the disk: no decision depends on it.
    pub fn record(&self, refusal: &Refusal<'_>) {
        if let Some(count) = self.budgets.refused.get(usize::from(refusal.code)) {
            count.increment();
        }
        let budget = match (refusal.code, refusal.call.caller) {
            (UNAUTHENTICATED, "") => Some(&self.budgets.strangers),
            (UNAUTHENTICATED, _) => Some(&self.budgets.expired),
            _ => None,
        };
        let Refusal { call, account, method, code, reason } = *refusal;
        if let Some(budget) = budget {
            let source = call.forwarded.or(call.peer).map(|address| Source::of(address.ip()));
            let is_stranger = call.caller.is_empty();
            let mut budget = lock(budget);
            if !budget.spend(self.clock.elapsed(), source, reason) {
                return;
            }
            if is_stranger && !self.log.has_room_for_strangers() {
                return budget.count(reason);
            }
        }
        let event = EventDraft::RefusedCall { method, code, reason, suppressed: 0 };
        // A log that takes no record refuses checks too, and has said why.
        let _ = self.append(Draft { account, region: "", call, event });
    }

    /// How many calls were refused so far, by code, recorded or not.
    pub fn counts(&self) -> [u64; CODES] {
        self.budgets.refused.each_ref().map(Counter::read)
    }

    /// Records that a session was refused to somebody who may be anybody: by the strangers' budget,
    /// and without an account.
    pub fn record_session(&self, call: Call<'_>, reason: &str, session: &SessionDraft<'_>) {
        let source = call.forwarded.or(call.peer).map(|address| Source::of(address.ip()));
        let mut budget = lock(&self.budgets.strangers);
        if !budget.spend(self.clock.elapsed(), source, reason) {
            return;
        }
        if !self.log.has_room_for_strangers() {
            return budget.count(reason);
        }
        drop(budget);
        let event = EventDraft::Session(session);
        let _ = self.append(Draft { account: "", region: "", call, event });
    }

    /// Records how many refusals were beyond a budget since this was last called. To be called once
    /// a second, and when the last call was served.
    pub fn report(&self) {
        for budget in [&self.budgets.strangers, &self.budgets.expired] {
            let Some((suppressed, reason)) = lock(budget).take_unrecorded() else { continue };
            let (method, code) = ("", UNAUTHENTICATED);
            let event = EventDraft::RefusedCall { method, code, reason: &reason, suppressed };
            let draft = Draft { account: "", region: "", call: Call::default(), event };
            if self.append(draft).is_err() {
                lock(budget).put_back(suppressed, reason);
            }
        }
    }

    fn append(&self, draft: Draft<'_>) -> Result<(), RecordError> {
        self.log.append(self.lane, [draft]).map(drop)
    }
}

fn lock(budget: &Mutex<Budget>) -> std::sync::MutexGuard<'_, Budget> {
    budget.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The network that a call comes from: an IPv4 /24 or an IPv6 /48, which is about what one site has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source(u64);

impl Source {
    /// The network of an address.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(u64::from(v4.to_bits() >> 8)),
            // No IPv4 source has a bit that high.
            IpAddr::V6(v6) => Self(1 << 63 | u64::try_from(v6.to_bits() >> 80).unwrap_or_default()),
        }
    }
}

/// How many records may be written now. It keeps a source for each record of the last second, and
/// so never more than that many, however many there are.
#[derive(Debug, Default)]
struct Budget {
    window: Duration,
    /// Where the calls came from that were recorded since then.
    recorded: Vec<Option<Source>>,
    unrecorded: u64,
    /// The last reason of these.
    reason: Box<str>,
}

impl Budget {
    /// Takes one record off it, or counts the call as one that has none.
    fn spend(&mut self, now: Duration, source: Option<Source>, reason: &str) -> bool {
        if now.saturating_sub(self.window) >= SECOND {
            self.window = now;
            self.recorded.clear();
        }
        let of_source = self.recorded.iter().filter(|one| **one == source).count();
        if self.recorded.len() < RECORDS_PER_SECOND && of_source < RECORDS_PER_SOURCE {
            self.recorded.push(source);
            return true;
        }
        self.count(reason);
        false
    }

    /// Counts a call as one that has no record.
    fn count(&mut self, reason: &str) {
        self.unrecorded = self.unrecorded.saturating_add(1);
        if *self.reason != *reason {
            self.reason = reason.into();
        }
    }

    /// How many calls had no record, and the reason of their refusal; `None` if there were none.
    fn take_unrecorded(&mut self) -> Option<(u64, Box<str>)> {
        let count = mem::take(&mut self.unrecorded);
        (count > 0).then(|| (count, self.reason.clone()))
    }

    fn put_back(&mut self, count: u64, reason: Box<str>) {
        self.unrecorded = self.unrecorded.saturating_add(count);
        self.reason = reason;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(address: &str) -> Source {
        Source::of(address.parse().unwrap())
    }

    /// How many calls of one source, one after the other, get a record of their own.
    fn spend(budget: &mut Budget, seconds: f64, address: &str, calls: usize) -> usize {
        let now = Duration::from_secs_f64(seconds);
        (0..calls).filter(|_| budget.spend(now, Some(source(address)), "WHY")).count()
    }

    #[test]
    fn a_source_is_what_one_site_has() {
        for (one, other, are_same) in [
            ("192.0.2.1", "192.0.2.255", true),
            ("192.0.2.1", "::ffff:192.0.2.9", true),
            ("192.0.2.1", "192.0.3.1", false),
            ("2001:db8:1:2::1", "2001:db8:1:ffff::9", true),
            ("2001:db8:1::1", "2001:db8:2::1", false),
            ("0.0.1.0", "::1", false),
        ] {
            assert_eq!(source(one) == source(other), are_same, "{one} and {other}");
        }
    }

    #[test]
    fn each_source_has_a_part_of_the_budget_and_all_have_no_more_than_that() {
        let mut budget = Budget::default();
        assert_eq!(spend(&mut budget, 0.0, "192.0.2.1", 100), 4);
        assert_eq!(spend(&mut budget, 0.1, "192.0.2.7", 100), 0);
        assert_eq!(spend(&mut budget, 0.2, "198.51.100.1", 100), 4);
        assert_eq!(spend(&mut budget, 0.9, "2001:db8::1", 100), 2);
        assert_eq!(spend(&mut budget, 0.9, "203.0.113.1", 100), 0);
        assert_eq!(budget.take_unrecorded(), Some((490, "WHY".into())));
        assert_eq!(budget.take_unrecorded(), None);
        // A second later there is a new one.
        assert_eq!(spend(&mut budget, 1.0, "203.0.113.1", 5), 4);
        assert_eq!(budget.take_unrecorded(), Some((1, "WHY".into())));
    }

    #[test]
    fn what_many_sources_take_up_is_bounded() {
        let mut budget = Budget::default();
        for number in 0..100_000_u32 {
            let source = Source::of(std::net::Ipv4Addr::from_bits(number << 8).into());
            budget.spend(Duration::ZERO, Some(source), "WHY");
        }
        assert_eq!(budget.recorded.len(), RECORDS_PER_SECOND);
        assert_eq!(budget.take_unrecorded(), Some((99_990, "WHY".into())));
    }
}
