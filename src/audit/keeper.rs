//! What a segment needs besides writing to it, done by a thread of its own so that no decision
//! waits for it: files ahead of use whose space is set aside, and seals behind.
//!
//! The next segment is filled with zeros in step with what is written to the one before, a little at
//! a time: a disk that is given all of it at once makes the syncs of records wait for as long as that
//! takes, several milliseconds each.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use super::{
    background,
    footer::{Footer, Header},
    log::Mode,
    segment::Segment,
    volume::{Volume, VolumeFile, fill_with_zeros},
};

/// A file whose space is set aside, and that waits to be a segment.
const SPARE: &str = "spare";
/// The same before it is ready.
const UNFINISHED: &str = "unfinished";
/// The same before its space is set aside. A name of its own: the writer may make an unfinished file
/// meanwhile.
const FILLING: &str = "filling";
/// How many sealed segments stay in memory, for those who are not far behind. Without a bound the
/// operating system would keep all it has room for, and make room by what others need: a log is
/// written far more than it is read.
const KEPT_IN_MEMORY: usize = 4;
/// How many bytes are filled with zeros at a time. The sync of a record waits behind no more.
const STEP: u64 = 256 * 1_024;

/// Hands work to the keeper.
#[derive(Debug)]
pub struct Keeper {
    tasks: Sender<Task>,
    volume: Arc<dyn Volume>,
    spare: Arc<Mutex<Spare>>,
    /// How far the writer was when the keeper was last told, in bytes.
    told: u64,
}

/// Whether there is a file by the name of [`SPARE`]. Held while the file gets or loses that name, so
/// that the keeper never puts another one where the writer is about to take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spare {
    None,
    Ready,
}

enum Task {
    /// Have a file ready when the open segment is full, which has so many bytes now.
    PrepareSpare {
        written: u64,
    },
    /// It has so many.
    Follow {
        written: u64,
    },
    Seal {
        segment: Arc<Segment>,
        footer: Box<Footer>,
    },
}

impl Keeper {
    /// Starts the keeper. Its thread ends when this is dropped and all its work is done.
    pub fn start(
        volume: Arc<dyn Volume>,
        (segment_bytes, mode): (u64, Mode),
    ) -> io::Result<(Self, thread::JoinHandle<()>)> {
        for name in volume.list()? {
            if name == SPARE || name == UNFINISHED || name == FILLING {
                volume.remove(&name)?;
            }
        }
        let (tasks, received) = channel();
        let spare = Arc::new(Mutex::new(Spare::None));
        let keeper =
            Self { tasks, volume: Arc::clone(&volume), spare: Arc::clone(&spare), told: 0 };
        let sealed = VecDeque::with_capacity(KEPT_IN_MEMORY + 1);
        let worker =
            Worker { volume, segment_bytes, mode, spare, filling: None, sealed, leaving: None };
        let thread = background::start("audit-keeper", move || worker.run(&received))?;
        Ok((keeper, thread))
    }

    /// Has a file made ready until the open segment, which has so many bytes now, is full.
    pub fn prepare_spare(&mut self, written: u64) {
        self.told = written;
        // The keeper is only gone when its thread has panicked; then segments begin empty.
        let _ = self.tasks.send(Task::PrepareSpare { written });
    }

    /// The open segment has so many bytes now. Costs nothing but for every so many of them.
    pub fn follow(&mut self, written: u64) {
        if written.saturating_sub(self.told) >= STEP {
            self.told = written;
            let _ = self.tasks.send(Task::Follow { written });
        }
    }

    /// Has a full segment sealed.
    pub fn seal(&self, segment: Arc<Segment>, footer: Footer) {
        let _ = self.tasks.send(Task::Seal { segment, footer: Box::new(footer) });
    }

    /// Begins a segment: in the file made ready if there is one, or else in an empty one. Its name and
    /// header are on disk when this returns.
    pub fn begin_segment(&self, header: Header) -> io::Result<Arc<Segment>> {
        let name = Segment::file_name(header.first_sequence);
        let file = match self.take_spare()? {
            Some(file) => file,
            None => {
                clear(self.volume.as_ref(), UNFINISHED)?;
                self.volume.create(UNFINISHED)?
            }
        };
        self.finish_segment(header, name, file)
    }

