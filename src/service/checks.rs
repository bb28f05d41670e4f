//! Deciding checks: authorize the enforcer, decide, record. The answer may leave when the record is
//! on disk, and not before; the future that [`Checker`] returns ends then.

use std::{sync::Arc, time::Duration};

use crate::{
    audit::{
        buffer::Wait,
        log::{AuditLog, RecordError},
        record::{Call, CheckDraft, Draft, EventDraft},
    },
    clock::Clock,
    domain::{
        check::{Check, Subject},
        decision::Decision,
        name::LocationRef,
        rulebook::Rulebook,
        rules::RulesVersion,
        time::UnixNanos,
    },
    identity::{
        bounds::{Beyond, Bound},
        caller::{Assertion, Caller, CallerRole},
        session::SessionKeys,
    },
    projection::Published,
    telemetry::meters::LaneMeters,
};

/// Decides checks for the callers of one runtime.
#[derive(Clone, Debug)]
pub struct Checker {
    published: Arc<Published>,
    log: AuditLog,
    lane: usize,
    clock: Clock,
    /// Counts decisions, if anybody wants to know.
    meters: Option<Arc<LaneMeters>>,
    keys: Arc<SessionKeys>,
}

/// Why a check isn't answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// The enforcer isn't bound to the account.
    #[error("enforcer `{caller}` is not bound to account `{account}`")]
    AccountNotBound {
        /// The enforcer.
        caller: Arc<str>,
        /// The account.
        account: Box<str>,
    },
    /// The enforcer may not name access points itself.
    #[error("enforcer `{caller}` may not assert the identity of an application")]
    AssertionNotAllowed {
        /// The enforcer.
        caller: Arc<str>,
    },
    /// The enforcer vouches for what its configuration doesn't let it vouch for.
    #[error("{} is beyond what enforcer `{caller}` may vouch for: `{value}` is not in its `{bound}`", place_text(*place))]
    BeyondBounds {
        /// The enforcer.
        caller: Arc<str>,
        /// Which of its bounds.
        bound: Bound,
        /// What lies beyond it.
        value: Box<str>,
        /// The check's place among those asked together, from 0.
        place: Option<usize>,
    },
    /// The revision that the check demands was not reached in time.
    #[error("revision {at_least} was not reached in time: the server is at {revision}")]
    RevisionNotReached {
        /// The revision that is demanded.
        at_least: u64,
        /// The revision that there is.
        revision: u64,
    },
    /// The decision can't be recorded.
    #[error(transparent)]
    Record(#[from] RecordError),
}

fn place_text(place: Option<usize>) -> String {
    place.map_or_else(|| "`check`".to_owned(), |place| format!("`checks[{place}]`"))
}

impl CheckError {
    /// The same about one of the checks that these places are those of.
    #[must_use]
    pub fn among(self, places: &[usize]) -> Self {
        match self {
            Self::BeyondBounds { caller, bound, value, place } => {
                let place = place.and_then(|place| places.get(place).copied());
                Self::BeyondBounds { caller, bound, value, place }
            }
            other => other,
        }
    }
}

/// Decisions that are on their way to the disk.
#[derive(Debug)]
pub struct Deciding<R> {
    /// What was made of them while the rulebook was at hand.
    pub rendered: R,
    /// The revision that they were decided at.
    pub revision: u64,
    /// Ends when their records are on disk.
    pub recorded: Wait,
}

/// What an answer is made from.
#[derive(Clone, Copy, Debug)]
pub struct Decided<'r> {
    /// The decision.
    pub decision: Decision<'r>,
    /// The rules it was decided by.
    pub rules_version: RulesVersion,
}

impl Checker {
    /// A checker whose callers wait on the runtime `lane`, and which reads tokens by these keys.
    pub fn new(
        published: Arc<Published>,
        (log, lane): (AuditLog, usize),
        clock: Clock,
        keys: Arc<SessionKeys>,
    ) -> Self {
        Self { published, log, lane, clock, keys, meters: None }
    }

    /// The same, with its decisions counted.
    #[must_use]
    pub fn counting(self, meters: Option<Arc<LaneMeters>>) -> Self {
        Self { meters, ..self }
    }

    /// Refuses an enforcer that may not ask about an account.
    pub fn authorize(caller: &Caller, location: LocationRef<'_>) -> Result<(), CheckError> {
        if caller.accounts.include(location.account()) {
            return Ok(());
        }
        let (caller, account) = (Arc::clone(&caller.name), location.account().into());
        Err(CheckError::AccountNotBound { caller, account })
    }

    /// Whether checks are decided at a revision or a later one now.
    pub fn is_at(&self, at_least: u64) -> bool {
        at_least == 0 || self.published.load().revision() >= at_least
    }

