//! Sessions: what an application that has proved who it is shows from then on.

use super::{resource::Uid, time::UnixNanos};

/// A session. Whether it is still good is decided at each check, by what its credential and the
/// access point are then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The uid of the access point that it is for: one that gets the same name later is another.
    pub access_point: Uid,
    /// What proved it.
    pub proved_by: Credential,
    /// The revision that it was granted at. What revokes sessions does so by revision, so that no
    /// clock has a say in it.
    pub revision: u64,
    /// When it was granted, in whole seconds.
    pub made: UnixNanos,
    /// The first point at which it is over, in whole seconds.
    pub expires: UnixNanos,
}

/// What an application proved that it has. One that gets the same name later is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// The client key of that uid.
    ClientKey(Uid),
    /// The RAM role of that uid.
    RamRole(Uid),
}

/// What a check shows as a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShownSession {
    /// A token that this server made.
    Genuine(Session),
    /// Something else.
    Foreign,
}

/// How long a session lasts, in seconds, unless its application wants another time.
pub const DEFAULT_SECONDS: i64 = 15 * 60;
/// How long a session lasts at most, in seconds.
pub const MAX_SECONDS: i64 = 60 * 60;