    /// Takes the file made ready, under the name of what is unfinished.
    fn take_spare(&self) -> io::Result<Option<Arc<dyn VolumeFile>>> {
        let mut spare = lock(&self.spare);
        if *spare == Spare::None {
            return Ok(None);
        }
        *spare = Spare::None;
        self.volume.rename(SPARE, UNFINISHED)?;
        drop(spare);
        self.volume.open(UNFINISHED).map(Some)
    }

    /// Begins a log's first segment, in a file that it fills with zeros itself.
    pub fn begin_first_segment(&self, header: Header, length: u64) -> io::Result<Arc<Segment>> {
        clear(self.volume.as_ref(), UNFINISHED)?;
        fill_with_zeros(self.volume.create_for_later(UNFINISHED)?.as_ref(), 0..length)?;
        let file = self.volume.open(UNFINISHED)?;
        self.finish_segment(header, Segment::file_name(header.first_sequence), file)
    }

    fn finish_segment(
        &self,
        header: Header,
        name: String,
        file: Arc<dyn VolumeFile>,
    ) -> io::Result<Arc<Segment>> {
        file.write_at(&header.encode(), 0)?;
        file.sync()?;
        self.volume.rename(UNFINISHED, &name)?;
        self.volume.sync()?;
        Ok(Arc::new(Segment::empty(name, file, header.first_sequence, header.salt)))
    }
}