    /// Waits until checks are decided at a revision or a later one.
    pub async fn reach(&self, at_least: u64, patience: Duration) -> Result<(), CheckError> {
        if self.is_at(at_least) {
            return Ok(());
        }
        let reached = tokio::time::timeout(patience, self.published.reach(at_least)).await;
        reached.map_err(|_| {
            let revision = self.published.load().revision();
            CheckError::RevisionNotReached { at_least, revision }
        })
    }

    /// Decides one check.
    pub fn check<R>(
        &self,
        caller: &Caller,
        call: Call<'_>,
        check: Check<'_>,
        render: impl FnOnce(Decided<'_>) -> R,
    ) -> Result<Deciding<R>, CheckError> {
        authorize_question(caller, &check, Place::Alone)?;
        let state = self.published.load();
        let draft = self.decide(&state.rulebook, check);
        let rendered = render(decided(&draft));
        let recorded = self.log.append(self.lane, [record(call, &draft)])?;
        self.count(&draft);
        Ok(Deciding { rendered, revision: draft.revision, recorded })
    }

    /// Decides several checks at one revision.
    pub fn check_all<R>(
        &self,
        caller: &Caller,
        call: Call<'_>,
        checks: &[Check<'_>],
        render: impl Fn(Decided<'_>) -> R,
    ) -> Result<Deciding<Vec<R>>, CheckError> {
        for (place, check) in checks.iter().enumerate() {
            authorize_question(caller, check, Place::Among(place))?;
        }
        let state = self.published.load();
        let mut began = self.clock.elapsed();
        let time = self.clock.now();
        let mut drafts = Vec::with_capacity(checks.len());
        for check in checks {
            let draft;
            (draft, began) = self.judge(&state.rulebook, *check, (time, began));
            drafts.push(draft);
        }
        let rendered = drafts.iter().map(|draft| render(decided(draft))).collect();
        let records = drafts.iter().map(|draft| record(call, draft));
        let recorded = self.log.append(self.lane, records)?;
        for draft in &drafts {
            self.count(draft);
        }
        Ok(Deciding { rendered, revision: state.rulebook.revision(), recorded })
    }

    fn count(&self, draft: &CheckDraft<'_>) {
        if let Some(meters) = &self.meters {
            meters.count(draft.decision);
        }
    }

    /// Reads the token that a check shows, if it shows one.
    fn read<'a>(&self, check: Check<'a>, time: UnixNanos) -> Check<'a> {
        match check.subject {
            Subject::Token(token) => {
                Check { subject: Subject::Session(self.keys.open(token), time), ..check }
            }
            Subject::Asserted(_) | Subject::Session(..) => check,
        }
    }

    fn decide<'a>(&self, rulebook: &'a Rulebook, check: Check<'a>) -> CheckDraft<'a> {
        let (time, began) = (self.clock.now(), self.clock.elapsed());
        self.judge(rulebook, check, (time, began)).0
    }

    /// Decides a check at a time, of what began then, and says when it ended.
    fn judge<'a>(
        &self,
        rulebook: &'a Rulebook,
        check: Check<'a>,
        (time, began): (UnixNanos, Duration),
    ) -> (CheckDraft<'a>, Duration) {
        let check = self.read(check, time);
        let judgement = rulebook.decide(&check);
        let ended = self.clock.elapsed();
        let took = ended.saturating_sub(began);
        let draft = CheckDraft {
            time,
            check,
            access_point: judgement.access_point,
            name: judgement.name,
            decision: judgement.decision,
            revision: rulebook.revision(),
            rules_version: rulebook.version(),
            nanos: u64::try_from(took.as_nanos()).unwrap_or(u64::MAX),
        };
        (draft, ended)
    }
}

/// Where a check stands among those that are asked together.
#[derive(Clone, Copy, Debug)]
enum Place {
    Alone,
    Among(usize),
}

/// Makes sure that a caller may name the access point, and vouch for the rest.
fn authorize_question(caller: &Caller, check: &Check<'_>, place: Place) -> Result<(), CheckError> {
    let name = || Arc::clone(&caller.name);
    let ((Subject::Asserted(_), CallerRole::Enforcer(Assertion::Allowed, bounds))
    | (Subject::Token(_) | Subject::Session(..), CallerRole::Enforcer(_, bounds))) =
        (check.subject, &caller.role)
    else {
        return Err(CheckError::AssertionNotAllowed { caller: name() });
    };
    let Some(Beyond { bound, value }) = bounds.first_beyond(check) else { return Ok(()) };
    let place = match place {
        Place::Alone => None,
        Place::Among(place) => Some(place),
    };
    Err(CheckError::BeyondBounds { caller: name(), bound, value: value.into(), place })
}

fn decided<'a>(draft: &CheckDraft<'a>) -> Decided<'a> {
    Decided { decision: draft.decision, rules_version: draft.rules_version }
}

fn record<'a>(call: Call<'a>, draft: &'a CheckDraft<'a>) -> Draft<'a> {
    Draft {
        account: draft.check.location.account(),
        region: draft.check.location.region(),
        call,
        event: EventDraft::Check(draft),
    }
}
