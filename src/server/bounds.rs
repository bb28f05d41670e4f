//! How many connections there are, in all and from each source, and who was turned away.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Where connections come from: an IPv4 /24 or an IPv6 /56, which is about what one network has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Source(u64);

impl Source {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(u64::from(v4.to_bits() >> 8)),
            // No IPv4 source has a bit that high.
            IpAddr::V6(v6) => Self(1 << 63 | u64::try_from(v6.to_bits() >> 72).unwrap_or_default()),
        }
    }
}

/// A room with so many places, and so many for those of one source.
#[derive(Clone, Debug)]
pub(super) struct Room(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    places: usize,
    places_per_source: usize,
    /// Locked for the time that it takes to count.
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_source: HashMap<Source, usize>,
}

/// Why somebody gets no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// All places are taken.
    All,
    /// Those of the same source have taken theirs.
    Source,
}

/// A place, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    room: Room,
    source: Option<Source>,
}

impl Room {
    pub(super) fn new(places: usize, places_per_source: usize) -> Self {
        Self(Arc::new(Inner { places, places_per_source, taken: Mutex::default() }))
    }

    /// How many places are taken, and how many there are.
    pub(super) fn taken(&self) -> (usize, usize) {
        let taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        (taken.all, self.0.places)
    }

    /// Takes a place; without a source, one that counts for none.
    pub(super) fn enter(&self, source: Option<Source>) -> Result<Place, Full> {
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= self.0.places {
            return Err(Full::All);
        }
        if let Some(source) = source {
            self.0.count(&mut taken, source)?;
        }
        taken.all += 1;
        Ok(Place { room: self.clone(), source })
    }
}

impl Inner {
    fn count(&self, taken: &mut Taken, source: Source) -> Result<(), Full> {
        let count = taken.by_source.entry(source).or_default();
        // One that has none yet is never refused: there is a place for each source.
        if *count >= self.places_per_source {
            return Err(Full::Source);
        }
        *count += 1;
        Ok(())
    }
}

impl Place {
    /// Has it count for a source from now on, if that has a place left.
    pub(super) fn count_for(&mut self, source: Source) -> Result<(), Full> {
        if self.source.is_none() {
            let inner = &self.room.0;
            let mut taken = inner.taken.lock().unwrap_or_else(PoisonError::into_inner);
            inner.count(&mut taken, source)?;
            self.source = Some(source);
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.room.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all = taken.all.saturating_sub(1);
        if let Some(source) = self.source
            && let Some(count) = taken.by_source.get_mut(&source)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.by_source.remove(&source);
            }
        }
    }
}

/// Why a connection was closed before it served a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TurnedAway {
    /// There are as many connections as there may be.
    TooMany,
    /// There are as many from its source.
    TooManyOfSource,
    /// There are as many handshakes as there may be.
    TooManyHandshakes,
    /// It isn't one of the proxies that may connect.
    NoProxy,
    /// What came instead of the proxy's header is none.
    BadHeader,
    /// The handshake failed.
    BadHandshake,
    /// The handshake took too long.
    TooSlow,
    /// The system didn't hand it over: it lacks something, perhaps open files.
    NotAccepted,
}

const REASONS: usize = 8;

/// What metrics call each reason, in the order of [`TurnedAway`].
pub(super) const REASON_NAMES: [&str; REASONS] = [
    "too_many",
    "too_many_of_source",
    "too_many_handshakes",
    "no_proxy",
    "bad_proxy_header",
    "bad_handshake",
    "too_slow",
    "not_accepted",
];

/// Counts who was turned away. A flood is one line a second in the log.
#[derive(Debug, Default)]
pub(super) struct Losses {
    counts: [AtomicU64; REASONS],
    /// How many of them were reported.
    reported: [AtomicU64; REASONS],
    /// One of those that were turned away since the last report.
    example: Mutex<Option<SocketAddr>>,
}

