//! What is known of a connection before anything is said on it.

use std::{net::SocketAddr, sync::Arc};

use crate::domain::network::NetworkKind;

use super::certificate::PeerCertificate;

/// A connection, as those who serve its calls see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The socket's other end.
    pub peer: SocketAddr,
    /// Whose connection a trusted proxy says that it forwards; nothing if it says that it is its
    /// own, or if no proxy is expected.
    pub forwarded: Option<SocketAddr>,
    /// The network that the listener is reached from, if it is configured.
    pub network: Option<NetworkKind>,
    /// The certificate that the other end has shown, if any.
    pub certificate: Option<PeerCertificate>,
}

/// A connection, shared by all its calls.
pub type SharedConnection = Arc<Connection>;
