//! Roots and proofs against the definitions of RFC 9162, section 2.1, written down as they stand.

use std::convert::Infallible;

use crate::audit::tree::hash::{
    self, Frontier, Hash, consistency, inclusion, is_consistent, node, root_by_inclusion,
};

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|number| hash::leaf(&number.to_le_bytes())).collect()
}

/// The largest power of two less than `n`.
fn k(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

/// `MTH(D_n)`.
fn mth(d: &[Hash]) -> Hash {
    match d {
        [] => hash::empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = d.split_at(k(d.len()));
            node(&mth(left), &mth(right))
        }
    }
}

/// `PATH(m, D_n)`.
fn path(m: usize, d: &[Hash]) -> Vec<Hash> {
    if d.len() == 1 {
        return Vec::new();
    }
    let (left, right) = d.split_at(k(d.len()));
    if m < left.len() {
        [path(m, left), vec![mth(right)]].concat()
    } else {
        [path(m - left.len(), right), vec![mth(left)]].concat()
    }
}

/// `SUBPROOF(m, D_n, b)`.
fn subproof(m: usize, d: &[Hash], b: bool) -> Vec<Hash> {
    if m == d.len() {
        return if b { Vec::new() } else { vec![mth(d)] };
    }
    let (left, right) = d.split_at(k(d.len()));
    if m <= left.len() {
        [subproof(m, left, b), vec![mth(right)]].concat()
    } else {
        [subproof(m - left.len(), right, false), vec![mth(left)]].concat()
    }
}

/// The sizes tried: small ones, and those around powers of two.
fn sizes() -> Vec<u64> {
    let around = [8, 9, 10, 11].map(|power| 1 << power).into_iter();
    (0..70).chain(around.flat_map(|power: u64| power - 2..power + 3)).collect()
}

fn node_of(leaves: &[Hash]) -> impl FnMut(u32, u64) -> Result<Hash, Infallible> {
    |level, index| {
        let begin = usize::try_from(index << level).unwrap();
        Ok(mth(&leaves[begin..begin + (1 << level)]))
    }
}

#[test]
fn a_frontier_has_the_root_of_all_leaves_so_far_and_tells_each_complete_subtree() {
    let leaves = leaves(300);
    let mut frontier = Frontier::default();
    assert_eq!(frontier.root(), mth(&[]));
    for (count, leaf) in leaves.iter().enumerate() {
        frontier.push(*leaf, |level, hash| {
            let end = count + 1;
            assert_eq!(*hash, mth(&leaves[end - (1 << level)..end]), "{count} {level}");
        });
        let known = &leaves[..=count];
        assert_eq!(frontier.root(), mth(known), "{count}");
        assert_eq!(Frontier::at(known.len() as u64, &mut node_of(known)), Ok(frontier.clone()));
    }
}

#[test]
fn every_proof_of_inclusion_is_that_of_the_definition_and_leads_to_the_root() {
    for size in sizes().into_iter().skip(1) {
        let leaves = leaves(size);
        let root = mth(&leaves);
        let step = if size < 70 { 1 } else { 37 };
        for index in (0..size).step_by(step).chain([size - 1]) {
            let place = usize::try_from(index).unwrap();
            let Ok(proof) = inclusion(index, size, &mut node_of(&leaves));
            assert_eq!(proof, path(place, &leaves), "{index} of {size}");
            let leaf = &leaves[place];
            assert_eq!(root_by_inclusion(index, size, leaf, &proof), Some(root));
            // Nothing else leads there.
            let other = root_by_inclusion(index, size, &[9; 32], &proof);
            assert_ne!(other, Some(root));
            for wrong in [index ^ 1, index + 1, size, size + index] {
                assert_ne!(root_by_inclusion(wrong, size, leaf, &proof), Some(root));
            }
            let longer = [&proof[..], &[root]].concat();
            assert_eq!(root_by_inclusion(index, size, leaf, &longer), None);
            if let Some((_, shorter)) = proof.split_last() {
                assert_ne!(root_by_inclusion(index, size, leaf, shorter), Some(root));
            }
        }
    }
    assert_eq!(root_by_inclusion(0, 0, &[0; 32], &[]), None);
}

#[test]
fn every_proof_of_consistency_is_that_of_the_definition_and_holds() {
    for to in sizes().into_iter().skip(1) {
        let leaves = leaves(to);
        let root = mth(&leaves);
        let step = if to < 70 { 1 } else { 61 };
        for from in (1..=to).step_by(step).chain([to.next_power_of_two().div_ceil(2), to]) {
            let (place, proof) = (usize::try_from(from).unwrap(), &mut node_of(&leaves));
            let Ok(proof) = consistency(from, to, proof);
            assert_eq!(proof, subproof(place, &leaves, true), "{from} of {to}");
            let old = mth(&leaves[..place]);
            assert!(is_consistent((from, &old), (to, &root), &proof), "{from} of {to}");
            for (old, new) in [([9; 32], root), (old, [9; 32])] {
                assert!(!is_consistent((from, &old), (to, &new), &proof), "{from} of {to}");
            }
            let longer = [&proof[..], &[root]].concat();
            assert!(!is_consistent((from, &old), (to, &root), &longer));
            for place in 0..proof.len() {
                let mut wrong = proof.clone();
                wrong[place][31] ^= 1;
                assert!(!is_consistent((from, &old), (to, &root), &wrong));
                wrong.remove(place);
                assert!(!is_consistent((from, &old), (to, &root), &wrong));
            }
        }
        assert!(!is_consistent((to + 1, &root), (to, &root), &[]));
    }
    assert!(!is_consistent((0, &hash::empty_root()), (1, &[1; 32]), &[]));
}
