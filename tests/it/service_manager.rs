//! What the service manager hears that started the server: on a real socket, as systemd would have it.

use std::{
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    sync::Arc,
    time::Duration,
};

use aap::{audit::log::Options, clock, server::ServiceManager};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    program::{Place, Running},
    support::{ADMIN, ENFORCER, Fault, Setup, TestServer, refused, server::PATIENCE, world},
};

/// A service manager that listens.
struct Listener {
    socket: UnixDatagram,
    address: String,
    _dir: TempDir,
}

impl Listener {
    fn new(socket: UnixDatagram, address: String, dir: TempDir) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, address, _dir: dir }
    }

    fn at_path() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        Self::new(UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap().to_owned(), dir)
    }

    fn at_abstract_name() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // A name that nobody else has.
        let name = format!("aap{}", dir.path().display());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        Self::new(UnixDatagram::bind_addr(&address).unwrap(), format!("@{name}"), dir)
    }

    /// The next message.
    fn next(&self) -> String {
        let mut message = [0; 4_096];
        let length = self.socket.recv(&mut message).expect("the manager is told something");
        str::from_utf8(&message[..length]).unwrap().to_owned()
    }

    /// The next message that begins with a text.
    fn next_with(&self, begin: &str) -> String {
        loop {
            let message = self.next();
            if message.starts_with(begin) {
                return message;
            }
        }
    }

    /// Every message that has come.
    fn all(&self) -> Vec<String> {
        self.socket.set_nonblocking(true).unwrap();
        let mut all = Vec::new();
        let mut message = [0; 4_096];
        while let Ok(length) = self.socket.recv(&mut message) {
            all.push(str::from_utf8(&message[..length]).unwrap().to_owned());
        }
        self.socket.set_nonblocking(false).unwrap();
        all
    }
}

fn serve(place: &Place, listener: &Listener, more: &[(&str, &str)]) -> Running {
    let mut command = place.command();
    command.env("NOTIFY_SOCKET", &listener.address).envs(more.iter().copied());
    Running::start(&mut command)
}

#[tokio::test]
async fn the_manager_hears_of_readiness_reloads_and_the_stop() {
    for listener in [Listener::at_path(), Listener::at_abstract_name()] {
        let place = Place::new();
        let server = serve(&place, &listener, &[]);
        let ready = listener.next();
        assert!(
            ready.starts_with("READY=1\nSTATUS=audit log: working; journal: working; "),
            "{ready}"
        );
        assert_eq!(ready.lines().count(), 2, "{ready}");
        world::enter_page_example(&server.client(ADMIN)).await;
        world::allow(&server.client(ENFORCER)).await;

        let before = clock::since_boot().as_micros();
        server.signal(Signal::HUP);
        let reloading = listener.next();
        let told = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        let told: u128 = told.parse().unwrap();
        assert!((before..=clock::since_boot().as_micros()).contains(&told), "{before} {told}");
        assert_eq!(listener.next(), "READY=1\nSTATUS=serving; the configuration was loaded");

        std::fs::write(place.config(), "listen = []\n").unwrap();
        server.signal(Signal::HUP);
        listener.next_with("RELOADING=1\n");
        let said = "serving; the configuration is broken, and the one before it stays in force";
        assert_eq!(listener.next_with("READY=1\n"), format!("READY=1\nSTATUS={said}"));

        server.signal(Signal::TERM);
        assert_eq!(server.wait().await.0, Some(0));
        // The file may have been looked at once more meanwhile.
        let all = listener.all();
        let stop = "STOPPING=1\nSTATUS=stopping: open calls may end";
        assert_eq!(all.last().map(String::as_str), Some(stop), "{all:?}");
        assert!(!all.iter().any(|message| message.contains("WATCHDOG")), "nobody waits: {all:?}");
    }
}

#[tokio::test]
async fn a_manager_that_waits_for_signs_of_life_gets_them_if_it_waits_for_this_process() {
    let place = Place::new();
    let listener = Listener::at_path();
    let server = serve(&place, &listener, &[("WATCHDOG_USEC", "100000")]);
    for _ in 0..5 {
        listener.next_with("WATCHDOG=1");
    }
    server.signal(Signal::TERM);
    assert_eq!(server.wait().await.0, Some(0));

    let listener = Listener::at_path();
    let of_another = [("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", "1")];
    let server = serve(&place, &listener, &of_another);
    listener.next_with("READY=1\n");
    server.signal(Signal::TERM);
    assert_eq!(server.wait().await.0, Some(0));
    assert!(!listener.all().iter().any(|message| message == "WATCHDOG=1"));
}

#[tokio::test]
async fn a_manager_that_can_not_be_told_is_named_and_keeps_nobody_from_serving() {
    let place = Place::new();
    let server = place.serve();
    world::enter_page_example(&server.client(ADMIN)).await;
    server.signal(Signal::TERM);
    assert_eq!(server.wait().await.0, Some(0));
    for (address, said) in [
        ("vsock:2:1", "`vsock:2:1` is no absolute path"),
        ("/nowhere/notify", "the service manager isn't told"),
    ] {
        let mut command = place.command();
        command.env("NOTIFY_SOCKET", address);
        let server = Running::start(&mut command);
        let log = server.begun.clone();
        world::allow(&server.client(ENFORCER)).await;
        server.signal(Signal::TERM);
        let (code, rest) = server.wait().await;
        assert_eq!(code, Some(0));
        assert!((log + &rest).contains(said), "{address}");
    }
}

/// How long it waits for signs of life, in microseconds.
const PATIENCE_MICROS: &str = "40000";

async fn start(listener: &Listener) -> TestServer {
    let manager = ServiceManager::new(listener.address.as_ref(), Some(PATIENCE_MICROS)).unwrap();
    let setup = Setup::new();
    let options = Options { stall: Duration::from_millis(50), ..setup.options };
    let server = Setup { options, manager: Some(Arc::new(manager)), ..setup }.start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    server
}

/// Nothing comes for longer than the manager would wait.
fn assert_nothing_comes(listener: &Listener) {
    listener.socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let came = listener.socket.recv(&mut [0; 64]);
    listener.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    came.unwrap_err();
}

#[tokio::test]
async fn there_is_no_sign_of_life_while_the_disk_keeps_the_writer() {
    let listener = Listener::at_path();
    let server = start(&listener).await;
    listener.next_with("WATCHDOG=1");
    server.faults.block_syncs();
    let enforcer = server.client(ENFORCER);
    refused(enforcer.authorization().check_access(world::ask(world::allowed())).await);
    listener.next_with("STATUS=audit log: stalled");
    assert_nothing_comes(&listener);
    server.faults.release();
    listener.next_with("STATUS=audit log: working");
    listener.next_with("WATCHDOG=1");
    server.stop().await;
}

#[tokio::test]
async fn there_is_no_sign_of_life_of_a_log_that_only_a_restart_helps() {
    let listener = Listener::at_path();
    let server = start(&listener).await;
    listener.next_with("WATCHDOG=1");
    server.faults.fail_once(Fault::AuditSync);
    let enforcer = server.client(ENFORCER);
    refused(enforcer.authorization().check_access(world::ask(world::allowed())).await);
    listener.next_with("STATUS=audit log: failed");
    assert_nothing_comes(&listener);
    let (_, outcome) = server.stop_with_outcome().await;
    outcome.unwrap_err();
}
