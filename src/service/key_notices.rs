//! Notices that client keys end soon, so that nobody learns of it by an outage: in the journal, once for
//! each key and time, and counted for operators' tools.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

use crate::{
    domain::{
        catalog::Catalog,
        client_key::{ClientKeyState, Notice},
        command::{Command, KnownKey},
        time::UnixNanos,
    },
    projection::Published,
};

use super::system::System;

/// How often it is asked whether there is anything to look for.
const TICK: Duration = Duration::from_secs(1);
/// Looking through all keys takes no more than one part in so many of a processor's time.
const SHARE: u32 = 100;
/// How many notices are given after one look; the others after the next.
const AT_ONCE: usize = 1_000;

/// How many keys end soon.
#[derive(Debug, Default)]
pub struct EndingKeys([AtomicU64; Notice::ALL.len()]);

impl EndingKeys {
    /// How many enabled keys end within so many days, for each notice.
    pub fn read(&self) -> [(Notice, u64); Notice::ALL.len()] {
        let mut counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        Notice::ALL.map(|notice| (notice, counts.next().unwrap_or_default()))
    }

    fn set(&self, counts: [u64; Notice::ALL.len()]) {
        for (kept, count) in self.0.iter().zip(counts) {
            kept.store(count, Ordering::Relaxed);
        }
    }
}

/// What a look through all keys has found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    due: Vec<(KnownKey, Notice)>,
    /// How many end soon, by notice.
    counts: [u64; Notice::ALL.len()],
    /// When there is something to be found if nothing changes.
    next: Option<UnixNanos>,
}

fn look(catalog: &Catalog, now: UnixNanos) -> Found {
    let mut found = Found::default();
    let enabled = catalog.client_keys().filter(|key| key.state == ClientKeyState::Enabled);
    for key in enabled {
        let end = key.validity.not_after();
        if end <= now {
            continue;
        }
        for (count, notice) in found.counts.iter_mut().zip(Notice::ALL) {
            *count += u64::from(notice.due(key.validity) <= now);
        }
        let mut next = key.next_due(now);
        if let Some(notice) = key.notice_due(now) {
            if found.due.len() < AT_ONCE {
                let known = KnownKey { name: key.name.clone(), uid: key.header.uid };
                found.due.push((known, notice));
            } else {
                next = Some(now);
            }
        }
        found.next = found.next.into_iter().chain(next).min();
    }
    found
}

/// Gives notices and counts until the server stops.
pub async fn give(
    (system, published): (System, Arc<Published>),
    ending: Arc<EndingKeys>,
    mut stopping: watch::Receiver<bool>,
) {
    let clock = system.clock().clone();
    let mut tick = tokio::time::interval(TICK);
    // What the last look was at, when there is to be another if nothing changes, and how long it is
    // to be waited with that in any case.
    let (mut seen, mut next) = (None, None);
    let (mut ended, mut rest) = (Duration::ZERO, Duration::ZERO);
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => return,
            _ = tick.tick() => {}
        }
        let (now, began) = (clock.now(), clock.elapsed());
        let is_news =
            seen != Some(published.load().revision()) || next.is_some_and(|next| next <= now);
        if !is_news || began.saturating_sub(ended) < rest {
            continue;
        }
        let state = published.load_full();
        let revision = state.revision();
        let looking = tokio::task::spawn_blocking(move || look(&state.catalog, now));
        // One that panicked has said so; the next one is tried all the same.
        let Ok(found) = looking.await else { continue };
        ended = clock.elapsed();
        rest = ended.saturating_sub(began) * SHARE;
        ending.set(found.counts);
        let due = found.due.into_iter();
        let due = due.map(|(key, notice)| Command::GiveClientKeyNotice(key, notice));
        let postponed = system.make(due.collect()).await;
        // What couldn't be made is found again.
        seen = postponed.is_empty().then_some(revision);
        next = found.next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        command::Request,
        decide::{Rejection, Verdict},
        testing::{World, add_client_key, create_access_point, create_policy, disable_client_key},
    };

    const DAY: i64 = 24 * 60 * 60;
    /// When the keys of tests end.
    const END: i64 = 1_795_458_000 + (5 * 365 + 1) * DAY;

    fn second(second: i64) -> UnixNanos {
        UnixNanos::from_parts(second, 0)
    }

    fn world() -> World {
        World::given([
            create_policy("p", "shared", "SECRET_USER", "secret/a", "any"),
            create_access_point("a", "p"),
            create_access_point("b", "p"),
            add_client_key("a", "k", 0),
            add_client_key("a", "l", 1),
            add_client_key("b", "k", 0),
            disable_client_key("b", "k"),
        ])
    }

    #[test]
    fn every_enabled_key_gets_each_notice_once() {
        let mut world = world();
        let mut given = Vec::new();
        for (days, counts, next) in [
            (31, [0, 0, 0], 30),
            (30, [2, 0, 0], 7),
            (8, [2, 0, 0], 7),
            (7, [2, 2, 0], 1),
            (1, [2, 2, 2], 0),
        ] {
            let now = second(END - days * DAY);
            let found = look(&world.catalog, now);
            assert_eq!((found.counts, found.next), (counts, Some(second(END - next * DAY))));
            for (key, notice) in found.due {
                given.push((days, key.name.id.as_str().to_owned(), notice));
                let command = Command::GiveClientKeyNotice(key, notice);
                let request = Request { time: now, ..world.request(command) };
                assert!(matches!(world.ask(&request), Ok(Verdict::Happened(_))));
                // Whoever looked at the same time comes too late.
                let again = world.ask(&request).unwrap_err();
                assert!(matches!(again, Rejection::NothingNew(_)), "{again}");
            }
            assert_eq!(look(&world.catalog, now).due, []);
        }
        let wanted = [(30, Notice::Month), (7, Notice::Week), (1, Notice::Day)];
        let wanted = wanted
            .iter()
            .flat_map(|(days, notice)| ["k", "l"].map(|id| (*days, id.to_owned(), *notice)));
        assert_eq!(given, wanted.collect::<Vec<_>>());
        let found = look(&world.catalog, second(END));
        assert_eq!(found, Found::default());
    }
}
