//! Lists in which repetitions mean nothing.

use std::{collections::HashSet, hash::Hash};

/// Keeps the first of each, in order.
pub(super) fn distinct<T: Clone + Eq + Hash>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut seen = HashSet::new();
    items.into_iter().filter(|item| seen.insert(item.clone())).collect()
}
