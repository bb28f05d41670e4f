//! What a segment needs besides writing to it, done by a thread of its own so that no decision
//! waits for it: files ahead of use whose space is set aside, and seals behind.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use super::{
    footer::{Footer, Header},
    log::Mode,
    segment::Segment,
    volume::{Volume, VolumeFile, fill_with_zeros},
};

/// A file whose space is set aside, and that waits to be a segment.
const SPARE: &str = "spare";
/// The same before it is ready.
const UNFINISHED: &str = "unfinished";

/// Hands work to the keeper.
#[derive(Debug)]
pub struct Keeper {
    tasks: Sender<Task>,
    volume: Arc<dyn Volume>,
    spare: Arc<Mutex<Spare>>,
}

/// Whether there is a file by the name of [`SPARE`]. Held while the file gets or loses that name, so
/// that the keeper never puts another one where the writer is about to take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spare {
    None,
    Ready,
}

enum Task {
    PrepareSpare,
    Seal { segment: Arc<Segment>, footer: Box<Footer> },
}

impl Keeper {
    /// Starts the keeper. Its thread ends when this is dropped and all its work is done.
    pub fn start(
        volume: Arc<dyn Volume>,
        (segment_bytes, mode): (u64, Mode),
    ) -> io::Result<(Self, thread::JoinHandle<()>)> {
        for name in volume.list()? {
            if name == SPARE || name == UNFINISHED {
                volume.remove(&name)?;
            }
        }
        let (tasks, received) = channel();
        let spare = Arc::new(Mutex::new(Spare::None));
        let keeper = Self { tasks, volume: Arc::clone(&volume), spare: Arc::clone(&spare) };
        let thread = thread::Builder::new()
            .name("audit-keeper".to_owned())
            .spawn(move || work(&received, volume.as_ref(), (segment_bytes, mode), &spare))?;
        Ok((keeper, thread))
    }

    /// Has a file made ready.
    pub fn prepare_spare(&self) {
        // The keeper is only gone when its thread has panicked; then segments begin empty.
        let _ = self.tasks.send(Task::PrepareSpare);
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
            None => create_anew(self.volume.as_ref())?,
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
        let file = create_anew(self.volume.as_ref())?;
        fill_with_zeros(file.as_ref(), length)?;
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

fn create_anew(volume: &dyn Volume) -> io::Result<Arc<dyn VolumeFile>> {
    match volume.create(UNFINISHED) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            volume.remove(UNFINISHED)?;
            volume.create(UNFINISHED)
        }
        created => created,
    }
}

fn lock(spare: &Mutex<Spare>) -> MutexGuard<'_, Spare> {
    // Nothing panics while it holds this.
    spare.lock().unwrap_or_else(PoisonError::into_inner)
}

fn work(tasks: &Receiver<Task>, volume: &dyn Volume, segments: (u64, Mode), spare: &Mutex<Spare>) {
    while let Ok(task) = tasks.recv() {
        match task {
            Task::PrepareSpare => {
                if let Err(error) = prepare_spare(volume, segments, spare) {
                    tracing::warn!(
                        %error,
                        "can't prepare the next audit segment; its syncs will be slower"
                    );
                }
            }
            Task::Seal { segment, footer } => {
                if let Err(error) = seal(&segment, &footer) {
                    tracing::error!(
                        %error,
                        segment = segment.name(),
                        "can't seal an audit segment; the next start tries again"
                    );
                }
            }
        }
    }
}

/// The file has a name of its own until it is whole: the writer may make one there meanwhile.
const FILLING: &str = "filling";

fn prepare_spare(
    volume: &dyn Volume,
    (length, mode): (u64, Mode),
    spare: &Mutex<Spare>,
) -> io::Result<()> {
    // Only this thread makes one, so that none is there when the new one is whole.
    if *lock(spare) == Spare::Ready {
        return Ok(());
    }
    if volume.list()?.iter().any(|name| name == FILLING) {
        volume.remove(FILLING)?;
    }
    let file = volume.create(FILLING)?;
    match mode {
        Mode::Durable => fill_with_zeros(file.as_ref(), length)?,
        // Nobody waits for syncs that could be faster, and zeros cost a part of a processor.
        Mode::Buffered => {
            file.allocate(length)?;
            file.sync()?;
        }
    }
    let mut spare = lock(spare);
    volume.rename(FILLING, SPARE)?;
    *spare = Spare::Ready;
    Ok(())
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
