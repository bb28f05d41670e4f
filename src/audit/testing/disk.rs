//! A folder in memory that knows what is on disk for good and what only seems to be.
//!
//! A sync of a file makes its content durable, a sync of the folder its names. A killed process
//! leaves everything as it was seen; a lost machine keeps what is durable, and of the rest whatever
//! 512-byte sectors and names chance picks.

use std::{
    collections::BTreeMap,
    io,
    ops::Range,
    sync::{Arc, Condvar, Mutex, MutexGuard},
};

use super::Random;
use crate::audit::volume::{Volume, VolumeFile};

/// What a disk writes whole or not at all.
pub(crate) const SECTOR_BYTES: usize = 512;

/// A folder, as seen by a running process. Clones are the same folder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Everything; held for one operation.
    state: Mutex<State>,
    /// Wakes whom [`Disk::hold_syncs`] holds.
    released: Condvar,
    /// Wakes who waits until somebody is held.
    holding: Condvar,
}

#[derive(Clone, Debug, Default)]
struct State {
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Changes of names since the last sync, in order.
    pending: Vec<NameChange>,
    operations: u64,
    writes: u64,
    syncs: u64,
    plan: Plan,
    /// Bytes of files that can't be read.
    unreadable: Vec<(usize, Range<u64>)>,
    held: bool,
    /// How many syncs are held.
    waiting: usize,
    crashed: Option<Box<Crashed>>,
}

#[derive(Clone, Debug, Default)]
struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
}

/// What one operation makes of names: each stands for this file from then on, or for none.
type NameChange = Vec<(String, Option<usize>)>;

/// What is to go wrong, by the number of the operation from 1 on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plan {
    /// This write fails after so many bytes.
    pub(crate) fail_write: Option<(u64, usize)>,
    /// This sync fails, of a file or of the folder.
    pub(crate) fail_sync: Option<u64>,
    /// No file can be given another length.
    pub(crate) fail_set_length: bool,
    /// The state just before this operation is kept for [`Disk::after_crash`].
    pub(crate) crash: Option<u64>,
}

#[derive(Clone, Debug)]
struct Crashed {
    state: State,
    /// The write that was about to happen.
    write: Option<(usize, u64, Vec<u8>)>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// The process was killed; the kernel has all that it wrote.
    Killed,
    /// The machine lost its power.
    PowerLost,
}

impl Disk {
    /// A disk on which all of this is durable.
    pub(crate) fn holding(files: &BTreeMap<String, Vec<u8>>) -> Self {
        let mut state = State::default();
        for (place, (name, bytes)) in files.iter().enumerate() {
            state.files.push(Content { live: bytes.clone(), durable: bytes.clone() });
            state.names.insert(name.clone(), place);
        }
        state.durable_names = state.names.clone();
        Self::of(state)
    }

