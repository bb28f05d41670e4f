//! The tree over a log's records, and what comes of it: signed checkpoints and proofs.
//!
//! [`hash`] is RFC 9162 and nothing else. [`files`] keeps the tree's hashes, [`kept`] what is needed
//! of those that [`forgetting`] lets go of, [`checkpoints`] what was signed; [`note`] knows how it is
//! signed. [`stored`] proves by what is there, [`inspection`] looks at all of it, and [`evidence`]
//! lets it grow by what comes through [`feed`]. A tree is fed leaf hashes of records that are on disk;
//! it doesn't know what a record is, and no record waits for it.

pub mod checkpoints;
pub mod evidence;
pub mod feed;
pub mod files;
pub mod forgetting;
pub mod hash;
pub mod inspection;
pub mod kept;
pub mod note;
pub mod stored;

#[cfg(test)]
mod tests;
