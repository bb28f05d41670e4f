//! What callers can have done, in the domain's types: the use cases behind the API.
//!
//! It doesn't know gRPC: other doors lead to the same decision and the same record. Each use case
//! authorizes before it says whether something exists.

pub mod audit_reads;
pub mod backups;
pub mod checks;
pub mod client_keys;
pub mod cursors;
pub mod gate;
pub mod history;
pub mod key_notices;
pub mod key_uses;
pub mod management;
pub mod pace;
pub mod permissions;
pub mod proofs;
pub mod reading;
pub mod refusals;
pub mod sessions;
pub mod system;
pub mod vouching;
pub mod watches;
