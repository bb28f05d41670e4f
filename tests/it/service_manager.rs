//! What the service manager hears that started the server: on a real socket, as systemd would have it.

use std::{
    net::Shutdown,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    sync::{Arc, mpsc},
    thread,
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
    /// What it was told. Taken off the socket at once, since a socket keeps few messages that nobody
    /// reads, and the server doesn't wait until there is room for more.
    told: mpsc::Receiver<String>,
    address: String,
    _dir: TempDir,
}

impl Drop for Listener {
    /// Has the thread end that reads.
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

impl Listener {
    fn new(socket: UnixDatagram, address: String, dir: TempDir) -> Self {
        let (tell, told) = mpsc::channel();
        let reading = socket.try_clone().unwrap();
        thread::spawn(move || {
            let mut message = [0; 4_096];
            // None is empty: that is what comes at the end.
            while let Ok(length @ 1..) = reading.recv(&mut message) {
                let message = str::from_utf8(&message[..length]).unwrap().to_owned();
                if tell.send(message).is_err() {
                    return;
                }
            }
        });
        Self { socket, told, address, _dir: dir }
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
        self.told.recv_timeout(PATIENCE).expect("the manager is told something")
    }

    /// The next message that begins with a text. Others may come before it at any time: a disk that
    /// others use, too, may stall, and the manager is told.
    fn next_with(&self, begin: &str) -> String {
        let until = clock::since_boot() + PATIENCE;
        while clock::since_boot() < until {
            let message = self.next();
            if message.starts_with(begin) {
                return message;
            }
        }
        panic!("the manager isn't told {begin:?}")
    }

    /// Waits until a message comes that begins with a text, and nothing after it for longer than the
    /// manager would wait.
    fn next_before_silence(&self, begin: &str) {
        let until = clock::since_boot() + PATIENCE;
        while clock::since_boot() < until {
            self.next_with(begin);
            if self.told.recv_timeout(SILENCE).is_err() {
                return;
            }
        }
        panic!("the manager is told more after {begin:?}")
    }

    /// Every message that is left. Nothing more can come.
    fn all(&self) -> Vec<String> {
        // What has come before is still read.
        self.socket.shutdown(Shutdown::Both).unwrap();
        self.told.iter().collect()
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
        let ready = listener.next_with("READY=1\n");
        assert!(
            ready.starts_with("READY=1\nSTATUS=audit log: working; journal: working; "),
            "{ready}"
        );
        assert_eq!(ready.lines().count(), 2, "{ready}");
        world::enter_page_example(&server.client(ADMIN)).await;
        world::allow(&server.client(ENFORCER)).await;

        let before = clock::since_boot().as_micros();
        server.signal(Signal::HUP);
        let reloading = listener.next_with("RELOADING=1\n");
        let told = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        let told: u128 = told.parse().unwrap();
        assert!((before..=clock::since_boot().as_micros()).contains(&told), "{before} {told}");
        let loaded = listener.next_with("READY=1\n");
        let said = "READY=1\nSTATUS=the configuration was loaded; audit log: ";
        assert!(loaded.starts_with(said), "{loaded}");

        std::fs::write(place.config(), "listen = []\n").unwrap();
        server.signal(Signal::HUP);
        listener.next_with("RELOADING=1\n");
        let refused = listener.next_with("READY=1\n");
        let said = "the configuration is broken, and the one before it stays in force; audit log: ";
        assert!(refused.starts_with(&format!("READY=1\nSTATUS={said}")), "{refused}");

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
/// A time in which it would have heard several.
const SILENCE: Duration = Duration::from_millis(200);

async fn start(listener: &Listener) -> TestServer {
    let manager = ServiceManager::new(listener.address.as_ref(), Some(PATIENCE_MICROS)).unwrap();
    let setup = Setup::new();
    let options = Options { stall: Duration::from_millis(50), ..setup.options };
    let server = Setup { options, manager: Some(Arc::new(manager)), ..setup }.start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    server
}

#[tokio::test]
async fn there_is_no_sign_of_life_while_the_disk_keeps_the_writer() {
    let listener = Listener::at_path();
    let server = start(&listener).await;
    listener.next_with("WATCHDOG=1");
    server.faults.block_syncs();
    let enforcer = server.client(ENFORCER);
    refused(enforcer.authorization().check_access(world::ask(world::allowed())).await);
    listener.next_before_silence("STATUS=audit log: stalled");
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
    listener.next_before_silence("STATUS=audit log: failed");
    let (_, outcome) = server.stop_with_outcome().await;
    outcome.unwrap_err();
}
