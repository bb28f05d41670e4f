//! Creates, batches and checks from many connections, until the server is killed under them; and what was
//! acknowledged until then.
//!
//! The kill comes after a number of acknowledgements that the dice say, never after a time.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use aap::api::pb::{self, DecisionReason, Outcome};
use tokio::task::JoinSet;
use tonic::Status;

use super::batches::{self, Applied, Batch};
use super::client::{Action, Change, Client, INSIDE, Kind, Made, OUTSIDE, question};
use crate::support::home::{Home, Server};

const CREATORS: u64 = 4;
const CHECKERS: u64 = 6;
const BATCHERS: u64 = 2;
const APPLIERS: u64 = 2;
const MAX_BATCH: u64 = 100;
/// The most acknowledged changes, or answered calls of checks, before a kill.
const MAX_CHANGES: u64 = 200;
const MAX_CALLS: u64 = 1_000;
/// The id of resources that are always there.
pub(super) const STEADY: u64 = 0;

/// Random numbers that come again with the same seed (`SplitMix64`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// A number from 1 to `sides`.
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        1 + (mixed ^ (mixed >> 31)) % sides
    }
}

/// All that was acknowledged, over all runs of the server.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The changes, and what the creations among them made.
    pub(super) changes: BTreeMap<Change, Option<Made>>,
    /// The audit records, by sequence number.
    pub(super) records: BTreeMap<u64, Recorded>,
    /// The changes that were asked for and not answered.
    pub(super) unanswered: Vec<Change>,
    /// The changes that were made together.
    pub(super) batches: BTreeMap<Batch, Applied>,
    /// Those that were asked for together and not answered.
    pub(super) unanswered_batches: Vec<Batch>,
    /// The newest revision that a check was decided at.
    pub(super) revision: u64,
    /// The id that resources got last.
    pub(super) last_id: u64,
    /// How many records there are of checks that were not answered.
    pub(super) unacknowledged: usize,
    /// How many runs of the server have ended.
    pub(super) runs: usize,
}

/// What a check's answer said of its record.
#[derive(Debug)]
pub(super) struct Recorded {
    /// The run of the server, from 0.
    pub(super) run: usize,
    pub(super) log_id: String,
    pub(super) leaf_hash: Vec<u8>,
    pub(super) request_id: String,
    pub(super) outcome: i32,
}

impl Ledger {
    pub(super) fn note_change(&mut self, change: Change, made: Option<Made>) {
        let before = self.changes.insert(change, made);
        assert!(before.is_none(), "{change:?} was acknowledged before");
    }

    pub(super) fn note_batch(&mut self, batch: Batch, applied: Applied) {
        let before = self.batches.insert(batch, applied);
        assert!(before.is_none(), "{batch:?} was acknowledged before");
    }

    pub(super) fn note_check(
        &mut self,
        run: usize,
        request_id: &str,
        (decision, receipt): (pb::Decision, pb::Receipt),
    ) {
        let pb::Receipt { log_id, sequence, leaf_hash, durable } = receipt;
        assert!(durable, "record {sequence} was acknowledged before it was synced");
        let (request_id, outcome) = (request_id.to_owned(), decision.outcome);
        let recorded = Recorded { run, log_id, leaf_hash, request_id, outcome };
        let before = self.records.insert(sequence, recorded);
        assert!(before.is_none(), "record {sequence} was acknowledged twice");
    }

    /// Whether it is known that a resource is gone, or about to be.
    pub(super) fn is_deleted(&self, kind: Kind, id: u64) -> bool {
        self.changes.contains_key(&Change { action: Action::Delete, kind, id })
    }
}

/// What is counted until the kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    Changes,
    Calls,
}

/// What was done in a run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) creates: u64,
    pub(super) deletes: u64,
    pub(super) batches: u64,
    pub(super) checks: u64,
    pub(super) unanswered: usize,
}

/// One run of the server under load.
pub(super) struct Run {
    /// Its number, from 0.
    number: usize,
    server: Server,
    /// Held to note an answer.
    noted: Mutex<(Ledger, Tally)>,
    counted: Counted,
    /// How many more are acknowledged before the kill.
    countdown: AtomicU64,
    killed: AtomicBool,
}

