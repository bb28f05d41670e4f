//! Who is far behind in the audit log leaves the processor to those whose checks are recorded, by
//! whatever stream it reads.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use aap::service::watches::WatchLimits;
use tokio::task::JoinSet;

use crate::support::{
    ADMIN, AUDITOR, Client, ENFORCER, Setup, TestServer,
    cursors::{self, Reading},
    watching::Watch,
    world::{self, ask_all},
};

/// How many records are there before anybody reads.
const BEHIND: u64 = 6_000;
/// What is read before it is known how many come, and the first message after it.
const UNCOUNTED: u64 = 2_000;
/// How many ask for checks at once.
const ASKERS: usize = 8;

async fn start() -> TestServer {
    // Next to none a second, so that as many are looked at as come.
    let catch_up = NonZeroUsize::MIN;
    let watches = WatchLimits { catch_up, ..WatchLimits::default() };
    let server = Setup { watches, ..Setup::new() }.start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    for _ in 0..BEHIND / 1_000 {
        let checks = ask_all(vec![world::allowed(); 1_000]);
        server.client(ENFORCER).authorization().batch_check_access(checks).await.unwrap();
    }
    server
}

/// Has checks made while something is read; how many were made meanwhile.
async fn while_checks_come(enforcer: Client, read: impl Future<Output = ()>) -> u64 {
    let made = Arc::new(AtomicU64::new(0));
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
    let before = count();
    read.await;
    count() - before
}

/// How many records are read while one comes, at most: it is measured in windows, which differ.
const READ_FOR_ONE: u64 = 3;

/// Whether what was read went no faster than records came.
fn kept_pace(made: u64) -> bool {
    made * READ_FOR_ONE >= BEHIND - UNCOUNTED
}

/// How often it is tried: while the disk stalls nothing comes, and then nobody is held up.
const ATTEMPTS: usize = 4;

#[tokio::test]
async fn a_watch_that_is_behind_goes_at_the_pace_it_may_have() {
    let mut all = Vec::new();
    for _ in 0..ATTEMPTS {
        let server = start().await;
        let mut watch = Watch::from(&server.client_apart(AUDITOR), 1).await;
        let read = async { drop(watch.all_through(BEHIND).await) };
        all.push(while_checks_come(server.client_apart(ENFORCER), read).await);
        server.stop().await;
        if all.iter().copied().any(kept_pace) {
            return;
        }
    }
    panic!("{BEHIND} records were read beside so many checks: {all:?}");
}

#[tokio::test]
async fn a_cursor_that_is_behind_goes_at_the_same_pace() {
    let mut all = Vec::new();
    for _ in 0..ATTEMPTS {
        let server = start().await;
        let auditor = server.client_apart(AUDITOR);
        let name = cursors::create(&auditor, "behind", 1).await;
        let mut reading = Reading::of(&auditor, &name).await;
        let read = async {
            while reading.through < BEHIND {
                reading.read().await.unwrap().unwrap();
            }
        };
        all.push(while_checks_come(server.client_apart(ENFORCER), read).await);
        server.stop().await;
        if all.iter().copied().any(kept_pace) {
            return;
        }
    }
    panic!("{BEHIND} records were read beside so many checks: {all:?}");
}
