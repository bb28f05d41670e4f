//! The journal on disk. The only code that knows sled and the stored messages.
//!
//! A start goes the other way, in [`start`], by way of a [`snapshot`] if there is one.
//!
//! The way of a change: [`writer`] (judges it, in the one thread that may) → [`codec`] (bytes) →
//! [`parts`] (keys and values) → [`sled_journal`] (disk) → published.

pub mod codec;
pub mod cursors;
pub mod data_dir;
pub mod head;
pub mod inspection;
pub mod journal;
pub mod metered;
pub mod parts;
pub mod pb;
pub mod scrub_place;
pub mod secret_file;
pub mod session_keys;
pub mod sled_journal;
pub mod snapshot;
pub mod space;
pub mod start;
pub mod writer;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
