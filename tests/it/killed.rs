//! Kills the server again and again under a load of creates, batches of changes, and checks, and looks for everything
//! that it had acknowledged.
//!
//! It drives the program as a process and by its public API alone; at the end it reads the journal
//! too. `tests/interop/kill.sh` runs it for longer.
//!
//! | variable | what it says |
//! |---|---|
//! | `AAP_BINARY` | the program to test, instead of the one just built |
//! | `AAP_KILL_ROUNDS` | how often to kill; 2 by default |
//! | `AAP_KILL_SEED` | what the dice begin with, as a failed run has printed it |

mod batches;
mod client;
mod load;
mod verify;

use std::time::Duration;

use aap::{api::pb::DecisionReason, clock::Clock, entropy};
use tokio::time::timeout;

use crate::support::home::{Home, Server, variable};
use client::{Action, Change, Client, INSIDE, Kind, question};
use load::{Dice, End, Ledger, Run, STEADY, Tally, assert_reason};

/// How long one step may take; a server that hangs is a failure too.
const PATIENCE: Duration = Duration::from_mins(2);
/// How often this gives way, at most, before it kills a server that starts.
const MAX_TURNS: u64 = 20_000;

#[test]
fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    let rounds = variable("AAP_KILL_ROUNDS").unwrap_or(2);
    let seed = variable("AAP_KILL_SEED").unwrap_or_else(|| {
        let mut bytes = [0; 8];
        entropy::fill(&mut bytes).unwrap();
        u64::from_le_bytes(bytes)
    });
    println!("AAP_KILL_SEED={seed} AAP_KILL_ROUNDS={rounds}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(kill_again_and_again(rounds, Dice(seed)));
}

async fn kill_again_and_again(rounds: u64, mut dice: Dice) {
    let home = Home::new();
    let mut ledger = Ledger::default();
    let mut server = home.start();
    create_steady(&mut Client::connect(&home, server.address), &mut ledger).await;
    for round in 1..=rounds {
        let line;
        (server, line) = kill_once(&home, server, &mut ledger, &mut dice).await;
        println!("round {round} of {rounds}: {line}");
    }
    let mut client = Client::connect(&home, server.address);
    timeout(PATIENCE, verify::changes(&mut client, &ledger, STEADY)).await.unwrap();
    // Beside this thread, which answers the server's farewell on open connections.
    tokio::task::spawn_blocking(move || server.stop()).await.unwrap();
    verify::journal(&home.journal(), &ledger);
    let Ledger { changes, batches, records, .. } = ledger;
    let (changes, batches, records) = (changes.len(), batches.len(), records.len());
    println!(
        "after {rounds} kills all {changes} changes, {batches} batches and {records} records are there"
    );
}

/// Kills a server under load, starts it again, and looks for what it had acknowledged. Returns the
/// new server, and what happened in a line.
async fn kill_once(
    home: &Home,
    server: Server,
    ledger: &mut Ledger,
    dice: &mut Dice,
) -> (Server, String) {
    let (number, end, first_id) = (ledger.runs, End::roll(dice), ledger.last_id + 1);
    let run = Run::new(number, server, std::mem::take(ledger), end);
    let tally;
    (*ledger, tally) = timeout(PATIENCE, run.load(home, dice)).await.unwrap();
    ledger.runs += 1;

    let again = dice.roll(3) == 1;
    if again {
        home.start_and_kill(dice.roll(MAX_TURNS));
    }
    let clock = Clock::system();
    let server = home.start();
    let mut client = Client::connect(home, server.address);
    let marker = answer_again(&mut client, ledger).await;
    let recovery = clock.elapsed().as_millis();

    let read = timeout(PATIENCE, verify::audit_log(&mut client, ledger, marker));
    let unacknowledged = read.await.unwrap();
    let more = unacknowledged - std::mem::replace(&mut ledger.unacknowledged, unacknowledged);
    timeout(PATIENCE, verify::repetitions(&mut client, ledger)).await.unwrap();
    timeout(PATIENCE, verify::changes(&mut client, ledger, first_id)).await.unwrap();
    timeout(PATIENCE, batches::verify(&mut client, ledger)).await.unwrap();

    let Tally { creates, deletes, batches, checks, unanswered } = tally;
    let again = if again { ", and again while it started" } else { "" };
    let line = format!(
        "{creates} creates, {deletes} deletes, {batches} batches and {checks} checks acknowledged; killed at {end}{again}; \
         answers again after {recovery} ms; not acknowledged: {unanswered} changes, {more} \
         records found"
    );
    (server, line)
}

/// Creates what is there before the first kill.
async fn create_steady(client: &mut Client, ledger: &mut Ledger) {
    for kind in [Kind::NetworkRule, Kind::Policy, Kind::AccessPoint] {
        let change = Change { action: Action::Create, kind, id: STEADY };
        let made = client.perform(change).await.unwrap();
        ledger.note_change(change, made);
    }
}

/// Asks the first check after a start, and returns the place of its record.
async fn answer_again(client: &mut Client, ledger: &mut Ledger) -> u64 {
    let request_id = format!("run-{}-first", ledger.runs);
    let asked = client.check(question(STEADY, INSIDE), request_id.clone());
    let answer = timeout(PATIENCE, asked).await.unwrap().unwrap();
    let decided = (answer.decision.unwrap(), answer.receipt.unwrap());
    assert_reason(&decided.0, DecisionReason::PolicyGrants);
    let sequence = decided.1.sequence;
    ledger.note_check(ledger.runs, &request_id, decided);
    assert!(
        answer.revision >= ledger.revision,
        "a check was decided at revision {}, but there are only {}",
        ledger.revision,
        answer.revision
    );
    sequence
}
