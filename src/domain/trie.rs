//! A persistent map from names to values that know their names, made for looking up.
//!
//! A check finds its access point here, so what counts is how many cache lines a look-up has to wait
//! for, one after the other: a branch is an array without anything in between, and a leaf has its
//! entries' hashes next to each other. A change copies one branch a level and one leaf.

use std::{fmt, hash::BuildHasher, sync::Arc};

use foldhash::fast::RandomState;

/// Has a name that it is found by.
pub(super) trait Named {
    /// The name.
    fn name(&self) -> &str;
}

/// Values by their names. Cloning is cheap: clones share what neither changes.
pub(super) struct NameTrie<T> {
    root: Node<T>,
    hasher: RandomState,
}

/// How many bits of a hash a branch goes by.
const BITS: u32 = 5;
const WIDTH: usize = 1 << BITS;
/// How many entries a leaf has before it becomes a branch.
const LEAF: usize = 8;
/// Where the bits of a hash are used up, so that a leaf takes whatever comes.
const DEEPEST: u32 = u64::BITS / BITS;

enum Node<T> {
    Empty,
    Leaf(Arc<[Entry<T>]>),
    Branch(Arc<[Node<T>; WIDTH]>),
}

struct Entry<T> {
    hash: u64,
    value: Arc<T>,
}

impl<T: Named> NameTrie<T> {
    /// The value of that name.
    pub(super) fn get(&self, name: &str) -> Option<&T> {
        let hash = self.hasher.hash_one(name);
        let mut node = &self.root;
        let mut rest = hash;
        loop {
            match node {
                Node::Empty => return None,
                Node::Branch(children) => {
                    node = children.get(place(rest))?;
                    rest >>= BITS;
                }
                Node::Leaf(entries) => {
                    return entries.iter().find(|entry| entry.is(hash, name)).map(|e| &*e.value);
                }
            }
        }
    }

    /// Puts a value in the place of the one that has its name, if there is one.
    pub(super) fn put(&mut self, value: T) {
        let hash = self.hasher.hash_one(value.name());
        self.root.put(0, Entry { hash, value: Arc::new(value) });
    }

    /// Takes out the value of that name.
    pub(super) fn remove(&mut self, name: &str) {
        self.root.remove(0, self.hasher.hash_one(name), name);
    }
}

impl<T: Named> Node<T> {
    fn put(&mut self, depth: u32, entry: Entry<T>) {
        match self {
            Self::Empty => *self = Self::Leaf([entry].into()),
            Self::Branch(children) => {
                let place = place_at(depth, entry.hash);
                if let Some(child) = Arc::make_mut(children).get_mut(place) {
                    child.put(depth + 1, entry);
                }
            }
            Self::Leaf(entries) => {
                let others =
                    entries.iter().filter(|other| !other.is(entry.hash, entry.value.name()));
                let all: Arc<[_]> = others.cloned().chain([entry.clone()]).collect();
                *self = if all.len() > LEAF && depth < DEEPEST {
                    Self::split(depth, &all)
                } else {
                    Self::Leaf(all)
                };
            }
        }
    }

    fn split(depth: u32, entries: &[Entry<T>]) -> Self {
        let mut branch = Self::Branch(Arc::new(std::array::from_fn(|_| Self::Empty)));
        for entry in entries {
            branch.put(depth, entry.clone());
        }
        branch
    }

    fn remove(&mut self, depth: u32, hash: u64, name: &str) {
        match self {
            Self::Empty => {}
            Self::Branch(children) => {
                let children = Arc::make_mut(children);
                if let Some(child) = children.get_mut(place_at(depth, hash)) {
                    child.remove(depth + 1, hash, name);
                }
                if children.iter().all(|child| matches!(child, Self::Empty)) {
                    *self = Self::Empty;
                }
            }
            Self::Leaf(entries) => {
                let rest: Arc<[_]> =
                    entries.iter().filter(|entry| !entry.is(hash, name)).cloned().collect();
                *self = if rest.is_empty() { Self::Empty } else { Self::Leaf(rest) };
            }
        }
    }
}

impl<T: Named> Entry<T> {
    /// Whether it has that name. The hash only spares looking at most of the names that differ.
    fn is(&self, hash: u64, name: &str) -> bool {
        self.hash == hash && self.value.name() == name
    }
}

fn place_at(depth: u32, hash: u64) -> usize {
    place(hash >> (depth * BITS))
}

fn place(rest: u64) -> usize {
    // The cast keeps all bits that the mask leaves.
    usize::try_from(rest % (1 << BITS)).unwrap_or(0)
}

impl<T> Default for NameTrie<T> {
    fn default() -> Self {
        Self { root: Node::Empty, hasher: RandomState::default() }
    }
}

impl<T> Clone for NameTrie<T> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone(), hasher: self.hasher.clone() }
    }
}

impl<T> Clone for Node<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::Leaf(entries) => Self::Leaf(Arc::clone(entries)),
            Self::Branch(children) => Self::Branch(Arc::clone(children)),
        }
    }
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Self { hash: self.hash, value: Arc::clone(&self.value) }
    }
}

impl<T> fmt::Debug for NameTrie<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NameTrie").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, PartialEq)]
    struct Value(String, u32);

    impl Named for Value {
        fn name(&self) -> &str {
            &self.0
        }
    }

    fn name(number: u32) -> String {
        format!("name-{number}")
    }

    #[test]
    fn a_thousand_names_are_found_and_the_last_one_leaves_nothing_behind() {
        let mut trie = NameTrie::default();
        for number in 0..1_000 {
            trie.put(Value(name(number), number));
        }
        for number in 0..1_000 {
            assert_eq!(trie.get(&name(number)), Some(&Value(name(number), number)));
        }
        assert_eq!(trie.get(&name(1_000)), None);
        for number in 0..1_000 {
            trie.remove(&name(number));
            assert_eq!(trie.get(&name(number)), None);
        }
        assert!(matches!(trie.root, Node::Empty));
    }

    #[test]
    fn names_with_the_same_hash_are_told_apart() {
        let mut root = Node::Empty;
        let names: Vec<_> = (0..40).map(name).collect();
        for (number, name) in (0..).zip(&names) {
            root.put(0, Entry { hash: 7, value: Arc::new(Value(name.clone(), number)) });
        }
        for name in names.iter().step_by(2) {
            root.remove(0, 7, name);
        }
        let mut node = &root;
        let mut depth = 0;
        while let Node::Branch(children) = node {
            node = &children[place_at(depth, 7)];
            depth += 1;
        }
        let Node::Leaf(entries) = node else { panic!("no leaf") };
        let left: Vec<_> = entries.iter().map(|entry| entry.value.1).collect();
        assert_eq!(left, (1..40).step_by(2).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn it_is_a_map_whose_clones_do_not_change(
            steps in prop::collection::vec((0u32..60, any::<bool>()), 1..300),
        ) {
            let (mut trie, mut model) = (NameTrie::default(), HashMap::new());
            let mut kept = Vec::new();
            for (step, (number, is_put)) in (0..).zip(steps) {
                if is_put {
                    trie.put(Value(name(number), step));
                    model.insert(number, step);
                } else {
                    trie.remove(&name(number));
                    model.remove(&number);
                }
                if step % 50 == 0 {
                    kept.push((trie.clone(), model.clone()));
                }
            }
            kept.push((trie, model));
            for (trie, model) in kept {
                for number in 0..60 {
                    let found = trie.get(&name(number)).map(|value| value.1);
                    prop_assert_eq!(found, model.get(&number).copied());
                }
            }
        }
    }
}
