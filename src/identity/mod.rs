//! Who calls: the callers of this service's API, and how they prove it.

pub mod caller;
pub mod roster;
pub mod token;
