//! Who is far behind in the audit log leaves the processor to those whose checks are recorded, by
//! whatever stream it reads.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aap::{clock::Clock, service::watches::WatchLimits};
use tokio::task::JoinSet;

use crate::support::{
    ADMIN, AUDITOR, Client, ENFORCER, Setup, TestServer,
    cursors::{self, Reading},
    watching::Watch,
    world::{self, ask_all},
};

/// How many records a second may be looked at, besides as many as come.
const RATE: u64 = 1_000;
/// How many records are there before anybody reads.
const BEHIND: u64 = 6_000;
/// What is read before it is known how many come, and the first message after it.
const UNCOUNTED: u64 = 2_000;
/// How many ask for checks at once.
const ASKERS: usize = 8;

async fn start() -> TestServer {
    let rate = usize::try_from(RATE).unwrap();
    let catch_up = NonZeroUsize::new(rate).unwrap();
    let watches = WatchLimits { catch_up, ..WatchLimits::default() };
    let server = Setup { watches, ..Setup::new() }.start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    for _ in 0..BEHIND / 1_000 {
        let checks = ask_all(vec![world::allowed(); 1_000]);
        server.client(ENFORCER).authorization().batch_check_access(checks).await.unwrap();
    }
    server
}

/// Has checks made while something is read; how long that took, and how many were made.
async fn while_checks_come(enforcer: Client, read: impl Future<Output = ()>) -> (Duration, u64) {
    let (clock, made) = (Clock::system(), Arc::new(AtomicU64::new(0)));
    let mut asking = JoinSet::new();
    for _ in 0..ASKERS {
        let (enforcer, made) = (enforcer.clone(), Arc::clone(&made));
        asking.spawn(async move {
            loop {
                world::allow(&enforcer).await;
                made.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let count = || made.load(Ordering::Relaxed);
    while count() < 100 {
        tokio::task::yield_now().await;
    }
    let (began, before) = (clock.elapsed(), count());
    read.await;
    (clock.elapsed().saturating_sub(began), count() - before)
}

fn demand_pace((took, made): (Duration, u64)) {
    // As many as come may be looked at as well; that is what was made, or a little more.
    let held_back = BEHIND.saturating_sub(UNCOUNTED + 2 * made);
    let least = Duration::from_secs(held_back) / u32::try_from(RATE).unwrap();
    assert!(took >= least, "{BEHIND} records were read in {took:?} beside {made} checks");
}

#[tokio::test]
async fn a_watch_that_is_behind_goes_at_the_pace_it_may_have() {
    let server = start().await;
    let mut watch = Watch::from(&server.client_apart(AUDITOR), 1).await;
    let read = async { drop(watch.all_through(BEHIND).await) };
    demand_pace(while_checks_come(server.client_apart(ENFORCER), read).await);
    server.stop().await;
}

#[tokio::test]
async fn a_cursor_that_is_behind_goes_at_the_same_pace() {
    let server = start().await;
    let auditor = server.client_apart(AUDITOR);
    let name = cursors::create(&auditor, "behind", 1).await;
    let mut reading = Reading::of(&auditor, &name).await;
    let read = async {
        while reading.through < BEHIND {
            reading.read().await.unwrap().unwrap();
        }
    };
    demand_pace(while_checks_come(server.client_apart(ENFORCER), read).await);
    server.stop().await;
}
