//! Syncs beside the writer, which writes on meanwhile: for a log that answers before the disk has the
//! records, and for batches that are large.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, TryRecvError, channel},
    },
    thread,
    time::Duration,
};

use crate::clock::Clock;

use super::{log::Shared, volume::VolumeFile};

/// A thread that syncs files, one after the other. It ends when this is dropped.
#[derive(Debug)]
pub struct Syncer {
    files: Sender<Arc<dyn VolumeFile>>,
    ended: Receiver<Ended>,
}

/// A sync that has ended.
#[derive(Debug)]
pub struct Ended {
    /// What came of it.
    pub result: io::Result<()>,
    /// How long it took.
    pub took: Duration,
}

impl Syncer {
    /// Starts the thread.
    pub fn start(clock: Clock, shared: Arc<Shared>) -> io::Result<Self> {
        let ((files, to_sync), (end, ended)) = (channel::<Arc<dyn VolumeFile>>(), channel());
        thread::Builder::new().name("audit-sync".to_owned()).spawn(move || {
            while let Ok(file) = to_sync.recv() {
                let began = clock.elapsed();
                let result = file.sync();
                let took = clock.elapsed().saturating_sub(began);
                if end.send(Ended { result, took }).is_err() {
                    return;
                }
                shared.buffer().note_sync_ended();
            }
        })?;
        Ok(Self { files, ended })
    }

    /// Begins to put on disk what was written to a file so far. Its end is to be asked for.
    pub fn begin(&self, file: Arc<dyn VolumeFile>) {
        // If the thread is gone, that is found when the end is asked for.
        let _ = self.files.send(file);
    }

    /// What came of the sync that was begun, if it has ended.
    pub fn poll(&self) -> Option<Ended> {
        match self.ended.try_recv() {
            Ok(ended) => Some(ended),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Ended::without_thread()),
        }
    }

    /// What came of the sync that was begun, when it has ended.
    pub fn wait(&self) -> Ended {
        self.ended.recv().unwrap_or_else(|_| Ended::without_thread())
    }
}

impl Ended {
    fn without_thread() -> Self {
        let result = Err(io::Error::other("the thread that syncs is gone"));
        Self { result, took: Duration::ZERO }
    }
}