/// When a run ends: after so many of what is counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    count: u64,
    counted: Counted,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.counted {
            Counted::Changes => write!(f, "change {}", self.count),
            Counted::Calls => write!(f, "call {}", self.count),
        }
    }
}

impl End {
    pub(super) fn roll(dice: &mut Dice) -> Self {
        match dice.roll(2) {
            1 => Self { count: dice.roll(MAX_CHANGES), counted: Counted::Changes },
            _ => Self { count: dice.roll(MAX_CALLS), counted: Counted::Calls },
        }
    }
}

impl Run {
    pub(super) fn new(number: usize, server: Server, ledger: Ledger, end: End) -> Self {
        Self {
            number,
            server,
            noted: Mutex::new((ledger, Tally::default())),
            counted: end.counted,
            countdown: AtomicU64::new(end.count),
            killed: AtomicBool::new(false),
        }
    }

    /// Calls until the server is killed; returns what was acknowledged.
    pub(super) async fn load(self, home: &Home, dice: &mut Dice) -> (Ledger, Tally) {
        let run = Arc::new(self);
        let mut clients = JoinSet::new();
        for number in 0..CREATORS + APPLIERS + CHECKERS + BATCHERS {
            let client = Client::connect(home, run.server.address);
            let (run, dice) = (Arc::clone(&run), Dice(dice.roll(u64::MAX)));
            match number {
                _ if number < CREATORS => clients.spawn(run.create(client, dice)),
                _ if number < CREATORS + APPLIERS => clients.spawn(run.apply(client, dice)),
                _ if number < CREATORS + APPLIERS + CHECKERS => {
                    clients.spawn(run.check(client, dice))
                }
                _ => clients.spawn(run.check_many(client, dice)),
            };
        }
        // Each ends with the first call that isn't answered.
        while let Some(ended) = clients.join_next().await {
            ended.unwrap();
        }
        let run = Arc::into_inner(run).unwrap();
        run.server.wait_killed();
        let (ledger, mut tally) = run.noted.into_inner().unwrap();
        tally.unanswered = ledger.unanswered.len() + ledger.unanswered_batches.len();
        (ledger, tally)
    }

