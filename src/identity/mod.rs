//! Who calls, and which application it is: the callers of this service's API, client keys, and how
//! both prove who they are.

pub mod bounds;
pub mod caller;
pub mod certificate;
pub mod connection;
pub mod roster;
pub mod token;

pub mod assertion;
pub mod caller_identity;
pub mod client_key;
pub mod https;
pub mod jwt;
pub mod key_set;
pub mod replay;
pub mod role_token;
pub mod session;
pub mod vouchers;
