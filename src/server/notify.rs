//! Tells the service manager that started the process how it is, as systemd wants to hear it
//! (`sd_notify(3)`): that it is ready, what it does, that it reads its configuration again, that it
//! stops, and, as often as was asked for, that it lives.
//!
//! It lives if a restart wouldn't help, each runtime still takes tasks, and the audit log's writer
//! comes back to look for work: a timer alone would tell nothing. It is a handful of datagrams, which
//! needs no library. A manager that doesn't listen holds up nobody.

use std::{
    ffi::OsStr,
    fmt, io, mem,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{runtime::Handle, sync::watch, time::MissedTickBehavior};

use crate::{audit::log::AuditLog, clock};

use super::health::{Answer, Conditions};

/// How many times in the time that the manager waits it is looked whether the server lives.
const PINGS: u32 = 4;
/// The shortest time between two such looks, and the longest.
const BOUNDS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_mins(1));
/// How often it is looked whether there is something to tell, if the manager waits for no sign of life.
const LOOK: Duration = Duration::from_secs(1);

/// The service manager.
#[derive(Debug)]
pub struct ServiceManager {
    address: SocketAddr,
    socket: UnixDatagram,
    /// How long it waits for a sign of life, if it does.
    patience: Option<Duration>,
    /// What it was told. Held while a message is sent, so that none overtakes another.
    told: Mutex<Told>,
}

/// What the manager was told.
#[derive(Debug)]
struct Told {
    stage: Stage,
    /// How the server is, unless what said so was lost.
    status: Option<String>,
    /// Whether the last message was lost.
    is_lost: bool,
}

/// What the manager knows the server to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Starting,
    Ready,
    /// It has read its configuration again, and the manager doesn't know yet.
    Reloaded,
    Stopping,
}

/// Why the manager can't be told anything.
#[derive(Debug, thiserror::Error)]
pub enum NoServiceManager {
    /// Where it listens is neither a path nor an abstract name.
    #[error("`{0}` is no absolute path, and no abstract name, which begins with `@`")]
    Address(String),
    /// The system has no socket for it, or no such address can be.
    #[error("can't speak to `{address}`: {cause}")]
    Socket {
        /// Where it listens.
        address: String,
        /// Why not.
        cause: io::Error,
    },
    /// How long it waits is no time.
    #[error("`{0}` is no number of microseconds, 1 or more")]
    Patience(String),
}

impl ServiceManager {
    /// A manager that listens at an address (`NOTIFY_SOCKET`) and may wait for signs of life
    /// (`WATCHDOG_USEC`).
    pub fn new(address: &OsStr, patience: Option<&str>) -> Result<Self, NoServiceManager> {
        let shown = || address.display().to_string();
        let refused = |cause| NoServiceManager::Socket { address: shown(), cause };
        let name = address.as_bytes();
        let socket_address = match name {
            [b'/', _, ..] => SocketAddr::from_pathname(address),
            [b'@', name @ ..] if !name.is_empty() => SocketAddr::from_abstract_name(name),
            _ => return Err(NoServiceManager::Address(shown())),
        };
        let socket_address = socket_address.map_err(refused)?;
        let patience = patience.map(|text| {
            let micros = text.parse().ok().filter(|micros| *micros > 0);
            micros.map(Duration::from_micros).ok_or(NoServiceManager::Patience(text.to_owned()))
        });
        let socket = UnixDatagram::unbound().map_err(refused)?;
        socket.set_nonblocking(true).map_err(refused)?;
        let told = Mutex::new(Told { stage: Stage::Starting, status: None, is_lost: false });
        Ok(Self { address: socket_address, socket, patience: patience.transpose()?, told })
    }

    /// The server can do all its work, or what it can't, as its health says. What the manager knows
    /// isn't said again, and what was lost is.
    fn tell_condition(&self, conditions: &Conditions) {
        let mut told = self.told();
        let status = status_of(conditions);
        let owes_ready = match told.stage {
            Stage::Starting => conditions.is_ready() == Answer::Yes,
            Stage::Reloaded => true,
            Stage::Ready => false,
            Stage::Stopping => return,
        };
        if !owes_ready && told.status.as_ref() == Some(&status) {
            return;
        }
        let ready = if owes_ready { "READY=1\n" } else { "" };
        let was_heard = self.send(&mut told, &format!("{ready}STATUS={status}"));
        if owes_ready && was_heard {
            told.stage = Stage::Ready;
        }
        told.status = was_heard.then_some(status);
    }

