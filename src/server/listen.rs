//! Sockets to listen on: one for each gRPC runtime.
//!
//! On two cores or fewer that is one. On more there is one for each core, all on the same address:
//! the kernel spreads connections over them (`SO_REUSEPORT`), and no runtime hands work to another.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
};

use rustix::{
    net::{AddressFamily, SocketFlags, SocketType, sockopt},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

use super::accept::Door;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1_024;
/// With so few cores, a second runtime would only take time from the first.
const FEW_CORES: usize = 2;

/// What the server has open besides connections, at most.
const OTHER_FILES: u64 = 512;

/// A listener: its sockets, one for each thread that serves gRPC, and what it asks of who connects.
#[derive(Debug)]
pub struct Listener {
    /// All on one address.
    pub sockets: Vec<TcpListener>,
    /// The door that they share.
    pub door: Arc<Door>,
}

/// Has the system allow as many open files as so many connections need; tells how many connections
/// there can be, if that is fewer.
pub fn allow_connections(connections: usize) -> Result<(), u64> {
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(OTHER_FILES);
    // Without a limit there is nothing to raise.
    let Rlimit { current: Some(current), maximum } = getrlimit(Resource::Nofile) else {
        return Ok(());
    };
    let possible = maximum.map_or(wanted, |maximum| wanted.min(maximum)).max(current);
    let raised = current >= wanted
        || setrlimit(Resource::Nofile, Rlimit { current: Some(possible), maximum }).is_ok();
    let allowed = if raised { possible } else { current };
    if allowed >= wanted { Ok(()) } else { Err(allowed.saturating_sub(OTHER_FILES)) }
}

/// How many sockets an address gets.
pub fn sockets_per_address() -> usize {
    match thread::available_parallelism() {
        Ok(cores) if cores.get() > FEW_CORES => cores.get(),
        _ => 1,
    }
}

/// Listens on an address with so many sockets.
pub fn listen(address: SocketAddr, sockets: usize) -> io::Result<Vec<TcpListener>> {
    let first = listen_once(address, sockets)?;
    // Port 0 stands for any; the others take the one that the first got.
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..sockets {
        listeners.push(listen_once(address, sockets)?);
    }
    Ok(listeners)
}

fn listen_once(address: SocketAddr, sockets: usize) -> io::Result<TcpListener> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if sockets > 1 {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sockets_of_an_address_have_its_port() {
        let listeners = listen("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let ports: Vec<_> =
            listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        assert!(ports.len() == 3 && ports.iter().all(|port| *port == ports[0]), "{ports:?}");
    }

    #[test]
    fn an_address_in_use_is_refused() {
        let taken = listen("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let address = taken[0].local_addr().unwrap();
        assert_eq!(listen(address, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
