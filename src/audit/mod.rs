//! The log of decisions: on disk before they are answered, followed from the disk, never altered.
//!
//! The way of a record: [`record`] (bytes) → [`buffer`] (one for all callers) → [`writer`] (place,
//! time, hash, disk) → [`buffer`] again (wakes who waits). [`follow`] reads it back, from the
//! [`segment`] files that [`recovery`] found at the start. The log knows nothing about decisions
//! beyond the shape of a record.

mod background;
pub mod buffer;
pub mod copying;
pub mod directory;
pub mod filter;
mod flights;
pub mod follow;
pub mod footer;
pub mod frame;
pub mod inspection;
pub mod journal;
pub mod keeper;
pub mod leaves;
pub mod log;
pub mod record;
pub mod recovery;
pub mod retention;
pub mod scrub;
pub mod segment;
pub mod signed;
pub mod strict;
pub mod succession;
pub mod syncer;
pub mod tail;
mod text;
pub mod tree;
pub mod trimmed;
pub mod volume;
pub mod wire;
pub mod writer;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