    /// The configuration is being read again. Says nothing before the server was ready: it would be
    /// taken for ready afterwards.
    pub(super) fn begin_reload(&self) {
        let mut told = self.told();
        if matches!(told.stage, Stage::Ready | Stage::Reloaded) {
            told.stage = Stage::Ready;
            let micros = clock::since_boot().as_micros();
            self.send(&mut told, &format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
        }
    }

    /// The configuration was read again, with what came of it, and how the server is meanwhile.
    pub(super) fn end_reload(&self, said: &str, conditions: &Conditions) {
        let mut told = self.told();
        let status = status_of(conditions);
        if matches!(told.stage, Stage::Ready | Stage::Reloaded) {
            let was_heard = self.send(&mut told, &format!("READY=1\nSTATUS={said}; {status}"));
            told.stage = if was_heard { Stage::Ready } else { Stage::Reloaded };
            told.status = was_heard.then_some(status);
        }
    }

    /// The server stops.
    pub(super) fn stop(&self) {
        let mut told = self.told();
        told.stage = Stage::Stopping;
        self.send(&mut told, "STOPPING=1\nSTATUS=stopping: open calls may end");
    }

    /// The server lives.
    fn give_sign_of_life(&self) {
        self.send(&mut self.told(), "WATCHDOG=1");
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        // Nothing panics while it holds this.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the message went. It doesn't if the manager has many that it hasn't read.
    fn send(&self, told: &mut Told, message: &str) -> bool {
        let sent = self.socket.send_to_addr(message.as_bytes(), &self.address);
        let was_lost = mem::replace(&mut told.is_lost, sent.is_err());
        // What is tried again and again is said once.
        if let (Err(error), false) = (&sent, was_lost) {
            tracing::warn!(%error, message, "the service manager isn't told");
        }
        sent.is_ok()
    }
}

/// How the server is, in a line.
fn status_of(conditions: &Conditions) -> String {
    conditions.to_string().trim_end().replace('\n', "; ")
}

/// What has to answer if the server lives.
pub(super) struct Vitals {
    pub(super) conditions: Conditions,
    pub(super) log: AuditLog,
    /// The runtimes that serve, as many as have begun to.
    pub(super) serving: watch::Receiver<Vec<Handle>>,
    /// How many there will be.
    pub(super) lanes: usize,
}

impl fmt::Debug for Vitals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vitals").finish_non_exhaustive()
    }
}

impl Vitals {
    /// Tells the manager what it waits for, until the process ends.
    pub(super) async fn report(mut self, manager: &ServiceManager) {
        let lanes = self.lanes;
        if self.serving.wait_for(|serving| serving.len() >= lanes).await.is_err() {
            // One of them couldn't begin.
            return;
        }
        manager.tell_condition(&self.conditions);
        let every = manager.patience.map(|patience| patience / PINGS);
        let (shortest, longest) = BOUNDS;
        let mut tick = tokio::time::interval(every.unwrap_or(LOOK).clamp(shortest, longest));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut may_change = true;
        loop {
            let mut conditions = self.conditions.clone();
            tokio::select! {
                changed = conditions.changed(), if may_change => {
                    may_change = changed;
                    self.conditions = conditions;
                    manager.tell_condition(&self.conditions);
                }
                _ = tick.tick() => {
                    // What was lost, and damage, which rings nobody.
                    manager.tell_condition(&self.conditions);
                    if every.is_some() && self.lives(tick.period()).await {
                        manager.give_sign_of_life();
                    }
                }
            }
        }
    }

    /// Whether all that has to answer does, within a time.
    async fn lives(&self, patience: Duration) -> bool {
        let serving = self.serving.borrow().clone();
        let answered = async {
            // A runtime may have ended if the server stops, and only then.
            let all_run = answer(&serving).await || self.conditions.stops();
            self.log.ask_writer().await;
            all_run
        };
        self.conditions.lives() == Answer::Yes
            && tokio::time::timeout(patience, answered).await.unwrap_or(false)
    }
}