impl Losses {
    pub(super) fn count(&self, peer: SocketAddr, reason: TurnedAway) {
        if let Some(count) = self.counts.get(reason as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        *self.example.lock().unwrap_or_else(PoisonError::into_inner) = Some(peer);
    }

    /// How many were turned away since the last time this was asked, and one of them.
    fn take(&self) -> Option<([u64; REASONS], SocketAddr)> {
        let example = self.example.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let mut since = [0; REASONS];
        let counters = self.counts.iter().zip(&self.reported);
        for (since, (count, reported)) in since.iter_mut().zip(counters) {
            let count = count.load(Ordering::Relaxed);
            *since = count.saturating_sub(reported.swap(count, Ordering::Relaxed));
        }
        Some((since, example))
    }

    /// How many were turned away so far, by reason.
    pub(super) fn totals(&self) -> [u64; REASONS] {
        self.counts.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// Logs who was turned away since the last time.
    pub(super) fn report(&self) {
        let Some((counts, example)) = self.take() else { return };
        let [
            too_many,
            of_source,
            handshakes,
            no_proxy,
            bad_header,
            bad_handshake,
            too_slow,
            not_accepted,
        ] = counts;
        if not_accepted > 0 {
            tracing::error!(not_accepted, "connections can't be accepted: may more files be open?");
        }
        if too_many + of_source + handshakes > 0 {
            tracing::warn!(
                too_many,
                of_one_source = of_source,
                handshakes,
                %example,
                "connections were closed because there are as many as there may be"
            );
        }
        if no_proxy + bad_header > 0 {
            let message = "connections were closed because no trusted proxy forwards them";
            tracing::warn!(no_proxy, bad_header, %example, "{message}");
        }
        if bad_handshake + too_slow > 0 {
            let message = "connections were closed because their handshakes didn't succeed";
            tracing::info!(failed = bad_handshake, too_slow, %example, "{message}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(address: &str) -> Source {
        Source::of(address.parse().unwrap())
    }

    #[test]
    fn neighbors_are_one_source() {
        for (one, other, same) in [
            ("10.1.2.3", "10.1.2.250", true),
            ("10.1.2.3", "10.1.3.3", false),
            ("10.1.2.3", "::ffff:10.1.2.9", true),
            ("2001:db8:0:1::1", "2001:db8:0:ff::2", true),
            ("2001:db8:0:1::1", "2001:db8:0:100::1", false),
            ("::", "0.0.0.0", false),
        ] {
            assert_eq!(source(one) == source(other), same, "{one} {other}");
        }
    }

    #[test]
    fn a_source_that_has_taken_its_places_takes_none_of_others() {
        let room = Room::new(4, 2);
        let (one, other) = (Some(source("10.0.0.1")), Some(source("10.0.1.1")));
        let first = room.enter(one).unwrap();
        let second = room.enter(one).unwrap();
        assert_eq!(room.enter(one).unwrap_err(), Full::Source);
        let third = room.enter(other).unwrap();
        let mut fourth = room.enter(None).unwrap();
        assert_eq!(room.enter(other).unwrap_err(), Full::All);
        assert_eq!(fourth.count_for(source("10.0.0.9")), Err(Full::Source));
        drop(first);
        assert_eq!(fourth.count_for(source("10.0.0.9")), Ok(()));
        assert_eq!(room.enter(one).unwrap_err(), Full::Source);
        drop((second, third, fourth));
        let taken = room.0.taken.lock().unwrap();
        assert_eq!((taken.all, taken.by_source.len()), (0, 0), "nothing is left behind");
    }

    #[test]
    fn those_who_are_turned_away_are_counted_until_they_are_reported() {
        let (losses, peer) = (Losses::default(), "10.0.0.1:1".parse().unwrap());
        assert_eq!(losses.take(), None);
        losses.count(peer, TurnedAway::TooMany);
        losses.count(peer, TurnedAway::TooSlow);
        losses.count(peer, TurnedAway::TooSlow);
        assert_eq!(losses.take(), Some(([1, 0, 0, 0, 0, 0, 2, 0], peer)));
        assert_eq!(losses.take(), None);
        assert_eq!(losses.totals(), [1, 0, 0, 0, 0, 0, 2, 0]);
    }
}