    fn of(state: State) -> Self {
        let [released, holding] = [Condvar::new(), Condvar::new()];
        Self(Arc::new(Shared { state: Mutex::new(state), released, holding }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// All files as they are seen.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.lock();
        let file = |(name, &id): (&String, &usize)| (name.clone(), state.files[id].live.clone());
        state.names.iter().map(file).collect()
    }

    /// Changes a file's bytes behind everybody's back, for good.
    pub(crate) fn alter(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.lock();
        let id = state.names[name];
        change(&mut state.files[id].live);
        state.files[id].durable = state.files[id].live.clone();
    }

    /// Has reads fail from now on that touch these bytes of a file.
    pub(crate) fn refuse_reads(&self, name: &str, bytes: Range<u64>) {
        let mut state = self.lock();
        let id = state.names[name];
        state.unreadable.push((id, bytes));
    }

    /// Has all be readable again.
    pub(crate) fn allow_reads(&self) {
        self.lock().unreadable.clear();
    }

    /// Has things go wrong, counted from now on.
    pub(crate) fn plan(&self, plan: Plan) {
        let mut state = self.lock();
        (state.operations, state.writes, state.syncs) = (0, 0, 0);
        state.plan = plan;
    }

    /// Lets no sync end until [`Self::release_syncs`].
    pub(crate) fn hold_syncs(&self) {
        self.lock().held = true;
    }

    /// Waits until a sync is held.
    pub(crate) fn wait_for_held_sync(&self) {
        let state = self.lock();
        drop(self.0.holding.wait_while(state, |state| state.waiting == 0).unwrap());
    }

    pub(crate) fn release_syncs(&self) {
        self.lock().held = false;
        self.0.released.notify_all();
    }

    pub(crate) fn has_crashed(&self) -> bool {
        self.lock().crashed.is_some()
    }

    /// The disk after the crash that was planned, or after one right now.
    pub(crate) fn after_crash(&self, crash: Crash, random: &mut Random) -> Self {
        let state = self.lock();
        let now = || Crashed { state: state.clone(), write: None };
        let Crashed { state: mut found, write } =
            state.crashed.as_deref().cloned().unwrap_or_else(now);
        drop(state);
        if let Some((id, offset, bytes)) = write {
            let count = match crash {
                Crash::Killed => random.below(bytes.len() + 1),
                Crash::PowerLost => bytes.len(),
            };
            found.files[id].write(&bytes[..count], offset);
        }
        if crash == Crash::PowerLost {
            found.lose_power(random);
        }
        (found.plan, found.held, found.waiting) = (Plan::default(), false, 0);
        found.crashed = None;
        Self::of(found)
    }
}

impl State {
    fn begin(&mut self, write: Option<(usize, u64, &[u8])>) {
        self.operations += 1;
        if self.plan.crash == Some(self.operations) && self.crashed.is_none() {
            let write = write.map(|(id, offset, bytes)| (id, offset, bytes.to_vec()));
            let state = self.clone();
            self.crashed = Some(Box::new(Crashed { state, write }));
        }
    }

    fn lose_power(&mut self, random: &mut Random) {
        for content in &mut self.files {
            content.lose_power(random);
        }
        let mut names = std::mem::take(&mut self.durable_names);
        for change in self.pending.drain(..).filter(|_| random.one_in(2)) {
            apply(&change, &mut names);
        }
        self.names = names.clone();
        self.durable_names = names;
    }

    fn change_name(&mut self, change: NameChange) {
        apply(&change, &mut self.names);
        self.pending.push(change);
    }

    fn begin_sync(&mut self) -> io::Result<()> {
        self.begin(None);
        self.syncs += 1;
        if self.plan.fail_sync == Some(self.syncs) { Err(failure()) } else { Ok(()) }
    }
}

fn apply(change: &NameChange, names: &mut BTreeMap<String, usize>) {
    for (name, id) in change {
        match id {
            Some(id) => names.insert(name.clone(), *id),
            None => names.remove(name),
        };
    }
}

impl Content {
    fn write(&mut self, bytes: &[u8], offset: u64) {
        let begin = usize::try_from(offset).unwrap();
        let end = begin + bytes.len();
        if self.live.len() < end {
            self.live.resize(end, 0);
        }
        self.live[begin..end].copy_from_slice(bytes);
    }

    fn lose_power(&mut self, random: &mut Random) {
        let mut found = self.durable.clone();
        // The new length may be known where the new content is not, and the other way round.
        if self.live.len() < found.len() && random.one_in(2) {
            found.truncate(self.live.len());
        }
        for (number, sector) in self.live.chunks(SECTOR_BYTES).enumerate() {
            let begin = number * SECTOR_BYTES;
            let end = begin + sector.len();
            if found.get(begin..end) == Some(sector) || random.one_in(2) {
                continue;
            }
            if found.len() < end {
                found.resize(end, 0);
            }
            found[begin..end].copy_from_slice(sector);
        }
        self.live.clone_from(&found);
        self.durable = found;
    }
}

fn failure() -> io::Error {
    io::Error::other("the disk is broken")
}

fn not_found() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl Volume for Disk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn VolumeFile>> {
        let mut state = self.lock();
        state.begin(None);
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = state.files.len();
        state.files.push(Content::default());
        state.change_name(vec![(name.to_owned(), Some(id))]);
        Ok(Arc::new(OpenFile { disk: self.clone(), id }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn VolumeFile>> {
        let id = *self.lock().names.get(name).ok_or_else(not_found)?;
        Ok(Arc::new(OpenFile { disk: self.clone(), id }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.begin(None);
        let id = *state.names.get(from).ok_or_else(not_found)?;
        state.change_name(vec![(from.to_owned(), None), (to.to_owned(), Some(id))]);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.begin(None);
        state.names.get(name).ok_or_else(not_found)?;
        state.change_name(vec![(name.to_owned(), None)]);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.lock();
        state.begin_sync()?;
        state.durable_names = state.names.clone();
        state.pending.clear();
        Ok(())
    }
}

struct OpenFile {
    disk: Disk,
    id: usize,
}

impl std::fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpenFile({})", self.id)
    }
}

impl VolumeFile for OpenFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.lock().files[self.id].live.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.lock();
        let end = offset + buffer.len() as u64;
        let is_in = |bytes: &Range<u64>| bytes.start < end && offset < bytes.end;
        if state.unreadable.iter().any(|(id, bytes)| *id == self.id && is_in(bytes)) {
            return Err(failure());
        }
        let live = &state.files[self.id].live;
        let rest = live.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.begin(Some((self.id, offset, bytes)));
        state.writes += 1;
        if let Some((number, through)) = state.plan.fail_write
            && number == state.writes
        {
            let through = through.min(bytes.len());
            state.files[self.id].write(&bytes[..through], offset);
            return Err(failure());
        }
        state.files[self.id].write(bytes, offset);
        Ok(())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.begin(None);
        let length = usize::try_from(length).unwrap();
        if state.plan.fail_set_length {
            return Err(failure());
        }
        state.files[self.id].live.resize(length, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        if state.held {
            state.waiting += 1;
            self.disk.0.holding.notify_all();
            state = self.disk.0.released.wait_while(state, |state| state.held).unwrap();
            state.waiting -= 1;
        }
        state.begin_sync()?;
        let content = &mut state.files[self.id];
        content.durable.clone_from(&content.live);
        Ok(())
    }
}