/// Ends when each runtime has run a task, or has ended; false if one has.
async fn answer(runtimes: &[Handle]) -> bool {
    let asked: Vec<_> = runtimes.iter().map(|runtime| runtime.spawn(async {})).collect();
    let mut all_run = true;
    for one in asked {
        // A runtime that has ended cancels what it is given.
        all_run &= one.await.is_ok();
    }
    all_run
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, mpsc},
        thread,
    };

    use crate::{audit::log::AuditCondition, store::writer::JournalCondition};

    use super::*;

    #[test]
    fn an_address_is_a_path_or_an_abstract_name_and_patience_a_time() {
        let of = |address: &str, patience| ServiceManager::new(address.as_ref(), patience);
        for (address, patience) in
            [("/run/systemd/notify", None), ("@a", Some("30000000")), ("@a b/c", Some("1"))]
        {
            let manager = of(address, patience).unwrap();
            let micros = manager.patience.map(|patience| patience.as_micros().to_string());
            assert_eq!(micros.as_deref(), patience);
        }
        for address in ["", "/", "@", "notify", "./notify", "vsock:2:1234"] {
            let refused = of(address, None).unwrap_err();
            assert!(matches!(refused, NoServiceManager::Address(_)), "{address}: {refused}");
        }
        let refused = of(&format!("/{}", "a".repeat(200)), None).unwrap_err();
        assert!(matches!(refused, NoServiceManager::Socket { .. }), "{refused}");
        for patience in ["", "0", "-1", "1s", "18446744073709551616"] {
            let refused = of("@a", Some(patience)).unwrap_err();
            assert!(matches!(refused, NoServiceManager::Patience(_)), "{patience}: {refused}");
        }
    }

    #[tokio::test]
    async fn a_runtime_that_is_held_up_does_not_answer_and_one_that_has_ended_says_no() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let handle = runtime.handle().clone();
        let (go_on, held_up) = mpsc::channel();
        let (tell_begun, begun) = tokio::sync::oneshot::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                tell_begun.send(()).unwrap();
                held_up.recv().unwrap();
                stopped.await.unwrap();
            });
        });
        begun.await.unwrap();
        let runtimes = [handle];
        let soon = Duration::from_millis(50);
        assert!(tokio::time::timeout(soon, answer(&runtimes)).await.is_err());
        go_on.send(()).unwrap();
        assert!(answer(&runtimes).await);
        stop.send(()).unwrap();
        thread.join().unwrap();
        assert!(!answer(&runtimes).await);
    }

    fn conditions(audit: &watch::Sender<AuditCondition>) -> Conditions {
        Conditions {
            audit: audit.subscribe(),
            journal: watch::Sender::new(JournalCondition::Working).subscribe(),
            cursors: watch::Sender::new(JournalCondition::Working).subscribe(),
            stopping: watch::Sender::new(false).subscribe(),
            soundness: Arc::default(),
        }
    }

    #[test]
    fn nobody_who_listens_is_no_failure_and_what_comes_too_late_is_not_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = Arc::new(ServiceManager::new(path.as_os_str(), None).unwrap());
        manager.stop();
        let listener = UnixDatagram::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        // A reload that is still under way when it stops.
        let audit = watch::Sender::new(AuditCondition::Working);
        manager.begin_reload();
        manager.end_reload("too late", &conditions(&audit));
        assert!(listener.recv(&mut [0; 64]).is_err());
        manager.stop();
        assert!(next(&listener).starts_with("STOPPING=1\n"));
    }

    fn next(listener: &UnixDatagram) -> String {
        let mut said = [0; 1_024];
        let length = listener.recv(&mut said).unwrap();
        str::from_utf8(&said[..length]).unwrap().to_owned()
    }

    #[test]
    fn what_was_lost_is_told_again_and_what_is_known_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = ServiceManager::new(path.as_os_str(), None).unwrap();
        let audit = watch::Sender::new(AuditCondition::Working);
        let conditions = conditions(&audit);
        // Nobody listens yet.
        manager.tell_condition(&conditions);
        let listener = UnixDatagram::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        manager.begin_reload();
        assert!(listener.recv(&mut [0; 64]).is_err(), "it isn't known to be ready");
        manager.tell_condition(&conditions);
        assert!(next(&listener).starts_with("READY=1\nSTATUS=audit log: working; "));
        manager.tell_condition(&conditions);
        assert!(listener.recv(&mut [0; 64]).is_err(), "it is known");

        conditions.soundness.set_served_damaged();
        manager.tell_condition(&conditions);
        assert!(next(&listener).contains("served all the same"));

        // A queue that nobody empties takes no more.
        manager.begin_reload();
        let other = UnixDatagram::unbound().unwrap();
        other.set_nonblocking(true).unwrap();
        while other.send_to(b"other", &path).is_ok() {}
        manager.end_reload("the configuration was loaded", &conditions);
        audit.send_replace(AuditCondition::Stalled);
        manager.tell_condition(&conditions);
        assert!(next(&listener).starts_with("RELOADING=1\n"));
        while listener.recv(&mut [0; 64]).is_ok() {}
        manager.tell_condition(&conditions);
        assert!(next(&listener).starts_with("READY=1\nSTATUS=audit log: stalled"));
        manager.end_reload("the configuration was loaded", &conditions);
        let said = next(&listener);
        let wanted = "READY=1\nSTATUS=the configuration was loaded; audit log: stalled";
        assert!(said.starts_with(wanted), "{said}");
        audit.send_replace(AuditCondition::Working);
        manager.tell_condition(&conditions);
        assert!(next(&listener).starts_with("STATUS=audit log: working"));
    }
}
