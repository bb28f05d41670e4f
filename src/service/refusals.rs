//! Records of calls that were refused because of who called. Nobody without a valid credential can
//! fill the log with them: strangers have a budget, callers that expired have another one, which
//! strangers can't spend, and beyond them refusals are only counted.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{
    audit::{
        log::AuditLog,
        record::{Call, Draft, EventDraft},
    },
    clock::Clock,
};

/// How many refusals get a record of their own in a second, from each budget.
const RECORDS_PER_SECOND: u32 = 10;
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

#[derive(Debug, Default)]
struct Budget {
    window: Duration,
    recorded: u32,
    suppressed: u64,
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
        let budget = match (refusal.code, refusal.call.caller) {
            (UNAUTHENTICATED, "") => Some(&self.budgets.strangers),
            (UNAUTHENTICATED, _) => Some(&self.budgets.expired),
            _ => None,
        };
        let suppressed = match budget.map(|budget| self.spend(budget)) {
            Some(None) => return,
            Some(Some(suppressed)) => suppressed,
            None => 0,
        };
        let Refusal { call, account, method, code, reason } = *refusal;
        let event = EventDraft::RefusedCall { method, code, reason, suppressed };
        // A log that takes no record refuses checks too, and has said why.
        let _ = self.log.append(self.lane, [Draft { account, region: "", call, event }]);
    }

    /// Takes one record off a budget; tells how many had none since the last one.
    fn spend(&self, budget: &Mutex<Budget>) -> Option<u64> {
        let now = self.clock.elapsed();
        let mut budget = budget.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_sub(budget.window) >= SECOND {
            budget.window = now;
            budget.recorded = 0;
        }
        if budget.recorded >= RECORDS_PER_SECOND {
            budget.suppressed += 1;
            return None;
        }
        budget.recorded += 1;
        Some(std::mem::take(&mut budget.suppressed))
    }
}
