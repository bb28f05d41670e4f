//! Records of calls that were refused because of who called. Strangers can't fill the log with
//! them: those without a valid credential have a budget, and beyond it are only counted.

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

/// How many refused strangers get a record of their own in a second.
const STRANGERS_PER_SECOND: u32 = 10;
const SECOND: Duration = Duration::from_secs(1);

/// Records refused calls.
#[derive(Clone, Debug)]
pub struct Refusals {
    log: AuditLog,
    lane: usize,
    clock: Clock,
    budget: Arc<Mutex<Budget>>,
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
    /// Records refusals in a log, all lanes from one budget: clone it with [`Self::on_lane`].
    pub fn new(log: AuditLog, clock: Clock) -> Self {
        Self { log, lane: 0, clock, budget: Arc::default() }
    }

    /// The same for another runtime.
    #[must_use]
    pub fn on_lane(&self, lane: usize) -> Self {
        Self { lane, ..self.clone() }
    }

    /// Records a refusal, without waiting for the disk: no decision depends on it.
    pub fn record(&self, refusal: &Refusal<'_>) {
        let is_stranger = refusal.call.caller.is_empty();
        let suppressed = match is_stranger.then(|| self.spend()) {
            Some(None) => return,
            Some(Some(suppressed)) => suppressed,
            None => 0,
        };
        let Refusal { call, account, method, code, reason } = *refusal;
        let event = EventDraft::RefusedCall { method, code, reason, suppressed };
        // A log that takes no record refuses checks too, and has said why.
        let _ = self.log.append(self.lane, [Draft { account, region: "", call, event }]);
    }

    /// Takes one record off the budget; tells how many had none since the last one.
    fn spend(&self) -> Option<u64> {
        let now = self.clock.elapsed();
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_sub(budget.window) >= SECOND {
            budget.window = now;
            budget.recorded = 0;
        }
        if budget.recorded >= STRANGERS_PER_SECOND {
            budget.suppressed += 1;
            return None;
        }
        budget.recorded += 1;
        Some(std::mem::take(&mut budget.suppressed))
    }
}
