//! A persistent sequence of places, made for reading at a place.
//!
//! Reading goes through two arrays of 64 to the value; a change copies them and the list of groups.

use std::{fmt, sync::Arc};

/// A sequence of places, each empty or with a value. Cloning is cheap.
pub(super) struct Table<T> {
    groups: Arc<[Arc<Group<T>>]>,
    length: usize,
}

const WIDTH: usize = 64;

type Chunk<T> = [Option<T>; WIDTH];
type Group<T> = [Option<Arc<Chunk<T>>>; WIDTH];

impl<T: Clone> Table<T> {
    /// How many places there are.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// The value at a place.
    pub(super) fn get(&self, place: usize) -> Option<&T> {
        let group = self.groups.get(place / WIDTH / WIDTH)?;
        group.get(place / WIDTH % WIDTH)?.as_ref()?.get(place % WIDTH)?.as_ref()
    }

    /// Puts a value at a place, or empties it. Places up to it come into being.
    pub(super) fn set(&mut self, place: usize, value: Option<T>) {
        self.length = self.length.max(place + 1);
        let group = place / WIDTH / WIDTH;
        if group >= self.groups.len() {
            let more = (self.groups.len()..=group).map(|_| Arc::new([const { None }; WIDTH]));
            self.groups = self.groups.iter().cloned().chain(more).collect();
        }
        let slot = Arc::make_mut(&mut self.groups)
            .get_mut(group)
            .and_then(|group| Arc::make_mut(group).get_mut(place / WIDTH % WIDTH))
            .map(|chunk| chunk.get_or_insert_with(|| Arc::new([const { None }; WIDTH])))
            .and_then(|chunk| Arc::make_mut(chunk).get_mut(place % WIDTH));
        if let Some(slot) = slot {
            *slot = value;
        }
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { groups: Arc::new([]), length: 0 }
    }
}

impl<T> Clone for Table<T> {
    fn clone(&self) -> Self {
        Self { groups: Arc::clone(&self.groups), length: self.length }
    }
}

impl<T> fmt::Debug for Table<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("length", &self.length).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_far_apart_hold_their_values_and_clones_do_not_change() {
        let mut table = Table::default();
        let places = [0, 1, 63, 64, 4_095, 4_096, 4_097, 10_000, 70_000];
        for place in places {
            table.set(place, Some(place));
        }
        let before = table.clone();
        for place in places {
            table.set(place, None);
            assert_eq!((table.get(place), before.get(place)), (None, Some(&place)));
        }
        for place in [2, 62, 65, 9_999, 70_001, 1_000_000] {
            assert_eq!(before.get(place), None);
        }
        assert_eq!((before.len(), table.len(), Table::<u8>::default().len()), (70_001, 70_001, 0));
    }
}
