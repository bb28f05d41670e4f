//! How many requests are with the STS at once, and where they come from: whoever asks holds a place for
//! as long as the STS takes.

use std::sync::{Arc, Mutex, PoisonError};

use crate::service::refusals::Source;

/// How many there are in all.
pub const IN_ALL: usize = 32;
/// How many of them one source may hold, so that it leaves others some.
pub const OF_SOURCE: usize = 8;

/// Places with the STS. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(Arc<Mutex<Vec<Option<Source>>>>);

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    source: Option<Source>,
}

impl Places {
    /// Takes one, if there is one for that source.
    pub(super) fn take(&self, source: Option<Source>) -> Option<Place> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_source = taken.iter().filter(|one| **one == source).count();
        if taken.len() >= IN_ALL || of_source >= OF_SOURCE {
            return None;
        }
        taken.push(source);
        Some(Place { places: self.clone(), source })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = taken.iter().position(|one| *one == self.source) {
            taken.swap_remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_leaves_others_some_and_all_hold_no_more_than_there_are() {
        let places = Places::default();
        let take = |network: u8, times: usize| -> Vec<Place> {
            let source = Source::of([192, 0, network, 1].into());
            (0..times).filter_map(|_| places.take(Some(source))).collect()
        };
        let mut first = take(1, 100);
        assert_eq!(first.len(), OF_SOURCE);
        let mut others: Vec<_> = (2..100).flat_map(|network| take(network, 100)).collect();
        assert_eq!(others.len(), IN_ALL - OF_SOURCE);
        assert!(places.take(None).is_none());
        // What is given back is free for whoever may have it.
        others.pop();
        assert_eq!(take(1, 1).len(), 0);
        let unknown = places.take(None);
        assert!(unknown.is_some() && take(200, 1).is_empty());
        first.pop();
        assert_eq!(take(1, 2).len(), 1);
        drop((first, others, unknown));
        assert_eq!(take(1, 100).len(), OF_SOURCE);
    }
}
