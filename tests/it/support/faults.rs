//! A disk that fails when it is told to: wrappers around the audit log's files and the journal.

use std::{
    fmt, io,
    sync::{Arc, Condvar, Mutex},
};

use aap::{
    audit::volume::{Volume, VolumeFile},
    domain::event::Event,
    server::JournalPart,
    store::{
        cursors::tree::{Change, CursorStore, Loaded},
        journal::{AppendError, Journal, JournalReader, ReadError},
    },
};

/// What is to fail, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The audit log's next sync; what was written before it may be there or not.
    AuditSync,
    /// The audit log's next write, of which nothing arrives.
    AuditWrite,
    /// The audit log's next write, of which a part arrives.
    TornAuditWrite,
    /// The audit log's next read.
    AuditRead,
    /// The journal's next append, of which nothing arrives.
    JournalAppend,
    /// The journal's next append, which arrives all the same.
    JournalAnswer,
    /// The next write of cursors, of which nothing arrives.
    CursorWrite,
}

/// What the disk of one server is told. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    told: Mutex<Told>,
    /// Rings when something changes.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Told {
    next: Option<Fault>,
    syncs_blocked: bool,
    appends_blocked: bool,
    /// How many syncs and appends wait.
    waiting: usize,
}

impl Faults {
    /// Has something fail once.
    pub fn fail_once(&self, fault: Fault) {
        self.0.told.lock().unwrap().next = Some(fault);
    }

    /// Whether what was to fail has failed.
    pub fn has_failed(&self) -> bool {
        self.0.told.lock().unwrap().next.is_none()
    }

    /// Keeps the audit log's syncs from ending.
    pub fn block_syncs(&self) {
        self.0.told.lock().unwrap().syncs_blocked = true;
    }

    /// Keeps the journal's appends from beginning.
    pub fn block_appends(&self) {
        self.0.told.lock().unwrap().appends_blocked = true;
    }

    /// Lets go on what is blocked.
    pub fn release(&self) {
        let mut told = self.0.told.lock().unwrap();
        (told.syncs_blocked, told.appends_blocked) = (false, false);
        self.0.changed.notify_all();
    }

    /// Waits until a sync or an append is blocked. Ends with the next of them.
    pub async fn wait_until_blocked(&self) {
        let faults = self.clone();
        let waited = tokio::task::spawn_blocking(move || {
            let told = faults.0.told.lock().unwrap();
            drop(faults.0.changed.wait_while(told, |told| told.waiting == 0).unwrap());
        });
        waited.await.unwrap();
    }

    fn take(&self, fault: Fault) -> bool {
        let mut told = self.0.told.lock().unwrap();
        let taken = told.next == Some(fault);
        if taken {
            told.next = None;
        }
        taken
    }

    fn check(&self, fault: Fault) -> io::Result<()> {
        if self.take(fault) { Err(io::Error::other(format!("{fault:?} fails"))) } else { Ok(()) }
    }

    fn wait_while(&self, blocked: impl Fn(&Told) -> bool) {
        let mut told = self.0.told.lock().unwrap();
        if blocked(&told) {
            told.waiting += 1;
            self.0.changed.notify_all();
            told = self.0.changed.wait_while(told, |told| blocked(told)).unwrap();
            told.waiting -= 1;
        }
    }
}

/// What the audit log calls a file while its keeper fills it with zeros, which is not to fail.
const FILLING: &str = "filling";

/// The files of an audit log, on a disk that fails.
#[derive(Debug)]
pub struct FaultyVolume {
    pub inner: Arc<dyn Volume>,
    pub faults: Faults,
}

impl FaultyVolume {
    fn wrap(&self, name: &str, inner: Arc<dyn VolumeFile>) -> Arc<dyn VolumeFile> {
        if name == FILLING {
            inner
        } else {
            Arc::new(FaultyFile { inner, faults: self.faults.clone() })
        }
    }
}

impl Volume for FaultyVolume {
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn VolumeFile>> {
        Ok(self.wrap(name, self.inner.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn VolumeFile>> {
        Ok(self.wrap(name, self.inner.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }
}

#[derive(Debug)]
struct FaultyFile {
    inner: Arc<dyn VolumeFile>,
    faults: Faults,
}

impl VolumeFile for FaultyFile {
    fn length(&self) -> io::Result<u64> {
        self.inner.length()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.faults.check(Fault::AuditRead)?;
        self.inner.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.faults.check(Fault::AuditWrite)?;
        if self.faults.take(Fault::TornAuditWrite) {
            self.inner.write_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(io::Error::other("the write is torn"));
        }
        self.inner.write_at(bytes, offset)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.inner.set_length(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.faults.check(Fault::AuditSync)?;
        self.faults.wait_while(|told| told.syncs_blocked);
        self.inner.sync()
    }
}

/// A journal on a disk that fails.
pub struct FaultyJournal {
    pub inner: Box<dyn JournalPart>,
    pub faults: Faults,
}

impl fmt::Debug for FaultyJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FaultyJournal").field(&self.inner).finish()
    }
}

impl Journal for FaultyJournal {
    fn last(&self) -> u64 {
        self.inner.last()
    }

    fn append(&mut self, expected_last: u64, events: &[Event]) -> Result<(), AppendError> {
        self.faults.wait_while(|told| told.appends_blocked);
        let failed = |fault: Fault| AppendError::Engine(format!("{fault:?} fails"));
        if self.faults.take(Fault::JournalAppend) {
            return Err(failed(Fault::JournalAppend));
        }
        self.inner.append(expected_last, events)?;
        if self.faults.take(Fault::JournalAnswer) {
            return Err(failed(Fault::JournalAnswer));
        }
        Ok(())
    }

    fn read(&self, from: u64, limit: usize) -> Result<Vec<Event>, ReadError> {
        self.inner.read(from, limit)
    }

    fn reader(&self) -> Arc<dyn JournalReader> {
        self.inner.reader()
    }
}

/// Cursors on a disk that fails.
#[derive(Debug)]
pub struct FaultyCursors {
    pub inner: Box<dyn CursorStore>,
    pub faults: Faults,
}

impl CursorStore for FaultyCursors {
    fn load(&self) -> Result<Loaded, String> {
        self.inner.load()
    }

    fn write(&mut self, changes: &[Change]) -> Result<(), String> {
        self.faults.check(Fault::CursorWrite).map_err(|error| error.to_string())?;
        self.inner.write(changes)
    }
}