/// Removes a file that was left under a name, if one was.
fn clear(volume: &dyn Volume, name: &str) -> io::Result<()> {
    match volume.remove(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn lock(spare: &Mutex<Spare>) -> MutexGuard<'_, Spare> {
    // Nothing panics while it holds this.
    spare.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The keeper's thread.
struct Worker {
    volume: Arc<dyn Volume>,
    segment_bytes: u64,
    mode: Mode,
    spare: Arc<Mutex<Spare>>,
    filling: Option<Filling>,
    /// The newest sealed segments, which are in memory.
    sealed: VecDeque<Weak<Segment>>,
    /// The one before these. It goes from memory in step with what is written, a little at a time:
    /// all at once would take a processor for 20 ms.
    leaving: Option<Weak<Segment>>,
}

/// A file that is being filled with zeros.
struct Filling {
    file: Arc<dyn VolumeFile>,
    /// How many it has.
    filled: u64,
    /// How many bytes the open segment had when this was begun.
    began_at: u64,
}

impl Filling {
    /// How many it is to have when the open segment has so many bytes, of so many that both get: all
    /// a fifth of the way before the other one is full.
    fn due(&self, written: u64, length: u64) -> u64 {
        let way = length.saturating_sub(self.began_at) / 5 * 4;
        let gone = written.saturating_sub(self.began_at);
        if gone >= way {
            return length;
        }
        let due = u128::from(length) * u128::from(gone) / u128::from(way);
        // In whole steps, as a way past the page cache needs.
        u64::try_from(due).map_or(length, |due| (due / STEP * STEP + STEP).min(length))
    }
}

impl Worker {
    fn run(mut self, tasks: &Receiver<Task>) {
        while let Ok(task) = tasks.recv() {
            match task {
                Task::PrepareSpare { written } => self.prepare_spare(written),
                Task::Follow { written } => {
                    self.fill(written);
                    self.let_go(written);
                }
                Task::Seal { segment, footer } => self.seal(&segment, &footer),
            }
        }
    }

    fn seal(&mut self, segment: &Arc<Segment>, footer: &Footer) {
        if let Err(error) = seal(segment, footer) {
            tracing::error!(
                %error,
                segment = segment.name(),
                "can't seal an audit segment; the next start tries again"
            );
            return;
        }
        // What is left of the last one.
        self.let_go(u64::MAX / 2);
        self.sealed.push_back(Arc::downgrade(segment));
        if self.sealed.len() > KEPT_IN_MEMORY {
            self.leaving = self.sealed.pop_front();
        }
    }

    fn let_go(&self, written: u64) {
        // It may have been removed meanwhile.
        if let Some(leaving) = self.leaving.as_ref().and_then(Weak::upgrade) {
            leaving.file().let_go(written);
        }
    }

    fn prepare_spare(&mut self, written: u64) {
        self.filling = None;
        self.attempt(|worker| worker.begin_spare(written));
    }

    fn fill(&mut self, written: u64) {
        self.attempt(|worker| worker.fill_to(written));
    }

    fn attempt(&mut self, work: impl FnOnce(&mut Self) -> io::Result<()>) {
        if let Err(error) = work(self) {
            self.filling = None;
            tracing::warn!(
                %error,
                "can't prepare the next audit segment; its syncs will be slower"
            );
        }
    }

    fn begin_spare(&mut self, began_at: u64) -> io::Result<()> {
        // Only this thread makes one, so that none is there when the new one is whole.
        if *lock(&self.spare) == Spare::Ready {
            return Ok(());
        }
        clear(self.volume.as_ref(), FILLING)?;
        let file = self.volume.create_for_later(FILLING)?;
        match self.mode {
            Mode::Durable => {
                self.filling = Some(Filling { file, filled: 0, began_at });
                self.fill_to(began_at)
            }
            // Nobody waits for syncs that could be faster, and zeros cost a part of a processor.
            Mode::Buffered => {
                file.allocate(self.segment_bytes)?;
                file.sync()?;
                self.offer()
            }
        }
    }

    fn fill_to(&mut self, written: u64) -> io::Result<()> {
        let Some(filling) = &mut self.filling else { return Ok(()) };
        let due = filling.due(written, self.segment_bytes);
        while filling.filled < due {
            let step = STEP.min(due - filling.filled);
            fill_with_zeros(filling.file.as_ref(), filling.filled..filling.filled + step)?;
            filling.filled += step;
        }
        if filling.filled < self.segment_bytes {
            return Ok(());
        }
        self.filling = None;
        self.offer()
    }

    /// The file is whole.
    fn offer(&self) -> io::Result<()> {
        let mut spare = lock(&self.spare);
        self.volume.rename(FILLING, SPARE)?;
        *spare = Spare::Ready;
        Ok(())
    }
}

/// Seals a segment: writes the footer behind its frames and cuts off what is behind.
pub fn seal(segment: &Segment, footer: &Footer) -> io::Result<()> {
    let bytes = footer.encode(segment.salt());
    segment.file().write_at(&bytes, footer.data_end)?;
    segment.file().set_length(footer.data_end + bytes.len() as u64)?;
    segment.file().sync()?;
    segment.set_sealed();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::testing::disk::Disk;

    const LENGTH: u64 = 16 * STEP;

    #[test]
    fn zeros_are_ahead_of_what_is_written_and_all_there_a_fifth_of_the_way_before_it_is_full() {
        let disk = Disk::default();
        for began_at in [0, 48, LENGTH / 2, LENGTH - 1, LENGTH, LENGTH + 1] {
            let file = disk.create(&began_at.to_string()).unwrap();
            let filling = Filling { file, filled: 0, began_at };
            let way = LENGTH.saturating_sub(began_at);
            let all_from = began_at + way / 5 * 4;
            let mut before = 0;
            for written in (0..=LENGTH + STEP).step_by(1 << 12) {
                let due = filling.due(written, LENGTH);
                assert!((before..=LENGTH).contains(&due), "{began_at}, {written}: {due}");
                assert!(due >= STEP);
                assert!(written < all_from || due == LENGTH, "{began_at}, {written}: {due}");
                before = due;
            }
        }
    }

    #[test]
    fn a_spare_is_filled_in_step_with_the_open_segment() {
        let disk = Disk::default();
        let length_of = |name: &str| disk.files().get(name).map(|bytes| bytes.len() as u64);
        // What an earlier process was about to fill.
        disk.create(FILLING).unwrap().write_at(&[1], 0).unwrap();
        for (written, filling, spare) in [
            (LENGTH / 2 - 1, Some(LENGTH / 2), None),
            (LENGTH / 5 * 4, None, Some(LENGTH)),
            (LENGTH * 2, None, Some(LENGTH)),
        ] {
            let kept = (LENGTH, Mode::Durable);
            let (mut keeper, thread) = Keeper::start(Arc::new(disk.clone()), kept).unwrap();
            keeper.prepare_spare(0);
            for written in (0..=written).step_by(1 << 10) {
                keeper.follow(written);
            }
            drop(keeper);
            thread.join().unwrap();
            let filled = filling.map(|least| length_of(FILLING).unwrap() >= least);
            assert_eq!((filled, length_of(SPARE)), (filling.map(|_| true), spare), "{written}");
            let files = disk.files();
            assert!(files.values().all(|bytes| bytes.iter().all(|byte| *byte == 0)));
        }
    }
}