    fn noted(&self) -> MutexGuard<'_, (Ledger, Tally)> {
        self.noted.lock().unwrap()
    }

    /// Counts an acknowledgement; the last one kills.
    fn count(&self, counted: Counted) {
        if counted == self.counted && self.countdown.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.killed.store(true, Ordering::Relaxed);
            self.server.kill();
        }
    }

    /// A call may fail because the server is gone, and for no other reason.
    fn excuse(&self, status: &Status) {
        assert!(self.killed.load(Ordering::Relaxed), "failed before the kill: {status:?}");
    }

    /// Creates a network rule, a policy and an access point, and mostly deletes them again; each
    /// change is seen by the check that follows it.
    async fn create(self: Arc<Self>, mut client: Client, mut dice: Dice) {
        const KINDS: [Kind; 3] = [Kind::NetworkRule, Kind::Policy, Kind::AccessPoint];
        loop {
            let id = self.next_id();
            for kind in KINDS {
                let change = Change { action: Action::Create, kind, id };
                let Some(()) = self.change(&mut client, change).await else { return };
            }
            let asked = (id, INSIDE, DecisionReason::PolicyGrants);
            let Some(()) = self.ask(&mut client, asked).await else { return };
            if dice.roll(4) == 1 {
                continue;
            }
            for kind in KINDS.into_iter().rev() {
                let change = Change { action: Action::Delete, kind, id };
                let Some(()) = self.change(&mut client, change).await else { return };
            }
            let asked = (id, INSIDE, DecisionReason::AccessPointNotFound);
            let Some(()) = self.ask(&mut client, asked).await else { return };
        }
    }

    /// Creates many network rules together, and mostly deletes them again together.
    async fn apply(self: Arc<Self>, mut client: Client, mut dice: Dice) {
        loop {
            let batch = Batch::roll(&mut dice, || self.next_id());
            let Some(()) = self.apply_one(&mut client, batch).await else { return };
            if dice.roll(4) > 1 {
                let Some(()) = self.apply_one(&mut client, batch.undone()).await else { return };
            }
        }
    }

    async fn apply_one(&self, client: &mut Client, batch: Batch) -> Option<()> {
        let applied = batches::apply(client, batch).await;
        let (ledger, tally) = &mut *self.noted();
        match applied {
            Ok(applied) => {
                ledger.note_batch(batch, applied);
                tally.batches += 1;
                self.count(Counted::Changes);
                Some(())
            }
            Err(status) => {
                self.excuse(&status);
                ledger.unanswered_batches.push(batch);
                None
            }
        }
    }

    fn next_id(&self) -> u64 {
        let (ledger, _) = &mut *self.noted();
        ledger.last_id += 1;
        ledger.last_id
    }

    async fn change(&self, client: &mut Client, change: Change) -> Option<()> {
        let answered = client.perform(change).await;
        let (ledger, tally) = &mut *self.noted();
        match answered {
            Ok(made) => {
                ledger.note_change(change, made);
                match change.action {
                    Action::Create => tally.creates += 1,
                    Action::Delete => tally.deletes += 1,
                }
                self.count(Counted::Changes);
                Some(())
            }
            Err(status) => {
                self.excuse(&status);
                ledger.unanswered.push(change);
                None
            }
        }
    }

    /// Asks about the resources that are always there.
    async fn check(self: Arc<Self>, mut client: Client, mut dice: Dice) {
        loop {
            let asked = match dice.roll(3) {
                1 => (STEADY, OUTSIDE, DecisionReason::NetworkNotAllowed),
                _ => (STEADY, INSIDE, DecisionReason::PolicyGrants),
            };
            let Some(()) = self.ask(&mut client, asked).await else { return };
        }
    }

    async fn ask(&self, client: &mut Client, asked: (u64, &str, DecisionReason)) -> Option<()> {
        let (access_point, address, expected) = asked;
        let request_id = format!("run-{}-asks-{access_point}-{address}", self.number);
        match client.check(question(access_point, address), request_id.clone()).await {
            Ok(answer) => {
                let pb::CheckAccessResponse { decision, receipt, revision } = answer;
                let decided = (decision.unwrap(), receipt.unwrap());
                assert_reason(&decided.0, expected);
                self.note_checks(&request_id, revision, [decided]);
                Some(())
            }
            Err(status) => {
                self.excuse(&status);
                None
            }
        }
    }

    async fn check_many(self: Arc<Self>, mut client: Client, mut dice: Dice) {
        loop {
            let count = dice.roll(MAX_BATCH);
            let checks = (0..count).map(|_| question(STEADY, INSIDE)).collect();
            let request_id = format!("run-{}-batch-{count}", self.number);
            match client.check_all(checks, request_id.clone()).await {
                Ok(answer) => {
                    let pb::BatchCheckAccessResponse { results, revision } = answer;
                    assert_eq!(results.len() as u64, count);
                    let decided = results.into_iter().map(|result| {
                        let decided = (result.decision.unwrap(), result.receipt.unwrap());
                        assert_reason(&decided.0, DecisionReason::PolicyGrants);
                        decided
                    });
                    self.note_checks(&request_id, revision, decided);
                }
                Err(status) => return self.excuse(&status),
            }
        }
    }

    fn note_checks(
        &self,
        request_id: &str,
        revision: u64,
        decided: impl IntoIterator<Item = (pb::Decision, pb::Receipt)>,
    ) {
        let (ledger, tally) = &mut *self.noted();
        for decided in decided {
            ledger.note_check(self.number, request_id, decided);
            tally.checks += 1;
        }
        ledger.revision = ledger.revision.max(revision);
        self.count(Counted::Calls);
    }
}

/// A decision has the reason that is expected, and the outcome that goes with it.
pub(super) fn assert_reason(decision: &pb::Decision, expected: DecisionReason) {
    let outcome = match expected {
        DecisionReason::PolicyGrants => Outcome::Allow,
        _ => Outcome::Deny,
    };
    assert_eq!((decision.reason(), decision.outcome()), (expected, outcome), "{decision:?}");
}
