//! Named values with dense ids, in structures that share what a change leaves alone.

use std::{hash::Hash, num::NonZeroU32};

use foldhash::fast::RandomState;
use rpds::{HashTrieMapSync, StackSync};

use super::table::Table;

/// A place among [`Slots`], from 1, so that the absence of one takes no space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlotId(NonZeroU32);

impl SlotId {
    fn of(place: usize) -> Self {
        let number = u32::try_from(place).unwrap_or(u32::MAX).saturating_add(1);
        Self(NonZeroU32::new(number).unwrap_or(NonZeroU32::MAX))
    }

    fn place(self) -> usize {
        usize::try_from(self.0.get() - 1).unwrap_or(usize::MAX)
    }
}

/// Values with names, found by dense ids; the id of what is removed is given again.
#[derive(Clone, Debug)]
pub(super) struct Slots<N: Eq + Hash, T> {
    values: Table<T>,
    ids: HashTrieMapSync<N, SlotId, RandomState>,
    free: StackSync<SlotId>,
}

impl<N: Eq + Hash, T> Default for Slots<N, T> {
    fn default() -> Self {
        Self {
            values: Table::default(),
            ids: HashTrieMapSync::new_with_hasher_and_ptr_kind(RandomState::default()),
            free: StackSync::new_sync(),
        }
    }
}

impl<N: Eq + Hash, T: Clone> Slots<N, T> {
    /// The value at a place.
    pub(super) fn get(&self, id: SlotId) -> Option<&T> {
        self.values.get(id.place())
    }

    /// The value of that name, and its place.
    pub(super) fn find(&self, name: &N) -> Option<(SlotId, &T)> {
        let id = *self.ids.get(name)?;
        Some((id, self.get(id)?))
    }

    /// Puts a value in the place of the one that has its name, or in a free one.
    pub(super) fn put(&mut self, name: N, value: T) {
        let id = self.ids.get(&name).copied().or_else(|| self.take_free());
        let id = id.unwrap_or_else(|| SlotId::of(self.values.len()));
        self.values.set(id.place(), Some(value));
        self.ids.insert_mut(name, id);
    }

    /// Frees the place of the value of that name.
    pub(super) fn remove(&mut self, name: &N) {
        let Some(id) = self.ids.get(name).copied() else { return };
        self.ids.remove_mut(name);
        self.values.set(id.place(), None);
        self.free.push_mut(id);
    }

    fn take_free(&mut self) -> Option<SlotId> {
        let id = self.free.peek().copied()?;
        self.free.pop_mut();
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_place_is_given_again_and_a_replaced_value_keeps_its_place() {
        let mut slots: Slots<&str, u8> = Slots::default();
        slots.put("a", 1);
        slots.put("b", 2);
        let before = slots.clone();
        let (place_of_a, _) = slots.find(&"a").unwrap();
        slots.put("a", 3);
        assert_eq!(slots.find(&"a"), Some((place_of_a, &3)));
        slots.remove(&"a");
        assert_eq!((slots.find(&"a"), slots.get(place_of_a)), (None, None));
        slots.put("c", 4);
        assert_eq!(slots.find(&"c"), Some((place_of_a, &4)));
        assert_eq!(before.find(&"a"), Some((place_of_a, &1)));
    }
}
