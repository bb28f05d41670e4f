//! The hashes of a Merkle tree as RFC 9162 (section 2.1) defines them: nodes, roots, and the two
//! proofs, made and verified. It reads nothing: whoever makes a proof hands in where nodes are.

use ring::digest::{Context, SHA256};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// Says the hash of a complete subtree: of `2^level` leaves, the `index`-th of that size.
pub type NodeAt<'a, E> = &'a mut dyn FnMut(u32, u64) -> Result<Hash, E>;

/// The hash of a leaf: SHA-256 of a zero byte and its content.
pub fn leaf(content: &[u8]) -> Hash {
    digest(&[&[0], content])
}

/// The hash of a node: SHA-256 of a one byte and its children's hashes.
pub fn node(left: &Hash, right: &Hash) -> Hash {
    digest(&[&[1], left, right])
}

/// The root of a tree without leaves.
pub fn empty_root() -> Hash {
    digest(&[])
}

fn digest(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// The right edge of a tree: what is needed to let it grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// The complete subtrees that the tree consists of, the largest first.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The frontier of a tree whose nodes are known.
    pub fn at<E>(size: u64, node_at: NodeAt<'_, E>) -> Result<Self, E> {
        let (mut peaks, mut begin) = (Vec::new(), 0);
        for level in (0..u64::BITS).rev() {
            if size >> level & 1 == 1 {
                peaks.push(node_at(level, begin >> level)?);
                begin += 1 << level;
            }
        }
        Ok(Self { size, peaks })
    }

    /// How many leaves the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf. Each subtree that it completes is told, with its level, the smallest first.
    pub fn push(&mut self, leaf_hash: Hash, mut completed: impl FnMut(u32, &Hash)) {
        let mut hash = leaf_hash;
        for level in 1..=self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node(&left, &hash);
                completed(level, &hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The tree's root.
    pub fn root(&self) -> Hash {
        let mut smallest_first = self.peaks.iter().rev();
        let Some(last) = smallest_first.next() else { return empty_root() };
        smallest_first.fold(*last, |right, left| node(left, &right))
    }
}

/// The root of a complete tree over some hashes, of which there must be a power of two.
pub fn fold(mut hashes: Vec<Hash>) -> Hash {
    while hashes.len() > 1 {
        hashes = hashes.as_chunks::<2>().0.iter().map(|[left, right]| node(left, right)).collect();
    }
    hashes.first().copied().unwrap_or_else(empty_root)
}

/// The largest power of two that is less than a size of at least 2.
fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// The root over the leaves `begin..begin + size`, a part that RFC 9162 divides a tree into.
pub fn root_of<E>(begin: u64, size: u64, node_at: NodeAt<'_, E>) -> Result<Hash, E> {
    if size == 0 {
        return Ok(empty_root());
    }
    if size.is_power_of_two() {
        let level = size.ilog2();
        return node_at(level, begin >> level);
    }
    let left_size = split(size);
    let left = root_of(begin, left_size, node_at)?;
    let right = root_of(begin + left_size, size - left_size, node_at)?;
    Ok(node(&left, &right))
}

/// Proves that a leaf is in the tree of a size (section 2.1.3.1). `index` is less than `size`.
pub fn inclusion<E>(index: u64, size: u64, node_at: NodeAt<'_, E>) -> Result<Vec<Hash>, E> {
    let (mut path, mut begin, mut size) = (Vec::new(), 0, size);
    while size > 1 {
        let left_size = split(size);
        if index < begin + left_size {
            path.push(root_of(begin + left_size, size - left_size, node_at)?);
            size = left_size;
        } else {
            path.push(root_of(begin, left_size, node_at)?);
            (begin, size) = (begin + left_size, size - left_size);
        }
    }
    path.reverse();
    Ok(path)
}

/// Proves that the tree of one size begins with that of another (section 2.1.4.1). `from` is at least
/// 1 and at most `to`.
pub fn consistency<E>(from: u64, to: u64, node_at: NodeAt<'_, E>) -> Result<Vec<Hash>, E> {
    let (mut path, mut begin, mut size) = (Vec::new(), 0, to);
    while begin + size > from {
        let left_size = split(size);
        if from <= begin + left_size {
            path.push(root_of(begin + left_size, size - left_size, node_at)?);
            size = left_size;
        } else {
            path.push(root_of(begin, left_size, node_at)?);
            (begin, size) = (begin + left_size, size - left_size);
        }
    }
    if begin > 0 {
        // Only where it isn't the whole first tree, whose root the verifier has.
        path.push(root_of(begin, size, node_at)?);
    }
    path.reverse();
    Ok(path)
}

/// The root that a proof of inclusion leads to (section 2.1.3.2); `None` if it can't be one.
pub fn root_by_inclusion(index: u64, size: u64, leaf_hash: &Hash, path: &[Hash]) -> Option<Hash> {
    let (mut place, mut last) = (index, size.checked_sub(1)?);
    if place > last {
        return None;
    }
    let mut hash = *leaf_hash;
    for step in path {
        if last == 0 {
            return None;
        }
        if place & 1 == 1 || place == last {
            hash = node(step, &hash);
            while place & 1 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            hash = node(&hash, step);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    (last == 0).then_some(hash)
}

/// Whether a proof shows that the tree of `to` begins with the tree of `from` (section 2.1.4.2).
pub fn is_consistent(from: (u64, &Hash), to: (u64, &Hash), path: &[Hash]) -> bool {
    let ((from_size, from_root), (to_size, to_root)) = (from, to);
    if from_size == to_size {
        return path.is_empty() && from_root == to_root;
    }
    if from_size == 0 || from_size > to_size {
        return false;
    }
    let (mut place, mut last) = (from_size - 1, to_size - 1);
    let shift = place.trailing_ones();
    (place, last) = (place >> shift, last >> shift);
    let mut steps = path.iter();
    let first = if from_size.is_power_of_two() { Some(from_root) } else { steps.next() };
    let Some(first) = first else { return false };
    let (mut old, mut new) = (*first, *first);
    for step in steps {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            (old, new) = (node(step, &old), node(step, &new));
            while place & 1 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            new = node(&new, step);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    last == 0 && old == *from_root && new == *to_root
}
